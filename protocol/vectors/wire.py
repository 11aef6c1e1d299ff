"""Helpers of both planes: little-endian bytes, and failing a check."""

import sys


class Refused(Exception):
    """The bytes are malformed or not authentic."""


def require(condition, why):
    if not condition:
        raise Refused(why)


class Reader:
    """A cursor over bytes, little-endian."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def bytes(self, count):
        require(self.at + count <= len(self.data), "ends too soon")
        self.at += count
        return self.data[self.at - count : self.at]

    def uint(self, size):
        return int.from_bytes(self.bytes(size), "little")

    def int(self, size):
        return int.from_bytes(self.bytes(size), "little", signed=True)

    def string(self):
        return self.bytes(self.uint(2)).hex()

    def rest(self):
        return self.bytes(len(self.data) - self.at)


def uint(value, size):
    return value.to_bytes(size, "little")


def string(text):
    data = bytes.fromhex(text)
    return uint(len(data), 2) + data


def fail(text):
    sys.exit(f"check.py: {text}")


def same(name, found, expected):
    if found != expected:
        fail(f"{name}:\n  found    {found}\n  expected {expected}")
