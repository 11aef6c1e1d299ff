"""Measures the API over HTTPS while clients open connections and send nothing.

    python3 .ci/half_open.py NUCLEUS [--connections N] [--seconds S]

NUCLEUS is the server's program, best a release build. Half of the connections send nothing, half send the
begin of a TLS handshake; each is opened again a second after the server has closed it (--pause). Fails if an answer about the
server's health takes more than a second, or if the p99 of the API grows to more than the double.
"""

import argparse
import collections
import http.client
import json
import multiprocessing
import pathlib
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import time

START_S = 20
# A client may make 100 requests a second.
REQUESTS_PER_S = 50
MOST_HEALTH_S = 1.0
MOST_GROWTH = 2.0
# The p99 of a quiet server is so short that one turn of the scheduler would double it.
LEAST_P99_S = 0.005
BEGIN_OF_HANDSHAKE = b"\x16\x03\x01"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def hold(port: int, count: int, pause: float, counts) -> None:
    """Holds half-open connections for ever. Counts those that were opened, and those that were closed."""
    poll, held = select.epoll(), {}
    # When those that are closed are opened again, in order.
    due = collections.deque([0.0] * count)
    while True:
        while due and due[0] <= time.monotonic():
            due.popleft()
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            poll.register(client, select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR | select.EPOLLOUT)
            held[client.fileno()] = client
            counts[0] += 1
        for number, event in poll.poll(0.01):
            client = held[number]
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                poll.unregister(client)
                held.pop(number).close()
                due.append(time.monotonic() + pause)
                counts[1] += 1
            elif event & select.EPOLLOUT:
                if number % 2 == 0:
                    client.send(BEGIN_OF_HANDSHAKE)
                poll.modify(client, select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)


def connection(port: int) -> http.client.HTTPSConnection:
    # The certificate of development mode is signed by nobody.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)


def ask(client: http.client.HTTPSConnection, path: str, key: str) -> float:
    """Returns how long an answer took, with the connection if there is none yet."""
    begin = time.monotonic()
    client.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    answer = client.getresponse()
    answer.read()
    if answer.status != 200:
        sys.exit(f"{path} was answered with {answer.status}")
    return time.monotonic() - begin


def measure(port: int, key: str, seconds: int) -> tuple[float, float]:
    """Returns the p99 of the API, and the longest answer about health over a new connection."""
    client, times, health = connection(port), [], []
    ask(client, "/api/v1/tenants", key)
    begin = time.monotonic()
    for number in range(seconds * REQUESTS_PER_S):
        time.sleep(max(0.0, begin + number / REQUESTS_PER_S - time.monotonic()))
        times.append(ask(client, "/api/v1/tenants", key))
        if number % REQUESTS_PER_S == 0:
            health.append(ask(connection(port), "/health/ready", key))
    return sorted(times)[len(times) * 99 // 100], max(health)


def start(nucleus: str, data: pathlib.Path, port: int, log) -> tuple[subprocess.Popen, str]:
    """Starts a server. Returns it with the key of commands of this machine."""
    any_port = "127.0.0.1:0"
    config = data.parent / "nucleus.toml"
    config.write_text(f'https = "127.0.0.1:{port}"\n', encoding="utf-8")
    command = [nucleus, "--config", str(config), "--session", any_port, "--realtime", any_port,
               "--http", any_port, "--shards", "1", "--data-dir", str(data)]
    server = subprocess.Popen(command, stderr=log)
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            return server, json.loads((data / "local-api.json").read_text(encoding="utf-8"))["key"]
        except (OSError, ValueError):
            time.sleep(0.05)
    server.kill()
    sys.exit(f"the server did not start:\n{pathlib.Path(log.name).read_text(encoding='utf-8')}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("nucleus")
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--seconds", type=int, default=10, help="of each of the two parts")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds until a closed one is opened again")
    options = parser.parse_args()
    port, counts = free_port(), multiprocessing.Array("q", 2)
    with tempfile.TemporaryDirectory() as directory:
        with open(pathlib.Path(directory) / "log", "w", encoding="utf-8") as log:
            server, key = start(options.nucleus, pathlib.Path(directory) / "data", port, log)
            holder = multiprocessing.Process(target=hold, args=(port, options.connections, options.pause, counts))
            try:
                quiet_p99, quiet_health = measure(port, key, options.seconds)
                holder.start()
                while counts[0] < options.connections:
                    time.sleep(0.05)
                p99, health = measure(port, key, options.seconds)
            finally:
                if holder.is_alive():
                    holder.kill()
                server.kill()
                server.wait()
    print(f"quiet: API p99 {quiet_p99 * 1e3:.1f} ms, health {quiet_health * 1e3:.1f} ms at most")
    print(f"{options.connections} half-open, {counts[0]} opened, {counts[1]} closed: API p99 {p99 * 1e3:.1f} ms, "
          f"health {health * 1e3:.1f} ms at most")
    most = max(quiet_p99, LEAST_P99_S) * MOST_GROWTH
    return 0 if health <= MOST_HEALTH_S and p99 <= most else 1


if __name__ == "__main__":
    sys.exit(main())
