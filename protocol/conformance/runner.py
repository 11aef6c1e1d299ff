"""Plays dialogues against a client, some at a time."""

import asyncio
import json
import pathlib
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


async def play(dialogue, command, certificate, stalls=False):
    """Plays a dialogue. With `stalls`, the adapter stands still again and again. Returns the verdict and its details."""
    player = Player(dialogue, certificate, stalls)
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


async def run_all(found, command, jobs, stalls=False, show=print):
    """Plays dialogues, some at a time. Returns the verdicts by name."""
    slots, certificate = asyncio.Semaphore(jobs), make_certificate()
    verdicts = {}

    async def one(name, dialogue):
        async with slots:
            start = time.monotonic()
            verdict, details = await play(dialogue, command, certificate, stalls)
            verdicts[name] = verdict, details
            took = f"{time.monotonic() - start:.1f} s"
            details = f": {details}" if details else ""
            show(f"{verdict:7} {name} ({took}){details}", flush=True)

    await asyncio.gather(*(one(name, dialogue) for name, dialogue in found.items()))
    return verdicts
