"""The programs of a case: the server and the load generator, each inside a namespace."""

import collections
import json
import pathlib
import signal
import subprocess
import threading
import time

from .net import RigError

READY_TIMEOUT = 15
STOP_TIMEOUT = 8
# Seconds beyond a run's own time: failed joins take 15 s, missing events 10 s.
SPARE_TIME = 40
LOG_LINES = 2_000
# Set when the rig must stop. All waits wait for this event too.
stopping = threading.Event()


class Stopped(Exception):
    """Raised if the rig was told to stop, by Ctrl-C or another signal."""


def pause(seconds):
    """Sleeps. Raises Stopped if the rig must stop."""
    if stopping.wait(max(0.0, seconds)):
        raise Stopped


class Program:
    """A process whose standard error is read continuously, so that the process never blocks."""

    def __init__(self, words):
        self.lines = collections.deque(maxlen=LOG_LINES)
        # The process has its own session, so that Ctrl-C reaches only the rig, which then ends the
        # process. If the rig is killed, `setpriv` ends the process.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    def wait(self, timeout):
        """Waits for the end. Returns the exit code, or None after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < deadline:
            pause(0.05)
        return self.process.poll()

    def end(self):
        """Sends SIGTERM, then SIGKILL. Returns the exit code, which is negative for a signal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(1)
        return self.process.returncode

    def last_words(self):
        """Returns the last line of its standard error, for a message."""
        self.reader.join(0.2)
        return self.lines[-1] if self.lines else "it printed nothing"


class Server(Program):
    """`nucleus serve` on its default ports."""

    def __init__(self, net, binaries, directory, *options, wrapper=()):
        self.data_dir = pathlib.Path(directory) / "data"
        super().__init__([
            *net.inside("s"), *wrapper, str(binaries / "nucleus"), "serve",
            "--data-dir", str(self.data_dir), "--log-format", "json", "--http", "127.0.0.1:0",
            *options,
        ])

    def wait_ready(self):
        """Waits until the server logs that it is ready. Raises RigError if it does not in time."""
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            if any(message == "ready" for message in self.messages()):
                return
            pause(0.02)
        raise RigError(f"the server is not ready: {self.last_words()}")

    def messages(self):
        """Yields the messages that the server has logged."""
        for line in list(self.lines):
            try:
                yield json.loads(line).get("message", "")
            except ValueError:
                yield line


class Load(Program):
    """`loadgen run` in a namespace, by default that of the client."""

    def __init__(self, net, binaries, server, ip, *, node="c", duration, headsets=10, room_size=5,
                 options=()):
        target = f"[{ip}]:5055" if ":" in ip else f"{ip}:5055"
        self.json = server.data_dir.parent / f"report-{node}.json"
        self.deadline = time.monotonic() + duration + SPARE_TIME
        self.started = time.monotonic()
        super().__init__([
            *net.inside(node), str(binaries / "loadgen"), "run", "--target", target,
            "--data-dir", str(server.data_dir), "--headsets", str(headsets),
            "--room-size", str(room_size), "--ramp", "1s", "--duration", f"{round(duration)}s",
            "--json", str(self.json), *options,
        ])

    def until(self, seconds):
        """Sleeps until this many seconds after the start."""
        pause(self.started + seconds - time.monotonic())

    def report(self):
        """Waits for the end of the run. Returns the report; an empty dictionary without one."""
        self.wait(self.deadline - time.monotonic())
        self.end()
        try:
            return json.loads(self.json.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
