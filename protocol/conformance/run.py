#!/usr/bin/env python3
"""Runs the dialogues of this folder against a client.

    protocol/conformance/conformance --client CMD [--only NAME] [--jobs N] [--stalls]
    protocol/conformance/conformance --self-test

CMD is the command line of an adapter, a program that uses the client under test and speaks the JSON
lines that README.md describes. Each dialogue starts its own. Prints a line for each dialogue. The exit code is 0 if all
dialogues passed or were skipped because the client lacks what they need, 1 if one failed, and 2 if
the command line is wrong. `python3 protocol/conformance/run.py -- ADAPTER ARGS...` does the same.

--self-test runs the client mini.py, which must pass, and then plants faults, each of which a
dialogue must find.

Needs Python 3.11 and the package aioquic.
"""

import argparse
import asyncio
import logging
import pathlib
import shlex
import shutil
import sys

HERE = pathlib.Path(__file__).parent

try:
    import self_test
    from runner import JOBS, dialogues, run_all
except ModuleNotFoundError as missing:
    sys.exit(f"The Python package {missing.name} is missing. {HERE}/README.md says how to install it.")


def main():
    parser = argparse.ArgumentParser(prog="conformance", description="Runs the dialogues against a client.")
    parser.add_argument("--client", metavar="CMD", help="command line of the client's adapter")
    parser.add_argument("--only", action="append", help="name of a dialogue; may be repeated")
    parser.add_argument("--jobs", type=int, default=JOBS, help="dialogues at the same time")
    parser.add_argument("--stalls", action="store_true",
                        help="let the adapter run for 30 ms in every 130 ms, as on a busy machine")
    parser.add_argument("--self-test", action="store_true", help="check that faults are found")
    parser.add_argument("adapter", nargs="*", help="the adapter and its arguments, behind --")
    options = parser.parse_args()
    # The library's own words about a connection say less than the runner's.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    if options.self_test:
        return asyncio.run(self_test.run_all())
    found = dialogues(options.only)
    try:
        adapter = shlex.split(options.client) if options.client else options.adapter
    except ValueError as error:
        parser.error(f"--client: {error}")
    if unknown := [name for name in options.only or [] if name not in found]:
        parser.error(f"there is no dialogue {unknown[0]}")
    if not adapter:
        parser.error("give the command line of an adapter with --client")
    if shutil.which(adapter[0]) is None:
        parser.error(f"there is no program {adapter[0]}, or it cannot be executed")
    verdicts = asyncio.run(run_all(found, adapter, options.jobs, options.stalls))
    count = lambda wanted: sum(verdict == wanted for verdict, _ in verdicts.values())
    print(f"{count('passed')} passed, {count('skipped')} skipped, {count('FAILED')} failed")
    return 1 if count("FAILED") else 0


if __name__ == "__main__":
    sys.exit(main())
