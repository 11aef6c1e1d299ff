"""Events on the protocol's own channels, RPC and typed events: from the words of a dialogue to the
payload of the event, and back."""

import messages

import application

EVENTS = ("event_up", "event_down")
RPC, TYPED_EVENT = 240, 241
# The word for what a client needs to send on a channel. All other channels from FIRST on are reserved.
FIRST = 240
NEEDS = {RPC: "rpc", TYPED_EVENT: "typed_events"}
TO_LISTED = 2


def to_payload(value):
    """Returns a payload that a dialogue writes as {"rpc": fields} or {"typed_event": fields}, as bytes
    in hexadecimal. Returns every other value as it is."""
    if not isinstance(value, dict) or len(value) != 1 or (kind := [*value][0]) == "hex":
        return value
    strings = ("method", "payload", "type", "data")
    fields = {name: messages.to_wire(messages.STRING, field) if name in strings else field
              for name, field in value[kind].items()}
    if kind == "typed_event":
        return {"hex": application.write_typed_event(fields).hex()}
    if kind != "rpc":
        raise messages.Failure(f"the dialogue's payload is of no known kind: {kind}")
    write = application.write_request if "method" in fields else application.write_answer
    return {"hex": write(fields).hex()}


def from_payload(channel, payload):
    """Reads the payload of an event on a channel of the protocol. Raises Refused."""
    data = bytes.fromhex(messages.to_wire(messages.STRING, payload))
    kind = "rpc" if channel == RPC else "typed_event"
    fields = application.READERS[kind](data)
    fields.pop("text", None)
    texts = {name: messages.from_wire(messages.STRING, field) for name, field in fields.items()
             if isinstance(field, str)}
    return {kind: fields | texts}


def check(fields, me, can):
    """Reads an event that a client has sent on a channel of the protocol. Raises Failure if the client
    must not send it, and Refused if it is malformed."""
    channel, peers = fields["channel"], fields["peers"]
    if NEEDS.get(channel) not in can:
        raise messages.Failure(f"the client sent an event on the reserved channel {channel}")
    if channel == RPC and (fields["target"] != TO_LISTED or len(peers) != 1 or peers == [me]):
        raise messages.Failure(f"the client sent RPC to target {fields['target']}, {peers}, not to one "
                               "other peer")
    return fields | {"payload": from_payload(channel, fields["payload"])}
