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

import keys
import realtime
import session
from wire import Reader, Refused, fail

READERS = {
    "message_header": session.read_message_header,
    "hello": lambda data: session.read_plain(session.HELLO, data),
    "welcome": lambda data: session.read_plain(session.WELCOME, data),
    "refuse": lambda data: session.read_plain(session.REFUSE, data),
    "joined": lambda data: session.read_message(17, data),
    "leave": lambda data: session.read_message(18, data),
    "roster_update": lambda data: session.read_message(19, data),
    "event_up": lambda data: session.read_message(32, data),
    "event_ack": lambda data: session.read_message(34, data),
    "state_request": lambda data: session.read_message(48, data),
    "state_snapshot": lambda data: session.read_message(50, data),
    "body": lambda data: realtime.read_body("client", data),
    "keep_alive": lambda data: realtime.read_frame("client", realtime.KEEP_ALIVE, Reader(data)),
    "ack": lambda data: realtime.read_frame("server", realtime.ACK, Reader(data)),
    "clock_request": lambda data: realtime.read_frame("client", realtime.CLOCK, Reader(data)),
    "clock_reply": lambda data: realtime.read_frame("server", realtime.CLOCK, Reader(data)),
    "client_report": lambda data: realtime.read_frame("client", realtime.REPORT, Reader(data)),
    "server_report": lambda data: realtime.read_frame("server", realtime.REPORT, Reader(data)),
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


def main():
    checks = {"session.json": session.check, "realtime.json": realtime.check,
              "keys.json": keys.check, "refused.json": check_refused}
    for name, check in checks.items():
        path = Path(__file__).parent / name
        print(f"{name}: {check(json.loads(path.read_text()))} vectors agree")


if __name__ == "__main__":
    main()
