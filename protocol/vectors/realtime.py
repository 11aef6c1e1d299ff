"""The realtime plane: datagram headers, frames and payloads."""

import math

from wire import Reader, require, same, uint

MESSAGES, CLOCK, REPORT, KEEP_ALIVE = range(1, 5), 7, 8, 9
PATH_CHALLENGE, PATH_RESPONSE, SEND_TIME, ACK = range(10, 14)
VIEWPOINT, PRESENCE, REPORT_INTERVAL = 14, 15, 17
TIMED = 0x10
MESSAGE_FIELDS = [("flags", 1), ("peer", 2), ("channel", 1), ("key", 2), ("sequence", 2), ("time", 2)]
CLOCK_REQUEST = [("client_sent", 8)]
CLOCK_REPLY = [("client_sent", 8), ("server_received", 8), ("server_sent", 8), ("epoch", 4)]
CLIENT_REPORT = [("largest", 4), ("received", 4), ("bytes", 4), ("ce", 4), ("ect", 4)]
DELAY = [("arrival", 4), ("send_time", 4), ("delay_min", 4), ("spread", 2), ("hold", 2)]
SERVER_REPORT = [("largest", 4), ("received", 4), ("rate", 4), ("speakers", 1), ("quality", 1),
                 ("cause", 1), ("uplink_delay", 2)]
COUNTS = ["superseded", "suppressed", "dropped", "distant"]
POSITION = [("x", -3), ("y", -3), ("z", -3)]
PRESENT_PEER = [("slot", 2), ("x", -2), ("y", -2), ("z", -2), ("yaw", 1)]
# The frames that consist of numbers alone, by type and sender.
NUMBERS = {
    (CLOCK, "client"): CLOCK_REQUEST,
    (CLOCK, "server"): CLOCK_REPLY,
    (VIEWPOINT, "client"): [*POSITION, ("flags", 1)],
    (REPORT_INTERVAL, "server"): [("interval", 1)],
}
# Smallest body of other frames in bytes, by type and sender.
LEAST = {(PATH_CHALLENGE, "client"): 8, (PATH_CHALLENGE, "server"): 8, (PATH_RESPONSE, "client"): 8,
         (PATH_RESPONSE, "server"): 8, (SEND_TIME, "server"): 4, (ACK, "server"): 4}
MAX_PAYLOAD = 900


def read_fields(fields, r):
    """Reads numbers of the given sizes in bytes. A negative size is that of a signed number."""
    return {name: r.uint(size) if size > 0 else r.int(-size) for name, size in fields}


def write_fields(fields, f):
    return b"".join(f[name].to_bytes(abs(size), "little", signed=size < 0) for name, size in fields)


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
    """Reads the body of a frame. Ignores bytes behind the fields of a frame that is known."""
    if kind in MESSAGES:
        return read_message(r)
    if (kind, sender) in NUMBERS:
        return read_fields(NUMBERS[kind, sender], r)
    if kind == REPORT:
        return read_client_report(r) if sender == "client" else read_server_report(r)
    if (kind, sender) == (PRESENCE, "server"):
        scale, count = r.uint(1), r.uint(1)
        return {"scale": scale, "peers": [read_fields(PRESENT_PEER, r) for _ in range(count)]}
    body = r.rest()
    require(kind != KEEP_ALIVE or len(body) not in (1, 2), "half a choice")
    require(len(body) >= LEAST.get((kind, sender), 0), "shorter than its fields")
    return {"body": body.hex()}


def write_frame(sender, f):
    kind = f["type"]
    if kind in MESSAGES:
        body = write_message(f)
    elif (kind, sender) in NUMBERS:
        body = write_fields(NUMBERS[kind, sender], f)
    elif kind == REPORT:
        body = write_client_report(f) if sender == "client" else write_server_report(f)
    elif (kind, sender) == (PRESENCE, "server"):
        body = bytes([f["scale"], len(f["peers"])])
        body += b"".join(write_fields(PRESENT_PEER, peer) for peer in f["peers"])
    else:
        body = bytes.fromhex(f["body"])
    short = len(body) < 0x80
    length = [len(body)] if short else [len(body) & 0x7F | 0x80, len(body) >> 7]
    return bytes([kind, *length]) + body


def read_message(r):
    fields = read_fields(MESSAGE_FIELDS, r)
    if not fields["flags"] & TIMED:
        fields["time"] = None
    payload = r.rest()
    require(len(payload) <= MAX_PAYLOAD, "payload too large")
    return fields | {"payload": payload.hex()}


def write_message(f):
    same("TIMED", bool(f["flags"] & TIMED), f["time"] is not None)
    return write_fields(MESSAGE_FIELDS, f | {"time": f["time"] or 0}) + bytes.fromhex(f["payload"])


def read_client_report(r):
    report = read_fields(CLIENT_REPORT, r)
    has_delay = r.at < len(r.data)
    return report | {"delay": read_fields(DELAY, r) if has_delay else None}


def write_client_report(f):
    delay = write_fields(DELAY, f["delay"]) if f["delay"] else b""
    return write_fields(CLIENT_REPORT, f) + delay


def read_server_report(r):
    report = read_fields(SERVER_REPORT, r)
    kinds, counts = r.uint(1), r.uint(1)
    table = [[r.uint(4) for _ in range(counts)] for _ in range(kinds)]
    # The server may know more or fewer kinds and counts than this reader.
    table += [[]] * (len(MESSAGES) - kinds)
    rows = [row + [0] * len(COUNTS) for row in table[: len(MESSAGES)]]
    return report | {"kinds": [dict(zip(COUNTS, row)) for row in rows]}


def write_server_report(f):
    table = b"".join(uint(kind[name], 4) for kind in f["kinds"] for name in COUNTS)
    return write_fields(SERVER_REPORT, f) + bytes([len(f["kinds"]), len(COUNTS)]) + table


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


LEFT, RIGHT, EXTENSIONS = 1, 2, 4


def read_pose(data):
    """Returns the pose, its extensions, and what the application has added."""
    r = Reader(data)
    flags = r.uint(1)
    head = {"mm": [r.int(3) for _ in range(3)], "rotation": read_rotation(r.uint(5))}
    left, right = [read_hand(r) if flags & bit else None for bit in (LEFT, RIGHT)]
    pose = {"flags": flags, "head": head, "left": left, "right": right}
    return pose, read_extensions(r) if flags & EXTENSIONS else None, r.rest()


def read_extensions(r):
    extension = lambda: {"type": r.uint(1), "body": r.bytes(r.uint(1)).hex()}
    return [extension() for _ in range(r.uint(1))]


def write_extensions(extensions):
    bodies = [(e["type"], bytes.fromhex(e["body"])) for e in extensions]
    return uint(len(bodies), 1) + b"".join(bytes([kind, len(body)]) + body for kind, body in bodies)


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
    flags = bool(left) * LEFT | bool(right) * RIGHT | ("extensions" in case) * EXTENSIONS
    return {"flags": flags, "head": head, "left": left, "right": right}


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


def check_pose(case):
    pose, extensions, rest = read_pose(bytes.fromhex(case["hex"]))
    same(case["name"], (pose, rest.hex()), (case["quantised"], case["rest"]))
    same(case["name"], extensions, case.get("extensions"))
    same(case["name"], quantise_pose(case), pose)
    added = write_extensions(extensions) if extensions is not None else b""
    same(case["name"], (write_pose(pose) + added).hex() + case["rest"], case["hex"])
    check_decoded(case, pose)


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
        check_pose(case)
    for case in file["voice"]:
        fields = {name: case[name] for name in ("level", "speaking", "flags", "opus")}
        same("voice", read_voice(bytes.fromhex(case["hex"])), fields)
        same("voice", write_voice(case).hex(), case["hex"])
    return sum(map(len, file.values()))
