"""Plays a dialogue: one method for each kind of step. README.md describes the steps."""

import base64
import json
import time

import channels
import realtime
from adapter import Adapter
from messages import STREAM_OF, Failure, compare, expand, short
from server import CLOCK_EPOCH, Server, World

# How long a step waits for what it expects, in seconds. A client that is slow but right must pass.
WAIT_S = 10
# How long a step waits for a connection. The pauses between a client's tries are up to 5.8 s.
ACCEPT_S = 20
DEFAULTS = {
    "welcome": {
        "version": 1, "server_id": "conformance", "agent": "conformance/1", "features": {"hex": "07"},
    },
    "refuse": {"oldest": 1, "newest": 1},
    "joined": {
        "peer": 1, "room_instance": "a1" * 8, "server_instance": "b1" * 8, "roster_version": 1,
        "roster": [{"peer": 1, "user": "ada", "name": "Ada", "role": "presenter"}],
        "clock_epoch": CLOCK_EPOCH, "ticket": "ticket-1", "room": "lobby",
    },
    "entered": {
        "user": "ada", "name": "Ada", "role": "presenter", "clock_epoch": CLOCK_EPOCH,
        "server_instance": "b1" * 8, "ring_ms": 30_000,
    },
}
# The flag of a realtime message of which the newest is worth all.
NEWEST_WINS = 1
# Reports that a dialogue must expect, because each is a turn of its story. A client may report
# others where a dialogue does not ask for them.
STORY = ("joined", "refused", "event", "typed_event", "rpc_request", "bulk", "message", "interrupted", "resumed", "rejoined",
         "entered", "social_refused", "social_interrupted", "returned", "incoming", "accepted",
         "ended", "token_wanted", "throttled")
# Words of a step that do not say its kind.
WORDS = {"fields", "free", "on", "ms", "with", "as", "server", "behind", "not_before_ms", "why",
         "code", "reason", "every_ms", "names", "newer", "join", "joined", "welcome", "entered", "enter"}


def token(pin, number):
    """Returns a token that a client can read `pin` from. Nobody signed it."""
    claims = {"sub": "ada", "tenant": "acme", "product": "atom", "aud": "conformance",
              "exp": 4_102_444_800, "number": number,
              "pin": [base64.urlsafe_b64encode(pin).decode().rstrip("=")]}
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    return f"{part({'alg': 'ES256', 'typ': 'JWT'})}.{part(claims)}.bm9ib2R5"


class Player:
    """One run of a dialogue against one adapter."""

    def __init__(self, dialogue, certificate, stalls=False):
        self.dialogue, self.certificate = dialogue, certificate
        self.world = World()
        self.adapter = Adapter(self.world, stalls)
        self.servers, self.taken = [], []
        self.sessions = {}
        self.current = None
        # The steps after the one that is played.
        self.later = []
        self.calls = {}
        self.variables = {"pin": certificate.pin.hex()}
        self.links = 0

    async def play(self, command):
        """Plays all steps. Returns None, or the features of the client that the dialogue needs and
        the adapter lacks. Raises Failure."""
        await self.open_servers()
        await self.adapter.start(command)
        await self.world.until(lambda: True, 0)
        self.world.can = self.adapter.can
        lacking = set(self.dialogue.get("needs", [])) - self.adapter.can
        if lacking:
            return lacking
        for number, step in enumerate(self.dialogue["steps"], 1):
            self.later = self.dialogue["steps"][number:]
            try:
                await self.step(step)
            except Failure as failure:
                raise Failure(f"step {number}, {short(step)}\n    {failure}") from None
        self.check_rest()
        return None

    async def stop(self):
        await self.adapter.stop()
        for server in self.servers:
            server.close()

    async def open_servers(self):
        for i in range(self.dialogue.get("servers", 1)):
            certificate = self.certificate
            if self.dialogue.get("forged", False):
                certificate = certificate.without_its_key()
            server = Server(self.world, certificate, self.dialogue.get("retry", False))
            port = await server.open()
            self.servers.append(server)
            self.taken.append(0)
            self.variables["server" + (str(i + 1) if i else "")] = f"127.0.0.1:{port}"
        for i, name in enumerate(("token", "token2", "token3")):
            self.variables[name] = token(self.certificate.pin, i)

    async def step(self, step):
        kinds = step.keys() - WORDS
        if len(kinds) != 1 or not hasattr(self, f"do_{(kind := kinds.copy().pop())}"):
            raise Failure(f"the dialogue's step is of no single known kind: {sorted(kinds)}")
        if self.world.fault:
            raise Failure(self.world.fault)
        await getattr(self, f"do_{kind}")(step, step[kind])

    async def wait(self, found, what, seconds=WAIT_S):
        result = await self.world.until(found, seconds)
        if result is None:
            came = "; ".join(self.pending()) or "nothing"
            raise Failure(f"expected {what}, and waited for {seconds} s; came and not expected: {came}")
        return result

    def pending(self):
        """Returns texts of all that came and that no step has taken."""
        texts = []
        for name, session in self.sessions.items():
            for stream in session.incoming.values():
                texts += [f"{name}: {message} {short(f)}" for message, f in stream.messages]
                if stream.buffer:
                    texts.append(f"{name}: {len(stream.buffer)} bytes of a message, {stream.name}")
            if session.over:
                texts.append(f"{name}: end of the connection {session.over}")
        for kind, reports in self.adapter.reports.items():
            texts += [f"the application saw {kind} {short(report)}" for report in reports]
        return texts + [f"the adapter remarks: {remark}" for remark in self.adapter.remarks]

    def check_rest(self):
        """Fails if something came that no step has expected."""
        if self.world.fault:
            raise Failure(self.world.fault)
        rest = []
        for name, session in self.sessions.items():
            for stream in session.incoming.values():
                rest += [f"{name}: {message} {short(f)}" for message, f in stream.messages]
        for kind in STORY:
            reports = self.adapter.reports.get(kind, [])
            rest += [f"the application saw {kind} {short(report)}" for report in reports]
        for server, taken in zip(self.servers, self.taken):
            if len(server.sessions) > taken:
                rest.append("the client opened a connection")
        if rest:
            raise Failure("after the last step came, and no step expects: " + "; ".join(rest))

    # Connections.

    async def do_accept(self, step, name):
        index = step.get("server", 0)
        server = self.servers[index]
        place = self.taken[index]

        def opened():
            # A connection may end before it has a control stream: then there is nothing to take.
            session = server.sessions[place] if len(server.sessions) > place else None
            return session if session and "control" in session.incoming else None

        session = await self.wait(opened, f"a connection to server {index}", ACCEPT_S)
        self.taken[index] += 1
        least = step.get("not_before_ms", 0) / 1000
        if self.current is not None and self.current.ended_at is not None:
            after = session.created - self.current.ended_at
            # Without a pause, the new connection may come before the old one's close.
            if least and after < least:
                raise Failure(f"the connection came {after:.3f} s after the one before ended, "
                              f"not after {least} s")
        self.sessions[name] = self.current = session

    async def do_rejected(self, _, index):
        """The client ends the handshake, and has sent no message."""
        server, place = self.servers[index], self.taken[index]

        def ended():
            session = server.sessions[place] if len(server.sessions) > place else None
            return session is not None and bool(session.over or session.incoming)

        await self.wait(ended, f"that the client rejects server {index}")
        if server.sessions[place].incoming:
            raise Failure("the client sent a message to a server that it must not trust")
        self.taken[index] += 1

    async def do_use(self, _, name):
        self.current = self.sessions[name]

    async def do_joins(self, step, name):
        """A whole join: connection, Hello, Welcome, Join, Joined."""
        await self.do_accept(step, name)
        await self.do_expect({"free": "others"}, "hello")
        await self.do_send({"fields": step.get("welcome", {})}, "welcome")
        join = {"token": "$token", "room": "lobby", "ticket": ""} | step.get("join", {})
        await self.do_expect({"fields": join, "free": "others"}, "join")
        await self.do_send({"fields": step.get("joined", {})}, "joined")

    async def do_enters(self, step, name):
        """A whole entry into a social session."""
        await self.do_accept(step, name)
        await self.do_expect({"free": "others"}, "hello")
        await self.do_send({}, "welcome")
        enter = {"token": "$token"} | step.get("enter", {})
        await self.do_expect({"fields": enter, "free": "others"}, "enter")
        await self.do_send({"fields": step.get("entered", {})}, "entered")

    async def do_no_connection(self, _, ms):
        more = lambda: any(len(s.sessions) > taken for s, taken in zip(self.servers, self.taken))
        if await self.world.until(more, ms / 1000):
            raise Failure("the client opened a connection, and must not")

    # What the client sends.

    async def do_expect(self, step, name):
        on = step.get("on") or STREAM_OF.get(name, "control")
        session = self.current

        def came():
            stream = session.incoming.get(on)
            if stream and stream.messages:
                return stream.messages.pop(0)
            return ("", {}) if session.over else None

        found, fields = await self.wait(came, f"{name} on the {on} stream")
        if not found:
            raise Failure(f"expected {name}; the connection ended: {session.over}")
        if found != name:
            raise Failure(f"expected {name} on the {on} stream, came {found} {short(fields)}")
        if faults := compare(step, fields, self.variables):
            raise Failure(f"{name} came, and is not as expected: " + "; ".join(faults))

    async def do_may_expect(self, step, name):
        """Takes the next message if it is this one, and leaves another one."""
        stream = lambda: self.current.incoming.get(step.get("on") or STREAM_OF.get(name, "control"))
        came = lambda: bool(stream() and stream().messages)
        if not await self.world.until(came, step["ms"] / 1000):
            return
        found, fields = stream().messages[0]
        if found == name and not compare(step, fields, dict(self.variables)):
            await self.do_expect(step, name)

    async def do_expect_end(self, _, on):
        over = lambda: (stream := self.current.incoming.get(on)) and stream.over or None
        if (how := await self.wait(over, f"the end of the client's {on} stream")) != "end":
            raise Failure(f"expected the end of the client's {on} stream, came {how}")

    async def do_expect_stop(self, step, on):
        stream_id = 0 if on == "control" else self.current.outgoing[on]
        stopped = lambda: (code := self.current.stopped.get(stream_id)) is not None and [code]
        what = f"STOP_SENDING for the server's {on} stream"
        [code] = await self.wait(stopped, what)
        if code != step["code"]:
            raise Failure(f"expected {what} with code {step['code']}, came code {code}")

    async def do_expect_close(self, _, codes):
        codes = codes if isinstance(codes, list) else [codes]
        over = await self.wait(lambda: self.current.over, f"a close with code {codes}")
        if over[0] != "close" or over[1] not in codes:
            raise Failure(f"expected a close with code {codes}, came {over}")

    async def do_leaves(self, _, code):
        """The client leaves: by Leave, which the server answers with a close, or by code 4."""
        session = self.current
        left = lambda: bool(session.over or session.incoming["control"].messages)
        await self.wait(left, "Leave, or a close with code 4")
        if session.over != ("close", 4):
            await self.do_expect({"fields": {"code": 0}}, "leave")
            session.close_with(code, "left")

    async def do_expect_status(self, _, status):
        """The client has entered with this status, or sends it now."""
        if self.current.opening["status"] != status:
            await self.do_expect({"fields": {"status": status}}, "set_status")

    async def do_silent(self, _, ms):
        """Nothing but keep-alives comes on the current connection, and it does not end."""
        session = self.current
        streams = session.incoming.values()
        some = lambda: bool(session.over or session.frames or any(s.messages for s in streams))
        if await self.world.until(some, ms / 1000):
            raise Failure("expected nothing, came " + "; ".join(self.pending()))

    async def do_alive(self, step, ms):
        """The client sends something at least as often as the step says."""
        end, every = time.monotonic() + ms / 1000, step["every_ms"] / 1000
        session, port = self.current, self.current.server.silent
        while (now := time.monotonic()) < end:
            since = now - max(session.last_activity, port.last)
            if since > every:
                raise Failure(f"the client sent nothing for {since:.1f} s")
            if session.over:
                raise Failure(f"the connection ended: {session.over}")
            await self.world.until(lambda: session.over, 0.2)

    async def do_expect_frame(self, step, kind):
        """A realtime message inside QUIC."""
        took = lambda: self.current.frames.pop(0) if self.current.frames else None
        frame = await self.wait(took, f"a realtime message of type {kind} inside QUIC")
        frame = frame | {"payload": bytes.fromhex(frame["payload"]).decode(errors="replace")}
        fields = {"type": kind} | step.get("fields", {})
        if faults := compare(step | {"fields": fields}, frame, self.variables):
            raise Failure("a realtime message came, and is not as expected: " + "; ".join(faults))
        if "newer" in step:
            before = self.variables[step["newer"]]
            if not 0 < frame["sequence"] - before & 0xFFFF < 0x8000:
                raise Failure(f"expected a sequence after {before}, came {frame['sequence']}")
        if "names" in step:
            self.variables[step["names"]] = frame["sequence"]

    # What the server sends.

    async def do_send(self, step, name):
        fields = DEFAULTS.get(name, {}) | expand(step.get("fields", {}), self.variables)
        if name in channels.EVENTS and "payload" in fields:
            fields["payload"] = channels.to_payload(fields["payload"])
        if name in ("joined", "entered"):
            fields = {"server_time": self.world.server_time()} | fields
        if name == "joined":
            self.links += 1
            fields = {"link_id": self.links, "grant": self.current.grant()} | fields
        self.current.send(name, fields, step.get("on"), step.get("behind", ""))

    async def do_send_bytes(self, step, data):
        self.current.write(step["on"], bytes.fromhex(data))

    async def do_frames(self, _, frames):
        """Frames inside one QUIC datagram: fields of a realtime message, or {"hex": bytes}."""
        body = b""
        for frame in frames:
            if "hex" in frame:
                body += bytes.fromhex(frame["hex"])
            else:
                payload = frame["payload"].encode().hex()
                body += realtime.write_frame("server", frame | {"payload": payload})
        self.current.send_body(body)
        for frame in frames:
            await self.newest_seen(frame)

    async def newest_seen(self, frame):
        """Waits until the application has seen a newest-wins message, if a later step says that it
        must. Until then, a client may put a newer message of the key in its place."""
        if not frame.get("flags", 0) & NEWEST_WINS:
            return
        sees = [step for step in self.later if step.get("sees") == "message"]
        sees = [step for step in sees if step["fields"].get("payload") == frame["payload"]]
        came = lambda: any(
            not compare(step, report, dict(self.variables))
            for step in sees for report in self.adapter.reports.get("message", [])
        )
        if sees:
            # The step that awaits the message says what came in its place.
            await self.world.until(lambda: came() or None, WAIT_S)

    async def do_end(self, _, on):
        self.current.write(on, b"", end=True)

    async def do_reset(self, step, on):
        self.current.reset(on, step["code"])

    async def do_stop(self, step, on):
        self.current.stop(on, step["code"])

    async def do_close(self, step, code):
        self.current.close_with(code, step.get("reason", ""))

    async def do_lost(self, _, how):
        self.current.vanish(answers_with_reset=how == "reset")

    # The application.

    async def do_call(self, step, name):
        number = self.adapter.call(name, expand(step.get("with", {}), self.variables))
        self.calls[step.get("as", name)] = number

    async def do_returned(self, step, name):
        number = self.calls[name]
        result = await self.wait(
            lambda: self.adapter.results.pop(number, None), f"the result of the call {name}"
        )
        if faults := compare(step, result, self.variables):
            raise Failure(f"the call {name} returned, and not as expected: " + "; ".join(faults))

    async def do_sees(self, step, kind):
        reports = self.adapter.reports
        took = lambda: reports[kind].pop(0) if reports.get(kind) else None
        seconds = step.get("ms", WAIT_S * 1000) / 1000
        report = await self.wait(took, f"that the application sees {kind}", seconds)
        if faults := compare(step, report, self.variables):
            raise Failure(f"the application saw {kind}, and not as expected: " + "; ".join(faults))

    async def do_sees_later(self, step, kind):
        """Reports of this kind before the expected one are skipped."""

        def took():
            reports = self.adapter.reports.get(kind, [])
            while reports:
                if not compare(step, reports.pop(0), self.variables):
                    return True
            return None

        await self.wait(took, f"that the application sees {kind} as the step says")

    async def do_sees_nothing(self, step, kinds):
        some = lambda: [kind for kind in kinds if self.adapter.reports.get(kind)]
        if await self.world.until(lambda: some() or None, step["ms"] / 1000):
            raise Failure("expected that the application sees nothing of it; it saw " +
                          "; ".join(f"{k} {short(self.adapter.reports[k])}" for k in some()))
