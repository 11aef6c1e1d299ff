"""Measures the dashboard while headsets are in rooms, and what its viewers cost the server.

    python3 .ci/dashboard_under_load.py NUCLEUS LOADGEN [--headsets N] [--viewers V] [--rounds R] [--seconds S]

NUCLEUS and LOADGEN are release builds. Each round has two runs, in turn first: one with people who look at the
dashboard, and one without. In each a part of the headsets meets, with poses and voice, and the others are idle. Each
viewer has one live page open (the overview, the list of rooms, or one of two rooms) and opens another page each
second over a new connection, as a browser that was closed does.

Prints the time to the first byte of pages, their size with the files that they load, how often the live parts came,
the CPU that the server's threads used more than without viewers, and the ratio of the p99 of poses. Fails if a figure
misses what is wanted.
"""

import argparse
import gzip
import http.client
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from api_under_load import free_port

START_S = 20
EMAIL, PASSWORD = "ada@example.org", "a long sentence for a test"
MOST_FIRST_BYTE_S = 0.050
MOST_PAGE_BYTES = 250_000
MOST_CPU = 0.03
MOST_RATIO = 1.1
# Of the updates that would come if there were exactly one each second.
LEAST_UPDATES = 0.9
PAGES = ["/", "/rooms", "/sessions", "/calls", "/audit", "/tenants", "/rooms/{room}"]


def send(port: int, method: str, path: str, cookie: str = "", form: dict | None = None, accept: str = "text/html"):
    """Returns the status, the headers, the body and the time to the first byte."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Accept": accept, "Cookie": cookie, "Accept-Encoding": "gzip", "Sec-Fetch-Site": "same-origin"}
    body = None
    if form is not None:
        body = urllib.parse.urlencode(form)
        headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{port}"}
    begin = time.monotonic()
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    first = time.monotonic() - begin
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content, first


def sign_in(port: int, log: pathlib.Path) -> str:
    """Makes the first administrator by the link in the log, and returns the cookie of a session."""
    end, link = time.monotonic() + START_S, None
    while link is None:
        if time.monotonic() > end:
            sys.exit(f"no link in the log:\n{log.read_text(encoding='utf-8')}")
        time.sleep(0.05)
        link = re.search(r"/link\?token=([\w-]+)", log.read_text(encoding="utf-8"))
    form = {"token": link[1], "email": EMAIL, "name": "Ada", "password": PASSWORD}
    status, headers, _, _ = send(port, "POST", "/link", form=form)
    if "done" not in (headers["Location"] or ""):
        sys.exit(f"the password was not taken: {status} {headers['Location']}")
    status, headers, _, _ = send(port, "POST", "/signin", form={"email": EMAIL, "password": PASSWORD})
    if not headers["Set-Cookie"]:
        sys.exit(f"no sign-in: {status} {headers['Location']}")
    return headers["Set-Cookie"].split(";")[0]


class Stream(threading.Thread):
    """Counts the live parts of a page."""

    def __init__(self, port: int, cookie: str, path: str):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.connection.request("GET", path, headers={"Accept": "text/event-stream", "Cookie": cookie})
        self.answer = self.connection.getresponse()
        if self.answer.status != 200:
            sys.exit(f"{path}: {self.answer.status}")
        self.path, self.updates, self.bytes = path, 0, 0

    def run(self) -> None:
        try:
            while line := self.answer.readline():
                self.updates += line.startswith(b"data:") and not self.in_event
                self.in_event = line.strip() != b""
                self.bytes += len(line)
        except (OSError, ValueError, http.client.HTTPException):
            pass

    in_event = False


class Reader(threading.Thread):
    """Opens a page each second."""

    def __init__(self, port: int, cookie: str, number: int, rooms: list[str]):
        super().__init__(daemon=True)
        self.port, self.cookie, self.number, self.rooms = port, cookie, number, rooms
        self.times: dict[str, list[float]] = {}
        self.sizes: dict[str, int] = {}
        self.files: dict[bytes, int] = {}
        self.faults: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        count = self.number
        while not self.stopped.wait(1.0):
            name = PAGES[count % len(PAGES)]
            path = name.format(room=self.rooms[count % len(self.rooms)])
            count += 1
            try:
                status, headers, content, first = send(self.port, "GET", path, self.cookie)
            except OSError as error:
                self.faults.append(f"{path}: {error!r}")
                continue
            if status != 200:
                self.faults.append(f"{path}: {status}")
            if headers["Content-Encoding"] == "gzip":
                content = gzip.decompress(content)
            self.times.setdefault(name, []).append(first)
            size = len(content) + sum(map(self.file_size, set(re.findall(rb"/assets/[^\"]+", content))))
            self.sizes[name] = max(self.sizes.get(name, 0), size)

    def file_size(self, path: bytes) -> int:
        """Returns the bytes of a file that a page loads, which a browser keeps for ever."""
        if path not in self.files:
            self.files[path] = len(send(self.port, "GET", path.decode())[2])
        return self.files[path]


def thread_seconds(pid: int) -> dict[str, float]:
    """Returns the CPU time of a process's threads, by their names."""
    seconds: dict[str, float] = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text(encoding="utf-8")
        except OSError:
            continue
        name, fields = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        seconds[name] = seconds.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / 100
    return seconds


class Round:
    """One run of a meeting."""

    def __init__(self, options, has_viewers: bool):
        self.options, self.has_viewers = options, has_viewers
        self.readers: list[Reader] = []
        self.streams: list[Stream] = []
        self.cpu: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as directory:
            self.pose_ms = self.meet(pathlib.Path(directory))

    def meet(self, directory: pathlib.Path) -> float:
        options, report = self.options, directory / "report.json"
        session, http_port, idle = free_port(), free_port(), None
        with open(directory / "log", "w+", encoding="utf-8") as log:
            server = subprocess.Popen(
                [options.nucleus, "--session", f"127.0.0.1:{session}", "--realtime", "127.0.0.1:0", "--http",
                 f"127.0.0.1:{http_port}", "--shards", "1", "--data-dir", str(directory / "data")], stderr=log)
            try:
                cookie = sign_in(http_port, directory / "log")
                load = [options.loadgen, "run", "--target", f"127.0.0.1:{session}", "--data-dir",
                        str(directory / "data"), "--room-size", "10", "--ramp", f"{options.ramp}s"]
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                idle = subprocess.Popen(
                    [*load, "--headsets", str(options.headsets - options.active), "--profile", "idle", "--seed",
                     "2", "--duration",
                     f"{options.ramp + options.seconds + 30}s"], **quiet)
                time.sleep(options.ramp + 2)
                generator = subprocess.Popen(
                    [*load, "--http", f"127.0.0.1:{http_port}", "--headsets", str(options.active), "--pose-hz",
                     str(options.pose_hz), "--duration", f"{options.seconds}s", "--json", str(report)], **quiet)
                # The measured time of the generator begins 2 s after the last join.
                time.sleep(options.ramp + 2)
                self.look(server.pid, http_port, cookie)
                if (code := generator.wait()):
                    text = report.read_text(encoding="utf-8") if report.exists() else "{}"
                    sys.exit(f"the load generator ended with {code}: {json.loads(text).get('invalid_reasons')}")
                if idle.poll() is not None:
                    sys.exit(f"the idle headsets ended with {idle.returncode}")
            finally:
                for process in filter(None, (server, idle)):
                    process.kill()
                    process.wait()
        figures = json.loads(report.read_text(encoding="utf-8"))
        return figures["channels"]["pose"]["latency_ms"]["p99"]

    def look(self, pid: int, port: int, cookie: str) -> None:
        if self.has_viewers:
            _, _, content, _ = send(port, "GET", "/api/v1/rooms?limit=2&order=age", cookie, accept="application/json")
            listed = json.loads(content)
            if listed["total"] < self.options.headsets // 10:
                sys.exit(f"only {listed['total']} rooms are there")
            rooms = [room["id"] for room in listed["items"]]
            sources = ["/live/overview", "/live/rooms", f"/live/rooms/{rooms[0]}", "/live/overview",
                       f"/live/rooms/{rooms[1]}"]
            for number in range(self.options.viewers):
                self.streams.append(Stream(port, cookie, sources[number % len(sources)]))
                self.readers.append(Reader(port, cookie, number, rooms))
            for thread in self.streams + self.readers:
                thread.start()
        before, begin = thread_seconds(pid), time.monotonic()
        counts = [stream.updates for stream in self.streams]
        # The rooms end with the measured time.
        time.sleep(self.options.seconds - 1)
        self.seconds = time.monotonic() - begin
        after = thread_seconds(pid)
        self.updates = [stream.updates - count for stream, count in zip(self.streams, counts)]
        self.cpu = {name: (after[name] - before.get(name, 0.0)) / self.seconds for name in after}
        for reader in self.readers:
            reader.stopped.set()
        for reader in self.readers:
            reader.join()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("nucleus")
    parser.add_argument("loadgen")
    parser.add_argument("--headsets", type=int, default=5_000)
    parser.add_argument("--active", type=int, default=1_000, help="of the headsets: those that meet")
    parser.add_argument("--viewers", type=int, default=5)
    parser.add_argument("--pose-hz", type=int, default=10)
    parser.add_argument("--ramp", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=20, help="of each run, at least 5")
    options = parser.parse_args()
    ratios, costs, times, sizes, updates, faults = [], [], {}, {}, [], []
    for number in range(options.rounds):
        order = [True, False] if number % 2 else [False, True]
        runs = {has_viewers: Round(options, has_viewers) for has_viewers in order}
        seen, alone = runs[True], runs[False]
        ratios.append(seen.pose_ms / alone.pose_ms)
        cost = {name: cpu - alone.cpu.get(name, 0.0) for name, cpu in seen.cpu.items()}
        costs.append(sum(cost.values()))
        updates += [count / seen.seconds for count in seen.updates]
        for reader in seen.readers:
            faults += reader.faults
            for name, list_ in reader.times.items():
                times.setdefault(name, []).extend(list_)
            sizes |= {name: max(size, sizes.get(name, 0)) for name, size in reader.sizes.items()}
        top = sorted(cost.items(), key=lambda item: -abs(item[1]))[:6]
        print(f"round {number + 1}: pose p99 {alone.pose_ms:.1f} ms without, {seen.pose_ms:.1f} ms with viewers, ratio "
              f"{ratios[-1]:.2f}; CPU {costs[-1] * 100:+.1f} % of a core, by thread: "
              + ", ".join(f"{name} {cpu * 100:+.1f}" for name, cpu in top), flush=True)
    for name, list_ in times.items():
        print(f"{name}: {len(list_)} times, first byte p50 {statistics.median(list_) * 1e3:.1f} ms, most "
              f"{max(list_) * 1e3:.1f} ms, {sizes[name] / 1e3:.0f} KB")
    everything = sorted(value for list_ in times.values() for value in list_)
    p99, ratio, cpu = everything[len(everything) * 99 // 100], statistics.median(ratios), statistics.median(costs)
    print(f"{len(everything)} pages, first byte p50 {statistics.median(everything) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} "
          f"ms; updates a second at least {min(updates):.2f}; CPU {cpu * 100:.1f} % of a core and pose p99 {ratio:.2f} x "
          f"(medians of {options.rounds})")
    if faults:
        print(f"{len(faults)} pages failed: {faults[:3]}")
    good = [not faults, p99 <= MOST_FIRST_BYTE_S, max(sizes.values()) <= MOST_PAGE_BYTES, cpu <= MOST_CPU,
            ratio <= MOST_RATIO, min(updates) >= LEAST_UPDATES]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
