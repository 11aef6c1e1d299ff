#!/usr/bin/env python3
"""The network rig: a real server and real clients in networks that misbehave.

Every case has its own network namespaces and nftables rules, so that cases run side by side and the
machine's own network does not change. Needs root, iproute2, nftables, conntrack and setpriv.
Exit codes: 0: all figures are within their limits. 1: some are not. 2: the command line is wrong.
3: the rig could not run.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import signal
import sys

sys.dont_write_bytecode = True

from rig import cases, net, programs  # noqa: E402  (the line above must come first)

TOOLS = {
    "ip": "iproute2", "nft": "nftables", "conntrack": "conntrack", "sysctl": "procps",
    "setpriv": "util-linux",
}
SIDE_BY_SIDE = 6
USAGE, CANNOT_RUN = 2, 3


def main():
    """Runs the cases of the command line and prints the results."""
    options = arguments()
    if options.list:
        for name in cases.CASES:
            print(f"{name:15} {cases.description(name)}")
        return 0
    binaries = options.bin.resolve()
    if reason := obstacle(binaries):
        print(f"rig.py cannot run: {reason}", file=sys.stderr)
        return CANNOT_RUN
    if options.reports:
        try:
            options.reports.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(f"rig.py cannot write reports to {options.reports}: {error}", file=sys.stderr)
            return CANNOT_RUN
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: programs.stopping.set())
    settings = cases.Settings(binaries, options.rebind_every, options.reports)
    names = [name for name in cases.CASES if not options.cases or name in options.cases]
    results = run_all(names, settings)
    if programs.stopping.is_set():
        print("rig.py was stopped and has removed its namespaces", file=sys.stderr)
        return CANNOT_RUN
    return summary(results, options.verbose)


def arguments():
    """Parses the command line."""
    default = pathlib.Path(__file__).resolve().parent.parent / "target" / "release"
    parser = argparse.ArgumentParser(prog="rig.py", description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, default=default, metavar="DIR",
                        help="directory of nucleus and loadgen (default target/release)")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--rebind-every", type=float, default=20.0, metavar="SECONDS",
                        help="time between two port changes of nat-rebind (default 20)")
    parser.add_argument("--reports", type=pathlib.Path, metavar="DIR",
                        help="write the load generator's reports there, as CASE.json")
    parser.add_argument("--verbose", action="store_true",
                        help="show every figure, including those that must be 0 and are")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="cases to run (default all)")
    options = parser.parse_args()
    if unknown := [name for name in options.cases if name not in cases.CASES]:
        parser.error(f"no such case: {', '.join(unknown)} (see --list)")
    if not 5 <= options.rebind_every <= 300:
        parser.error("--rebind-every takes 5 to 300 seconds")
    return options


def obstacle(binaries):
    """Returns why the rig cannot run here, or None if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [f"{tool} ({package})" for tool, package in TOOLS.items()
                   if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)}"
    for name in ("nucleus", "loadgen"):
        if not os.access(binaries / name, os.X_OK):
            return f"no {name} in {binaries}: cargo build --release, or pass the directory with --bin"
    try:
        net.sweep()
        probe = net.Net("probe")
        try:
            probe.nat(0)
        finally:
            probe.close()
    except net.RigError as error:
        return f"no namespaces, veth or nftables here: {error}"
    return None


def run_all(names, settings):
    """Runs the cases. Returns for each name (rows, notes), or the error that stopped the case."""
    results = {}
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        runs = {pool.submit(cases.run, name, settings): name for name in names}
        pending = set(runs)
        # Wait for short times only, so that a signal is noticed soon.
        while pending:
            done, pending = concurrent.futures.wait(
                pending, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED
            )
            if programs.stopping.is_set():
                for run in pending:
                    run.cancel()
                pending = {run for run in pending if not run.cancelled()}
            for run in done:
                results[runs[run]] = result(run)
                if not programs.stopping.is_set():
                    print(f"{runs[run]}: done", file=sys.stderr)
    return {name: results[name] for name in names if name in results}


def result(run):
    """Returns the result of a run. An error counts as a result, so that other cases still count."""
    error = run.exception() if not run.cancelled() else programs.Stopped()
    return error if error else run.result()


def summary(results, verbose):
    """Prints the table and the notes. Returns the exit code."""
    print(f"{'case':15} {'figure':40} {'measured':>13} {'limit':>11}  ok")
    failed, broken = [], []
    for name, outcome in results.items():
        if isinstance(outcome, Exception):
            broken.append(name)
            kind = "" if isinstance(outcome, net.RigError) else f"{type(outcome).__name__}: "
            print(f"{name:15} could not run: {kind}{outcome}")
            continue
        rows, notes = outcome
        for row in rows if verbose else shortened(rows):
            ok = {True: "yes", False: "NO", None: "-"}[row.ok]
            print(f"{name:15} {row.figure:40} {row.measured:>13} {row.limit:>11}  {ok}")
        for note in notes:
            print(f"{name:15} note: {note}")
        if any(row.ok is False for row in rows):
            failed.append(name)
    for verdict, names in (("failed", failed), ("could not run", broken)):
        if names:
            print(f"{verdict}: {', '.join(names)}", file=sys.stderr)
    if not failed and not broken:
        print(f"all {len(results)} cases hold")
    return 1 if failed else CANNOT_RUN if broken else 0


def shortened(rows):
    """Returns the rows, with a single row for all figures that must be 0 and are 0."""
    zeros = [row for row in rows if row.ok and row.limit == "= 0"]
    others = [row for row in rows if row not in zeros]
    figure = f"{len(zeros)} figures that must be 0"
    return [cases.judge(cases.Limit(figure, "=", 0), 0), *others] if zeros else others


if __name__ == "__main__":
    sys.exit(main())
