"""Sends random requests to the API of a server, made from its document, with schemathesis.

    python3 .ci/api_fuzz.py NUCLEUS SCHEMATHESIS [--examples N]

NUCLEUS is the server's program, SCHEMATHESIS the program of the Python package. Fails if an answer has
a status of 500 or more, or is another one than the document says.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

START_S = 20
DOCUMENT = "control/openapi.json"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "ignored_auth",
    "unsupported_method",
)


def start(nucleus: str, data: pathlib.Path, log) -> tuple[subprocess.Popen, dict]:
    """Starts a server. Returns it with the content of its file for commands of this machine."""
    any_port = "127.0.0.1:0"
    command = [nucleus, "--session", any_port, "--realtime", any_port, "--http", any_port,
               "--shards", "1", "--data-dir", str(data)]
    server = subprocess.Popen(command, stderr=log)
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            return server, json.loads((data / "local-api.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            time.sleep(0.05)
    server.kill()
    sys.exit(f"the server did not start:\n{pathlib.Path(log.name).read_text(encoding='utf-8')}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("nucleus")
    parser.add_argument("schemathesis")
    parser.add_argument("--examples", type=int, default=40, help="requests for each route")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        with open(pathlib.Path(directory) / "log", "w", encoding="utf-8") as log:
            server, api = start(options.nucleus, pathlib.Path(directory) / "data", log)
            try:
                done = subprocess.run(
                    [options.schemathesis, "run", DOCUMENT, "--url", f"{api['url']}/api/v1",
                     "-H", f"Authorization: Bearer {api['key']}",
                     # It would end the server.
                     "--exclude-operation-id", "drain",
                     # Their answers never end; the tests of the API read them.
                     "--exclude-operation-id", "stream_events",
                     "--exclude-operation-id", "stream_live",
                     # An address may make 100 requests a second.
                     "--rate-limit", "90/s", "--max-examples", str(options.examples),
                     "--checks", ",".join(CHECKS), "--seed", "1", "--no-color",
                     "--generation-database", "none"],
                    check=False,
                )
                if server.poll() is not None:
                    sys.exit(f"the server ended with {server.returncode}")
            finally:
                server.terminate()
                server.wait()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
