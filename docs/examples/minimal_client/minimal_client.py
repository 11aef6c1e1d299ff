#!/usr/bin/env python3
"""A minimal Nucleus client: steps 1 and 3 of "A minimal client" in docs/PROTOCOL.md.

It joins a room, sends a pose every 100 ms and one event, prints what the others send, and leaves.
Everything travels inside one QUIC connection. README.md in this folder says how to run it, and what
it leaves out.
"""

import argparse
import asyncio
import base64
import collections
import contextlib
import hashlib
import io
import json
import math
import ssl
import struct
import sys
import time

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.serialization import Encoding

# ---- Messages of the session ("Session plane", "Archives") ------------------------------------
# The fields of each message, as name:type. B, H, I, Q, 8s and 32s are u8 to u64 and arrays of
# bytes, as in Python's module struct. "bytes" is a list of u8, "[T]" a list of T. Plain messages
# have "text" (a u16 length, then bytes) and "texts" (a u8 count, then texts).
FIELDS = {name: dict(field.split(":") for field in fields.split()) for name, fields in {
    # From the server. The first two are plain, all others are archives.
    "Welcome": "version:B flags:B server_id:text agent:text features:text",
    "Refuse": "code:H text:text retry_after_ms:I oldest:B newest:B endpoints:texts",
    "Joined": "peer:I slot:H room_instance:8s server_instance:8s roster_version:I roster:[Peer]"
              " link_id:I grant:[LinkGrant] server_time:Q clock_epoch:I settings:[Setting]"
              " ticket:bytes resumed:B events_taken:I bulk_taken:I room:bytes entries:[bytes]",
    "Peer": "peer:I slot:H presence:B user:bytes name:bytes role:bytes",
    "LinkGrant": "connection_id:8s spare:8s secret:32s suite:B flags:B endpoints:[Address]",
    "Address": "ip:bytes port:H",
    "Setting": "key:H value:Q",
    "RosterUpdate": "version:I joined:[Peer] left:[Left] changed:[Changed]",
    "Left": "peer:I code:H",
    "Changed": "peer:I presence:B",
    "EventDown": "peer:I roster_version:I sequence:Q channel:B piece:B payload:bytes",
    "EventAck": "events_taken:I bulk_taken:I",
    # To the server. The struct `options` of Join, from capacity to fields, stands in place.
    "Join": "token:bytes ticket:bytes last_event:Q last_bulk:Q room:bytes name:bytes suites:bytes"
            " largest_body:H mode:B version:bytes password:bytes expected:[bytes]"
            " capacity:H flags:B empty_ttl_ms:I listed:[bytes] fields:[RoomField] filters:[Filter]",
    "EventUp": "target:B channel:B piece:B peers:[I] payload:bytes",
    "Leave": "code:H",
}.items()}

PLAIN, ARCHIVE = 0, 1            # encodings
CONTROL, EVENTS, BULK = 1, 2, 4  # types of streams
# What the server may send: (stream, schema): (message, encoding, largest body).
FROM_SERVER = {
    (CONTROL, 2): ("Welcome", PLAIN, 2048), (CONTROL, 3): ("Refuse", PLAIN, 2048),
    (CONTROL, 17): ("Joined", ARCHIVE, 2097152), (CONTROL, 19): ("RosterUpdate", ARCHIVE, 2097152),
    (CONTROL, 34): ("EventAck", ARCHIVE, 2097152), (EVENTS, 33): ("EventDown", ARCHIVE, 20736),
    (BULK, 33): ("EventDown", ARCHIVE, 20736),
}


def message(schema, encoding, body):
    return struct.pack("<IBHB", len(body), encoding, schema, 1) + body


def read_header(stream, data):
    """Returns the name of the message and the length of its body."""
    length, encoding, schema, version = struct.unpack("<IBHB", data)
    name, expected, largest = FROM_SERVER.get((stream, schema), ("", None, 0))
    if version != 1 or encoding != expected or length > largest:
        raise ValueError("a bad header, or a message on the wrong stream")
    return name, length


def write_hello(agent):
    """Session versions 1 to 1, no realtime port (2), no features."""
    return message(1, PLAIN, struct.pack("<BBBH", 1, 1, 2, len(agent)) + agent + bytes(2))


def element(kind):
    """Returns the type of a list's elements; None if `kind` is no list."""
    return "B" if kind == "bytes" else kind[1:-1] if kind.startswith("[") else None


def size(kind):
    """Returns the size of a type in place in an archive."""
    if kind in FIELDS:
        return sum(map(size, FIELDS[kind].values()))
    return 8 if element(kind) else struct.calcsize("<" + kind)


def write_archive(schema, name, /, **values):
    """First the bytes of all lists, then the struct. A field without a value is 0 or empty, and so
    is every list but "bytes"."""
    lists = [values.get(field, b"") for field, kind in FIELDS[name].items() if element(kind)]
    body, position = b"".join(lists), 0
    for field, kind in FIELDS[name].items():
        if element(kind):
            length = len(values.get(field, b""))
            body += struct.pack("<iI", position - len(body), length)
            position += length
        else:
            body += struct.pack("<" + kind, values.get(field, 0))
    return message(schema, ARCHIVE, body)


def read_archive(data, kind, at, free):
    """Reads `kind` at `at`, and checks it. `free` = [low, high) is the range that its lists may
    claim; claims make it smaller."""
    if kind in FIELDS:
        values = {}
        for field, inner in FIELDS[kind].items():
            values[field] = read_archive(data, inner, at, free)
            at += size(inner)
        return values
    inner = element(kind)
    if inner is None:
        return struct.unpack_from("<" + kind, data, at)[0]
    offset, count = struct.unpack_from("<iI", data, at)
    start, end = at + offset, at + offset + count * size(inner)
    if not free[0] <= start <= end <= free[1]:
        raise ValueError("a bad archive")
    within, free[0] = [free[0], start], end
    if kind == "bytes":
        return data[start:end]
    return [read_archive(data, inner, i, within) for i in range(start, end, size(inner))]


def take(data, kind):
    """Reads a type of Python's module struct. Raises struct.error if bytes are missing."""
    return struct.unpack("<" + kind, data.read(struct.calcsize("<" + kind)))[0]


def read_plain(data, kind):
    if kind == "texts":
        return [read_plain(data, "text") for _ in range(take(data, "B"))]
    return take(data, f"{take(data, 'H')}s" if kind == "text" else kind)


def read_message(name, body):
    """Returns the fields. Raises ValueError or struct.error if the body is invalid."""
    if name in ("Welcome", "Refuse"):  # bytes behind the last field belong to later versions
        data = io.BytesIO(body)
        return {field: read_plain(data, kind) for field, kind in FIELDS[name].items()}
    root = len(body) - size(name)
    if root < 0:
        raise ValueError("an archive shorter than its root")
    return read_archive(body, name, root, [0, root])


# ---- Frames and poses ("Realtime plane") ------------------------------------------------------
POSE, CLOCK, REPORT, KEEP_ALIVE = 1, 7, 8, 9
MESSAGES = range(1, 5)                # frame types of messages
MESSAGE = struct.Struct("<BHBHHH")    # flags, peer, channel, key, sequence, time
NEWEST_WINS, TIMED, EVERYBODY_ELSE = 1, 16, 0xFFFF  # two flags, and a target
LEAST = {1: 10, 2: 10, 3: 10, 4: 10, 7: 28, 8: 19, 10: 8, 11: 8, 12: 4, 13: 4, 17: 1}


def write_frame(kind, body):
    n = len(body)
    return bytes([kind, n] if n < 128 else [kind, n & 127 | 128, n >> 7]) + body


def read_frames(data):
    """Returns the frames (type, body) from the server. One malformed frame spoils them all."""
    frames = []
    while data and data[0] != 0:  # type 0: the rest is padding
        kind, length, start = data[0], int.from_bytes(data[1:2]), 2
        if length > 127:  # two bytes: the low seven bits, then the upper ones
            length, start = length & 127 | int.from_bytes(data[2:3]) << 7, 3
        if len(data) < start + length or start == 3 and not 128 <= length <= 16383:
            raise ValueError("a bad length of a frame")
        body, data = data[start:start + length], data[start + length:]
        if (length < LEAST.get(kind, 0) or kind in MESSAGES and length > MESSAGE.size + 900
                or kind == KEEP_ALIVE and length in (1, 2)
                or kind == REPORT and length < 19 + 4 * body[17] * body[18]):
            raise ValueError("a malformed frame")
        frames.append((kind, body))
    return frames


def write_pose(position, rotation):
    """A head without hands: position in metres, rotation as a quaternion (x, y, z, w)."""
    pose = b"\0"
    for metres in position:
        mm = max(-8388607, min(8388607, round(metres * 1000)))
        pose += mm.to_bytes(3, "little", signed=True)
    length = math.hypot(*rotation)
    q = [c / length for c in rotation] if length else [0, 0, 0, 1]
    largest = max(range(4), key=lambda i: abs(q[i]))  # is not sent; the others are, as 11 bits each
    scale = math.copysign(math.sqrt(2) * 1023, q.pop(largest))
    steps = [round(c * scale) + 1023 for c in q]
    bits = largest | steps[0] << 2 | steps[1] << 13 | steps[2] << 24
    return pose + bits.to_bytes(5, "little")


def read_pose(payload):
    """Returns the head's position and rotation. Checks and skips hands and extensions."""
    data = io.BytesIO(payload)
    flags, position = take(data, "B"), take(data, "9s")
    position = [int.from_bytes(position[i:i + 3], "little", signed=True) / 1000 for i in (0, 3, 6)]
    bits = int.from_bytes(take(data, "5s"), "little")
    q = [((bits >> shift & 0x7FF) - 1023) / (1023 * math.sqrt(2)) for shift in (2, 13, 24)]
    q.insert(bits & 3, math.sqrt(max(0, 1 - sum(c * c for c in q))))
    take(data, f"{9 * (flags & 3).bit_count()}s")
    for _ in range(take(data, "B") if flags & 4 else 0):
        take(data, f"{take(data, '2s')[1]}s")  # behind the type and the length
    return position, q


# ---- The client's part of the realtime plane --------------------------------------------------
def micros():
    """The client's own clock in µs."""
    return time.monotonic_ns() // 1000


def signed(n, bits):
    """Returns n modulo 2^bits as a signed number."""
    return (n + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def show(peer):
    name = peer["name"].decode(errors="replace")
    return f"{name!r} (away)" if peer["presence"] & 1 else f"{name!r}"


class Link:
    """Reads and writes the datagrams. All times are in µs."""

    def __init__(self, joined, roster):
        self.id, self.epoch = struct.pack("<I", joined["link_id"]), joined["clock_epoch"]
        self.roster = roster
        self.confirmed = False                      # the server has answered our choice of plane
        self.samples = collections.deque(maxlen=8)  # of the clock: (round trip, offset)
        self.requests = self.sequence = 0           # clock requests and poses sent
        self.keep_alive_at = self.clock_at = 0      # when the next one is due
        self.newest = {}                            # (peer, channel, key): newest sequence
        self.held = collections.deque(maxlen=64)    # poses of unknown slots: (arrival, message)

    def server_time(self):
        """The server's clock, by the sample with the least round trip."""
        return micros() + min(self.samples)[1]

    def receive(self, data):
        now = micros()
        if len(data) > 1154 or data[:4] != self.id:
            return
        for kind, body in read_frames(data[4:]):
            if kind == KEEP_ALIVE and body[:2] == b"\0\0":
                self.confirmed = True
            elif kind == CLOCK:
                sent, received, replied, epoch = struct.unpack_from("<QQQI", body)
                if epoch != self.epoch:
                    self.samples.clear()
                self.epoch = epoch
                offset = ((received - sent) + (replied - now)) // 2
                self.samples.append(((now - sent) - (replied - received), offset))
            elif kind == POSE:
                self.receive_pose(now, body)

    def receive_pose(self, arrival, body):
        flags, slot, channel, key, sequence, captured = MESSAGE.unpack_from(body)
        sender = next((peer for peer in self.roster.values() if peer["slot"] == slot), None)
        if sender is None:
            self.held.append((arrival, body))
            return
        try:
            (x, y, z), _rotation = read_pose(body[MESSAGE.size:])
        except struct.error:
            return  # the others of the datagram count
        age = (self.server_time() // 1000 - captured) % 65536 if self.samples else 0
        flow = sender["peer"], channel, key
        step = signed(sequence - self.newest.get(flow, sequence - 1), 16)
        if 2001 <= age <= 61439 or step == 0 or step < 0 and flags & NEWEST_WINS:
            return  # too old, a repetition, or replaced by a newer one
        self.newest[flow] = sequence
        age = f"{signed(age, 16)} ms old" if self.samples else "age not known"
        print(f"pose {sequence} of {show(sender)}: {x:.3f} {y:.3f} {z:.3f}, {age}")

    def roster_changed(self):
        """Takes the held poses whose senders the roster names now."""
        for _ in range(len(self.held)):
            arrival, body = self.held.popleft()
            if micros() - arrival <= 200_000:
                self.receive_pose(arrival, body)

    def write(self, pose=None):
        """Returns a datagram with the frames that are due and the pose; None if there are none."""
        now, body = micros(), b""
        if not self.confirmed and now >= self.keep_alive_at:
            body += write_frame(KEEP_ALIVE, b"\0\0\1")  # our choice: change 0, plane 1 (session)
            self.keep_alive_at = now + 200_000
        if now >= self.clock_at:
            body += write_frame(CLOCK, struct.pack("<Q", now))
            self.requests += 1
            pause = 0.2 if self.requests < 10 else min(15, 2 ** (self.requests - 10))
            if self.samples:  # five samples in short order, then one every 5 s
                pause = 0.1 if len(self.samples) < 5 else 5
            self.clock_at = now + int(pause * 1_000_000)
        if pose:
            flags = NEWEST_WINS | TIMED if self.samples else NEWEST_WINS
            captured = self.server_time() // 1000 % 65536 if self.samples else 0
            head = MESSAGE.pack(flags, EVERYBODY_ELSE, 0, 0, self.sequence % 65536, captured)
            body += write_frame(POSE, head + pose)
            self.sequence += 1
        return self.id + body if body else None


# ---- The client's part of the session plane ---------------------------------------------------
def pins(token):
    """Returns the pins in the token: SHA-256 of the certificates that the client accepts."""
    _header, claims, _signature = token.split(".")
    claim, found = json.loads(base64.urlsafe_b64decode(claims + "==")).get("pin", []), set()
    for text in [claim] if isinstance(claim, str) else claim:
        with contextlib.suppress(TypeError, ValueError):
            found.add(base64.b64decode(text + "=", altchars=b"-_", validate=True))
    return {pin for pin in found if len(pin) == 32}


class Client(QuicConnectionProtocol):
    """Reads and writes the streams."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.joined = self._loop.create_future()  # its result: `Joined`; None if there is none
        self.code = self.end = None               # why the connection ended
        self.streams = {}                         # stream id: [type, bytes that are not read yet]
        self.control = self.event_stream = self.link = None
        self.roster, self.version = {}, 0         # peer id: Peer
        self.early_events = []                    # events whose sender the roster does not name yet

    def quic_event_received(self, event):
        try:
            if isinstance(event, events.StreamDataReceived):
                self.receive(event.stream_id, event.data)
            elif isinstance(event, events.DatagramFrameReceived) and self.link:
                with contextlib.suppress(ValueError):  # malformed datagrams are ignored
                    self.link.receive(event.data)
            elif isinstance(event, events.StreamReset):
                self._loop.call_later(2, self.close, 4)  # no code followed: lost, we do not resume
            elif isinstance(event, events.ConnectionTerminated):
                # Only the closes of an application have a code of PROTOCOL.md.
                self.code = event.error_code if event.frame_type is None else None
                self.end = self.end or f"ended with code {self.code} {event.reason_phrase}"
                if not self.joined.done():
                    self.joined.set_result(None)
        except (ValueError, struct.error) as error:
            self.end = f"the server broke the protocol: {error}"
            self.close(2, str(error))

    def receive(self, stream_id, data):
        stream = self.streams.setdefault(stream_id, [None, bytearray()])
        if stream[0] is None and data:
            stream[0], data = data[0], data[1:]
            if stream[0] not in (EVENTS, BULK):
                self._quic.stop_stream(stream_id, 2)
        kind, unread = stream
        unread += data if kind in (CONTROL, EVENTS, BULK) else b""
        while len(unread) >= 8:
            name, length = read_header(kind, unread[:8])
            if len(unread) < 8 + length:
                break
            body = bytes(unread[8:8 + length])
            del unread[:8 + length]
            if kind != BULK:  # bulk messages must be read; we drop them
                self.handle(name, read_message(name, body))

    def handle(self, name, m):
        if (name in ("Welcome", "Refuse", "Joined")) == self.joined.done():
            raise ValueError(f"{name} out of order")
        if name == "Refuse":
            self.end = f"refused with code {m['code']}: {m['text'].decode(errors='replace')!r}"
            self.joined.set_result(None)
        elif name == "Joined":
            self.roster.update((peer["peer"], peer) for peer in m["roster"])
            self.version, self.link = m["roster_version"], Link(m, self.roster)
            self.joined.set_result(m)
            self.print_roster()
        elif name == "Welcome" and m["version"] != 1:
            raise ValueError("a version that we did not offer")
        elif name == "RosterUpdate":
            self.update_roster(m)
        elif name == "EventDown" and signed(m["roster_version"] - self.version, 32) > 0:
            self.early_events.append(m)
        elif name == "EventDown" and m["channel"] < 240:  # the others are reserved
            peer = self.roster.get(m["peer"])  # it may have left since
            sender = show(peer) if peer else f"peer {m['peer']}"
            print(f"event from {sender}: {m['payload'].decode(errors='replace')!r}")

    def update_roster(self, m):
        self.version = m["version"]
        self.roster.update((peer["peer"], peer) for peer in m["joined"])
        for left in m["left"]:
            self.roster.pop(left["peer"], None)
        for changed in m["changed"]:  # a peer that we do not know is ignored
            self.roster.get(changed["peer"], {}).update(presence=changed["presence"])
        self.print_roster()
        self.link.roster_changed()
        early, self.early_events = self.early_events, []
        for event in early:
            self.handle("EventDown", event)

    def print_roster(self):
        print("in the room:", ", ".join(map(show, self.roster.values())))

    def send(self, stream_id, data, end_stream=False):
        self._quic.send_stream_data(stream_id, data, end_stream)
        self.transmit()

    def send_join(self, token, room):
        self.control = self._quic.get_next_available_stream_id()
        self.streams[self.control] = [CONTROL, bytearray()]
        data = bytes([CONTROL]) + write_hello(b"minimal_client/1")
        token, room = token.encode(), room.encode()
        data += write_archive(16, "Join", token=token, room=room, largest_body=1150)
        self.send(self.control, data)

    def send_event(self, text):
        """To all other peers, on channel 1."""
        data = write_archive(32, "EventUp", target=1, channel=1, payload=text.encode())
        if self.event_stream is None:  # one stream for all events
            self.event_stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
            data = bytes([EVENTS]) + data
        self.send(self.event_stream, data)

    def send_datagram(self, pose):
        if data := self.link.write(pose):
            self._quic.send_datagram_frame(data)
            self.transmit()

    async def leave(self):
        """Waits until the server has closed, for at most 2 s."""
        if self.event_stream is not None:
            self.send(self.event_stream, b"", end_stream=True)
        self.send(self.control, write_archive(18, "Leave"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wait_closed(), 2)


async def run(options):
    """Joins, walks in a circle, and leaves. Returns whether the server confirmed the leave."""
    host, _, port = options.server.rpartition(":")
    trusted = pins(options.token)
    configuration = QuicConfiguration(
        alpn_protocols=["nucleus"], idle_timeout=30, max_datagram_frame_size=1163,
        verify_mode=ssl.CERT_NONE if trusted else ssl.CERT_REQUIRED)  # pins decide alone
    async with contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout(10):
            client = await stack.enter_async_context(connect(
                host.strip("[]"), int(port), configuration=configuration, create_protocol=Client))
            # A close with code 0, as aioquic makes it, would be a lost session. 4 leaves.
            stack.callback(client.close, 4)
            # aioquic has verified the signature in the handshake. The token is not sent yet.
            certificate = client._quic.tls._peer_certificate.public_bytes(Encoding.DER)
            if trusted and hashlib.sha256(certificate).digest() not in trusted:
                raise ConnectionError("the server's certificate is none of the token's pins")
            client.send_join(options.token, options.room)
            if not await client.joined:
                raise ConnectionError(client.end)
        start, ticks = time.monotonic(), round(options.seconds * 20)
        for tick in range(ticks):  # every 50 ms the frames that are due, every 100 ms a pose too
            if client.end:
                raise ConnectionError(client.end)
            if options.event is not None and tick == ticks // 2:
                client.send_event(options.event)
            a = tick / 20  # a circle of 1 m around the middle of the room, at eye level
            head = (math.cos(a), 1.7, math.sin(a)), (0, -math.sin(a / 2), 0, math.cos(a / 2))
            client.send_datagram(None if tick % 2 else write_pose(*head))
            await asyncio.sleep(start + (tick + 1) / 20 - time.monotonic())
        await client.leave()
        print(client.end)
        return client.code == 0


def main():
    parser = argparse.ArgumentParser(description="Joins a room, sends poses, prints what comes.")
    parser.add_argument("--server", default="127.0.0.1:5055", help="host:port of the session plane")
    parser.add_argument("--token", default="", help="join token, as `nucleus token` prints it")
    parser.add_argument("--room", default="demo", help="the room to join")
    parser.add_argument("--event", metavar="TEXT", help="sent to the others halfway through")
    parser.add_argument("--seconds", type=float, default=2, help="how long to stay")
    parser.add_argument("--check-vectors", metavar="DIR", help="check this program by test vectors")
    options = parser.parse_args()
    if options.check_vectors:
        import check_vectors
        return check_vectors.check(options.check_vectors)
    try:
        return 0 if asyncio.run(run(options)) else 1
    except (OSError, ValueError, TimeoutError) as error:
        print(f"error: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
