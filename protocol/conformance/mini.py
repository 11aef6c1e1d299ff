"""The client of step 1 in "A minimal client" of docs/PROTOCOL.md, and its adapter: an example.

It joins, keeps the roster, sends and receives events and requests to peers, and leaves. It has no
realtime plane, resumes nothing, and offers no features. The self-test of run.py plants faults in it: `mini.py --fault NAME`.
"""

import asyncio
import hashlib
import json
import logging
import ssl
import sys

import channels
import messages
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives import serialization
from mini_rpc import MiniRpc

import session as layouts
from wire import Refused

PING_S = 7
LEAVE_S = 1
TARGETS = {"all": 0, "others": 1, "host": 3, "later": 5}
MAX_EVENT = 7
DEFAULT_MAX_EVENT = 16_384
# The largest body that this client reads, in bytes, by the stream.
LIMITS = {"control": 2 << 20, "events": 20_736, "bulk": 20_736}
FROM_SERVER = {"control": ("roster_update", "event_ack", "state_reply"), "events": ("event_down",),
               "bulk": ("event_down",)}
FAULT = sys.argv[2] if sys.argv[1:2] == ["--fault"] else None


def report(kind, **fields):
    print(json.dumps({"sees": kind} | fields), flush=True)


def seen(peer):
    """Returns a peer as the application sees it."""
    bits = peer["presence"]
    flags = ("away", "muted", "self_muted", "moderator")
    person = {name: peer[name] for name in ("peer", "user", "name", "role")}
    return person | {flag: bool(bits >> i & 1) for i, flag in enumerate(flags)}


class Mini(QuicConnectionProtocol):
    """One session."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.buffers, self.kinds = {}, {0: "control"}
        self.roster, self.roster_version, self.me = {}, 0, 0
        self.events_stream = None
        self.held = []
        self.rpc = MiniRpc(self, report, FAULT)
        self.max_event = DEFAULT_MAX_EVENT
        self.joined = self.refused = self.closed = False
        self.code = None
        self.done = asyncio.Event()

    def start(self, arguments):
        hello = {"oldest": 1, "newest": 1, "flags": 2, "agent": "mini/1"}
        join = {"token": arguments["token"], "room": arguments["room"],
                "name": arguments.get("name", "")}
        self._quic.get_next_available_stream_id()
        self.write(0, b"\x01" + messages.encode("hello", hello) + messages.encode("join", join))
        if FAULT == "early":
            self.write(0, messages.encode("ping", {}))

    def write(self, stream_id, data, end=False):
        self._quic.send_stream_data(stream_id, data, end)
        self.transmit()

    def quic_event_received(self, event):
        try:
            if isinstance(event, events.StreamDataReceived):
                self.on_data(event.stream_id, event.data)
            elif isinstance(event, events.ConnectionTerminated):
                self.on_end(event)
        except Refused as fault:
            self.fail(str(fault))

    def fail(self, text):
        if not self.closed:
            self.code = 2
            self.close(2, text)

    def on_end(self, event):
        if self.closed:
            return
        self.closed = True
        self.rpc.end_all("closed")
        code = self.code
        if code is None:
            code = event.error_code if event.frame_type is None else None
        if self.joined:
            report("closed", code=code)
        elif not self.refused:
            report("refused", code=code)
        self.done.set()

    def on_data(self, stream_id, data):
        buffer = self.buffers.setdefault(stream_id, bytearray())
        buffer += data
        if stream_id not in self.kinds and buffer:
            self.kinds[stream_id] = {2: "events", 4: "bulk"}.get(buffer.pop(0), "unknown")
            if self.kinds[stream_id] == "unknown" and FAULT != "keeps-stream":
                self._quic.stop_stream(stream_id, 2)
        kind = self.kinds.get(stream_id)
        while kind in LIMITS and len(buffer) >= 8 and not self.closed:
            length, schema = layouts.read_message_header(bytes(buffer[:8]))
            if length > LIMITS[kind]:
                raise Refused("too long")
            if len(buffer) < 8 + length:
                return
            body = bytes(buffer[8 : 8 + length])
            del buffer[: 8 + length]
            name = layouts.NAMED[schema]
            fields = messages.from_wire(messages.type_of(name), layouts.read_message(schema, body))
            self.on_message(kind, name, fields)

    def on_message(self, kind, name, fields):
        if name == "welcome" and kind == "control" and not self.joined:
            return
        if name == "refuse" and kind == "control" and not self.joined:
            self.refused = True
            report("refused", code=fields["code"])
        elif name == "joined" and kind == "control" and not self.joined:
            self.on_joined(fields)
        elif not self.joined or name not in FROM_SERVER[kind]:
            raise Refused(f"{name} does not belong there")
        elif name == "roster_update":
            self.on_roster(fields)
        elif name == "event_down" and kind == "events":
            self.held.append(fields)
            self.hand_over()

    def on_joined(self, fields):
        self.joined, self.me = True, fields["peer"]
        self.roster_version = fields["roster_version"]
        self.roster = {peer["peer"]: peer for peer in fields["roster"]}
        for setting in fields["settings"]:
            if setting["key"] == MAX_EVENT:
                self.max_event = setting["value"]
            elif FAULT == "strict-settings" and setting["key"] > 28:
                raise Refused("an unknown setting")
        report("joined", me=self.me, room=fields["room"], peers=self.peers())
        asyncio.get_running_loop().create_task(self.keep_alive())

    async def keep_alive(self):
        while not self.closed and FAULT != "no-ping":
            await asyncio.sleep(PING_S)
            if not self.closed:
                self.write(0, messages.encode("ping", {}))

    def on_roster(self, update):
        self.roster_version = update["version"]
        for peer in update["joined"]:
            known = peer["peer"] in self.roster
            self.roster[peer["peer"]] = peer
            if not known:
                report("peer_joined", **seen(peer))
        for left in update["left"]:
            if self.roster.pop(left["peer"], None):
                self.rpc.peer_left(left["peer"])
                report("peer_left", **left)
        for change in update["changed"]:
            if peer := self.roster.get(change["peer"]):
                was, peer["presence"] = peer["presence"], change["presence"]
                if (was ^ peer["presence"]) & 1:
                    report("presence", peer=change["peer"], away=seen(peer)["away"])
        self.hand_over()

    def hand_over(self):
        """Hands over events for which the roster is new enough, in order."""
        too_new = lambda event: 0 < event["roster_version"] - self.roster_version & 0xFFFFFFFF < 1 << 31
        while self.held and (FAULT == "no-hold" or not too_new(self.held[0])):
            event = self.held.pop(0)
            if event["channel"] in channels.NEEDS and FAULT != "reserved":
                self.rpc.on_event(event)
            elif event["channel"] < channels.FIRST or FAULT == "reserved":
                report("event", **{"from": event["peer"], "channel": event["channel"],
                                   "payload": event["payload"]})

    def peers(self):
        return [seen(self.roster[peer]) for peer in sorted(self.roster)]

    # Calls of the application.

    def send_event(self, to, channel, payload):
        return self.send(to, channel, payload.encode())

    def send_typed_event(self, to, type, payload):
        data = self.rpc.typed_event(type, payload)
        return {"code": None} if data is None else self.send(to, channels.TYPED_EVENT, data, None)

    def send(self, to, channel, data, too_large=40):
        if len(data) > self.max_event and FAULT != "any-size":
            return {"code": too_large}
        listed = to.get("peers", [to.get("group", 0)]) if isinstance(to, dict) else []
        target = TARGETS[to] if isinstance(to, str) else 2 if "peers" in to else 4
        self.write_event(target, channel, listed, data)
        return {"code": 0}

    def write_event(self, target, channel, peers, payload):
        fields = {"target": target, "channel": channel, "peers": peers}
        data = messages.encode("event_up", fields | {"payload": {"hex": payload.hex()}})
        if self.events_stream is None or FAULT == "second-stream":
            self.events_stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
            data = b"\x02" + data
        self.write(self.events_stream, data)

    def leave(self):
        if FAULT == "drops":
            self.close(0, "")
            return {"code": 0}
        if self.events_stream is not None:
            self.write(self.events_stream, b"", end=True)
        self.write(0, messages.encode("leave", {"code": 0}))
        return {"code": 0}


class App:
    """The application of the adapter."""

    def __init__(self):
        self.mini = None

    async def connect(self, arguments):
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=["nucleus"], verify_mode=ssl.CERT_NONE, idle_timeout=30
        )
        host, port = arguments["server"].rsplit(":", 1)
        try:
            async with connect(
                host, int(port), configuration=configuration, create_protocol=Mini
            ) as mini:
                # aioquic has checked CertificateVerify; the pin decides whose certificate it is.
                certificate = mini._quic.tls._peer_certificate
                der = certificate.public_bytes(serialization.Encoding.DER)
                digest = hashlib.sha256(der).hexdigest()
                if digest != arguments["pin"] and FAULT != "any-pin":
                    mini.refused = True
                    return report("refused", code=None)
                self.mini = mini
                mini.start(arguments)
                await mini.done.wait()
        except ConnectionError:
            # The session has reported it.
            return
        if FAULT == "returns" and mini.code is None and mini.joined:
            await self.connect(arguments)

    async def ask(self, number, arguments):
        result = await self.mini.rpc.ask(**arguments)
        print(json.dumps({"returns": number} | result), flush=True)

    async def run(self):
        reader = asyncio.StreamReader()
        protocol = lambda: asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(protocol, sys.stdin)
        print(json.dumps({"can": ["rpc", "settings", "typed_events"]}), flush=True)
        while FAULT == "babbles":
            print("[]")
        running = set()
        while (line := await reader.readline()) and FAULT != "dies":
            arguments = json.loads(line)
            number, name = arguments.pop("id"), arguments.pop("call")
            result = {"code": None}
            if name == "connect":
                running.add(asyncio.create_task(self.connect(arguments)))
                result = {}
            elif name == "peers":
                result = {"me": self.mini.me, "peers": self.mini.peers()}
            elif name in ("send_event", "send_typed_event", "leave"):
                result = getattr(self.mini, name)(**arguments)
            elif name == "answer_rpc":
                result = self.mini.rpc.answer(**arguments)
            elif name == "rpc":
                # The answer comes later, and the next line must not wait for it.
                running.add(asyncio.create_task(self.ask(number, arguments)))
                continue
            print(json.dumps({"returns": number} | result), flush=True)


if __name__ == "__main__":
    # The library writes about each connection that it ends.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    asyncio.run(App().run())
