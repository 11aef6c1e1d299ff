"""Measures `nucleus backup` of a large SQLite database while the server writes to it.

    python3 .ci/backup_under_load.py NUCLEUS [--mib N]

NUCLEUS is the server's program, best a release build. Fills the audit of a new server, makes a tenant 20 times a
second over the API, makes a backup meanwhile, and restores it. Fails if the backup takes more than 5 s or a
tenant more than 100 ms, or if the restored server is not the same with all that was there at the begin.
"""

import argparse
import http.client
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

START_S = 20
MOST_S = 5.0
MOST_WAIT_S = 0.1
WRITES_PER_S = 20
# Of an entry of the audit. Real ones have a tenth of it, so a real GiB has more rows.
DETAIL_BYTES = 1_000
# What makes a server the same one, for which the tickets of its clients are good.
IDENTITY = ("server-id", "ticket-key", "token-key.pem")


def start(nucleus: str, data: pathlib.Path) -> tuple[subprocess.Popen, dict]:
    """Starts a server. Returns it with the content of its file for commands of this machine."""
    any_port = "127.0.0.1:0"
    command = [nucleus, "--session", any_port, "--realtime", any_port, "--http", any_port,
               "--shards", "1", "--data-dir", str(data)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            return server, json.loads((data / "local-api.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            time.sleep(0.05)
    server.kill()
    sys.exit("the server did not start")


def stop(server: subprocess.Popen) -> None:
    server.terminate()
    server.wait()


def fill(path: pathlib.Path, mib: int) -> None:
    """Fills the audit with entries until the file is large."""
    database = sqlite3.connect(path)
    sql = "INSERT INTO audit VALUES (?, 1, NULL, 'local', 'fill', '', ?, '', '')"
    number = 0
    while path.stat().st_size < mib << 20:
        rows = [(f"01900000-0000-7000-8000-{number + at:012x}", os.urandom(DETAIL_BYTES // 2).hex())
                for at in range(20_000)]
        number += len(rows)
        with database:
            database.executemany(sql, rows)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


class Writer(threading.Thread):
    """Makes tenants, and notes how long each takes."""

    def __init__(self, api: dict):
        super().__init__(daemon=True)
        self.api, self.times, self.done = api, [], threading.Event()
        self.failure = "it has written nothing"

    def finish(self) -> None:
        """Waits for the end. Ends the program if a tenant could not be made, or none was."""
        self.done.set()
        self.join()
        if self.failure:
            sys.exit(f"the writer has failed: {self.failure}")

    def run(self) -> None:
        try:
            self.write()
            self.failure = "" if self.times else self.failure
        except Exception as error:  # A thread's error ends the thread alone.
            self.failure = repr(error)

    def write(self) -> None:
        client = http.client.HTTPConnection(self.api["url"].removeprefix("http://"), timeout=30)
        headers = {"Authorization": f"Bearer {self.api['key']}", "Content-Type": "application/json"}
        begin, number = time.monotonic(), 0
        while not self.done.is_set():
            time.sleep(max(0.0, begin + number / WRITES_PER_S - time.monotonic()))
            sent, number = time.monotonic(), number + 1
            body = json.dumps({"name": f"tenant {time.time_ns()}"})
            client.request("POST", "/api/v1/tenants", body, headers)
            answer = client.getresponse()
            answer.read()
            if answer.status != 201:
                raise RuntimeError(f"a tenant was answered with {answer.status}")
            self.times.append(time.monotonic() - sent)


def count(path: pathlib.Path, table: str) -> int:
    database = sqlite3.connect(path)
    (rows,) = database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    database.close()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("nucleus")
    parser.add_argument("--mib", type=int, default=1_024)
    parser.add_argument("--dir", help="where the files are made [default: the system's]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        data, saved, other = (pathlib.Path(directory) / name for name in ("data", "saved", "other"))
        stop(start(options.nucleus, data)[0])
        fill(data / "nucleus.db", options.mib)
        size = (data / "nucleus.db").stat().st_size
        server, api = start(options.nucleus, data)
        try:
            quiet = Writer(api)
            quiet.start()
            time.sleep(5)
            quiet.finish()
            entries = count(data / "nucleus.db", "audit")
            writer = Writer(api)
            writer.start()
            time.sleep(1)
            begin = time.monotonic()
            subprocess.run([options.nucleus, "backup", str(saved), "--data-dir", str(data)], check=True)
            took = time.monotonic() - begin
            writer.finish()
        finally:
            stop(server)
        subprocess.run([options.nucleus, "restore", str(saved), "--data-dir", str(other)], check=True)
        same = all((data / name).read_bytes() == (other / name).read_bytes() for name in IDENTITY)
        # A server starts on the restored directory, and has what was there when the backup began.
        server, _ = start(options.nucleus, other)
        stop(server)
        whole = count(other / "nucleus.db", "audit") >= entries
    print(f"{size / (1 << 30):.2f} GiB: backup {took:.1f} s; a tenant takes "
          f"{max(writer.times) * 1e3:.0f} ms at most of {len(writer.times)} "
          f"(without a backup {max(quiet.times) * 1e3:.0f} ms of {len(quiet.times)}); "
          f"restored {'whole' if whole else 'NOT WHOLE'}, {'the same server' if same else 'ANOTHER SERVER'}")
    return 0 if same and whole and took <= MOST_S and max(writer.times) <= MOST_WAIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
