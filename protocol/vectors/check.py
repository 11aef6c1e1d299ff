#!/usr/bin/env python3
"""Decodes and encodes every test vector as docs/PROTOCOL.md describes it.

This check shares no code with the Rust crates. If both agree, the document is complete and correct.
Needs Python 3.11 and the package `cryptography`, which it uses for AES-GCM and ChaCha20-Poly1305
only.
"""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True

import application
import keys
import realtime
import session
from wire import Reader, Refused, fail

VECTORS = Path(__file__).parent / "v1"
FRAMES = {
    "clock_request": ("client", realtime.CLOCK),
    "clock_reply": ("server", realtime.CLOCK),
    "client_report": ("client", realtime.REPORT),
    "server_report": ("server", realtime.REPORT),
    "keep_alive": ("client", realtime.KEEP_ALIVE),
    "path_challenge": ("server", realtime.PATH_CHALLENGE),
    "path_response": ("client", realtime.PATH_RESPONSE),
    "send_time": ("server", realtime.SEND_TIME),
    "ack": ("server", realtime.ACK),
    "viewpoint": ("client", realtime.VIEWPOINT),
    "presence": ("server", realtime.PRESENCE),
    "report_interval": ("server", realtime.REPORT_INTERVAL),
}


def frame_reader(sender, kind):
    return lambda data: realtime.read_frame(sender, kind, Reader(data))


def message_reader(schema):
    return lambda data: session.read_message(schema, data)


# What a case of refused.json names: a message's body, a frame's body, or one of the rest.
READERS = {
    **{name: message_reader(schema) for schema, name in session.NAMED.items()},
    **{name: frame_reader(*frame) for name, frame in FRAMES.items()},
    "message_header": session.read_message_header,
    "body": lambda data: realtime.read_body("client", data),
    "server_body": lambda data: realtime.read_body("server", data),
    "datagram_header": realtime.read_datagram_header,
    "pose": realtime.read_pose,
    "voice": realtime.read_voice,
}


def check_refused(file):
    for case in file["cases"]:
        try:
            READERS[case["what"]](bytes.fromhex(case["hex"]))
        except Refused:
            continue
        fail(f"{case['what']}: {case['why']}: was taken")
    return len(file["cases"])


CHECKS = {"session": session.check, "realtime": realtime.check, "keys": keys.check,
          "application": application.check, "refused": check_refused}


def main():
    """Checks every file. A file's name up to the first hyphen says what is in it: a frozen file
    never changes, so later vectors are in files such as session-2.json."""
    checked = set()
    for path in sorted(VECTORS.glob("*.json")):
        kind = path.stem.partition("-")[0]
        if kind not in CHECKS:
            fail(f"{path.name}: nothing is known about such a file")
        print(f"{path.name}: {CHECKS[kind](json.loads(path.read_text()))} vectors agree")
        checked.add(kind)
    if checked != CHECKS.keys():
        fail(f"{VECTORS}: no vectors of {', '.join(sorted(CHECKS.keys() - checked))}")


if __name__ == "__main__":
    main()
