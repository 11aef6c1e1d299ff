"""Checks the page of metrics of a running server, and what is built on it.

    python3 .ci/metrics.py NUCLEUS [--promtool PROGRAM] [--loadgen PROGRAM --rooms N]

NUCLEUS is the server's program. Starts a server of its own and checks:

1. promtool finds no fault in the page, in the alarms and in their tests. Without promtool this is left out.
2. Every metric that the dashboard, the alarms in monitoring/ and the documents name is on the page. Every
   alarm has a test and a row in docs/OPERATIONS.md, and so has every reason of a drop.
3. A scrape takes at most 10 ms (the median) and has at most 1,500 series, with labels of the allowed names.
4. With --rooms, after so many rooms have come and gone the page has the same series as before.
"""

import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

MAX_SERIES = 1_500
MAX_SCRAPE_S = 0.010
SCRAPES = 200
START_S = 20
# Headsets of one run of the load generator, each in a room of its own.
ROOMS_A_RUN = 500
LABELS = {"shard", "code", "reason", "outcome", "plane", "le", "version"}
MONITORING = pathlib.Path("monitoring")
DASHBOARD = MONITORING / "dashboard.json"
ALERTS = MONITORING / "alerts.yml"
ALERT_TESTS = MONITORING / "alerts.test.yml"
OPERATIONS = pathlib.Path("docs/OPERATIONS.md")
METRIC = re.compile(r"\b(?:nucleus|process)_[a-z0-9_]+")
# Other names of a document may be crates.
METRIC_IN_PROSE = re.compile(r"\bnucleus_(?:realtime_|sessions?_)[a-z0-9_]+|\b(?:nucleus|process)_[a-z0-9_]+_(?:total|seconds|bytes)\b")
SERIES = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? \S+$")


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def start(nucleus: str, data: pathlib.Path, log) -> tuple[subprocess.Popen, str, str]:
    """Starts a server. Returns it with its addresses of HTTP and of sessions."""
    any_port = "127.0.0.1:0"
    command = [nucleus, "--session", any_port, "--realtime", any_port, "--http", any_port,
               "--data-dir", str(data), "--log-format", "json"]
    server = subprocess.Popen(command, stderr=log)
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        for line in pathlib.Path(log.name).read_text(encoding="utf-8").splitlines():
            entry = json.loads(line) if line.startswith("{") else {}
            if entry.get("message") == "ready":
                return server, f"http://{entry['http']}", entry["session"]
        time.sleep(0.05)
    server.kill()
    sys.exit(f"the server did not start:\n{pathlib.Path(log.name).read_text(encoding='utf-8')}")


def series_of(page: str) -> list[tuple[str, str]]:
    """Returns the name and the labels of each series of a page."""
    found = []
    for line in page.splitlines():
        if not line.startswith("#"):
            match = SERIES.match(line)
            assert match, f"not a series: {line}"
            found.append((match[1], match[2] or ""))
    return found


def names_in(text: str) -> set[str]:
    return set(METRIC.findall(text))


def check_page(page: str) -> list[str]:
    """Returns what is wrong with the series of a page."""
    series = series_of(page)
    print(f"{len(series)} series")
    faults = []
    if len(series) > MAX_SERIES:
        faults.append(f"{len(series)} series, over {MAX_SERIES}")
    if len(set(series)) != len(series):
        faults.append("a series is on the page twice")
    labels = {label for _, text in series for label in re.findall(r"(\w+)=", text)}
    faults += [f"the label {label} is not allowed" for label in sorted(labels - LABELS)]
    return faults


def check_users(page: str) -> list[str]:
    """Returns the faults of the dashboard and of the alarms."""
    known = {name for name, _ in series_of(page)}
    texts = {path: path.read_text(encoding="utf-8") for path in (DASHBOARD, ALERTS, ALERT_TESTS, OPERATIONS)}
    panels = json.loads(texts[DASHBOARD])["panels"]
    texts[DASHBOARD] = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    faults = []
    for path in (DASHBOARD, ALERTS, ALERT_TESTS):
        missing = sorted(names_in(texts[path]) - known)
        faults += [f"{path}: the page has no {name}" for name in missing]
    metrics = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in known}
    for path in (*pathlib.Path("docs").glob("**/*.md"), pathlib.Path("README.md")):
        named = set(METRIC_IN_PROSE.findall(path.read_text(encoding="utf-8")))
        missing = sorted(named - known - metrics)
        faults += [f"{path}: the page has no {name}" for name in missing]
    for alert in re.findall(r"- alert: (\w+)", texts[ALERTS]):
        if alert not in texts[ALERT_TESTS]:
            faults.append(f"{alert} has no test in {ALERT_TESTS}")
        if f"`{alert}`" not in texts[OPERATIONS]:
            faults.append(f"{alert} is not in {OPERATIONS}")
    reasons = {match[1] for _, text in series_of(page) if (match := re.match(r'reason="(\w+)"', text))}
    faults += [f"{OPERATIONS}: the reason {reason} is missing" for reason in sorted(reasons)
               if f"`{reason}`" not in texts[OPERATIONS]]
    return faults


def check_time(url: str) -> list[str]:
    taken = []
    for _ in range(SCRAPES):
        begin = time.perf_counter()
        fetch(url)
        taken.append(time.perf_counter() - begin)
    median, worst = statistics.median(taken), sorted(taken)[SCRAPES * 99 // 100]
    print(f"a scrape takes {median * 1e3:.2f} ms, p99 {worst * 1e3:.2f} ms")
    return [f"a scrape takes {median * 1e3:.1f} ms"] if median > MAX_SCRAPE_S else []


def check_promtool(promtool: str, page: str) -> list[str]:
    faults = []
    for arguments, text in (
        (["check", "metrics"], page),
        (["check", "rules", str(ALERTS)], None),
        (["test", "rules", str(ALERT_TESTS)], None),
    ):
        done = subprocess.run([promtool, *arguments], input=text, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            faults.append(f"promtool {' '.join(arguments)}:\n{done.stdout}")
    return faults


def open_rooms(loadgen: str, session: str, data: pathlib.Path, rooms: int) -> None:
    """Lets so many rooms begin and end."""
    done = 0
    while done < rooms:
        count = min(ROOMS_A_RUN, rooms - done)
        subprocess.run(
            [loadgen, "run", "--target", session, "--data-dir", str(data), "--headsets", str(count),
             "--room-size", "1", "--profile", "idle", "--ramp", "2s", "--duration", "1s",
             # Each run names its rooms by the seed.
             "--seed", str(done + 1), "--allow-invalid"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        done += count


def value(page: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", page, re.M)
    assert found, f"the page has no {series}"
    return float(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nucleus")
    parser.add_argument("--promtool", default=shutil.which("promtool"))
    parser.add_argument("--loadgen")
    parser.add_argument("--rooms", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data = pathlib.Path(directory) / "data"
        with open(pathlib.Path(directory) / "log", "w", encoding="utf-8") as log:
            server, http, session = start(options.nucleus, data, log)
            try:
                url = f"{http}/metrics"
                page = fetch(url)
                faults = check_page(page) + check_users(page)
                if options.promtool:
                    faults += check_promtool(options.promtool, page)
                else:
                    print("SKIPPED: promtool is not installed")
                if options.rooms:
                    open_rooms(options.loadgen, session, data, options.rooms)
                    after = fetch(url)
                    joins = value(after, 'nucleus_session_joins_total{outcome="joined"}')
                    print(f"after {joins:.0f} joins: {len(series_of(after))} series")
                    if joins < options.rooms:
                        faults.append(f"only {joins:.0f} joins")
                    if series_of(after) != series_of(page):
                        faults.append("rooms have left series behind")
                faults += check_time(url)
            finally:
                server.terminate()
                server.wait()
    print("\n".join(faults) or "the metrics are well")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
