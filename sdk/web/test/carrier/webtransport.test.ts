// The carrier of browsers against a stand-in for `WebTransport`. test/browser has the real one.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { DialError } from "../../src/carrier/carrier.js";
import { WebTransportCarrier } from "../../src/carrier/webtransport.js";

interface Closing {
  closeCode?: number;
  reason?: string;
}

/** What a page sees of a session. */
class StandIn {
  static newest: StandIn;
  static isReachable = true;
  readonly url: string;
  readonly options: WebTransportOptions;
  readonly ready: Promise<void>;
  readonly closed: Promise<Closing>;
  readonly sent: Uint8Array[] = [];
  readonly incomingUnidirectionalStreams = new ReadableStream();
  readonly datagrams = {
    maxDatagramSize: 1_200,
    readable: new ReadableStream<Uint8Array>(),
    writable: new WritableStream<Uint8Array>({
      write: (bytes) => void this.sent.push(bytes),
    }),
  };
  closedWith: Closing | undefined;
  end: (closing: Closing) => void = () => {};
  lose: (error: Error) => void = () => {};

  constructor(url: string, options: WebTransportOptions) {
    this.url = url;
    this.options = options;
    StandIn.newest = this;
    const failed = Promise.reject(new Error("Opening handshake failed."));
    failed.catch(() => {});
    this.ready = StandIn.isReachable ? Promise.resolve() : failed;
    this.closed = new Promise((resolve, reject) => {
      this.end = resolve;
      this.lose = reject;
    });
    this.closed.catch(() => {});
  }

  close(closing: Closing = {}): void {
    this.closedWith = closing;
    this.end(closing);
  }
}

afterEach(() => {
  StandIn.isReachable = true;
});

Object.assign(globalThis, { WebTransport: StandIn });

const PIN = new Uint8Array(32).fill(7);

function dial(server = "host:5055", pins: Uint8Array[] = [PIN]) {
  return new WebTransportCarrier().dial(server, pins, new AbortController().signal);
}

test("a server is dialled by its address and the pins", async () => {
  const connection = await dial();
  const { url, options } = StandIn.newest;
  assert.equal(url, "https://host:5055/nucleus");
  assert.deepEqual(options.serverCertificateHashes, [{ algorithm: "sha-256", value: PIN }]);
  assert.equal(connection.maxDatagramSize, 1_200);
  await dial("[::1]:5055", []);
  assert.equal(StandIn.newest.url, "https://[::1]:5055/nucleus");
  assert.equal(StandIn.newest.options.serverCertificateHashes, undefined);
});

test("a failure may be about the certificate only if there are pins", async () => {
  StandIn.isReachable = false;
  const mayBe = async (pins: Uint8Array[]) => {
    const error: unknown = await dial("host:1", pins).catch((error: unknown) => error);
    return error instanceof DialError && error.mayBeCertificate;
  };
  assert.deepEqual([await mayBe([PIN]), await mayBe([])], [true, false]);
});

test("the end of a session has its code, or is a loss", async () => {
  const ended = async (end: (session: StandIn) => void) => {
    const connection = await dial();
    end(StandIn.newest);
    return connection.closed;
  };
  const kicked = { kind: "byServer", number: 50, text: "kicked" };
  assert.deepEqual(
    await ended((session) => session.end({ closeCode: 50, reason: "kicked" })),
    kicked,
  );
  const left = await ended((session) => session.end({ closeCode: 0, reason: "left" }));
  assert.deepEqual(left, { kind: "byServer", number: 0, text: "left" });
  const without = await ended((session) => session.end({ closeCode: 0, reason: "" }));
  assert.equal(without.kind, "lost");
  const lost = await ended((session) => session.lose(new Error("Connection lost.")));
  assert.deepEqual(lost, { kind: "lost", text: "Connection lost." });
});

test("a close says the code, and is one by this client", async () => {
  const connection = await dial();
  connection.close(4, "");
  assert.deepEqual(StandIn.newest.closedWith, { closeCode: 4, reason: "" });
  assert.deepEqual(await connection.closed, { kind: "byClient" });
});

test("datagrams that cannot be sent are dropped", async () => {
  const connection = await dial();
  for (let n = 0; n < 1_000; n += 1) {
    connection.sendDatagram(Uint8Array.of(n & 0xff));
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(StandIn.newest.sent.length, 64);
});
