"""Events on the protocol's own channels: RPC (240) and typed events (241)."""

from wire import Reader, Refused, fail, require, same, uint

REQUEST, ANSWER = 1, 2
ANSWERED = 0
MAX_NAME, MAX_TIMEOUT, MAX_TEXT = 64, 60_000, 1_024
# The first three rows of the table of plain text, each range with its ends.
NOT_PLAIN = [
    (0x0000, 0x001F), (0x007F, 0x009F), (0x2028, 0x2029),
    (0x061C, 0x061C), (0x202A, 0x202E), (0x2066, 0x206F),
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180E, 0x180E),
    (0x200B, 0x200B), (0x2060, 0x2065), (0x3164, 0x3164), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE00FF), (0xE01F0, 0xE0FFF),
]


def read_name(r):
    data = r.bytes(r.uint(1))
    require(1 <= len(data) <= MAX_NAME, "no name of 1 to 64 bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused("not UTF-8") from None
    hidden = any(low <= ord(c) <= high for c in text for low, high in NOT_PLAIN)
    require(not hidden, "a character that is refused in plain text")
    return data.hex()


def write_name(name):
    data = bytes.fromhex(name)
    return uint(len(data), 1) + data


def read_rpc(data):
    r = Reader(data)
    kind, request = r.uint(1), r.uint(4)
    if kind == REQUEST:
        timeout_ms = r.uint(4)
        require(1 <= timeout_ms <= MAX_TIMEOUT, "the timeout is out of range")
        return {"request": request, "timeout_ms": timeout_ms, "method": read_name(r),
                "payload": r.rest().hex()}
    require(kind == ANSWER, "unknown kind")
    code, payload = r.uint(2), r.rest()
    return {"request": request, "code": code, "payload": payload.hex(), "text": text_of(code, payload)}


def text_of(code, payload):
    if code == ANSWERED:
        return None
    return payload[:MAX_TEXT].decode(errors="replace").encode().hex()


def write_request(case):
    head = uint(REQUEST, 1) + uint(case["request"], 4) + uint(case["timeout_ms"], 4)
    return head + write_name(case["method"]) + bytes.fromhex(case["payload"])


def write_answer(case):
    head = uint(ANSWER, 1) + uint(case["request"], 4) + uint(case["code"], 2)
    return head + bytes.fromhex(case["payload"])


def read_typed_event(data):
    r = Reader(data)
    return {"type": read_name(r), "data": r.rest().hex()}


def write_typed_event(case):
    return write_name(case["type"]) + bytes.fromhex(case["data"])


READERS = {"rpc": read_rpc, "typed_event": read_typed_event}
LISTS = {"requests": (read_rpc, write_request), "answers": (read_rpc, write_answer),
         "typed_events": (read_typed_event, write_typed_event)}


def check(file):
    count = 0
    for kind, (read, write) in LISTS.items():
        for case in file[kind]:
            fields = {key: value for key, value in case.items() if key not in ("name", "hex")}
            same(f"{case['name']}, read", read(bytes.fromhex(case["hex"])), fields)
            same(f"{case['name']}, written", write(case).hex(), case["hex"])
            count += 1
    for case in file["refused"]:
        try:
            READERS[case["what"]](bytes.fromhex(case["hex"]))
        except Refused:
            count += 1
            continue
        fail(f"{case['what']}: {case['why']}: was taken")
    same("the lists", sorted(file), sorted([*LISTS, "refused"]))
    return count
