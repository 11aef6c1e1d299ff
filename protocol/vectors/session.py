"""The session plane: archives and messages."""

import struct

from wire import Reader, require, same, string, uint

# A type is one of: the size of a number in bytes, ("array", bytes), ("list", type), or a list of
# (name, type) fields. A byte string is a list of one-byte numbers; the vectors write it in
# hexadecimal.
STRING = ("list", 1)
ENDPOINT = [("ip", STRING), ("port", 2)]
PEER = [("peer", 4), ("slot", 2), ("presence", 1), ("user", STRING), ("name", STRING), ("role", STRING)]
GRANT = [("connection_id", ("array", 8)), ("spare", ("array", 8)), ("secret", ("array", 32)),
         ("suite", 1), ("flags", 1), ("endpoints", ("list", ENDPOINT))]
SETTING = [("key", 2), ("value", 8)]
VALUE = [("kind", 1), ("bits", 8), ("bytes", STRING)]
OPERATION = [("kind", 1), ("scope", 1), ("id", 8), ("mode", 1), ("peer", 4), ("key", STRING),
             ("value", VALUE), ("expected", 8)]
FIELD = [("key", STRING), ("value", VALUE), ("version", 8)]
ENTITY = [("scope", 1), ("id", 8), ("owner", 4), ("mode", 1), ("fields", ("list", FIELD))]
CHANGE = [("kind", 1), ("scope", 1), ("id", 8), ("peer", 4), ("mode", 1), ("key", STRING), ("value", VALUE)]
ROOM_FIELD = [("key", STRING), ("value", VALUE)]
OPTIONS = [("capacity", 2), ("flags", 1), ("empty_ttl_ms", 4), ("listed", ("list", STRING)),
           ("fields", ("list", ROOM_FIELD))]
FILTER = [("key", STRING), ("kind", 1), ("values", ("list", VALUE))]
ROOM = [("room", STRING), ("peers", 2), ("capacity", 2), ("flags", 1), ("fields", ("list", ROOM_FIELD))]
NAMES = ("list", STRING)
USER_INFO = [("user", STRING), ("name", STRING), ("role", STRING), ("status", 1)]
# The name and the root type of every archived message, by schema.
ARCHIVES = {
    16: ("join", [
        ("token", STRING), ("ticket", STRING), ("last_event", 8), ("last_bulk", 8), ("room", STRING),
        ("name", STRING), ("suites", STRING), ("largest_body", 2), ("mode", 1), ("version", STRING),
        ("password", STRING), ("expected", NAMES), ("options", OPTIONS), ("filters", ("list", FILTER))]),
    17: ("joined", [
        ("peer", 4), ("slot", 2), ("room_instance", ("array", 8)), ("server_instance", ("array", 8)),
        ("roster_version", 4), ("roster", ("list", PEER)), ("link_id", 4), ("grant", ("list", GRANT)),
        ("server_time", 8), ("clock_epoch", 4), ("settings", ("list", SETTING)), ("ticket", STRING),
        ("resumed", 1), ("events_taken", 4), ("bulk_taken", 4), ("room", STRING), ("entries", NAMES)]),
    18: ("leave", [("code", 2)]),
    19: ("roster_update", [
        ("version", 4), ("joined", ("list", PEER)), ("left", ("list", [("peer", 4), ("code", 2)])),
        ("changed", ("list", [("peer", 4), ("presence", 1)]))]),
    20: ("enter", [("token", STRING), ("name", STRING), ("status", 1)]),
    21: ("entered", [
        ("user", STRING), ("name", STRING), ("role", STRING), ("server_time", 8), ("clock_epoch", 4),
        ("server_instance", ("array", 8)), ("ring_ms", 4), ("call", 8), ("entries", NAMES),
        ("settings", ("list", SETTING))]),
    22: ("renew", [("token", STRING)]),
    23: ("renewed", [("code", 2), ("ticket_ttl_s", 4), ("ticket", STRING)]),
    24: ("token_wanted", [("within_s", 4)]),
    26: ("moved", [("code", 2), ("after_ms", 4), ("endpoints", NAMES)]),
    27: ("probe", [("token", STRING), ("suites", STRING), ("largest_body", 2)]),
    28: ("probe_grant", [("link_id", 4), ("grant", ("list", GRANT))]),
    32: ("event_up", [
        ("target", 1), ("channel", 1), ("piece", 1), ("peers", ("list", 4)), ("payload", STRING)]),
    33: ("event_down", [
        ("peer", 4), ("roster_version", 4), ("sequence", 8), ("channel", 1), ("piece", 1),
        ("payload", STRING)]),
    34: ("event_ack", [("events_taken", 4), ("bulk_taken", 4)]),
    36: ("subscribe", [("request", 4), ("groups", ("array", 30))]),
    37: ("throttled", [("what", 1)]),
    38: ("settings_update", [("settings", ("list", SETTING))]),
    48: ("state_request", [("request", 4), ("operations", ("list", OPERATION))]),
    49: ("state_reply", [("request", 4), ("code", 2), ("failed", 2), ("version", 8)]),
    50: ("state_snapshot", [("version", 8), ("host", 4), ("entities", ("list", ENTITY))]),
    51: ("state_update", [("version", 8), ("peer", 4), ("changes", ("list", CHANGE))]),
    52: ("moderate", [("request", 4), ("act", 1), ("peer", 4), ("seconds", 4)]),
    53: ("audit", [
        ("act", 1), ("by", 4), ("peer", 4), ("user", STRING), ("seconds", 4), ("time", 8)]),
    64: ("watch_rooms", [("request", 4), ("version", STRING), ("filters", ("list", FILTER))]),
    65: ("room_list", [
        ("request", 4), ("total", 4), ("whole", 1), ("rooms", ("list", ROOM)), ("gone", NAMES)]),
    72: ("watch_users", [("request", 4), ("roles", NAMES), ("users", NAMES)]),
    73: ("set_status", [("status", 1)]),
    74: ("user_list", [
        ("request", 4), ("code", 2), ("whole", 1), ("total", 4), ("users", ("list", USER_INFO)),
        ("gone", NAMES)]),
    80: ("call_request", [
        ("request", 4), ("act", 1), ("call", 8), ("users", NAMES), ("text", STRING)]),
    81: ("call_reply", [("request", 4), ("code", 2), ("call", 8)]),
    82: ("call_update", [
        ("call", 8), ("kind", 1), ("user", STRING), ("name", STRING), ("room", STRING), ("code", 2),
        ("members", NAMES), ("text", STRING)]),
}


def size_of(kind):
    if isinstance(kind, int):
        return kind
    if isinstance(kind, tuple):
        return kind[1] if kind[0] == "array" else 8
    return sum(size_of(field) for _, field in kind)


def put_lists(kind, value, out):
    """Appends the lists inside `value`. Returns the position of each list, for `put_inline`."""
    if isinstance(kind, list):
        return [put_lists(field, value[name], out) for name, field in kind]
    if not isinstance(kind, tuple) or kind[0] == "array":
        return None
    items = bytes.fromhex(value) if kind == STRING else value
    positions = [put_lists(kind[1], item, out) for item in items]
    start = len(out)
    for item, position in zip(items, positions):
        put_inline(kind[1], item, position, out)
    return start, len(items)


def put_inline(kind, value, positions, out):
    """Appends the value itself: numbers, arrays, and the offset and length of each list."""
    if isinstance(kind, int):
        out += uint(value, kind)
    elif isinstance(kind, list):
        for (name, field), position in zip(kind, positions):
            put_inline(field, value[name], position, out)
    elif kind[0] == "array":
        out += bytes.fromhex(value)
    else:
        start, count = positions
        out += struct.pack("<iI", start - len(out), count)


def encode_archive(kind, value):
    out = bytearray()
    put_inline(kind, value, put_lists(kind, value, out), out)
    return bytes(out)


class Archive:
    """Reads an archive, with the checks of "Checking an archive" in docs/PROTOCOL.md."""

    def __init__(self, data):
        self.data = data
        self.low, self.high = 0, len(data)

    def root(self, kind):
        at = len(self.data) - size_of(kind)
        require(at >= 0, "shorter than its root")
        return self.claim(at, size_of(kind), lambda: self.value(kind, at))

    def claim(self, at, size, read):
        require(self.low <= at and at + size <= self.high, "outside the unclaimed bytes")
        after = at + size, self.high
        self.high = at
        result = read()
        self.low, self.high = after
        return result

    def value(self, kind, at):
        if isinstance(kind, int):
            return int.from_bytes(self.data[at : at + kind], "little")
        if isinstance(kind, tuple):
            return self.data[at : at + kind[1]].hex() if kind[0] == "array" else self.list(kind, at)
        fields = {}
        for name, field in kind:
            fields[name] = self.value(field, at)
            at += size_of(field)
        return fields

    def list(self, kind, at):
        offset, count = struct.unpack_from("<iI", self.data, at)
        start, size = at + offset, size_of(kind[1])
        if kind == STRING:
            return self.claim(start, count, lambda: self.data[start : start + count].hex())
        items = lambda: [self.value(kind[1], start + size * i) for i in range(count)]
        return self.claim(start, size * count, items)


# The handshake messages, which are laid out field by field.
HELLO, WELCOME, REFUSE, PING = range(1, 5)
PLAIN = {HELLO: "hello", WELCOME: "welcome", REFUSE: "refuse", PING: "ping"}
# The name of every message, by schema.
NAMED = PLAIN | {schema: name for schema, (name, _) in ARCHIVES.items()}
CONTROL_LIMIT = 2 << 20
MAX_FEATURES, MAX_ENDPOINTS = 32, 4


def read_features(r):
    features = r.string()
    require(len(features) <= 2 * MAX_FEATURES, "too many features")
    return features


def read_endpoints(r):
    count = r.uint(1)
    require(count <= MAX_ENDPOINTS, "too many endpoints")
    return [r.string() for _ in range(count)]


def read_plain(schema, body):
    """Reads a handshake message. Ignores bytes behind its fields."""
    r = Reader(body)
    if schema == HELLO:
        return {"oldest": r.uint(1), "newest": r.uint(1), "flags": r.uint(1), "agent": r.string(),
                "features": read_features(r)}
    if schema == WELCOME:
        return {"version": r.uint(1), "flags": r.uint(1), "server_id": r.string(), "agent": r.string(),
                "features": read_features(r)}
    if schema == PING:
        return {}
    return {"code": r.uint(2), "text": r.string(), "retry_after_ms": r.uint(4), "oldest": r.uint(1),
            "newest": r.uint(1), "endpoints": read_endpoints(r)}


def write_plain(schema, f):
    if schema == HELLO:
        head = bytes([f["oldest"], f["newest"], f["flags"]])
        return head + string(f["agent"]) + string(f["features"])
    if schema == WELCOME:
        head = bytes([f["version"], f["flags"]])
        return head + string(f["server_id"]) + string(f["agent"]) + string(f["features"])
    if schema == PING:
        return b""
    head = uint(f["code"], 2) + string(f["text"]) + uint(f["retry_after_ms"], 4)
    endpoints = b"".join(map(string, f["endpoints"]))
    return head + bytes([f["oldest"], f["newest"], len(f["endpoints"])]) + endpoints


def read_message_header(data):
    length, encoding, schema, version = struct.unpack("<IBHB", data)
    require(schema in NAMED, "unknown schema")
    require(version == 1 and encoding == int(schema in ARCHIVES), "unknown version or encoding")
    require(length <= CONTROL_LIMIT, "too long")
    return length, schema


def read_message(schema, body):
    return Archive(body).root(ARCHIVES[schema][1]) if schema in ARCHIVES else read_plain(schema, body)


def write_message(schema, fields):
    archived = schema in ARCHIVES
    body = encode_archive(ARCHIVES[schema][1], fields) if archived else write_plain(schema, fields)
    return struct.pack("<IBHB", len(body), int(archived), schema, 1) + body


def check(file):
    for case in file["messages"]:
        data = bytes.fromhex(case["hex"])
        length, schema = read_message_header(data[:8])
        same(case["name"], (length, schema), (len(data) - 8, case["schema"]))
        same(case["name"], read_message(schema, data[8:]), case["fields"])
        same(case["name"], write_message(schema, case["fields"]).hex(), case["hex"])
    return len(file["messages"])
