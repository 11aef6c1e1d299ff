"""Measures the API and the headsets while strangers guess passwords of the dashboard.

    python3 .ci/sign_in_flood.py NUCLEUS LOADGEN [--headsets N] [--rounds R] [--seconds S] [--no-audit]

NUCLEUS and LOADGEN are release builds. Each round has two runs of a meeting, in turn first, both beside 50 requests
a second to the API: one while strangers try to sign in 50 times a second, and one without them. Every second attempt
is upon the email address of an account, the others are upon addresses of nobody; each comes from another address of
127.0.0.0/8, on a connection of its own with TLS. Meanwhile the account's owner signs in from an address from which
the owner has signed in before.

Prints the p99 of the API with and without strangers, the ratio of the p99 of poses as the median of the rounds, and
what became of the attempts. After the last round the server goes on until it has written failed attempts to the
audit, which takes five minutes; --no-audit leaves this out. Fails if the owner does not get in, if strangers get in,
if attempts are answered in another way, if the audit has no row of them or more than 8, or if the API or the poses
suffer more than the limits below allow.
"""

import argparse
import collections
import http.client
import json
import pathlib
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from api_under_load import Asker, free_port, local_key

ATTEMPTS_PER_S = 50
# A thread waits for each answer, which may take as long as eight passwords are verified.
STRANGERS = 25
MOST_API_P99_S = 0.050
MOST_RATIO = 1.1
# The audit is written every five minutes, 8 rows at most.
AUDIT_EVERY_S = 300
MOST_AUDIT_ROWS = 8
OWNER, PASSWORD = "ada@example.org", "a long sentence for a test"
OWNER_ADDRESS = "127.0.0.2"
# The owner tries again while others are served; a person would give up after this.
OWNER_PATIENCE_S = 20.0
OUTCOMES = {"wrong", "slow", "busy"}


def tls() -> ssl.SSLContext:
    # The certificate of development mode is signed by nobody.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def sign_in(port: int, context: ssl.SSLContext, address: str, email: str, password: str) -> str:
    """Tries to sign in. Returns why it failed, or "in"."""
    client = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context, source_address=(address, 0))
    try:
        body = urllib.parse.urlencode({"email": email, "password": password})
        client.request("POST", "/signin", body, {
            "Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html", "Sec-Fetch-Site": "same-origin",
        })
        answer = client.getresponse()
        answer.read()
        if answer.status != 303:
            return f"status {answer.status}"
        query = urllib.parse.urlsplit(answer.getheader("Location")).query
        return urllib.parse.parse_qs(query).get("failed", ["in"])[0]
    finally:
        client.close()


class Flood:
    """Strangers who try to sign in at a fixed rate until they are stopped."""

    def __init__(self, port: int):
        self.port, self.context = port, tls()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.number, self.begin = 0, time.monotonic()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(STRANGERS)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        while not self.stopped.is_set():
            with self.lock:
                number, self.number = self.number, self.number + 1
            due = self.begin + number / ATTEMPTS_PER_S
            if self.stopped.wait(max(0.0, due - time.monotonic())):
                return
            address = f"127.{1 + number // 62_500 % 200}.{number // 250 % 250}.{1 + number % 250}"
            email = OWNER if number % 2 else f"nobody{number}@example.org"
            try:
                outcome = sign_in(self.port, self.context, address, email, f"guess number {number}")
            except OSError as error:
                outcome = type(error).__name__
            with self.lock:
                self.outcomes[outcome] += 1

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


class Owner(threading.Thread):
    """Signs in again and again from the known address, and notes how long that took each time."""

    def __init__(self, port: int):
        super().__init__(daemon=True)
        self.port, self.context = port, tls()
        self.waits: list[float] = []
        self.refused: collections.Counter[str] = collections.Counter()
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            begin = time.monotonic()
            while (outcome := sign_in(self.port, self.context, OWNER_ADDRESS, OWNER, PASSWORD)) != "in":
                self.refused[outcome] += 1
                if self.stopped.wait(0.5):
                    return
            self.waits.append(time.monotonic() - begin)
            self.stopped.wait(2.0)


def make_owner(port: int, key: str) -> None:
    client = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=tls())
    body = json.dumps({"email": OWNER, "role": "super_admin", "password": PASSWORD})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    client.request("POST", "/api/v1/people", body, headers)
    answer = client.getresponse()
    if answer.status != 201:
        sys.exit(f"the account cannot be made: {answer.status} {answer.read()}")
    client.close()
    if (outcome := sign_in(port, tls(), OWNER_ADDRESS, OWNER, PASSWORD)) != "in":
        sys.exit(f"the owner cannot sign in before there are strangers: {outcome}")


def failed_rows(port: int, key: str) -> list[dict]:
    """Returns the rows of the audit about failed attempts."""
    client = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=tls())
    client.request("GET", "/api/v1/audit?limit=200", headers={"Authorization": f"Bearer {key}"})
    rows = json.loads(client.getresponse().read())["items"]
    client.close()
    return [row for row in rows if row["action"] == "person.sign_in_failed"]


def await_audit(port: int, key: str, started: float) -> list[dict]:
    end = started + AUDIT_EVERY_S + 15
    print(f"waiting {max(0, end - time.monotonic()):.0f} s at most for the audit", flush=True)
    while not (rows := failed_rows(port, key)) and time.monotonic() < end:
        time.sleep(2)
    return rows


class Run:
    """What a run of a meeting has measured."""

    def __init__(self):
        self.pose_p99_ms = 0.0
        self.api_s: list[float] = []
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.owner_waits: list[float] = []
        self.owner_refused: collections.Counter[str] = collections.Counter()
        self.audit: list[dict] | None = None


def meeting(options, has_flood: bool, wants_audit: bool) -> Run:
    run = Run()
    with tempfile.TemporaryDirectory() as directory:
        data, report = pathlib.Path(directory) / "data", pathlib.Path(directory) / "report.json"
        port, session, probes = free_port(), free_port(), free_port()
        config = pathlib.Path(directory) / "nucleus.toml"
        config.write_text(f'https = "127.0.0.1:{port}"\n', encoding="utf-8")
        with open(pathlib.Path(directory) / "log", "w+", encoding="utf-8") as log:
            started = time.monotonic()
            server = subprocess.Popen(
                [options.nucleus, "--config", str(config), "--session", f"127.0.0.1:{session}", "--realtime",
                 "127.0.0.1:0", "--http", f"127.0.0.1:{probes}", "--shards", "1", "--data-dir", str(data)],
                stderr=log)
            try:
                key = local_key(server, data)
                make_owner(port, key)
                generator = subprocess.Popen(
                    [options.loadgen, "run", "--target", f"127.0.0.1:{session}", "--data-dir", str(data),
                     "--http", f"127.0.0.1:{probes}", "--headsets", str(options.headsets), "--room-size", "10",
                     "--pose-hz", str(options.pose_hz), "--ramp", "5s", "--duration", f"{options.seconds}s",
                     "--json", str(report)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                asker, owner = Asker(port, key), Owner(port)
                # The measured time of the generator begins 2 s after the last join.
                time.sleep(7)
                asker.start()
                flood = Flood(port) if has_flood else None
                if has_flood:
                    owner.start()
                time.sleep(options.seconds - 1)
                asker.stopped.set()
                asker.join()
                if flood:
                    flood.stop()
                    await_owner(owner)
                    run.outcomes = flood.outcomes
                    run.owner_waits, run.owner_refused = owner.waits, owner.refused
                if (code := generator.wait()):
                    why = json.loads(report.read_text(encoding="utf-8")).get("invalid_reasons") if report.exists() else ""
                    sys.exit(f"the load generator ended with {code}: {why}")
                if asker.failed:
                    sys.exit(f"{len(asker.failed)} requests failed: {asker.failed[:3]}")
                if wants_audit:
                    run.audit = await_audit(port, key, started)
            finally:
                server.kill()
                server.wait()
        run.api_s = asker.times
        figures = json.loads(report.read_text(encoding="utf-8"))
        run.pose_p99_ms = figures["channels"]["pose"]["latency_ms"]["p99"]
    return run


def await_owner(owner: Owner) -> None:
    end = time.monotonic() + OWNER_PATIENCE_S
    while not owner.waits and time.monotonic() < end:
        time.sleep(0.1)
    owner.stopped.set()
    owner.join()


def p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


def faults_of(run: Run, seconds: int) -> list[str]:
    """Returns what is wrong with a run with strangers."""
    faults = []
    tried = sum(run.outcomes.values())
    if tried < 0.8 * ATTEMPTS_PER_S * (seconds - 1):
        faults.append(f"only {tried} attempts were answered")
    if others := {outcome: count for outcome, count in run.outcomes.items() if outcome not in OUTCOMES}:
        faults.append(f"attempts ended otherwise: {others}")
    if not run.outcomes["slow"]:
        faults.append("nobody was slowed")
    if not run.owner_waits:
        faults.append(f"the owner did not get in: {dict(run.owner_refused)}")
    if run.owner_refused["slow"] or run.owner_refused["wrong"]:
        faults.append(f"strangers slowed the owner: {dict(run.owner_refused)}")
    if run.audit is not None and not 1 <= len(run.audit) <= MOST_AUDIT_ROWS:
        faults.append(f"the audit has {len(run.audit)} rows of failed attempts")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("nucleus")
    parser.add_argument("loadgen")
    parser.add_argument("--headsets", type=int, default=1_000)
    parser.add_argument("--pose-hz", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="of each run, at least 5")
    parser.add_argument("--no-audit", action="store_true")
    options = parser.parse_args()
    ratios, with_api, without_api, faults = [], [], [], []
    for number in range(options.rounds):
        is_last = number + 1 == options.rounds
        order = [True, False] if number % 2 else [False, True]
        runs = {flood: meeting(options, flood, flood and is_last and not options.no_audit) for flood in order}
        flooded, quiet = runs[True], runs[False]
        with_api += flooded.api_s
        without_api += quiet.api_s
        ratios.append(flooded.pose_p99_ms / quiet.pose_p99_ms)
        faults += faults_of(flooded, options.seconds)
        waits = ", ".join(f"{wait:.2f}" for wait in flooded.owner_waits)
        print(f"round {number + 1}: pose p99 {quiet.pose_p99_ms:.1f} ms without, {flooded.pose_p99_ms:.1f} ms with "
              f"strangers, ratio {ratios[-1]:.2f}; attempts: {dict(flooded.outcomes)}; the owner got in after "
              f"{waits or 'never'} s, refused before: {dict(flooded.owner_refused)}", flush=True)
        if flooded.audit is not None:
            print(f"the audit has {len(flooded.audit)} rows: {[row['detail'] for row in flooded.audit]}")
    ratio, most = statistics.median(ratios), p99(with_api)
    print(f"API p99 {p99(without_api) * 1e3:.1f} ms without, {most * 1e3:.1f} ms with strangers; "
          f"pose p99 {ratio:.2f} x (median of {options.rounds})")
    if most > MOST_API_P99_S:
        faults.append(f"the API's p99 exceeds {MOST_API_P99_S * 1e3:.0f} ms")
    if ratio > MOST_RATIO:
        faults.append(f"poses are more than {MOST_RATIO} x later")
    print("\n".join(faults) or "strangers harm nobody")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
