"""Runs the programs in docs/examples/tokens, and checks the tokens that they print.

    python3 .ci/token_examples.py NUCLEUS HEADSET

NUCLEUS is the server's program, HEADSET the example `headset` of the client. Needs OpenSSL 3 and
the Python package cryptography. A program whose interpreter is not installed is skipped.

1. Makes a key for each algorithm, with the commands of docs/examples/tokens/README.md.
2. Checks header, claims and signature of each token with Python's cryptography.
3. Joins a room of a server that is set to this key, with each token.
4. Checks that the server refuses each token with a changed claim.
"""

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

EXAMPLES = pathlib.Path("docs/examples/tokens")
# Quotes, backslash, slash and text outside ASCII: each program must write valid JSON.
USER = 'zoë "o\'k" \\ /日本'
TENANT, PRODUCT, ROOM = "acme", "atom", "training-7"
AUDIENCE = "nucleus.example.com"
# The tokens are valid for an hour. They were signed at most this many seconds ago.
SLACK_S = 60
TIMEOUT_S = 30
# Some environments have no locale. Then Mono would not read arguments as UTF-8.
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}


@dataclasses.dataclass
class Key:
    """A key of one algorithm: the file that signs, and the server's settings that belong to it."""

    name: str
    algorithm: str
    file: pathlib.Path
    settings: str
    audience: str = AUDIENCE


@dataclasses.dataclass
class Example:
    """A program that prints a token: its command, the tools that it needs, its algorithms."""

    command: list[str]
    tools: list[str]
    algorithms: tuple[str, ...] = ("EdDSA", "ES256", "HS256")


def run(command: list, **options) -> str:
    """Runs a command, and returns what it printed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True,
        encoding="utf-8", timeout=TIMEOUT_S, env=ENVIRONMENT, **options,
    )
    return done.stdout


def from_base64url(text: str) -> bytes:
    assert not set("+/=") & set(text), f"not base64url without padding: {text}"
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def make_keys(directory: pathlib.Path) -> list[Key]:
    """Makes the keys with the commands of the examples' README."""
    keys = []
    for algorithm, options in (
        ("EdDSA", ["ed25519"]),
        ("ES256", ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ):
        file, public = directory / f"{algorithm}.pem", directory / f"{algorithm}.pub.pem"
        run(["openssl", "genpkey", "-algorithm", *options, "-out", file])
        run(["openssl", "pkey", "-in", file, "-pubout", "-out", public])
        keys.append(Key(algorithm, algorithm, file, f'public_key_file = "{public}"'))
    secret = directory / "HS256.secret"
    secret.write_text(run(["openssl", "rand", "-base64", "48"]))
    keys.append(Key("HS256", "HS256", secret, f'secret_file = "{secret}"'))
    return keys


class Server:
    """A server on free ports, whose certificate the clients pin."""

    def __init__(
        self, nucleus: str, directory: pathlib.Path, key: Key | None, prefix: Sequence[str] = ()
    ):
        """`prefix` is a command that runs the server, for example in a network namespace."""
        directory.mkdir()
        self.data = directory / "data"
        config = directory / "nucleus.toml"
        tokens = ""
        if key:
            tokens = (
                f'[tokens]\nalgorithm = "{key.algorithm}"\n{key.settings}\n'
                f'audience = "{key.audience}"\n'
            )
        config.write_text(
            'session = "127.0.0.1:0"\nrealtime = "127.0.0.1:0"\nhttp = "off"\n'
            f'log_format = "json"\ndata_dir = "{self.data}"\n{tokens}'
        )
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, nucleus, "serve", "--config", config],
                stdin=subprocess.DEVNULL, stderr=log,
            )
        try:
            self.address = self.wait_until_ready()
        except BaseException:
            self.end()
            raise

    def wait_until_ready(self) -> str:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            # The last line may be unfinished.
            for line in self.log.read_text().split("\n")[:-1]:
                entry = json.loads(line)
                if entry["message"] == "ready":
                    self.realtime = entry["realtime"]
                    return entry["session"]
            time.sleep(0.05)
        sys.exit(f"the server is not ready:\n{self.log.read_text()}")

    def pins(self) -> list[str]:
        """Returns the arguments of the headset that pin the server's certificates."""
        words = []
        for file in self.data.glob("tls-*.pem"):
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
            words += ["--pin", certificate.fingerprint(hashes.SHA256()).hex()]
        return words

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def signature_holds(key: Key, signed: bytes, signature: bytes) -> bool:
    """Verifies a signature with the key of the file that signed. Raises if a public key refuses it."""
    data = key.file.read_bytes()
    if key.algorithm == "HS256":
        return hmac.compare_digest(hmac.digest(data.strip(), signed, hashlib.sha256), signature)
    public = serialization.load_pem_private_key(data, password=None).public_key()
    if key.algorithm == "ES256":
        assert len(signature) == 64, f"{len(signature)} bytes"
        numbers = [int.from_bytes(half, "big") for half in (signature[:32], signature[32:])]
        public.verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hashes.SHA256()))
    else:
        public.verify(signature, signed)
    return True


def check_token(key: Key, token: str, room: str | None) -> None:
    signed, signature = token.rsplit(".", 1)
    header, claims = (json.loads(from_base64url(part)) for part in signed.split("."))
    assert header == {"alg": key.algorithm, "typ": "JWT"}, header
    begin, end = claims.pop("iat"), claims.pop("exp")
    assert time.time() - SLACK_S < begin <= time.time() + 1, begin
    assert end == begin + 3600, (begin, end)
    expected = {"sub": USER, "tenant": TENANT, "product": PRODUCT, "aud": key.audience}
    assert claims == expected | ({"room": room} if room else {}), claims
    assert signature_holds(key, signed.encode(), from_base64url(signature)), "the signature is wrong"


def changed(token: str) -> str:
    """Returns the token with another user, under the same signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(from_base64url(payload)) | {"sub": "mallory"}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{payload}.{signature}"


def join(headset: str, server: Server, token: str) -> subprocess.CompletedProcess:
    """Joins the token's room for a moment."""
    command = [headset, "--token", token, "--server", server.address, "--duration", "100ms"]
    return subprocess.run(
        [*command, *server.pins()], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        encoding="utf-8", timeout=TIMEOUT_S,
    )


def check_example(name: str, example: Example, key: Key, server: Server, headset: str) -> None:
    for room in (None, ROOM):
        arguments = [key.file, key.audience, TENANT, PRODUCT, USER, *([room] if room else [])]
        token = run([*example.command, *arguments]).strip()
        check_token(key, token, room)
        joined = join(headset, server, token)
        # The display name of a token without the claim `name` is the user.
        assert joined.returncode == 0 and f"{USER}\n" in joined.stdout, joined
        refused = join(headset, server, changed(token))
        assert refused.returncode != 0 and "not signed with a key" in refused.stderr, refused
    print(f"{name}: the server takes its tokens ({key.name})")


def examples(directory: pathlib.Path) -> dict[str, Example]:
    program = str(directory / "Token.exe")
    return {
        "token.mjs": Example(["node", f"{EXAMPLES}/token.mjs"], ["node"]),
        "token.php": Example(["php", f"{EXAMPLES}/token.php"], ["php"]),
        "join_token.py": Example([sys.executable, f"{EXAMPLES}/join_token.py"], []),
        "Token.cs": Example(["mono", program], ["mcs", "mono"], ("HS256",)),
    }


def installed(directory: pathlib.Path) -> dict[str, Example]:
    """Returns the programs that can run here, compiled if they need it."""
    found = {}
    for name, example in examples(directory).items():
        missing = [tool for tool in example.tools if not shutil.which(tool)]
        if missing:
            print(f"SKIPPED: {name}: not installed: {', '.join(missing)}")
            continue
        if name == "Token.cs":
            reference = "-r:System.Runtime.Serialization.dll"
            run(["mcs", "-warnaserror", reference, f"-out:{directory}/Token.exe", EXAMPLES / name])
        found[name] = example
    return found


def main() -> int:
    nucleus, headset = sys.argv[1:]
    listed = {file.name for file in EXAMPLES.iterdir() if file.suffix != ".md"}
    assert listed == examples(EXAMPLES).keys(), f"this check does not know all of {listed}"
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = pathlib.Path(temporary)
        programs = installed(directory)
        servers = []
        for key in make_keys(directory):
            servers.append((key, Server(nucleus, directory / key.name, key)))
            stack.callback(servers[-1][1].end)
        # Without [tokens] the key and the audience are those of the data directory.
        server = Server(nucleus, directory / "development", None)
        stack.callback(server.end)
        audience = (server.data / "server-id").read_text().strip()
        file = server.data / "token-key.pem"
        servers.append((Key("EdDSA, development mode", "EdDSA", file, "", audience), server))
        for name, example in programs.items():
            for key, server in servers:
                if key.algorithm in example.algorithms:
                    check_example(name, example, key, server, headset)
    return 0


if __name__ == "__main__":
    sys.exit(main())
