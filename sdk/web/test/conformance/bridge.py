"""A carrier for tests in Node, which has no QUIC: QUIC connections, told in JSON lines.

It reads commands from its standard input, and writes what happens to its standard output. Byte
strings are in base64. `id` names a connection, `stream` is the stream's number in QUIC.

| command | fields |
|---|---|
| dial | id, server, pins (hexadecimal) |
| write | id, stream, data |
| finish | id, stream |
| stop | id, stream, code |
| datagram | id, data |
| close | id, code, text |

| event | fields |
|---|---|
| connected, failed | id; text |
| data, end, reset, stopped | id, stream; data |
| finished | id, stream: the server has everything on it |
| datagram | id, data |
| closed | id; number, null if the connection was lost; text |

Needs the package aioquic.
"""

import asyncio
import base64
import hashlib
import json
import logging
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives import serialization

IDLE_TIMEOUT_S = 30
RESET_TOKEN = 16
# How often a stream that was ended is looked at.
POLL_S = 0.01


def tell(event, **fields):
    data = fields.get("data")
    if data is not None:
        fields["data"] = base64.b64encode(data).decode()
    print(json.dumps({"event": event} | fields), flush=True)


class Client(QuicConnectionProtocol):
    """One connection. `number` is its id; events before `is_open` are those of the handshake."""

    number = None
    is_open = False

    def datagram_received(self, data, addr):
        """Notices stateless resets (RFC 9000, section 10.3), which the library does not."""
        quic = self._quic
        tokens = [cid.stateless_reset_token for cid in [quic._peer_cid, *quic._peer_cid_available]]
        if len(data) > RESET_TOKEN and data[-RESET_TOKEN:] in tokens and self.is_open:
            self.is_open = False
            tell("closed", id=self.number, number=None, text="reset by the server")
            return self._closed.set()
        super().datagram_received(data, addr)

    def quic_event_received(self, event):
        fields = {"id": self.number}
        if isinstance(event, events.ConnectionTerminated):
            if self.is_open:
                has_code = event.frame_type is None
                number = event.error_code if has_code else None
                tell("closed", number=number, text=event.reason_phrase, **fields)
        elif isinstance(event, events.DatagramFrameReceived):
            tell("datagram", data=event.data, **fields)
        elif isinstance(event, events.StreamDataReceived):
            if event.data or not event.end_stream:
                tell("data", stream=event.stream_id, data=event.data, **fields)
            if event.end_stream:
                tell("end", stream=event.stream_id, **fields)
        elif isinstance(event, events.StreamReset):
            tell("reset", stream=event.stream_id, **fields)
        elif isinstance(event, events.StopSendingReceived):
            tell("stopped", stream=event.stream_id, **fields)

    def digest(self):
        der = self._quic.tls._peer_certificate.public_bytes(serialization.Encoding.DER)
        return hashlib.sha256(der).hexdigest()

    async def finish(self, stream):
        self._quic.send_stream_data(stream, b"", True)
        self.transmit()
        found = self._quic._streams.get(stream)
        while found is not None and not found.sender.is_finished:
            await asyncio.sleep(POLL_S)
        tell("finished", id=self.number, stream=stream)


class Bridge:
    def __init__(self):
        self.clients, self.tasks = {}, set()

    def spawn(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def dial(self, number, server, pins):
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=["nucleus"], verify_mode=ssl.CERT_NONE,
            idle_timeout=IDLE_TIMEOUT_S, max_datagram_frame_size=65_535,
        )
        host, port = server.rsplit(":", 1)
        try:
            async with connect(
                host.strip("[]"), int(port), configuration=configuration, create_protocol=Client,
            ) as client:
                # The library has checked CertificateVerify; the pin decides whose it is.
                if client.digest() not in pins:
                    client.close(0)
                    return tell("failed", id=number, text="the certificate is not trusted")
                client.number, client.is_open = number, True
                self.clients[number] = client
                tell("connected", id=number)
                await client.wait_closed()
        except (OSError, ConnectionError) as error:
            if number not in self.clients:
                tell("failed", id=number, text=str(error) or "the handshake failed")
        finally:
            self.clients.pop(number, None)

    def handle(self, command):
        name, number = command["command"], command["id"]
        if name == "dial":
            return self.spawn(self.dial(number, command["server"], command["pins"]))
        client = self.clients.get(number)
        if client is None:
            return
        quic, stream = client._quic, command.get("stream")
        data = base64.b64decode(command.get("data", ""))
        if name == "write":
            quic.send_stream_data(stream, data)
        elif name == "finish":
            return self.spawn(client.finish(stream))
        elif name == "stop":
            quic.stop_stream(stream, command["code"])
        elif name == "datagram":
            quic.send_datagram_frame(data)
        elif name == "close":
            client.is_open = False
            client.close(command["code"], command["text"])
        client.transmit()

    async def run(self):
        reader = asyncio.StreamReader(limit=1 << 22)
        protocol = lambda: asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(protocol, sys.stdin)
        while line := await reader.readline():
            try:
                self.handle(json.loads(line))
            except (ValueError, AssertionError) as error:
                # A stream that the server has stopped, or a connection that has just ended.
                print(f"bridge: {error!r}", file=sys.stderr)


if __name__ == "__main__":
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    asyncio.run(Bridge().run())
