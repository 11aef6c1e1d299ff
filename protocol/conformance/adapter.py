"""The adapter process: the client under test, which speaks JSON lines. See README.md."""

import asyncio
import collections
import contextlib
import json
import os
import signal

from messages import Failure

START_S = 20
STOP_S = 5
# How long a stalling adapter stands still, and then runs, again and again, in seconds.
STALL_S, RUN_S = 0.1, 0.03
# Largest line that an adapter writes, in bytes: a bulk message with room to spare.
MAX_LINE = 1 << 20
# Remarks that are shown with a failure.
MAX_REMARKS = 3


class Adapter:
    """A running adapter. `world` is told when a line has come. With `stalls`, it stands still again
    and again, as on a machine that has too much to do."""

    def __init__(self, world, stalls=False):
        self.world, self.stalls = world, stalls
        self.process = None
        self.can = None
        self.next_id = 1
        # Results of calls by their number, and reports by their kind.
        self.results, self.reports = {}, {}
        self.reading = self.stalling = None
        # Remarks of the adapter for people, the newest last.
        self.remarks = collections.deque(maxlen=MAX_REMARKS)

    async def start(self, command):
        pipe = asyncio.subprocess.PIPE
        try:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, limit=MAX_LINE, start_new_session=True
            )
        except OSError as error:
            raise Failure(f"the adapter does not start: {error}") from error
        self.reading = asyncio.create_task(self.read())
        if await self.world.until(lambda: self.can is not None, START_S) is None:
            self.world.fail("the adapter did not write its first line, which says what it can do")
        if self.stalls:
            self.stalling = asyncio.create_task(self.stall())

    async def stall(self):
        """Stops and wakes the adapter until it ends."""
        with contextlib.suppress(ProcessLookupError):
            while True:
                for sent, seconds in ((signal.SIGSTOP, STALL_S), (signal.SIGCONT, RUN_S)):
                    os.killpg(self.process.pid, sent)
                    await asyncio.sleep(seconds)

    async def read(self):
        """Reads lines until the adapter ends."""
        while line := await self.next_line():
            try:
                self.take(json.loads(line))
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                # The next lines are not read: without a limit, they would keep the runner busy.
                return self.world.fail(f"the adapter wrote {line[:200]!r}: {error!r}")
            self.world.notify()
        self.world.fail("the adapter has ended")

    async def next_line(self):
        try:
            return await self.process.stdout.readline()
        except ValueError:
            self.world.fail(f"the adapter wrote a line of more than {MAX_LINE} bytes")
            return b""

    def take(self, line):
        if why := line.pop("why", None):
            self.remarks.append(why)
        if "can" in line:
            self.can = set(line["can"])
        elif "returns" in line:
            self.results[line.pop("returns")] = line
        else:
            self.reports.setdefault(line.pop("sees"), []).append(line)

    def call(self, name, arguments):
        """Tells the adapter what its application does. Returns the number of the call."""
        number, self.next_id = self.next_id, self.next_id + 1
        line = json.dumps({"id": number, "call": name} | arguments)
        self.process.stdin.write(line.encode() + b"\n")
        return number

    async def stop(self):
        """Closes the adapter's input, and ends the process if it does not end by itself."""
        if self.process is None:
            return
        if self.reading is not None:
            self.reading.cancel()
        if self.stalling is not None:
            self.stalling.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGCONT)
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_S)
        except asyncio.TimeoutError:
            pass
        with contextlib.suppress(ProcessLookupError):
            # The adapter may be a script that has started the client as another process.
            os.killpg(self.process.pid, signal.SIGKILL)
        # A process counts as ended when what it wrote is read.
        while await self.process.stdout.read(MAX_LINE):
            pass
        await self.process.wait()
