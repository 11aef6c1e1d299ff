"""Rust, C, C# and browsers in one room: programs that do the same, and check each other.

    python3 .ci/meeting.py LIBDIR NUCLEUS MEETING [SECONDS] [--tabs] [--only WORD]

LIBDIR is the directory of libnucleus.so, NUCLEUS the server's program, MEETING the example `meeting` of
the Rust client. Needs gcc, mcs and mono; the second meeting needs root, iproute2 and nftables. A meeting
takes SECONDS, by default 60, at least 20. With `--tabs`, two tabs come too: this needs Node.js, Chromium,
and `npm ci` in sdk/web. `--only` plays only the meetings with this word in their names.

1. A plain meeting.
2. The realtime port is blocked, in a network namespace of its own. Tabs do not come: they have none.
3. Each program is killed once, and started again with its file.
4. Both tabs sleep for ten seconds: of one the page stands still, of the other one the whole browser.
5. The server is killed, and started again on the same ports with the same data.

A meeting that fails while a program stood still for a second is repeated, twice at most: the machine was
too busy.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from rig import net
from sdk_c import SDK, compile_program
from token_examples import ENVIRONMENT, Server, run
from unity import COMPILER, MONO, UNITY, sources

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABS = ("tab1", "tab2")
TAB = ("node", "sdk/web/test/browser/meeting/meeting.mjs")
DEFAULT_S, LEAST_S = 60, 20
# A program leaves within 3 s after the end. The rest is for a busy machine.
SPARE_S = 30
# In this order, evenly over the first three quarters of the meeting: a program needs time to come back.
KILLS = ("c", "tab1", "rust", "tab2", "csharp")
# When the server is killed, or the tabs fall asleep, as a share of the meeting.
RESTART, SLEEP = 0.4, 0.25
# Chromium needs so long to start if the machine is busy.
START_S = 5
# How each tab falls asleep. It sleeps for ten seconds.
SLEEPS = {"tab1": "--stop-page", "tab2": "--stop-browser"}
LEAST_SLEEP_MS = 9_000
BLOCK = """
table inet block {{
    chain input {{ type filter hook input priority 0; udp dport {port} drop; }}
}}
"""


@dataclasses.dataclass
class Kind:
    """A kind of meeting, and what is demanded of it."""

    name: str
    # The least share of a program's frames that show a pose of each other user.
    least_seen: float
    # Why a request to a peer may fail.
    tolerated: frozenset[str] = frozenset()
    # Most changes of a program that may fail.
    most_failures: int = 0
    has_tabs: bool = True
    is_blocked: bool = False
    has_kills: bool = False
    has_sleeps: bool = False
    has_restart: bool = False


LOST = frozenset(("timed_out", "interrupted"))
KINDS = (
    Kind("plain", 0.7),
    Kind("realtime port blocked", 0.5, has_tabs=False, is_blocked=True),
    Kind("each killed once", 0.5, LOST, has_kills=True),
    # A change that was under way when its program fell asleep may have been interrupted.
    Kind("tabs sleep", 0.3, LOST, most_failures=1, has_sleeps=True),
    # Nobody is seen until the server is back.
    Kind("server restarted", 0.3, LOST, most_failures=1, has_restart=True),
)
# An interpolated pose that is far off needs a sender that was stopped between two system calls.
MOST_LARGE_ERRORS = 0.01
# A program that stood still for so long shows that the machine is too busy.
LONG_PAUSE_MS = 1_000
TRIES = 3


def compile_programs(build: pathlib.Path, library: pathlib.Path, rust: str) -> dict[str, list[str]]:
    """Returns the command of each user's program."""
    compile_program(SDK / "tests/c/meeting.c", build / "meeting", f"-L{library}", "-lnucleus")
    client, program = build / "Nucleus.Client.dll", build / "Meeting.exe"
    package = sources("Runtime/Client/*.cs", "Runtime/Native/*.cs")
    examples = sorted(UNITY.glob("examples/Meeting*.cs"))
    for command in (
        ["-target:library", "-unsafe", f"-out:{client}", *package],
        [f"-out:{program}", f"-r:{client}", *examples],
    ):
        subprocess.run([*COMPILER, *command], check=True, env=ENVIRONMENT)
    return {"rust": [rust], "c": [str(build / "meeting")], "csharp": ["mono", str(program)]}


@contextlib.contextmanager
def namespace():
    """Yields the name of a network namespace with nothing but the loopback interface."""
    net.sweep()
    name = f"{net.PREFIX}-{os.getpid()}-meeting"
    net.command("ip", "netns", "add", name)
    try:
        net.command("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        net.command("ip", "netns", "del", name, check=False)


class Meeting:
    """A server, and a program for each user."""

    def __init__(
        self, kind: Kind, commands: dict[str, list[str]], folder: pathlib.Path, prefix: list[str]
    ):
        """`commands` are the programs of the users. `prefix` is a command that runs the server and the
        programs in a network namespace."""
        folder.mkdir()
        self.kind, self.commands, self.folder, self.prefix = kind, commands, folder, prefix
        self.server = None
        self.running: dict[str, subprocess.Popen] = {}
        self.tokens: dict[str, str] = {}
        self.reports: dict[str, dict] = {}
        self.until = 0.0
        # The peer ids of killed programs.
        self.killed: dict[str, str] = {}

    def play(self, nucleus: str, library: pathlib.Path, seconds: int) -> None:
        """Plays the meeting, and fills `reports`."""
        # A killed mono would leave its file of counters.
        mono = {**MONO, "MONO_DISABLE_SHARED_AREA": "1"}
        self.environment = {**ENVIRONMENT, **mono, "LD_LIBRARY_PATH": str(library)}
        try:
            self.server = Server(nucleus, self.folder / "server", None, self.prefix)
            if self.kind.is_blocked:
                self.block_realtime()
            for user in self.commands:
                # A participant may not change the room's fields.
                words = ["--product", "atom", "--tenant", "ci", "--user", user]
                words += ["--grant", "state.room", "--data-dir", str(self.server.data)]
                self.tokens[user] = run([nucleus, "token", *words]).strip()
            begin = time.time() + (START_S if "tab1" in self.commands else 0)
            self.until = begin + seconds
            for user in self.commands:
                asleep = [SLEEPS[user], f"{begin + seconds * SLEEP:.3f}"] if self.sleeps(user) else []
                self.start(user, *asleep)
            kills = [user for user in KILLS if self.kind.has_kills and user in self.commands]
            for number, user in enumerate(kills, 1):
                wait_until(begin + 0.75 * seconds * number / len(kills))
                self.kill(user)
                self.start(user)
            if self.kind.has_restart:
                wait_until(begin + seconds * RESTART)
                self.restart(nucleus)
            self.reports = {user: self.report(user) for user in self.commands}
        finally:
            for process in self.running.values():
                process.kill()
                process.communicate()
            if self.server:
                self.server.end()

    def block_realtime(self) -> None:
        port = self.server.realtime.rpartition(":")[2]
        net.command(*self.prefix, "nft", "-f", "-", stdin=BLOCK.format(port=port))

    def sleeps(self, user: str) -> bool:
        return self.kind.has_sleeps and user in SLEEPS

    def start(self, user: str, *more: str) -> None:
        arguments = [self.server.address, self.tokens[user], self.folder / user, f"{self.until:.3f}"]
        arguments += [str(len(self.commands) - 1), *more]
        self.running[user] = subprocess.Popen(
            [*self.prefix, *self.commands[user], *arguments], env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8",
        )

    def restart(self, nucleus: str) -> None:
        """Kills the server, and starts it again on the same ports, with the same data."""
        server, config = self.server, self.folder / "server/nucleus.toml"
        text = config.read_text()
        for plane, address in (("session", server.address), ("realtime", server.realtime)):
            text = text.replace(f'{plane} = "127.0.0.1:0"', f'{plane} = "{address}"')
        config.write_text(text)
        server.process.kill()
        server.process.wait()
        with server.log.open("wb") as log:
            server.process = subprocess.Popen(
                [*self.prefix, nucleus, "serve", "--config", config],
                stdin=subprocess.DEVNULL, stderr=log,
            )
        server.wait_until_ready()

    def kill(self, user: str) -> None:
        process = self.running[user]
        if process.poll() is None:
            process.kill()
            # The second word of the file is the peer id.
            self.killed[user] = (self.folder / user).read_text().split()[1]
        process.communicate()

    def report(self, user: str) -> dict:
        """Waits for the end of a program, and returns its report; an empty one if it failed."""
        process = self.running[user]
        try:
            output = process.communicate(timeout=max(0.0, self.until - time.time()) + SPARE_S)[0]
        except subprocess.TimeoutExpired:
            print(f"{user} does not end")
            return {}
        if process.returncode:
            print(f"{user} ended with {process.returncode}")
            return {}
        return json.loads(output)


def wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def faults(kind: Kind, reports: dict[str, dict], killed: dict[str, str]) -> list[str]:
    """Returns what is wrong with a meeting."""
    if not all(reports.values()):
        return ["not everybody has reported"]
    found = []
    for user, report in reports.items():
        others = {other: reports[other] for other in reports if other != user}
        found += [f"{user}: {fault}" for fault in program_faults(kind, report, others)]
    for user, peer in killed.items():
        report = reports[user]
        if not report["resumed"] or str(report["peer"]) != peer or report["run"] != 2:
            found.append(f"{user}: peer {peer} was not resumed")
    if kind.has_kills and len(killed) != len(reports):
        found.append("a program had ended before it was killed")
    for key in ("version", "digest", "count"):
        if len({report[key] for report in reports.values()}) != 1:
            found.append(f"not everybody has the same {key}")
    if any(report["objects"] != len(reports) for report in reports.values()):
        found.append("there is not one object for each user")
    # A change that was under way when its program was killed or interrupted may have been carried out.
    missing = reports["rust"]["count"] - sum(report["successes"] for report in reports.values())
    unknown = len(killed) + sum(report["change_failures"] for report in reports.values())
    if not 0 <= missing <= unknown:
        found.append(f"the count is {missing} more than all successes")
    return found


def program_faults(kind: Kind, report: dict, others: dict[str, dict]) -> list[str]:
    """Returns what is wrong with the report of one program."""
    must_be_0 = ("gaps", "repeats", "backwards", "wrong")
    found = [f"{report[key]} {key}" for key in must_be_0 if report[key]]
    if report["change_failures"] > kind.most_failures:
        found.append(f"{report['change_failures']} change_failures")
    if report["rejoined"] != kind.has_restart:
        found.append(f"has come back as a new peer {report['rejoined']} times")
    if kind.has_sleeps and report["user"] in SLEEPS and report["longest_pause_ms"] < LEAST_SLEEP_MS:
        found.append("has not slept")
    if report["over_60mm"] > report["compared"] * MOST_LARGE_ERRORS:
        found.append(f"{report['over_60mm']} of {report['compared']} poses are far off")
    failed = sum(report["ask_failures"].values())
    if any(count and why not in kind.tolerated for why, count in report["ask_failures"].items()):
        found.append(f"requests have failed: {report['ask_failures']}")
    if report["answered"] + report["wrong"] + failed != report["asked"]:
        found.append("a request has no result")
    # A process that was started late in the meeting may have no answer.
    if not kind.has_kills and not (report["answered"] and report["successes"]):
        found.append("no request or no change was carried out")
    # A tab has no realtime port, so it cannot fall back.
    if report["on_fallback"] not in (kind.is_blocked, None):
        found.append(f"on fallback: {report['on_fallback']}")
    for user, other in others.items():
        seen, frames = report["seen"].get(user, 0), report["frames"]
        if seen < frames * kind.least_seen:
            found.append(f"has seen {user} in {seen} of {frames} frames")
        # The next event would be the one after the last that was sent.
        record, sent = report["records"].get(user), [other["run"], other["sent"]]
        if other["sent"] and record != sent:
            found.append(f"the events of {user} end at {record}, not {sent}")
    return found


def print_table(reports: dict[str, dict]) -> None:
    """Prints the reports side by side."""
    reported = [report for report in reports.values() if report]
    for key in reported[-1] if reported else ():
        values = [shortened(report[key]) for report in reported]
        print(f"  {key:16}" + "".join(f"{value:>30}" for value in values))


def shortened(value) -> str:
    """Returns a value of a report as the table shows it."""
    if isinstance(value, dict):
        parts = (f"{key} {'/'.join(map(str, part)) if isinstance(part, list) else part}"
                 for key, part in value.items() if part and key)
        return ", ".join(parts) or "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)[:16]


def play(
    kind: Kind, folder: pathlib.Path, play_once: Callable[[Kind, pathlib.Path], Meeting]
) -> bool:
    """Plays a meeting, again if the machine was too busy. Returns whether it was as it should be."""
    for number in range(1, TRIES + 1):
        meeting = play_once(kind, folder.with_name(f"{folder.name}-{number}"))
        print(f"{kind.name}:")
        print_table(meeting.reports)
        found = faults(kind, meeting.reports, meeting.killed)
        print("".join(f"  WRONG: {fault}\n" for fault in found) or "  as it should be", flush=True)
        pauses = [report.get("longest_pause_ms", 0) for user, report in meeting.reports.items()
                  if not meeting.sleeps(user)]
        if not found or max(pauses) < LONG_PAUSE_MS:
            return not found
        print(f"the machine was too busy: a program stood still for {max(pauses)} ms", flush=True)
    return False


def obstacle() -> str | None:
    """Returns why there can be no namespace here."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    missing = [tool for tool in ("ip", "nft") if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else None


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("library", "nucleus", "rust"):
        parser.add_argument(name, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("seconds", type=int, nargs="?", default=DEFAULT_S)
    parser.add_argument("--tabs", action="store_true")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    if given.seconds < LEAST_S:
        sys.exit(f"a meeting takes at least {LEAST_S} s")
    return given


def main() -> int:
    given = options()
    # So that the programs and the namespace are removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("stopped"))
    os.chdir(ROOT)
    passed = True
    # In memory if possible: the programs write in each frame, and must not wait for a busy disk.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        folder = pathlib.Path(directory)
        native = compile_programs(folder, given.library, str(given.rust))
        tabs = {user: list(TAB) for user in TABS} if given.tabs else {}

        def play_once(kind: Kind, meeting_folder: pathlib.Path) -> Meeting:
            with namespace() if kind.is_blocked else contextlib.nullcontext() as name:
                prefix = ["ip", "netns", "exec", name] if name else []
                commands = {**native, **tabs} if kind.has_tabs else native
                meeting = Meeting(kind, commands, meeting_folder, prefix)
                meeting.play(str(given.nucleus), given.library, given.seconds)
                return meeting

        for number, kind in enumerate(KINDS):
            if given.only not in kind.name or kind.has_sleeps and not given.tabs:
                continue
            reason = obstacle() if kind.is_blocked else None
            if reason:
                print(f"SKIPPED: {kind.name}: {reason}")
                continue
            passed &= play(kind, folder / f"meeting-{number}", play_once)
    print("the meetings passed" if passed else "the meetings have failed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
