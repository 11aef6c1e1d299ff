"""The realtime plane: datagram headers, frames and payloads."""

import math
import struct

from wire import Reader, require, same, uint

MESSAGES, CLOCK, REPORT = range(1, 5), 7, 8
MESSAGE_FIELDS = [("flags", 1), ("peer", 2), ("channel", 1), ("key", 2), ("sequence", 2), ("time", 2)]
CLOCK_REPLY = [("client_sent", 8), ("server_received", 8), ("server_sent", 8), ("epoch", 4)]
# Smallest body of other frames in bytes, by type and sender: path challenge, path response, send
# time, acknowledgement.
LEAST = {(10, "client"): 8, (10, "server"): 8, (11, "client"): 8, (11, "server"): 8, (12, "server"): 4,
         (13, "server"): 4}
KEEP_ALIVE, ACK = 9, 13
MAX_PAYLOAD = 1100


def read_length(r):
    low = r.uint(1)
    if low < 0x80:
        return low
    high = r.uint(1)
    require(0 < high < 0x80, "not the shortest form, or too long")
    return low & 0x7F | high << 7


def read_body(sender, body):
    r, frames = Reader(body), []
    while r.at < len(body):
        kind = r.uint(1)
        if kind == 0:
            break
        frames.append({"type": kind} | read_frame(sender, kind, Reader(r.bytes(read_length(r)))))
    return frames


def read_frame(sender, kind, r):
    if kind in MESSAGES:
        fields = {name: r.uint(size) for name, size in MESSAGE_FIELDS}
        payload = r.rest()
        require(len(payload) <= MAX_PAYLOAD, "payload too large")
        return fields | {"payload": payload.hex()}
    if kind == CLOCK:
        return {name: r.uint(size) for name, size in CLOCK_REPLY[: 1 if sender == "client" else 4]}
    if kind == REPORT:
        return read_report(sender, r)
    body = r.rest()
    require(kind != KEEP_ALIVE or len(body) not in (1, 2), "half a choice")
    require(len(body) >= LEAST.get((kind, sender), 0), "shorter than its fields")
    return {"body": body.hex()}


def read_report(sender, r):
    head = {"largest": r.uint(4), "received": r.uint(4)}
    if sender == "server":
        return head | {"kinds": [[r.uint(4) for _ in range(3)] for _ in MESSAGES]}
    delays = {"delay_min": r.int(4), "delay_mean": r.int(4)}
    return head | delays | {"congestion_marks": r.uint(4)}


def write_frame(sender, f):
    if f["type"] in MESSAGES:
        body = b"".join(uint(f[name], size) for name, size in MESSAGE_FIELDS)
        body += bytes.fromhex(f["payload"])
    elif f["type"] == CLOCK:
        body = b"".join(uint(f[name], size) for name, size in CLOCK_REPLY if name in f)
    elif f["type"] == REPORT:
        body = write_report(sender, f)
    else:
        body = bytes.fromhex(f["body"])
    short = len(body) < 0x80
    length = [len(body)] if short else [len(body) & 0x7F | 0x80, len(body) >> 7]
    return bytes([f["type"], *length]) + body


def write_report(sender, f):
    head = struct.pack("<II", f["largest"], f["received"])
    if sender == "server":
        return head + b"".join(struct.pack("<III", *counts) for counts in f["kinds"])
    return head + struct.pack("<iiI", f["delay_min"], f["delay_mean"], f["congestion_marks"])


def read_datagram_header(data):
    require(31 <= len(data) <= 1200, "implausible length")
    require(data[0] & 0b11111100 == 0b00001000, "another form")
    return data[0] & 3, data[1:9], int.from_bytes(data[9:13], "little")


def write_datagram_header(phase, connection_id, number):
    return bytes([0b00001000 | phase]) + connection_id + uint(number, 4)


ROOT_2 = math.sqrt(2)


def read_rotation(bits):
    return {"largest": bits & 3, "steps": [bits >> 2 + 11 * i & 0x7FF for i in range(3)]}


def write_rotation(rotation):
    return rotation["largest"] | sum(step << 2 + 11 * i for i, step in enumerate(rotation["steps"]))


def read_hand(r):
    bits = r.uint(9)
    axes = [bits >> 12 * i & 0xFFF for i in range(3)]
    return {"mm": [a - 0x1000 * (a >> 11) for a in axes], "rotation": read_rotation(bits >> 36)}


def write_hand(hand):
    bits = sum((mm & 0xFFF) << 12 * i for i, mm in enumerate(hand["mm"]))
    return uint(bits | write_rotation(hand["rotation"]) << 36, 9)


def read_pose(data):
    r = Reader(data)
    flags = r.uint(1)
    head = {"mm": [r.int(3) for _ in range(3)], "rotation": read_rotation(r.uint(5))}
    left, right = [read_hand(r) if flags & bit else None for bit in (1, 2)]
    return {"flags": flags, "head": head, "left": left, "right": right}, r.rest()


def write_pose(pose):
    head = b"".join(mm.to_bytes(3, "little", signed=True) for mm in pose["head"]["mm"])
    hands = b"".join(write_hand(pose[hand]) for hand in ("left", "right") if pose[hand])
    return bytes([pose["flags"]]) + head + uint(write_rotation(pose["head"]["rotation"]), 5) + hands


def quantise(metres, limit_mm):
    return round(max(-limit_mm, min(limit_mm, metres * 1000)))


def quantise_rotation(q):
    norm = math.sqrt(sum(c * c for c in q))
    unit = [c / norm for c in q] if norm > 1e-6 else [0, 0, 0, 1]
    largest = max(range(4), key=lambda i: (abs(unit[i]), -i))
    sign = math.copysign(1, unit[largest])
    others = [sign * c for i, c in enumerate(unit) if i != largest]
    return {"largest": largest, "steps": [round(c * ROOT_2 * 1023) + 1023 for c in others]}


def quantise_pose(case):
    head_mm = [quantise(m, 8_388_607) for m in case["head"]["position"]]
    head = {"mm": head_mm, "rotation": quantise_rotation(case["head"]["rotation"])}
    hands = {}
    for name in ("left", "right"):
        if hand := case[name]:
            axes = [quantise(m, 8_390_654) - h for m, h in zip(hand["position"], head_mm)]
            mm = [max(-2047, min(2047, axis)) for axis in axes]
            hands[name] = {"mm": mm, "rotation": quantise_rotation(hand["rotation"])}
    left, right = hands.get("left"), hands.get("right")
    return {"flags": bool(left) | bool(right) << 1, "head": head, "left": left, "right": right}


def metres(transform, origin=(0, 0, 0)):
    """Returns the position in metres and the rotation, as seven numbers."""
    largest = transform["rotation"]["largest"]
    q = [(step - 1023) / (1023 * ROOT_2) for step in transform["rotation"]["steps"]]
    q.insert(largest, math.sqrt(max(0, 1 - sum(c * c for c in q))))
    return [(mm + o) / 1000 for mm, o in zip(transform["mm"], origin)] + q


def check_decoded(case, pose):
    head_mm = pose["head"]["mm"]
    for name, origin in (("head", (0, 0, 0)), ("left", head_mm), ("right", head_mm)):
        if pose[name]:
            expected = case["decoded"][name]["position"] + case["decoded"][name]["rotation"]
            close = zip(expected, metres(pose[name], origin))
            # The file's numbers were computed in 32-bit floats.
            good = all(math.isclose(a, b, rel_tol=1e-6, abs_tol=2e-6) for a, b in close)
            same(case["name"], good, True)


def read_voice(data):
    r = Reader(data)
    level, flags = r.uint(1), r.uint(1)
    return {"level": level & 0x7F, "speaking": level >= 0x80, "flags": flags, "opus": r.rest().hex()}


def write_voice(v):
    return bytes([v["level"] | v["speaking"] << 7, v["flags"]]) + bytes.fromhex(v["opus"])


def check(file):
    for case in file["bodies"]:
        body, sender = bytes.fromhex(case["hex"]), case["from"]
        same(case["name"], read_body(sender, body), case["frames"])
        written = b"".join(write_frame(sender, frame) for frame in case["frames"])
        same(case["name"], body.startswith(written), True)
        same(case["name"], body[len(written) : len(written) + 1] in (b"", b"\0"), True)
    for case in file["headers"]:
        data = bytes.fromhex(case["hex"])
        fields = case["phase"], bytes.fromhex(case["connection_id"]), case["number"]
        same("header", read_datagram_header(data + bytes(18)), fields)
        same("header", write_datagram_header(*fields), data)
    for case in file["poses"]:
        pose, rest = read_pose(bytes.fromhex(case["hex"]))
        same(case["name"], (pose, rest.hex()), (case["quantised"], case["rest"]))
        same(case["name"], quantise_pose(case), pose)
        same(case["name"], write_pose(pose).hex() + case["rest"], case["hex"])
        check_decoded(case, pose)
    for case in file["voice"]:
        fields = {name: case[name] for name in ("level", "speaking", "flags", "opus")}
        same("voice", read_voice(bytes.fromhex(case["hex"])), fields)
        same("voice", write_voice(case).hex(), case["hex"])
    return sum(map(len, file.values()))
