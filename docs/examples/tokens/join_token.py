"""Signs a join token. Needs Python 3.11 and the package `cryptography`.

    python3 join_token.py KEY_FILE AUDIENCE TENANT PRODUCT USER [ROOM]

KEY_FILE decides the algorithm: a PEM file with an Ed25519 key (EdDSA) or a P-256 key (ES256), or a
text file with a secret (HS256). The server must be set to the same algorithm. AUDIENCE is the
server's `tokens.audience`, or its server id if that setting is left out.

Do not call this file token.py: Python's standard library has a module of that name.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

# A client needs a valid token when it joins. An expired token ends no session.
VALID_S = 3600


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_key(file: str):
    """Returns the algorithm of a key file, and a function that signs with it."""
    data = Path(file).read_bytes()
    if not data.startswith(b"-----BEGIN"):
        secret = data.rstrip()  # The line end of the file is not part of the secret.
        return "HS256", lambda signed: hmac.digest(secret, signed, hashlib.sha256)
    key = serialization.load_pem_private_key(data, password=None)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA", key.sign
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return "ES256", lambda signed: sign_es256(key, signed)
    sys.exit(f"{file}: an Ed25519 key, a P-256 key or a secret is expected")


def sign_es256(key: ec.EllipticCurvePrivateKey, signed: bytes) -> bytes:
    # A JWT has the two numbers of the signature side by side, 32 bytes each. The library writes DER.
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign_token(key_file: str, claims: dict) -> str:
    alg, sign = read_key(key_file)
    parts = [{"alg": alg, "typ": "JWT"}, claims]
    signed = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{base64url(sign(signed.encode()))}"


def main() -> None:
    if len(sys.argv) < 6:
        sys.exit("usage: python3 join_token.py KEY_FILE AUDIENCE TENANT PRODUCT USER [ROOM]")
    key_file, audience, tenant, product, user, *room = sys.argv[1:]
    now = int(time.time())
    claims = {
        "sub": user,
        "tenant": tenant,
        "product": product,  # "atom" or "assist"
        "aud": audience,
        "iat": now,
        "exp": now + VALID_S,
        # Optional too: name (the display name), role, grants, nbf.
    }
    if room:
        # Without a room the token admits to every room of the tenant.
        claims["room"] = room[0]
    print(sign_token(key_file, claims))


if __name__ == "__main__":
    main()
