"""A server whose database goes away under sessions that join and leave all the time.

    python3 .ci/database_outage.py NUCLEUS LOADGEN [SECONDS] [--only NAME]

NUCLEUS and LOADGEN are the programs. The database is away for SECONDS, by default 60:

1. `postgresql`: PostgreSQL is killed (SIGKILL) and started again. Needs root and Debian's package postgresql.
2. `locked`: another program locks SQLite.
3. `disk`: the disk that SQLite and the spool share is full. Needs root, to mount a small disk.

Demands each time: no session is lost and no join fails; the history has caught up within 30 s; it has a row for
each join, with its end; and a key that was revoked just before stays revoked.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

START_S, CAUGHT_UP_S = 20, 30
# Headsets that stay, and those of each short run.
STAY, COME = 10, 5
# Before the outage, and after it.
AROUND_S = 6
DISK_MIB = 48


def free_ports() -> list[int]:
    sockets = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM,) * 2 + (socket.SOCK_STREAM,)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """A server, with what may be asked of it."""

    def __init__(self, nucleus: str, data: pathlib.Path, database: str | None):
        self.session, realtime, web = free_ports()
        config = data.parent / "nucleus.toml"
        text = f'[control]\ndatabase = "{database}"\n' if database else ""
        config.write_text(text, encoding="utf-8")
        self.log = (data.parent / "log").open("w", encoding="utf-8")
        command = [nucleus, "--config", str(config), "--data-dir", str(data), "--shards", "1"]
        for name, port in (("session", self.session), ("realtime", realtime), ("http", web)):
            command += [f"--{name}", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, stderr=self.log)
        self.web, self.data = web, data
        end = time.monotonic() + START_S
        while True:
            try:
                self.key = json.loads((data / "local-api.json").read_text(encoding="utf-8"))["key"]
                if self.ask("GET", "/health/ready")[0] == 200:
                    return
            except (OSError, ValueError, http.client.HTTPException):
                pass
            if time.monotonic() > end or self.process.poll() is not None:
                self.process.kill()
                sys.exit("the server did not start")
            time.sleep(0.1)

    def ask(self, method: str, path: str, key: str | None = None, body: dict | None = None) -> tuple[int, str]:
        client = http.client.HTTPConnection("127.0.0.1", self.web, timeout=15)
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        client.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = client.getresponse()
        text = answer.read().decode()
        client.close()
        return answer.status, text

    def metric(self, name: str) -> float:
        _, page = self.ask("GET", "/metrics")
        return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name + " "))

    def revoked_key(self) -> str:
        """Makes a key, sees that it works, and revokes it."""
        body = {"name": "revoked", "scopes": ["read"]}
        status, text = self.ask("POST", "/api/v1/keys", self.key, body)
        key = json.loads(text)["key"]
        before, _ = self.ask("GET", "/api/v1/rooms", key)
        revoked, _ = self.ask("DELETE", f"/api/v1/keys/{key.split('_')[1]}", self.key)
        if (status, before, revoked) != (201, 200, 200):
            sys.exit(f"a key is made, used and revoked with {status}, {before}, {revoked}")
        return key

    def stop(self) -> None:
        self.process.terminate()
        if self.process.wait(20) != 0:
            sys.exit("the server did not stop as it should")
        self.log.close()


class Load:
    """Headsets that stay, and others that come and go."""

    def __init__(self, loadgen: str, server: Server, seconds: int):
        self.loadgen, self.server = loadgen, server
        self.joined, self.faults, self.over = 0, [], threading.Event()
        # Users of their own for each run.
        self.seeds = itertools.count(1)
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(STAY, seconds)),
                        threading.Thread(target=self.come_and_go)]
        for thread in self.threads:
            thread.start()

    def come_and_go(self) -> None:
        while not self.over.is_set():
            self.run(COME, 1)

    def run(self, headsets: int, seconds: int) -> None:
        with tempfile.TemporaryDirectory() as directory:
            report = pathlib.Path(directory) / "report.json"
            command = [self.loadgen, "run", "--target", f"127.0.0.1:{self.server.session}",
                       "--data-dir", str(self.server.data), "--profile", "idle", "--headsets", str(headsets),
                       "--seed", str(next(self.seeds)), "--ramp", "1s", "--duration", f"{seconds}s",
                       "--json", str(report), "--allow-invalid"]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
            with self.lock:
                try:
                    figures = json.loads(report.read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    self.faults.append(f"no report: {done.stderr.decode()[-300:]}")
                    return
                self.joined += figures["joins"]["ok"]
                for part, field in (("joins", "failed"), ("sessions", "lost")):
                    if figures[part][field]:
                        self.faults.append(f"{figures[part][field]} {part} {field}")

    def finish(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def check(name: str, nucleus: str, loadgen: str, seconds: int, scene) -> bool:
    """Plays a scene. Returns whether all demands are met."""
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address, outage, count = stack.enter_context(scene(directory))
        server = Server(nucleus, directory / "data", address)
        try:
            load = Load(loadgen, server, seconds + 2 * AROUND_S)
            time.sleep(AROUND_S)
            revoked, let_in = server.revoked_key(), 0
            most_waiting = 0
            with outage(server):
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    let_in += server.ask("GET", "/api/v1/rooms", revoked)[0] != 401
                    most_waiting = max(most_waiting, server.metric("nucleus_history_spool_rows"))
                    time.sleep(0.5)
            back = time.monotonic()
            while server.metric("nucleus_history_spool_rows") and time.monotonic() - back < 2 * CAUGHT_UP_S:
                time.sleep(0.1)
            caught_up = time.monotonic() - back
            let_in += server.ask("GET", "/api/v1/rooms", revoked)[0] != 401
            load.finish()
            let_in += server.ask("GET", "/api/v1/rooms", revoked)[0] != 401
            dropped = server.metric("nucleus_history_dropped_total")
        finally:
            server.stop()
        rows, ended = count()
    faults = list(load.faults)
    if not most_waiting:
        faults.append("the database was not away")
    if caught_up > CAUGHT_UP_S:
        faults.append("it has not caught up in time")
    if (rows, ended) != (load.joined, load.joined) or dropped:
        faults.append("the history is not whole")
    if let_in:
        faults.append(f"a revoked key was let in {let_in} times")
    print(f"{name}: away for {seconds} s; {load.joined} joins, {rows} rows, {ended} with their end, {dropped:.0f} lost; "
          f"{most_waiting:.0f} events waited at most; caught up in {caught_up:.1f} s"
          + "".join(f"; FAULT: {fault}" for fault in faults), flush=True)
    return not faults


def count_sqlite(path: pathlib.Path) -> tuple[int, int]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT COUNT(*), COUNT(left_at) FROM session_history").fetchone()


@contextlib.contextmanager
def postgresql(directory: pathlib.Path) -> Iterator:
    programs = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    cluster = directory / "postgresql"
    cluster.mkdir()
    for path in (directory, cluster):
        path.chmod(0o755)
    subprocess.run(["chown", "postgres", str(cluster)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> str:
        command = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
                   str(programs / program), *arguments]
        return subprocess.run(command, cwd="/", check=True, stdout=subprocess.PIPE, text=True).stdout

    def start() -> None:
        options = f"-p {port} -k {cluster} -c listen_addresses=127.0.0.1"
        run("pg_ctl", "--pgdata", str(cluster / "data"), "--silent", "--wait", "--log", str(cluster / "log"),
            "--options", options, "start")

    def count() -> tuple[int, int]:
        sql = "SELECT COUNT(*), COUNT(left_at) FROM session_history"
        text = run("psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-tA", "-c", sql)
        rows, ended = text.strip().split("|")
        return int(rows), int(ended)

    @contextlib.contextmanager
    def outage(_server: Server) -> Iterator[None]:
        pid = int((cluster / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        os.kill(pid, signal.SIGKILL)
        yield
        start()

    run("initdb", "--pgdata", str(cluster / "data"), "--username", "postgres", "--auth", "trust")
    start()
    try:
        yield f"postgres://postgres@127.0.0.1:{port}/postgres", outage, count
    finally:
        run("pg_ctl", "--pgdata", str(cluster / "data"), "--mode", "immediate", "--silent", "stop")


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator:
    path = directory / "data" / "nucleus.db"

    @contextlib.contextmanager
    def outage(_server: Server) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
            database.execute("BEGIN EXCLUSIVE")
            yield
            database.execute("ROLLBACK")

    yield None, outage, lambda: count_sqlite(path)


@contextlib.contextmanager
def disk(directory: pathlib.Path) -> Iterator:
    data = directory / "data"
    data.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs", str(data)], check=True)
    ballast = data / "ballast"

    @contextlib.contextmanager
    def outage(_server: Server) -> Iterator[None]:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4_096))
        yield
        ballast.unlink()

    try:
        yield None, outage, lambda: count_sqlite(data / "nucleus.db")
    finally:
        subprocess.run(["umount", str(data)], check=True)


SCENES = {"postgresql": postgresql, "locked": locked, "disk": disk}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("nucleus")
    parser.add_argument("loadgen")
    parser.add_argument("seconds", type=int, nargs="?", default=60)
    parser.add_argument("--only", choices=SCENES)
    options = parser.parse_args()
    names = [options.only] if options.only else list(SCENES)
    passed = [check(name, options.nucleus, options.loadgen, options.seconds, SCENES[name]) for name in names]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
