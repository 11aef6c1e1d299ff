"""The server of a dialogue: QUIC, the streams of a session, and the realtime plane inside it.

It checks the rules that always hold, whatever the dialogue says: see "Rules that always hold" in
README.md.
"""

import asyncio
import dataclasses
import datetime
import hashlib
import os
import time

import channels
import messages
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from messages import STREAM_OF, STREAMS, Failure

import realtime
from wire import Refused

ALPN = "nucleus"
IDLE_TIMEOUT_S = 30
CONNECTION_ID_LEN = 8
MAX_BODY = 1_150
NO_REALTIME_PORT = 2
# The server's clock at the start of a dialogue, in µs.
SERVER_TIME = 1_000_000
CLOCK_EPOCH = 1
# Stateless resets, RFC 9000, section 10.3: bytes in front of the token, at least.
RESET_PREFIX = 5
RESET_TOKEN = 16


@dataclasses.dataclass
class Certificate:
    """A certificate of the runner, its key, and its pin."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pin(self) -> bytes:
        return hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).digest()

    def without_its_key(self) -> "Certificate":
        """Returns the same certificate with another key, as an impostor has it."""
        return Certificate(self.certificate, ec.generate_private_key(ec.SECP256R1()))


def make_certificate() -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "conformance")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=12))
    return Certificate(builder.sign(key, hashes.SHA256()), key)


class World:
    """What the steps of a dialogue wait for. `fault` is the first rule that the client broke."""

    def __init__(self):
        self.changed = asyncio.Event()
        self.fault = None
        self.began = time.monotonic()
        # What the client can do, as its adapter says.
        self.can = set()

    def server_time(self):
        """Returns the time of the servers' clock in µs."""
        return SERVER_TIME + int((time.monotonic() - self.began) * 1_000_000)

    def notify(self):
        self.changed.set()

    def fail(self, text):
        self.fault = self.fault or text
        self.notify()

    async def until(self, found, seconds):
        """Waits until `found()` is neither None nor False, and returns it. Returns None after
        `seconds`."""
        end = time.monotonic() + seconds
        while True:
            self.changed.clear()
            if self.fault:
                raise Failure(self.fault)
            result = found()
            if result is not None and result is not False:
                return result
            left = end - time.monotonic()
            if left <= 0:
                return None
            try:
                await asyncio.wait_for(self.changed.wait(), left)
            except asyncio.TimeoutError:
                pass


class Incoming:
    """A stream that the client has opened, and its messages that no step has taken."""

    def __init__(self):
        self.name = None
        self.buffer = bytearray()
        self.messages = []
        # "end", or ("reset", code).
        self.over = None


class Session(QuicConnectionProtocol):
    """One connection of the client."""

    def __init__(self, quic, stream_handler=None, *, server):
        super().__init__(quic, stream_handler)
        self.server, self.world = server, server.world
        self.incoming, self.by_id = {}, {}
        self.outgoing = {}
        self.stopped = {}
        self.frames = []
        self.link_id, self.clock_epoch = None, CLOCK_EPOCH
        # The peer that the client is.
        self.me = None
        # Whether the server has sent Joined, Entered or Refuse, or has closed.
        self.answered = False
        self.hello = None
        # The fields of Join or Enter.
        self.opening = None
        self.common = None
        # ("close", code) or ("lost", text), when the connection has ended.
        self.over = None
        self.ended_at = None
        self.created = self.last_activity = time.monotonic()
        self.join_at = None

    # What the client does.

    def datagram_received(self, data, addr):
        self.last_activity = time.monotonic()
        super().datagram_received(data, addr)

    def quic_event_received(self, event):
        try:
            self.handle(event)
        except (Failure, Refused) as fault:
            self.world.fail(str(fault) or "the client sent malformed bytes")
        self.world.notify()

    def handle(self, event):
        if isinstance(event, events.HandshakeCompleted):
            if event.alpn_protocol != ALPN:
                raise Failure(f"the client offered no ALPN {ALPN}")
        elif isinstance(event, events.StreamDataReceived):
            self.on_data(event)
        elif isinstance(event, events.StreamReset):
            self.stream(event.stream_id).over = ("reset", event.error_code)
        elif isinstance(event, events.StopSendingReceived):
            self.stopped[event.stream_id] = event.error_code
        elif isinstance(event, events.DatagramFrameReceived):
            self.on_datagram(event.data)
        elif isinstance(event, events.ConnectionTerminated):
            ended = event.frame_type is None
            self.end(("close", event.error_code) if ended else ("lost", event.reason_phrase))

    def end(self, how):
        if self.over is None:
            self.over, self.ended_at = how, time.monotonic()

    def stream(self, stream_id):
        if stream_id % 4 == 1 or stream_id in self.by_id:
            return self.by_id.setdefault(stream_id, Incoming())
        if stream_id % 4 == 0 and stream_id > 0:
            raise Failure("the client opened a second bidirectional stream")
        if stream_id % 4 == 2 and not self.answered:
            raise Failure("the client opened a unidirectional stream before Joined")
        self.by_id[stream_id] = Incoming()
        return self.by_id[stream_id]

    def on_data(self, event):
        stream = self.stream(event.stream_id)
        if event.data and self.join_at is not None and not self.answered:
            raise Failure("the client sent bytes on a stream between Join and Joined")
        stream.buffer += event.data
        if stream.name is None and stream.buffer:
            self.name_stream(event.stream_id, stream)
        while stream.name and (message := messages.take_message(stream.buffer)):
            self.on_message(stream, *message)
        if event.end_stream:
            if stream.buffer:
                raise Failure(f"the client ended the {stream.name} stream within a message")
            if stream.over is None:
                stream.over = "end"

    def name_stream(self, stream_id, stream):
        number = stream.buffer.pop(0)
        allowed = {1: "control"} if stream_id % 4 == 0 else {2: "events", 4: "bulk"}
        name = allowed.get(number)
        if name is None:
            raise Failure(f"the client opened stream {stream_id} with the type {number}")
        if name in self.incoming:
            raise Failure(f"the client opened a second {name} stream")
        stream.name = name
        self.incoming[name] = stream

    def on_message(self, stream, name, fields):
        if stream.name == "control" and name == "event_up" or (
            stream.name != "control" and name != "event_up"
        ):
            raise Failure(f"the client sent {name} on the {stream.name} stream")
        if name in ("join", "enter"):
            self.join_at = time.monotonic()
            self.opening = fields
            if stream.buffer:
                raise Failure(f"the client sent bytes behind {name} without waiting for the answer")
        if name == "hello":
            self.hello = fields
        needed = messages.FEATURE.get(name)
        if needed is not None and not self.common >> needed & 1:
            raise Failure(f"the client sent {name}, whose feature {needed} is not in the common set")
        if name == "event_up" and fields["channel"] >= channels.FIRST:
            # On the bulk lane, all of these channels are reserved.
            can = self.world.can if stream.name == "events" else ()
            fields = channels.check(fields, self.me, can)
        # Ping may come at any time and needs no answer.
        if name != "ping":
            stream.messages.append((name, fields))

    def on_datagram(self, data):
        if not self.answered or self.link_id is None:
            raise Failure("the client sent a QUIC datagram before Joined")
        link_id, body = int.from_bytes(data[:4], "little"), data[4:]
        if len(data) < 4 or link_id != self.link_id:
            raise Failure(f"the client sent a QUIC datagram of link {link_id}, not {self.link_id}")
        if len(body) > MAX_BODY:
            raise Failure(f"the client sent a datagram with a body of {len(body)} bytes")
        for frame in realtime.read_body("client", body):
            self.on_frame(frame)

    def on_frame(self, frame):
        """Answers keep-alives and clock requests, and keeps messages."""
        if frame["type"] == realtime.KEEP_ALIVE:
            self.send_frames([frame])
        elif frame["type"] == realtime.CLOCK:
            now = self.world.server_time()
            times = {"server_received": now, "server_sent": now}
            self.send_frames([frame | times | {"epoch": self.clock_epoch}])
        elif frame["type"] in realtime.MESSAGES:
            self.frames.append(frame)

    # What the server does.

    def send(self, name, fields, on=None, behind=""):
        if name == "welcome":
            mine = messages.to_wire(messages.PLAIN_TYPES["hello"], self.hello)["features"]
            yours = messages.to_wire(messages.PLAIN_TYPES["welcome"], fields)["features"]
            mine, yours = (int.from_bytes(bytes.fromhex(set_), "little") for set_ in (mine, yours))
            self.common = mine & yours
        if name == "joined":
            self.link_id, self.clock_epoch = fields["link_id"], fields["clock_epoch"]
            self.me = fields["peer"]
        if name in ("joined", "entered", "refuse"):
            self.answered = True
        self.write(on or STREAM_OF.get(name, "control"), messages.encode(name, fields, behind))

    def write(self, on, data, end=False):
        """Writes to a stream. The first write opens a unidirectional stream. The stream "new" is
        opened by each write, and `data` has its type."""
        if on == "control":
            stream_id = 0
        elif on == "new" or on not in self.outgoing:
            stream_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
            self.outgoing[on] = stream_id
            data = data if on == "new" else bytes([STREAMS[on]]) + data
        else:
            stream_id = self.outgoing[on]
        self._quic.send_stream_data(stream_id, data, end)
        self.transmit()

    def send_frames(self, frames):
        body = b"".join(realtime.write_frame("server", frame) for frame in frames)
        self.send_body(body)

    def send_body(self, body):
        self._quic.send_datagram_frame(self.link_id.to_bytes(4, "little") + body)
        self.transmit()

    def stop(self, on, code):
        stream_id = next(i for i, stream in self.by_id.items() if stream.name == on)
        self._quic.stop_stream(stream_id, code)
        self.transmit()

    def reset(self, on, code):
        self._quic.reset_stream(0 if on == "control" else self.outgoing[on], code)
        self.transmit()

    def close_with(self, code, reason):
        self.answered = True
        self.end(("closed by the server", code))
        self.close(code, reason)

    def grant(self):
        """Returns the grant for the client: none, if it has no realtime port."""
        if self.hello["flags"] & NO_REALTIME_PORT:
            return []
        port = self.server.silent_port
        return [{
            "connection_id": os.urandom(8).hex(), "spare": os.urandom(8).hex(),
            "secret": os.urandom(32).hex(), "suite": 1, "flags": 0,
            "endpoints": [{"ip": {"hex": "7f000001"}, "port": port}],
        }]

    def vanish(self, answers_with_reset):
        """Forgets the connection without a word, as a server does whose process ended."""
        ids = self._quic._host_cids
        self.server.forget(self, ids if answers_with_reset else [])
        if self._timer is not None:
            self._timer.cancel()
        self._transport = Nowhere()
        self.end(("lost by the server", None))


class Nowhere:
    """A transport that loses everything."""

    def sendto(self, data, addr):
        pass


class SilentPort(asyncio.DatagramProtocol):
    """A realtime port that answers nothing. Notes when something came."""

    def __init__(self):
        self.last = 0

    def datagram_received(self, data, addr):
        self.last = time.monotonic()


class Server(QuicServer):
    """A server of a dialogue. A dialogue may have several, with the same certificate."""

    def __init__(self, world, certificate, retry):
        configuration = QuicConfiguration(
            is_client=False, alpn_protocols=[ALPN], idle_timeout=IDLE_TIMEOUT_S,
            max_datagram_frame_size=65_535, connection_id_length=CONNECTION_ID_LEN,
            supported_versions=[QuicProtocolVersion.VERSION_1],
            certificate=certificate.certificate, private_key=certificate.key,
        )
        super().__init__(
            configuration=configuration, retry=retry, create_protocol=self.create_session,
        )
        self.world = world
        # Connections in the order of their first packets.
        self.sessions = []
        self.reset_tokens = {}
        self.silent = None
        self.silent_port = 0

    async def open(self):
        loop = asyncio.get_running_loop()
        address = ("127.0.0.1", 0)
        await loop.create_datagram_endpoint(lambda: self, local_addr=address)
        realtime_port, self.silent = await loop.create_datagram_endpoint(
            SilentPort, local_addr=address
        )
        self.silent_port = realtime_port.get_extra_info("sockname")[1]
        return self._transport.get_extra_info("sockname")[1]

    def create_session(self, quic, stream_handler=None):
        session = Session(quic, stream_handler, server=self)
        self.sessions.append(session)
        self.world.notify()
        return session

    def datagram_received(self, data, addr):
        token = self.reset_tokens.get(data[1 : 1 + CONNECTION_ID_LEN])
        if token is None:
            super().datagram_received(data, addr)
        elif data[0] & 0x80 == 0 and len(data) > RESET_PREFIX + RESET_TOKEN:
            # A reset is shorter than the packet that it answers.
            length = min(len(data) - 1, 43) - RESET_TOKEN
            prefix = bytearray(os.urandom(length))
            prefix[0] = 0x40 | prefix[0] & 0x3F
            self._transport.sendto(bytes(prefix) + token, addr)

    def forget(self, session, ids):
        self.reset_tokens |= {one.cid: one.stateless_reset_token for one in ids}
        self._protocols = {c: s for c, s in self._protocols.items() if s is not session}
