"""Receives the spans of a server that was built with the feature `otel`, as a collector does.

    python3 .ci/telemetry.py NUCLEUS HEADSET

NUCLEUS is the server's program with the feature, HEADSET the example client. Needs opentelemetry-proto from PyPI.
Shows that joins, requests to the API and webhooks have spans, that a server without a collector sends none, and
that one whose collector does not answer works all the same.
"""

import contextlib
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

START_S = 20
# The exporter sends every five seconds.
SPANS_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans, and webhooks."""

    protocol_version = "HTTP/1.1"
    spans: list[tuple[str, str, dict]] = []
    webhooks = 0

    def do_POST(self):  # noqa: N802, the name is given
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            assert self.headers["content-type"] == "application/x-protobuf"
            assert self.headers["x-tenant"] == "ops", "OTEL_EXPORTER_OTLP_HEADERS"
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = {a.key: a.value.string_value for a in of.resource.attributes}["service.name"]
                for scope in of.scope_spans:
                    for span in scope.spans:
                        assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
                        Collector.spans.append((service, span.name, {
                            a.key: a.value.string_value or a.value.int_value for a in span.attributes}))
        else:
            Collector.webhooks += 1
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def until(what, seconds: float, text: str):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if (found := what()):
                return found
        time.sleep(0.1)
    raise SystemExit(f"not within {seconds} s: {text}; spans: {Collector.spans}")


class Server:
    """A server in a directory of its own, with an environment."""

    def __init__(self, nucleus: str, headset: str, dir: pathlib.Path, env: dict[str, str]):
        self.nucleus, self.headset, self.data = nucleus, headset, dir / "data"
        self.http, self.session = free_port(), free_port()
        config = dir / "nucleus.toml"
        config.write_text(
            f'session = "127.0.0.1:{self.session}"\nrealtime = "127.0.0.1:0"\nhttp = "127.0.0.1:{self.http}"\n'
            f'data_dir = "{self.data}"\n[control]\nprivate_addresses = true\n')
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        self.log = dir / "log"
        self.process = subprocess.Popen([nucleus, "--config", str(config)], stderr=self.log.open("wb"),
                                        env={**clean, **env})
        try:
            until(lambda: self.ask("/server"), START_S, "the server starts")
        except BaseException:
            self.process.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()

    def ask(self, path: str, body: dict | None = None, method: str | None = None):
        with contextlib.suppress(FileNotFoundError):
            key = json.loads((self.data / "local-api.json").read_text())["key"]
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.http}/api/v1{path}", method=method,
                data=None if body is None else json.dumps(body).encode(),
                headers={"authorization": f"Bearer {key}", "content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.read() or b"{}"

    def join(self) -> None:
        token = subprocess.run(
            [self.nucleus, "token", "--product", "atom", "--tenant", "ci", "--user", "ada", "--data-dir",
             str(self.data)], check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run([self.headset, "--server", f"127.0.0.1:{self.session}", "--token", token, "--room", "r",
                        "--duration", "1s"], check=True, capture_output=True, timeout=30)

    def stop(self) -> float:
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(START_S) == 0
        return time.monotonic() - begin


def main() -> None:
    nucleus, headset = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{collector.server_address[1]}"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=ops"}
    with tempfile.TemporaryDirectory() as dir, Server(nucleus, headset, pathlib.Path(dir), env) as server:
        server.ask("/webhooks", {"name": "ci", "url": f"{address}/hook", "events": ["room.started"]})
        server.join()
        names = lambda: {name for _, name, _ in Collector.spans}  # noqa: E731
        until(lambda: {"join", "request", "webhook"} <= names(), SPANS_S, "all three kinds of spans")
        assert {service for service, _, _ in Collector.spans} == {"nucleus"}
        made = {"http.route": "/api/v1/webhooks", "http.response.status_code": 201}
        assert any(made.items() <= fields.items() for _, name, fields in Collector.spans), Collector.spans
        fields = {name: fields for _, name, fields in Collector.spans}
        assert "event" in fields["webhook"] and Collector.webhooks >= 1
        with contextlib.suppress(urllib.error.HTTPError):
            server.ask("/rooms/none")
        server.stop()
        last = [fields for _, _, fields in Collector.spans if fields.get("http.response.status_code") == 404]
        assert last, "the last spans are sent at the stop"
        assert "nucleus_spans" not in server.log.read_text()
        print(f"{len(Collector.spans)} spans of {', '.join(sorted(names()))}")
    # The usual address of a collector, which a server must not try unless it is told to.
    with socket.create_server(("127.0.0.1", 4318)) as usual, tempfile.TemporaryDirectory() as dir:
        usual.settimeout(0.5)
        with Server(nucleus, headset, pathlib.Path(dir), {}) as server:
            server.join()
            server.stop()
        try:
            usual.accept()
        except TimeoutError:
            pass
        else:
            raise SystemExit("a server without a collector sends spans")
    with socket.create_server(("127.0.0.1", 0)) as silent, tempfile.TemporaryDirectory() as dir:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with Server(nucleus, headset, pathlib.Path(dir), env) as server:
            server.join()
            took = server.stop()
            assert took < 6, f"the stop took {took:.1f} s"
    print("a collector that does not answer holds up nothing")


if __name__ == "__main__":
    main()
