"""The messages of a dialogue: from the words of its file to bytes and back, and their comparison."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vectors"))

import session  # noqa: E402
from session import ARCHIVES, NAMED, PLAIN, STRING  # noqa: E402

SCHEMAS = {name: schema for schema, name in NAMED.items()}
# The types of the plain messages, as session.py writes those of archives.
PLAIN_TYPES = {
    "hello": [("oldest", 1), ("newest", 1), ("flags", 1), ("agent", STRING), ("features", STRING)],
    "welcome": [("version", 1), ("flags", 1), ("server_id", STRING), ("agent", STRING),
                ("features", STRING)],
    "refuse": [("code", 2), ("text", STRING), ("retry_after_ms", 4), ("oldest", 1), ("newest", 1),
               ("endpoints", ("list", STRING))],
    "ping": [],
}
# The messages of a client, and the largest body of each in bytes.
FROM_CLIENT = {
    "hello": 2_048, "ping": 1_024, "join": 16_384, "leave": 16_384, "enter": 16_384, "renew": 8_192,
    "event_up": 20_736, "subscribe": 16_384, "state_request": 16_384, "moderate": 16_384,
    "watch_rooms": 16_384, "watch_users": 16_384, "set_status": 16_384, "call_request": 16_384,
}
# The bit of the feature that a client's message needs.
FEATURE = {"state_request": 0, "renew": 2}
# The number of each type of stream.
STREAMS = {"control": 1, "events": 2, "state": 3, "bulk": 4}
# The stream of each message that does not travel on the control stream.
STREAM_OF = {"event_up": "events", "event_down": "events", "state_snapshot": "state",
             "state_update": "state"}
ANYTHING = "*"


class Failure(Exception):
    """A step of a dialogue failed, or the client broke a rule that always holds."""


def type_of(name):
    return PLAIN_TYPES[name] if name in PLAIN_TYPES else ARCHIVES[SCHEMAS[name]][1]


def default(kind):
    """Returns the value of a field that a dialogue does not name: 0 or empty."""
    if isinstance(kind, list):
        return {name: default(field) for name, field in kind}
    if isinstance(kind, int):
        return 0
    if kind[0] == "array":
        return "00" * kind[1]
    return "" if kind == STRING else []


def to_wire(kind, value):
    """Converts a value of a dialogue into the form of session.py. Missing fields are 0 or empty."""
    if isinstance(kind, list):
        unknown = value.keys() - {name for name, _ in kind}
        if unknown:
            raise Failure(f"the dialogue names fields that do not exist: {sorted(unknown)}")
        return {
            name: to_wire(field, value[name]) if name in value else default(field)
            for name, field in kind
        }
    if kind == STRING:
        return value["hex"] if isinstance(value, dict) else value.encode().hex()
    if isinstance(kind, tuple) and kind[0] == "list":
        return [to_wire(kind[1], item) for item in value]
    return value


def from_wire(kind, value):
    """Converts a value of session.py into the form of a dialogue."""
    if isinstance(kind, list):
        return {name: from_wire(field, value[name]) for name, field in kind}
    if kind == STRING:
        try:
            text = bytes.fromhex(value).decode()
        except UnicodeDecodeError:
            text = "\0"
        return text if text.isprintable() else {"hex": value}
    if isinstance(kind, tuple) and kind[0] == "list":
        return [from_wire(kind[1], item) for item in value]
    return value


def encode(name, fields, behind=""):
    """Returns the bytes of a message. `behind` are bytes in hexadecimal behind its last field."""
    data = session.write_message(SCHEMAS[name], to_wire(type_of(name), fields))
    if not behind:
        return data
    body = data[8:] + bytes.fromhex(behind)
    return len(body).to_bytes(4, "little") + data[4:8] + body


def take_message(buffer):
    """Takes a client's message from the front of a buffer. Returns its name and fields, or None."""
    if len(buffer) < 8:
        return None
    length, schema = session.read_message_header(bytes(buffer[:8]))
    name = NAMED[schema]
    if name not in FROM_CLIENT:
        raise Failure(f"the client sent {name}, which is not a client's message")
    if length > FROM_CLIENT[name]:
        raise Failure(f"the client sent {name} with {length} bytes; the limit is {FROM_CLIENT[name]}")
    if len(buffer) < 8 + length:
        return None
    body = bytes(buffer[8 : 8 + length])
    del buffer[: 8 + length]
    return name, from_wire(type_of(name), session.read_message(schema, body))


def expand(value, variables):
    """Replaces variables that have a value, and {"repeat": [text, count]}, at any depth."""
    if isinstance(value, dict):
        if value.keys() == {"repeat"}:
            text, count = value["repeat"]
            return text * count
        return {name: expand(item, variables) for name, item in value.items()}
    if isinstance(value, list):
        return [expand(item, variables) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        return variables.get(value[1:], value)
    return value


def normal(value):
    """Writes byte strings of text as text, so that both forms are equal."""
    if isinstance(value, dict) and value.keys() == {"hex"}:
        return from_wire(STRING, value["hex"])
    return value


def differences(expected, found, variables, path=""):
    """Returns an error for each place where `found` is not as expected. Gives a variable without a
    value the value that was found."""
    expected, found = normal(expand(expected, variables)), normal(found)
    if expected == ANYTHING:
        return []
    if isinstance(expected, dict) and expected.keys() == {"at_most"}:
        if isinstance(found, int) and 0 < found <= expected["at_most"]:
            return []
        return [f"{path or 'value'}: expected 1 to {expected['at_most']}, came {short(found)}"]
    if isinstance(expected, str) and expected.startswith("$"):
        variables[expected[1:]] = found
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        names = sorted(expected.keys() | found.keys())
        missing = object()
        faults = []
        for name in names:
            mine, theirs = expected.get(name, missing), found.get(name, missing)
            place = f"{path}.{name}".lstrip(".")
            if mine is missing:
                faults.append(f"{place}: not expected, came {short(theirs)}")
            elif theirs is missing:
                faults.append(f"{place}: expected {short(mine)}, did not come")
            else:
                faults += differences(mine, theirs, variables, place)
        return faults
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            fault
            for i, (mine, theirs) in enumerate(zip(expected, found))
            for fault in differences(mine, theirs, variables, f"{path}[{i}]")
        ]
    if type(expected) is type(found) and expected == found:
        return []
    return [f"{path or 'value'}: expected {short(expected)}, came {short(found)}"]


def compare(step, found, variables):
    """Compares the fields of a step with those that came. Fields that the step lists as free may
    have any value; `"free": "others"` frees all that the step does not name."""
    expected, free = step.get("fields", {}), step.get("free", [])
    names = found.keys() - expected.keys() if free == "others" else set(free)
    # An application's report may leave out a free field.
    rest = {name: value for name, value in found.items() if name not in names}
    return differences(expected, rest, variables)


def short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}.. ({len(text)} characters)"
