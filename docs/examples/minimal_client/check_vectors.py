"""Checks minimal_client.py against the test vectors of the protocol, as far as it reads or writes
them. `python3 minimal_client.py --check-vectors DIR` runs this check."""

import json
import math
import pathlib
import struct

import minimal_client as client

WRITTEN = {16: "Join", 18: "Leave", 32: "EventUp"}
READ = ("Welcome", "Refuse", "Joined", "RosterUpdate", "EventAck", "EventUp", "Leave")
FRAMES = {"keep_alive": 9, "ack": 13, "clock_reply": 7, "server_report": 8, "report_interval": 17}
# Cases of refused.json: what they are, and what reads them. Only the server's frames are read.
READERS = {
    "message_header": lambda data: client.read_header(client.CONTROL, data),
    "body": client.read_frames,
    "pose": client.read_pose,
}
for name in READ:
    what = name.replace("Update", "_update").replace("Ack", "_ack").replace("Up", "_up").lower()
    READERS[what] = lambda data, name=name: client.read_message(name, data)
for what, kind in FRAMES.items():
    READERS[what] = lambda data, kind=kind: client.read_frames(client.write_frame(kind, data))


def to_json(value):
    """Returns fields as the vectors write them: bytes in hexadecimal."""
    if isinstance(value, dict):
        return {key: to_json(field) for key, field in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def messages(cases):
    for case in cases:
        data, schema, fields = bytes.fromhex(case["hex"]), case["schema"], case["fields"]
        stream = client.EVENTS if schema == 33 else client.CONTROL
        if (stream, schema) in client.FROM_SERVER:
            name, _length = client.read_header(stream, data[:8])
            yield case["name"], to_json(client.read_message(name, data[8:])), fields
        elif schema in WRITTEN and not fields.get("expected") and not fields.get("peers"):
            flat = {**fields, **fields.get("options", {})}
            flat.pop("options", None)
            values = {
                key: value if isinstance(value, int) else bytes.fromhex(value or "")
                for key, value in flat.items()
            }
            yield case["name"], client.write_archive(schema, WRITTEN[schema], **values), data
        elif case["name"] == "hello without a realtime port":
            # The vector has a larger `newest`, and features.
            hello = client.write_hello(bytes.fromhex(fields["agent"]))
            yield case["name"], hello[10:-2], data[10:-3]


def bodies(cases):
    for case in cases:
        name, data = case["name"], bytes.fromhex(case["hex"])
        if case["from"] == "client" and any(frame["type"] in (7, 8) for frame in case["frames"]):
            continue
        frames = client.read_frames(data)
        yield name, [kind for kind, _ in frames], [frame["type"] for frame in case["frames"]]
        if "padding" not in name:
            yield name, b"".join(client.write_frame(*frame) for frame in frames), data
        for (kind, body), frame in zip(frames, case["frames"]):
            if kind in client.MESSAGES:
                names = ("flags", "peer", "channel", "key", "sequence", "time")
                head = client.MESSAGE.pack(*(frame[name] or 0 for name in names))
                yield name, head + bytes.fromhex(frame["payload"]), body


def poses(cases):
    for case in cases:
        data, head = bytes.fromhex(case["hex"]), case["head"]
        yield case["name"], client.write_pose(head["position"], head["rotation"])[1:], data[1:15]
        decoded = case["decoded"]["head"]
        decoded = decoded["position"], decoded["rotation"]
        for found, expected in zip(client.read_pose(data), decoded):
            yield case["name"], math.dist(found, expected) < 1e-3, True


def refused(cases):
    for case in cases:
        if case["what"] in READERS:
            try:
                READERS[case["what"]](bytes.fromhex(case["hex"]))
                yield case["why"], "taken", "refused"
            except (ValueError, struct.error):
                yield case["why"], "refused", "refused"


def check(directory):
    """Prints what differs. Returns the exit code."""
    files = {name: json.loads((pathlib.Path(directory) / f"{name}.json").read_text())
             for name in ("session", "realtime", "refused")}
    results = [
        *messages(files["session"]["messages"]),
        *bodies(files["realtime"]["bodies"]),
        *poses(files["realtime"]["poses"]),
        *refused(files["refused"]["cases"]),
    ]
    wrong = [result for result in results if result[1] != result[2]]
    for name, found, expected in wrong:
        print(f"{name}: {found} instead of {expected}")
    print(f"{len(results) - len(wrong)} of {len(results)} checks against the vectors pass")
    return 1 if wrong else 0
