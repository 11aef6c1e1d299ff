"""The self-test of the runner: a right client passes, and every planted fault is found."""

import asyncio
import copy
import pathlib
import sys

import runner
from server import make_certificate

MINI = [sys.executable, str(pathlib.Path(__file__).resolve().parent / "mini.py")]
# The dialogue that finds each fault of mini.py, and a part of what the runner says.
FAULTS = {
    "early": ("join", "between Join and Joined"),
    "no-hold": ("events", "sees nothing of it"),
    "reserved": ("events", "of the protocol"),
    "second-stream": ("events", "second events stream"),
    "drops": ("leave", "expected leave"),
    "returns": ("no_return", "opened a connection, and must not"),
    "strict-settings": ("settings", "sees joined"),
    "any-size": ("settings", "expected nothing"),
    "keeps-stream": ("skew_new", "STOP_SENDING"),
    "no-ping": ("keep_alive", "sent nothing for"),
    "rpc-to-others": ("rpc", "not to one other peer"),
    "rpc-any-answer": ("rpc", "expected 'yours'"),
    "rpc-no-timeout": ("rpc", "the result of the call slow"),
    "rpc-stays": ("rpc", "the result of the call to_leaver"),
    "rpc-answers-twice": ("rpc_callee", "the call again returned"),
    "rpc-late": ("rpc_callee", "the call late returned"),
    "rpc-strict": ("rpc_callee", "sees event"),
    "rpc-never-busy": ("rpc_busy", "expected event_up"),
    "typed-any": ("typed_events", "no name of 1 to 64 bytes"),
    "any-pin": ("pin", "sent a message to a server"),
    "babbles": ("join", "the adapter wrote"),
    "dies": ("join", "the adapter has ended"),
}
# The dialogue in which every expectation is changed, one at a time.
CHANGED = "presence"
COMPARED = ("expect", "sees", "returned")
# Dialogues at the same time.
RUNS = 8


def other(value):
    """Returns a value of the same type that is not equal."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value[:-1], other(value[-1])] if value else [0]
    if isinstance(value, dict):
        name = sorted(value)[0]
        return value | {name: other(value[name])}
    return f"{value}x"


def changed_dialogues(dialogue):
    """Returns copies of a dialogue by name, each with one expected field changed, and with the text
    that the runner must print."""
    found = {}
    for i, step in enumerate(dialogue["steps"]):
        for name, value in step.get("fields", {}).items():
            if any(kind in step for kind in COMPARED):
                copied = copy.deepcopy(dialogue)
                copied["steps"][i]["fields"][name] = other(value)
                found[f"step {i + 1}, another {name}"] = copied, f"step {i + 1}, "
    return found


def shortened_dialogues(dialogue):
    """Returns copies of a dialogue, in each of which one step that takes an event is left out."""
    found = {}
    for i, step in enumerate(dialogue["steps"]):
        if step.get("expect") == "event_up" or step.get("sees") == "event":
            copied = copy.deepcopy(dialogue)
            del copied["steps"][i]
            # The step whose event is left out takes the next one, or the end finds the rest.
            found[f"without step {i + 1}"] = copied, ""
    return found


async def run_all():
    dialogues = runner.dialogues(None)
    certificate, slots = make_certificate(), asyncio.Semaphore(RUNS)
    faults = []

    async def must(name, dialogue, command, verdicts, text):
        async with slots:
            verdict, details = await runner.play(dialogue, command, certificate)
        if verdict not in verdicts or text not in details:
            faults.append(f"{name}: {verdict} {details}")
        return verdict

    fails = ("FAILED",)
    right = [must(n, d, MINI, ("passed", "skipped"), "") for n, d in dialogues.items()]
    wrong = [
        must(f"fault {fault}", dialogues[name], [*MINI, "--fault", fault], fails, text)
        for fault, (name, text) in FAULTS.items()
    ]
    changes = changed_dialogues(dialogues[CHANGED]) | shortened_dialogues(dialogues["leave"])
    wrong += [must(name, d, MINI, fails, text) for name, (d, text) in changes.items()]
    verdicts = await asyncio.gather(*right, *wrong)
    passed = verdicts[: len(right)].count("passed")
    print("\n".join(faults) or f"mini.py passed {passed} dialogues; {len(wrong)} faults were found")
    return 1 if faults or not passed else 0
