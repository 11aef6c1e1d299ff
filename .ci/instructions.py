"""Compares two builds of the server by the instructions that they execute for each message they send.

Needs valgrind. Each server runs under callgrind, while the load generator simulates six headsets in one
room. The builds take turns, on the realtime plane and on the fallback. Instructions depend less than
times on what else the machine does, but one run differs from the next by some percent.

    python3 .ci/instructions.py BEFORE AFTER target/release/loadgen [ROUNDS]

BEFORE and AFTER are programs `nucleus`. Prints each run, the medians and their ratios.
"""

import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HEADSETS = 6
POSE_HZ = 20
# From the start of the load generator until all headsets are in their room, and the measured time.
SETTLE_S = 8
MEASURED_S = 12
# The share of the headsets that do not reach the realtime port, by plane.
PLANES = {"realtime": 0, "fallback": 1}
START_S = 60


def free_ports() -> list[int]:
    kinds = (socket.SOCK_DGRAM, socket.SOCK_DGRAM, socket.SOCK_STREAM)
    sockets = [socket.socket(socket.AF_INET, kind) for kind in kinds]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.read().decode()


def messages(port: int) -> int:
    """Returns how many realtime messages the server has sent since its start."""
    counts = re.findall(r"^nucleus_realtime_messages_out_total\S* (\d+)$", page(port, "/metrics"), re.M)
    assert counts, "the server has no counter of messages"
    return sum(map(int, counts))


def wait_until_ready(port: int) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            page(port, "/health/ready")
            return
        except OSError:
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.5)


def measure(server: str, loadgen: str, blocked: int) -> float:
    """Returns the instructions for each message that the server sends."""
    with tempfile.TemporaryDirectory() as folder:
        session, realtime, http = free_ports()
        data, out = f"{folder}/data", f"{folder}/counts"
        address = "127.0.0.1:"
        run = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", server, "serve",
             "--session", f"{address}{session}", "--realtime", f"{address}{realtime}",
             "--http", f"{address}{http}", "--data-dir", data, "--shards", "1", "--tick", "10ms"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_ready(http)
            load = subprocess.Popen(
                [loadgen, "run", "--target", f"{address}{session}", "--data-dir", data, "--allow-invalid",
                 "--headsets", str(HEADSETS), "--room-size", str(HEADSETS), "--pose-hz", str(POSE_HZ),
                 "--block-realtime", str(blocked), "--duration", f"{SETTLE_S + MEASURED_S + 5}s"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            try:
                time.sleep(SETTLE_S)
                control = ["callgrind_control"]
                subprocess.run([*control, "-z", str(run.pid)], check=True, stdout=subprocess.DEVNULL)
                before = messages(http)
                time.sleep(MEASURED_S)
                after = messages(http)
                subprocess.run([*control, "--dump=end", str(run.pid)], check=True, stdout=subprocess.DEVNULL)
                assert load.poll() is None, "the load ended too early"
            finally:
                load.kill()
                load.wait()
        finally:
            run.kill()
            run.wait()
        dumps = [file.read_text(errors="replace") for file in pathlib.Path(folder).glob("counts.*")]
        executed = sum(int(total) for dump in dumps for total in re.findall(r"^totals: (\d+)", dump, re.M))
        assert executed and after > before, "nothing was measured"
        due = HEADSETS * (HEADSETS - 1) * POSE_HZ * MEASURED_S
        print(f"    {after - before} messages, {due} poses were due", flush=True)
        return executed / (after - before)


def main() -> int:
    if len(sys.argv) not in (4, 5):
        print(__doc__, file=sys.stderr)
        return 2
    servers, loadgen = sys.argv[1:3], sys.argv[3]
    rounds = int(sys.argv[4]) if len(sys.argv) == 5 else 3
    for plane, blocked in PLANES.items():
        found: list[list[float]] = [[], []]
        for number in range(rounds):
            # Whoever is first changes from round to round.
            for at in (0, 1) if number % 2 == 0 else (1, 0):
                found[at].append(measure(servers[at], loadgen, blocked))
                print(f"{plane} {('before', 'after')[at]}: {found[at][-1]:,.0f} instructions a message", flush=True)
        before, after = map(statistics.median, found)
        print(f"{plane}: median {before:,.0f} before, {after:,.0f} after: {(after / before - 1) * 100:+.1f} %", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
