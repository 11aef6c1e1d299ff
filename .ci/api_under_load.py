"""Measures the API while headsets are in rooms, and what its use costs them.

    python3 .ci/api_under_load.py NUCLEUS LOADGEN [--headsets N] [--rounds R] [--seconds S]

NUCLEUS and LOADGEN are release builds. Each round has two runs of a meeting, in turn first: one beside 50 requests
a second to the API over HTTPS (rooms, one room with its peers, its figures, the server, the tenants), and one
without. Prints the p99 of the requests and, as the median of the rounds, the ratio of the p99 of poses. Fails if
the one exceeds 50 ms, the other 1.1, or a run of the generator is not valid.
"""

import argparse
import http.client
import json
import pathlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

START_S = 20
REQUESTS_PER_S = 50
MOST_P99_S = 0.050
MOST_RATIO = 1.1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Asker(threading.Thread):
    """Asks the API at a fixed rate until it is stopped. Times count from the moment at which a request is due."""

    def __init__(self, port: int, key: str):
        super().__init__(daemon=True)
        # The certificate of development mode is signed by nobody.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.client = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        self.headers = {"Authorization": f"Bearer {key}"}
        self.times: list[float] = []
        self.failed: list[str] = []
        self.stopped = threading.Event()

    def ask(self, path: str) -> dict:
        self.client.request("GET", f"/api/v1{path}", headers=self.headers)
        answer = self.client.getresponse()
        body = answer.read()
        if answer.status != 200:
            self.failed.append(f"{path}: {answer.status}")
        return json.loads(body)

    def run(self) -> None:
        try:
            self.ask_all()
        except Exception as error:  # noqa: BLE001, told by the main thread
            self.failed.append(repr(error))

    def ask_all(self) -> None:
        room, number, begin = None, 0, time.monotonic()
        while not self.stopped.is_set():
            due = begin + number / REQUESTS_PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            paths = ["/rooms?order=peers&limit=100", "/server", "/tenants"]
            paths += [f"/rooms/{room}", f"/rooms/{room}/stats"] if room else []
            path = paths[number % len(paths)]
            answer = self.ask(path)
            self.times.append(time.monotonic() - due)
            if path.startswith("/rooms?") and answer["items"]:
                room = answer["items"][number % len(answer["items"])]["id"]
            number += 1


def meeting(options, has_api: bool) -> tuple[float, list[float]]:
    """Returns the p99 of poses in ms, and how long the requests took."""
    with tempfile.TemporaryDirectory() as directory:
        data, report = pathlib.Path(directory) / "data", pathlib.Path(directory) / "report.json"
        port, session, probes = free_port(), free_port(), free_port()
        config = pathlib.Path(directory) / "nucleus.toml"
        config.write_text(f'https = "127.0.0.1:{port}"\n', encoding="utf-8")
        with open(pathlib.Path(directory) / "log", "w+", encoding="utf-8") as log:
            server = subprocess.Popen(
                [options.nucleus, "--config", str(config), "--session", f"127.0.0.1:{session}", "--realtime",
                 "127.0.0.1:0", "--http", f"127.0.0.1:{probes}", "--shards", "1", "--data-dir", str(data)],
                stderr=log)
            try:
                key = local_key(server, data)
                generator = subprocess.Popen(
                    [options.loadgen, "run", "--target", f"127.0.0.1:{session}", "--data-dir", str(data),
                     "--http", f"127.0.0.1:{probes}", "--headsets", str(options.headsets), "--room-size", "10",
                     "--pose-hz", str(options.pose_hz), "--ramp", "5s", "--duration", f"{options.seconds}s",
                     "--json", str(report)], stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
                asker = Asker(port, key)
                # The measured time of the generator begins 2 s after the last join.
                time.sleep(7)
                if has_api:
                    asker.start()
                    # Its rooms end with the measured time.
                    time.sleep(options.seconds - 1)
                    asker.stopped.set()
                    asker.join()
                    if len(asker.times) < 0.9 * REQUESTS_PER_S * (options.seconds - 1):
                        asker.failed.append(f"only {len(asker.times)} requests were answered")
                if (code := generator.wait()):
                    why = json.loads(report.read_text(encoding="utf-8")).get("invalid_reasons") if report.exists() else ""
                    sys.exit(f"the load generator ended with {code}: {why}")
                if asker.failed:
                    sys.exit(f"{len(asker.failed)} requests failed: {asker.failed[:3]}")
            finally:
                server.kill()
                server.wait()
        figures = json.loads(report.read_text(encoding="utf-8"))
        return figures["channels"]["pose"]["latency_ms"]["p99"], asker.times


def local_key(server: subprocess.Popen, data: pathlib.Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            return json.loads((data / "local-api.json").read_text(encoding="utf-8"))["key"]
        except (OSError, ValueError):
            time.sleep(0.05)
    sys.exit("the server did not start")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("nucleus")
    parser.add_argument("loadgen")
    parser.add_argument("--headsets", type=int, default=2_000)
    parser.add_argument("--pose-hz", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="of each run, at least 5")
    options = parser.parse_args()
    ratios, times = [], []
    for number in range(options.rounds):
        order = [True, False] if number % 2 else [False, True]
        runs = {has_api: meeting(options, has_api) for has_api in order}
        times += runs[True][1]
        ratios.append(runs[True][0] / runs[False][0])
        print(f"round {number + 1}: pose p99 {runs[False][0]:.1f} ms without, {runs[True][0]:.1f} ms with the API, "
              f"ratio {ratios[-1]:.2f}", flush=True)
    p99, ratio = sorted(times)[len(times) * 99 // 100], statistics.median(ratios)
    print(f"{len(times)} requests, p50 {statistics.median(times) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, "
          f"most {max(times) * 1e3:.1f} ms; pose p99 {ratio:.2f} x (median of {options.rounds})")
    return 0 if p99 <= MOST_P99_S and ratio <= MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
