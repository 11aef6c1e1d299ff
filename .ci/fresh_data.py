"""Checks the files of a fresh data directory with tools that backends and browsers use.

    python3 .ci/fresh_data.py DIR TOKEN

DIR is the directory, TOKEN a join token that `nucleus token` has just signed in it. Needs OpenSSL 3
and the Python package cryptography.

1. OpenSSL and Python read the key that signs tokens, and the key verifies the token.
2. The certificates are what browsers take by their hash: ECDSA on P-256, valid now or a week later,
   for less than 14 days.
3. The token's claim `pin` lists the hashes of the certificates.
"""

import base64
import datetime
import hashlib
import json
import pathlib
import subprocess
import sys

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

WEEK = datetime.timedelta(days=7)


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def check_token_key(directory: pathlib.Path, token: str) -> None:
    file = directory / "token-key.pem"
    subprocess.run(["openssl", "pkey", "-in", file, "-noout"], check=True)
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, ed25519.Ed25519PrivateKey), key
    signed, signature = token.rsplit(".", 1)
    key.public_key().verify(from_base64url(signature), signed.encode())


def check_certificate(file: pathlib.Path, at: datetime.datetime) -> str:
    """Returns the pin."""
    for command in (["x509", "-in", file, "-noout"], ["pkey", "-in", file, "-noout"]):
        subprocess.run(["openssl", *command], check=True)
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1", file
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    assert end - begin < 2 * WEEK, f"{file}: valid for {end - begin}"
    assert begin < at < end, f"{file}: not valid at {at}"
    der = certificate.public_bytes(serialization.Encoding.DER)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def main() -> int:
    directory, token = pathlib.Path(sys.argv[1]), sys.argv[2]
    check_token_key(directory, token)
    files = sorted(directory.glob("tls-*.pem"))
    assert len(files) == 2, files
    now = datetime.datetime.now(datetime.timezone.utc)
    pins = [check_certificate(file, now + week * WEEK) for week, file in enumerate(files)]
    claims = json.loads(from_base64url(token.split(".")[1]))
    assert claims["pin"] == pins, (claims["pin"], pins)
    print(f"{directory}: OpenSSL and Python read the keys, and browsers can pin the certificates")
    return 0


if __name__ == "__main__":
    sys.exit(main())
