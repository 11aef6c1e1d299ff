"""Orders certificates from pebble, a certificate authority for tests, as an operator would from a public one.

    python3 .ci/acme.py NUCLEUS

NUCLEUS is the server's program. Needs pebble, pebble-challtestsrv and openssl in the path. Shows that a server
gets its certificate by itself, keeps it over a restart, orders another one for other names, goes on where the
authority has forgotten the account, tells why a validation failed and tries again at SIGHUP, and that an
account of the authority's owner can be named.
"""

import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

START_S = 20
# Each validation and each look at an order takes a second or two.
ISSUE_S = 60
NAME, OTHER, STRANGER = "nucleus.acme.test", "other.acme.test", "stranger.acme.test"
# Nothing listens there.
NOWHERE = "127.0.0.9"
KEY_ID, KEY = "kid-1", base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, seconds: float, text: str):
    """Waits until `what` returns something, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if (found := what()):
                return found
        time.sleep(0.1)
    raise SystemExit(f"not within {seconds} s: {text}")


@contextlib.contextmanager
def running(command: list[str], log: pathlib.Path, env: dict | None = None):
    """Runs a program until the end of the block, then stops it."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(env or {})})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class World:
    """The authority, its name server and the files of a server."""

    def __init__(self, nucleus: str, dir: pathlib.Path):
        self.nucleus, self.dir = nucleus, dir
        self.ports = {name: free_port() for name in
                      ("authority", "roots", "dns", "names", "https", "http", "session", "realtime")}
        self.log = dir / "nucleus.log"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", dir / "authority.key", "-out", dir / "authority.pem"],
            check=True, capture_output=True)
        (dir / "acme.key").write_text(f"{KEY}\n")

    def authority(self, external: bool = False):
        """Starts the authority. It remembers nothing of an earlier one."""
        settings = {
            "listenAddress": f"127.0.0.1:{self.ports['authority']}",
            "managementListenAddress": f"127.0.0.1:{self.ports['roots']}",
            "certificate": str(self.dir / "authority.pem"),
            "privateKey": str(self.dir / "authority.key"),
            "httpPort": free_port(),
            "tlsPort": self.ports["https"],
            "externalAccountBindingRequired": external,
        }
        if external:
            settings["externalAccountMACKeys"] = {KEY_ID: KEY}
        config = self.dir / "pebble.json"
        config.write_text(json.dumps({"pebble": settings}))
        command = ["pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{self.ports['dns']}"]
        # One nonce in twenty is refused by itself, which clients must bear: they try three times. Of one in five,
        # three in a row would be too many, once in some runs.
        env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5"}
        return running(command, self.dir / "pebble.log", env)

    def names(self):
        command = ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{self.ports['dns']}", "-http01", "",
                   "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
                   "-management", f"127.0.0.1:{self.ports['names']}"]
        return running(command, self.dir / "names.log")

    def set_address(self, name: str, address: str) -> None:
        for call, body in (("clear-a", {"host": name}), ("add-a", {"host": name, "addresses": [address]})):
            url = f"http://127.0.0.1:{self.ports['names']}/{call}"
            urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())).close()

    def server(self, domains: list[str], external: bool = False):
        config = self.dir / "nucleus.toml"
        account = f'external_account = {{ key_id = "{KEY_ID}", key_file = "{self.dir}/acme.key" }}\n'
        config.write_text(
            f'session = "127.0.0.1:{self.ports["session"]}"\nrealtime = "127.0.0.1:{self.ports["realtime"]}"\n'
            f'http = "127.0.0.1:{self.ports["http"]}"\nhttps = "127.0.0.1:{self.ports["https"]}"\n'
            f'data_dir = "{self.dir}/data"\n[acme]\ndomains = {json.dumps(domains)}\n'
            f'directory = "https://localhost:{self.ports["authority"]}/dir"\n'
            f'contact = "mailto:operator@acme.test"\nroot_file = "{self.dir}/authority.pem"\n'
            + (account if external else ""))
        return running([self.nucleus, "--config", str(config)], self.log)

    def roots(self) -> str:
        """The roots of the certificates that the authority issues now."""
        context = ssl.create_default_context(cafile=self.dir / "authority.pem")
        url = f"https://localhost:{self.ports['roots']}/roots/0"
        with urllib.request.urlopen(url, context=context) as answer:
            return answer.read().decode()

    def served(self, name: str, roots: str) -> str | None:
        """The serial number of the certificate of HTTPS, if the roots and the name are right."""
        context = ssl.create_default_context(cadata=roots)
        try:
            with socket.create_connection(("127.0.0.1", self.ports["https"]), 5) as plain:
                with context.wrap_socket(plain, server_hostname=name) as secure:
                    return secure.getpeercert()["serialNumber"]
        except ssl.SSLError:
            return None

    def validate(self, name: str | None) -> bool:
        """Whether a stranger who asks as an authority does gets a certificate."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        try:
            with socket.create_connection(("127.0.0.1", self.ports["https"]), 5) as plain:
                with context.wrap_socket(plain, server_hostname=name):
                    return True
        except (ssl.SSLError, ConnectionError):
            return False

    def told(self, text: str) -> bool:
        return text in self.log.read_text()


def main() -> None:
    nucleus = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as dir:
        world = World(nucleus, pathlib.Path(dir))
        try:
            check(world)
        except SystemExit:
            for log in sorted(world.dir.glob("*.log")):
                print(f"-- {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)
            raise


def check(world: World) -> None:
    with world.names():
        with world.authority():
            roots = until(world.roots, START_S, "the authority answers")
            with world.server([NAME]) as server:
                begin = time.monotonic()
                first = until(lambda: world.served(NAME, roots), ISSUE_S, "a certificate of the authority")
                print(f"a certificate after {time.monotonic() - begin:.1f} s")
                for name in (NAME, STRANGER, None):
                    assert not world.validate(name), f"{name}: nothing is validated now"
                for file in ("acme-account.json", "acme-certificate.pem"):
                    mode = (world.dir / "data" / file).stat().st_mode & 0o777
                    assert mode == 0o600, f"{file}: {mode:o}"
                server.send_signal(signal.SIGHUP)
                until(lambda: world.told("asks the certificate authority now"), START_S, "SIGHUP")
            with world.server([NAME]):
                until(lambda: world.served(NAME, roots), START_S, "the certificate after a restart")
                assert world.served(NAME, roots) == first, "a restart keeps the certificate"
            assert world.log.read_text().count("orders a certificate") == 1, "a restart orders nothing"
            print("kept over a restart")
            with world.server([NAME, OTHER]):
                until(lambda: world.served(OTHER, roots), ISSUE_S, "a certificate for both names")
                assert world.served(NAME, roots) != first
            print("ordered again for other names")
        with world.authority():
            roots = until(world.roots, START_S, "the authority answers")
            world.set_address(STRANGER, NOWHERE)
            with world.server([NAME, STRANGER]) as server:
                failed = f"no certificate for {NAME}, {STRANGER}: the authority could not validate: {STRANGER}"
                until(lambda: world.told(failed), ISSUE_S, "the reason of a failed validation")
                assert world.told("does not know the account any more"), "it was forgotten"
                world.set_address(STRANGER, "127.0.0.1")
                server.send_signal(signal.SIGHUP)
                until(lambda: world.served(STRANGER, roots), ISSUE_S, "a certificate after SIGHUP")
            print("a failed validation is told, and tried again at SIGHUP")
        with world.authority(external=True):
            roots = until(world.roots, START_S, "the authority answers")
            (world.dir / "data" / "acme-account.json").write_text("damaged")
            # It has this name, too, so it would go on to serve.
            (world.dir / "data" / "acme-certificate.pem").unlink()
            with world.server([NAME]):
                until(lambda: world.told("externalAccountRequired"), ISSUE_S, "the refusal")
            with world.server([NAME], external=True):
                until(lambda: world.served(NAME, roots), ISSUE_S, "a certificate with an external account")
            print("an external account is named")


if __name__ == "__main__":
    main()
