"""Requests to peers and typed events of the client mini.py."""

import asyncio
import random
import time

import messages
from channels import RPC, TYPED_EVENT

import application
from wire import Refused

MAX_ASKED = 64
MAX_OF_PEER, MAX_WAITING = 32, 256
NO_SUCH_METHOD, BUSY = 1, 2
FIRST_OF_APPLICATION = 256


def text_of(hexadecimal):
    return bytes.fromhex(hexadecimal).decode(errors="replace")


def is_name(text):
    """Returns whether a text may be a type or a method."""
    data = text.encode()
    try:
        application.read_name(application.Reader(bytes([min(len(data), 255)]) + data))
    except Refused:
        return False
    return True


class MiniRpc:
    """The requests of a client, and those of its peers. `mini` is its session."""

    def __init__(self, mini, report, fault):
        self.mini, self.report, self.fault = mini, report, fault
        self.next = random.getrandbits(32)
        # The requests that wait: the callee, and the future of the result, by number.
        self.asked = {}
        # The requests of peers, by the id that the application knows: (peer, number, end).
        self.waiting, self.ids = {}, 0

    # Requests of this client.

    async def ask(self, to, method, payload, timeout_ms):
        mini = self.mini
        refused = {"end": "refused", "code": None, "payload": ""}
        if mini.closed or to == mini.me or to not in mini.roster or not is_name(method):
            return refused
        if not 1 <= timeout_ms <= application.MAX_TIMEOUT or len(self.asked) >= MAX_ASKED:
            return refused
        number, self.next = self.next, self.next + 1 & 0xFFFFFFFF
        data = application.write_request({
            "request": number, "timeout_ms": timeout_ms, "method": method.encode().hex(),
            "payload": payload.encode().hex()})
        if len(data) > mini.max_event:
            return refused
        result = asyncio.get_running_loop().create_future()
        self.asked[number] = to, result
        if self.fault == "rpc-to-others":
            mini.write_event(1, RPC, [], data)
        else:
            mini.write_event(2, RPC, [to], data)
        timeout = None if self.fault == "rpc-no-timeout" else timeout_ms / 1000
        try:
            return await asyncio.wait_for(result, timeout)
        except asyncio.TimeoutError:
            return {"end": "timed_out", "code": None, "payload": ""}
        finally:
            self.asked.pop(number, None)

    def end_all(self, end, to=None):
        for callee, result in self.asked.values():
            if to in (None, callee) and not result.done():
                result.set_result({"end": end, "code": None, "payload": ""})

    def peer_left(self, peer):
        if self.fault != "rpc-stays":
            self.end_all("peer_left", peer)
        self.waiting = {id_: w for id_, w in self.waiting.items() if w[0] != peer}

    def on_answer(self, peer, answer):
        to, result = self.asked.get(answer["request"], (None, None))
        if result is None or result.done() or to != peer and self.fault != "rpc-any-answer":
            return
        code, text = answer["code"], answer["text"]
        end, shown = ("answered", answer["payload"]) if code == 0 else ("failed", text)
        # The application knows what these two mean.
        shown = "" if code in (NO_SUCH_METHOD, BUSY) else text_of(shown)
        result.set_result({"end": end, "code": code, "payload": shown})

    # Requests of peers.

    def on_request(self, peer, request):
        now, number = time.monotonic(), request["request"]
        self.waiting = {id_: w for id_, w in self.waiting.items() if w[2] > now}
        of_peer = [w[1] for w in self.waiting.values() if w[0] == peer]
        if number in of_peer:
            return
        is_busy = len(of_peer) >= MAX_OF_PEER or len(self.waiting) >= MAX_WAITING
        if is_busy and self.fault != "rpc-never-busy":
            return self.write_answer(peer, number, BUSY, b"")
        self.ids += 1
        self.waiting[self.ids] = peer, number, now + request["timeout_ms"] / 1000
        self.report("rpc_request", **{
            "request": self.ids, "from": peer, "method": text_of(request["method"]),
            "payload": text_of(request["payload"]), "timeout_ms": request["timeout_ms"]})

    def answer(self, request, code, payload):
        peer, number, end = self.waiting.get(request, (None, None, 0))
        is_reserved = code not in (0, NO_SUCH_METHOD, BUSY) and code < FIRST_OF_APPLICATION
        if end <= time.monotonic() and self.fault != "rpc-late" or peer is None or is_reserved:
            return {"code": None}
        if self.fault != "rpc-answers-twice":
            del self.waiting[request]
        self.write_answer(peer, number, code, payload.encode())
        return {"code": 0}

    def write_answer(self, peer, number, code, payload):
        answer = {"request": number, "code": code, "payload": payload.hex()}
        self.mini.write_event(2, RPC, [peer], application.write_answer(answer))

    # Events of both kinds.

    def on_event(self, event):
        data = bytes.fromhex(messages.to_wire(messages.STRING, event["payload"]))
        try:
            if event["channel"] == TYPED_EVENT:
                return self.on_typed_event(event["peer"], data)
            message = application.read_rpc(data)
        except Refused:
            if self.fault == "rpc-strict":
                raise
            return
        if event["peer"] in self.mini.roster:
            handle = self.on_request if "method" in message else self.on_answer
            handle(event["peer"], message)

    def on_typed_event(self, peer, data):
        event = application.read_typed_event(data)
        self.report("typed_event", **{"from": peer, "type": text_of(event["type"]),
                                      "payload": text_of(event["data"])})

    def typed_event(self, event_type, payload):
        """Returns the payload of a typed event; None if it has no valid type."""
        if not is_name(event_type) and self.fault != "typed-any":
            return None
        fields = {"type": event_type.encode().hex(), "data": payload.encode().hex()}
        return application.write_typed_event(fields)
