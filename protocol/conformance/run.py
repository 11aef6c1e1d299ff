#!/usr/bin/env python3
"""Runs the dialogues of this folder against a client.

    python3 protocol/conformance/run.py [--only NAME] [--jobs N] -- ADAPTER ARGS...
    python3 protocol/conformance/run.py --self-test

ADAPTER is a program that uses the client under test and speaks the JSON lines that README.md
describes. Each dialogue starts its own. Prints a line for each dialogue. The exit code is 0 if all
dialogues passed or were skipped because the client lacks what they need, 1 if one failed, and 2 if
the command line is wrong.

--self-test runs the client mini.py, which must pass, and then plants faults, each of which a
dialogue must find.

Needs Python 3.11 and the package aioquic.
"""

import argparse
import asyncio
import json
import logging
import pathlib
import sys
import time

from messages import Failure
from player import Player
from server import make_certificate

HERE = pathlib.Path(__file__).resolve().parent
# Dialogues that run at the same time. Most of their time is waiting.
JOBS = 8
# No dialogue takes longer, whatever its steps say, in seconds.
LONGEST_S = 120


def dialogues(only):
    """Returns all dialogues by name, the longest first."""
    files = sorted(HERE.glob("*.json"))
    found = {f.stem: json.loads(f.read_text(encoding="utf-8")) for f in files}
    if only:
        found = {name: found[name] for name in only if name in found}
    return dict(sorted(found.items(), key=lambda item: -item[1].get("seconds", 1)))


async def play(dialogue, command, certificate):
    """Plays a dialogue. Returns the verdict and its details."""
    player = Player(dialogue, certificate)
    try:
        lacking = await asyncio.wait_for(player.play(command), LONGEST_S)
        if lacking:
            return "skipped", "the client lacks " + ", ".join(sorted(lacking))
        return "passed", ""
    except Failure as failure:
        return "FAILED", str(failure)
    except asyncio.TimeoutError:
        return "FAILED", f"not done within {LONGEST_S} s"
    finally:
        await player.stop()


async def run_all(found, command, jobs, show=print):
    """Plays dialogues, some at a time. Returns the verdicts by name."""
    slots, certificate = asyncio.Semaphore(jobs), make_certificate()
    verdicts = {}

    async def one(name, dialogue):
        async with slots:
            start = time.monotonic()
            verdict, details = await play(dialogue, command, certificate)
            verdicts[name] = verdict, details
            took = f"{time.monotonic() - start:.1f} s"
            details = f": {details}" if details else ""
            show(f"{verdict:7} {name} ({took}){details}", flush=True)

    await asyncio.gather(*(one(name, dialogue) for name, dialogue in found.items()))
    return verdicts


def main():
    parser = argparse.ArgumentParser(description="Runs the dialogues against a client.")
    parser.add_argument("--only", action="append", help="name of a dialogue; may be repeated")
    parser.add_argument("--jobs", type=int, default=JOBS, help="dialogues at the same time")
    parser.add_argument("--self-test", action="store_true", help="check that faults are found")
    parser.add_argument("adapter", nargs="*", help="the adapter and its arguments, behind --")
    options = parser.parse_args()
    # The library's own words about a connection say less than the runner's.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    if options.self_test:
        import self_test

        return asyncio.run(self_test.run_all())
    found = dialogues(options.only)
    if not options.adapter or not found:
        parser.error("give an adapter behind --, and names of dialogues that exist")
    verdicts = asyncio.run(run_all(found, options.adapter, options.jobs))
    count = lambda wanted: sum(verdict == wanted for verdict, _ in verdicts.values())
    print(f"{count('passed')} passed, {count('skipped')} skipped, {count('FAILED')} failed")
    return 1 if count("FAILED") else 0


if __name__ == "__main__":
    sys.exit(main())
