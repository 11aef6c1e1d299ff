"""The key schedule and sealed datagrams."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from realtime import read_body, read_datagram_header, write_datagram_header
from wire import Refused, fail, require, same, uint

SUITES = {1: (16, AESGCM), 2: (32, ChaCha20Poly1305)}
DIRECTIONS = {"up": 0, "down": 1}
SENDERS = {"up": "client", "down": "server"}


def hmac_sha256(key, data):
    return hmac.digest(key, data, hashlib.sha256)


def expand(secret, info, length):
    """Computes HKDF-Expand with SHA-256, of at most one block."""
    return hmac_sha256(secret, info + b"\x01")[:length]


def derive_root(secret, exporter):
    """Computes HKDF-Extract with SHA-256."""
    return hmac_sha256(b"nucleus link v1", secret + exporter)


class Phase:
    """The secret, key and IV of one phase in one direction."""

    def __init__(self, suite, number, secret):
        self.suite, self.number, self.secret = suite, number, secret
        size, aead = SUITES[suite]
        self.key = expand(secret, b"nucleus key" + uint(number, 4), size)
        self.iv = expand(secret, b"nucleus iv" + uint(number, 4), 12)
        self.aead = aead(self.key)

    @classmethod
    def first(cls, root, link_id, direction, suite):
        info = b"nucleus secret" + uint(link_id, 4) + bytes([DIRECTIONS[direction], suite])
        return cls(suite, 0, expand(root, info, 32))

    def next(self):
        info = b"nucleus next" + uint(self.number, 4)
        return Phase(self.suite, self.number + 1, expand(self.secret, info, 32))

    def nonce(self, number):
        return self.iv[:8] + bytes(a ^ b for a, b in zip(self.iv[8:], uint(number, 4)))

    def seal(self, connection_id, number, body):
        header = write_datagram_header(self.number & 3, connection_id, number)
        return header + self.aead.encrypt(self.nonce(number), body, header)

    def open(self, connection_id, data):
        phase, named, number = read_datagram_header(data)
        require(named == connection_id, "another link")
        require(phase == self.number & 3, "another phase")
        try:
            return number, self.aead.decrypt(self.nonce(number), data[13:], data[:13])
        except InvalidTag as error:
            raise Refused("not authentic") from error


def open_with(phases, connection_id, data):
    """Opens a datagram with the phase that its header names."""
    claimed = [phase for phase in phases if phase.number & 3 == data[0] & 3]
    require(claimed, "unknown phase")
    return claimed[0].open(connection_id, data)


def check_link(link):
    exporter = bytes.fromhex(link["exporter"] or "")
    same(link["name"], link["flags"], int(bool(exporter)))
    root = derive_root(bytes.fromhex(link["secret"]), exporter)
    same(link["name"], root.hex(), link["root"])
    phases = {}
    for direction in DIRECTIONS:
        first = Phase.first(root, link["link_id"], direction, link["suite"])
        phases[direction] = [first, first.next()]
        found = [{"phase": phase.number, "secret": phase.secret.hex(), "key": phase.key.hex(),
                  "iv": phase.iv.hex()} for phase in phases[direction]]
        same(link["name"], found, link[direction])
    check_datagrams(link, phases)


def check_datagrams(link, phases):
    connection_id = bytes.fromhex(link["connection_id"])
    for case in link["datagrams"]:
        phase, data = phases[case["direction"]][case["phase"]], bytes.fromhex(case["hex"])
        body = bytes.fromhex(case["body"])
        same(link["name"], phase.open(connection_id, data), (case["number"], body))
        same(link["name"], phase.seal(connection_id, case["number"], body), data)
        read_body(SENDERS[case["direction"]], body)
    for case in link["refused"]:
        try:
            opened = open_with(phases[case["direction"]], connection_id, bytes.fromhex(case["hex"]))
            read_body(SENDERS[case["direction"]], opened[1])
        except Refused:
            continue
        fail(f"{link['name']}: {case['why']}: was taken")


def check(file):
    for link in file["links"]:
        check_link(link)
    return sum(len(link["datagrams"]) + len(link["refused"]) for link in file["links"])
