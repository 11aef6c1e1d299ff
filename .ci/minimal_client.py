"""Runs the minimal client of docs/examples against a server, together with a headset.

    python3 .ci/minimal_client.py NUCLEUS HEADSET

NUCLEUS is the server's program, HEADSET the example `headset` of the Rust client. Needs the Python
package aioquic.

1. The client agrees with the test vectors.
2. The headset, ada and bob meet in a room. ada and bob are minimal clients. Each event arrives at
   the others. All poses of ada and bob arrive at the other one, and poses of everybody at everybody.
3. Everybody leaves with code 0.
"""

import contextlib
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from token_examples import ENVIRONMENT, TIMEOUT_S, Server, run

CLIENT = [sys.executable, "-B", "-u", "docs/examples/minimal_client/minimal_client.py"]
VECTORS = "protocol/vectors/v1"
ROOM = "lab"
# bob joins within 4 s after ada. So he is in the room when ada sends her event, after 4 s, and he
# leaves before her.
HEADSET_S, ADA_S, BOB_S = 12, 8, 4
POSES_PER_S = 10
# The headset sends 30 poses a second. It uses the realtime port, so some may be lost.
HEADSET_POSES_PER_S = 15


class Participant:
    """A program that has joined the room."""

    def __init__(self, stack: contextlib.ExitStack, log: pathlib.Path, command: list):
        self.log, self.name = log, log.name
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=ENVIRONMENT
            )
        stack.callback(self.end)
        deadline = time.monotonic() + TIMEOUT_S
        while not re.search("^(joined as|in the room:)", self.output(), re.MULTILINE):
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"{self.name} has not joined:\n{self.output()}")
            time.sleep(0.02)

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def poses(self, sender: str) -> list[int]:
        """Returns the sequence numbers of the poses from this sender, as a minimal client prints
        them."""
        found = re.findall(f"^pose ([0-9]+) of '{sender}'", self.output(), re.MULTILINE)
        return [int(sequence) for sequence in found]


def meet(nucleus: str, headset: str, directory: pathlib.Path) -> list[str]:
    """Returns what is wrong."""
    with contextlib.ExitStack() as stack:
        server = Server(nucleus, directory / "server", None)
        stack.callback(server.end)

        def join(program: list, user: str) -> Participant:
            words = ["--product", "atom", "--tenant", "ci", "--user", user, "--room", ROOM]
            token = run([nucleus, "token", *words, "--data-dir", server.data]).strip()
            words = ["--server", server.address, "--room", ROOM, "--token", token]
            return Participant(stack, directory / user, [*program, *words])

        hs = join([headset, "--duration", f"{HEADSET_S}s"], "hs")
        ada = join([*CLIENT, "--event", "from ada", "--seconds", str(ADA_S)], "ada")
        bob = join([*CLIENT, "--event", "from bob", "--seconds", str(BOB_S)], "bob")
        for participant in (bob, ada, hs):
            participant.process.wait(TIMEOUT_S)
        return faults(hs, ada, bob)


def faults(hs: Participant, ada: Participant, bob: Participant) -> list[str]:
    wrong = []

    def check(holds: bool, fault: str) -> None:
        if not holds:
            wrong.append(fault)

    for participant in (hs, ada, bob):
        code = participant.process.returncode
        check(code == 0, f"{participant.name} ended with exit code {code}")
    for client, other in ((ada, bob), (bob, ada)):
        name, output = client.name, client.output()
        check("\nended with code 0 left" in output, f"{name} did not leave with code 0")
        check(f"event from 'hs': 'welcome, {name}!'" in output, f"{name} was not welcomed")
        check(f"event from '{other.name}': 'from {other.name}'" in output,
              f"{name} missed the event of {other.name}")
        count = len(client.poses("hs"))
        check(count >= BOB_S * HEADSET_POSES_PER_S, f"{name} has only {count} poses of hs")
        output = hs.output()
        check(f" {name} says: from {name}" in output, f"hs missed the event of {name}")
        check(f" {name}: head at " in output, f"hs has no pose of {name}")
        check(f" {name} left (left)" in output, f"hs did not see how {name} left")
    poses = ada.poses("bob")
    check(poses == list(range(BOB_S * POSES_PER_S)), f"ada has these poses of bob: {poses}")
    # bob came later than ada, so he has a part of her poses.
    poses = bob.poses("ada")
    first, count = min(poses, default=0), len(poses)
    check(count >= BOB_S * POSES_PER_S - 2 and poses == list(range(first, first + count)),
          f"bob has these poses of ada: {poses}")
    return wrong


def main() -> int:
    nucleus, headset = sys.argv[1:]
    checked = subprocess.run([*CLIENT, "--check-vectors", VECTORS], check=False)
    if checked.returncode:
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        wrong = meet(nucleus, headset, directory)
        if not wrong:
            print("two minimal clients and a headset met: events and poses arrived, all left")
            return 0
        for name in ("hs", "ada", "bob"):
            print(f"== {name}\n{(directory / name).read_text(encoding='utf-8')}", file=sys.stderr)
    print("\n".join(wrong), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
