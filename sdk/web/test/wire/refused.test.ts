// Malformed bytes: those of the protocol's vectors, and random and mutated ones. Nothing but a
// `WireError` may come out, whatever a server or a peer sends.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as wire from "../../src/wire/index.js";
import { SCHEMAS, WireError } from "../../src/wire/index.js";
import { bytesOf, camel, vectors } from "./vectors.js";

interface Refused {
  what: string;
  why: string;
  hex: string;
}

/** Prepends a frame's type and length to its body. */
function framed(kind: number, body: Uint8Array): Uint8Array {
  const out = new wire.Writer();
  wire.putFrame(out, kind, body);
  return out.copy();
}

type Read = (bytes: Uint8Array) => unknown;

const serverFrame =
  (kind: number): Read =>
  (body) =>
    wire.readServerBody(framed(kind, body));
const clientFrame =
  (kind: number): Read =>
  (body) =>
    wire.readClientBody(framed(kind, body));

const READERS: Record<string, Read> = {
  ...Object.fromEntries(
    [...Object.entries(wire)]
      .filter(([, schema]) => [...SCHEMAS.values()].includes(schema as never))
      .map(([name, schema]) => [name, (body) => wire.decodeBody(schema as never, body)] as const),
  ),
  MessageHeader: (bytes) => wire.readHeader(bytes, wire.MAX_CONTROL_MESSAGE),
  Body: wire.readClientBody,
  ServerBody: wire.readServerBody,
  Pose: wire.parsePose,
  Voice: (payload) => {
    if (wire.parseVoice(payload) === undefined) {
      throw new WireError("too short");
    }
  },
  ClockRequest: clientFrame(wire.CLOCK),
  ClockReply: serverFrame(wire.CLOCK),
  ClientReport: clientFrame(wire.REPORT),
  ServerReport: serverFrame(wire.REPORT),
  KeepAlive: clientFrame(wire.KEEP_ALIVE_FRAME),
  PathChallenge: serverFrame(wire.PATH_CHALLENGE),
  PathResponse: clientFrame(wire.PATH_RESPONSE),
  SendTime: serverFrame(wire.SEND_TIME),
  Ack: serverFrame(wire.ACK),
  ReportInterval: serverFrame(wire.REPORT_INTERVAL),
};

/** Not read by a client without a realtime port: sealed datagrams, and frames that are reserved. */
const NOT_READ = ["datagram_header", "viewpoint", "presence"];

function pascal(name: string): string {
  const rest = camel(name);
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

test("what the vectors say is refused", () => {
  const { cases } = vectors<{ cases: Refused[] }>("refused");
  let refused = 0;
  for (const { what, why, hex } of cases) {
    if (!NOT_READ.includes(what)) {
      const read = READERS[pascal(what)];
      assert.ok(read, `nothing reads ${what}`);
      assert.throws(() => read(bytesOf(hex)), WireError, `${what}: ${why}`);
      refused += 1;
    }
  }
  assert.ok(refused > 50);
});

test("a frame that this client does not use must be whole, too", () => {
  const used = framed(wire.SEND_TIME, new Uint8Array(4));
  for (const [kind, length] of [
    [wire.PATH_CHALLENGE, 8],
    [wire.PATH_RESPONSE, 8],
    [wire.ACK, 4],
  ] as const) {
    const body = (bytes: number) => Uint8Array.of(...used, ...framed(kind, new Uint8Array(bytes)));
    assert.throws(() => wire.readServerBody(body(length - 1)), WireError, `type ${kind}`);
    // Later versions may add fields.
    assert.equal(wire.readServerBody(body(length)).length, 1);
    assert.equal(wire.readServerBody(body(length + 1)).length, 1);
  }
});

/** Numbers below 2^32 from a seed (mulberry32). */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Runs a reader; whatever it throws must be a `WireError`. */
function feed(read: Read, bytes: Uint8Array, seed: string): boolean {
  try {
    read(bytes);
    return true;
  } catch (error) {
    assert.ok(error instanceof WireError, `${seed}: ${String(error)}`);
    return false;
  }
}

const ALL: [string, Read][] = [
  ...Object.entries(READERS),
  ["Rpc", wire.parseRpc],
  ["TypedEvent", wire.parseTypedEvent],
];

test("random bytes are read or refused", () => {
  for (const [name, read] of ALL) {
    const next = seeded(name.length);
    for (let round = 0; round < 2_000; round += 1) {
      const bytes = Uint8Array.from({ length: next(200) }, () => next(256));
      feed(read, bytes, `${name}, round ${round}`);
    }
  }
});

test("mutated messages are read or refused, without more work than their bytes", () => {
  const { messages } = vectors<{ messages: { hex: string }[] }>("session");
  const { bodies } = vectors<{ bodies: { hex: string }[] }>("realtime");
  const next = seeded(7);
  const extremes = [0, 1, 0x7f, 0x80, 0xff];
  let taken = 0;
  const started = Date.now();
  for (let round = 0; round < 60_000; round += 1) {
    const isMessage = round % 4 > 0;
    const cases = isMessage ? messages : bodies;
    const bytes = bytesOf(cases[next(cases.length)]?.hex ?? "");
    for (let flips = 1 + next(4); flips > 0 && bytes.length > 0; flips -= 1) {
      const extreme = extremes[next(extremes.length)] ?? 0;
      bytes[next(bytes.length)] = next(2) === 0 ? extreme : next(256);
    }
    const cut = next(8) === 0 ? bytes.subarray(next(bytes.length + 1)) : bytes;
    const read: Read = isMessage
      ? (message) => {
          const { schema } = wire.readHeader(message, wire.MAX_CONTROL_MESSAGE);
          return wire.decodeBody(schema, message.subarray(wire.HEADER_BYTES));
        }
      : wire.readServerBody;
    taken += feed(read, cut, `round ${round}`) ? 1 : 0;
  }
  assert.ok(taken > 5_000 && taken < 55_000, `${taken} were taken`);
  assert.ok(Date.now() - started < 30_000, "reading took too long");
});

test("a huge count costs nothing", () => {
  const body = bytesOf("00000000ffffffff");
  for (const schema of SCHEMAS.values()) {
    const padded = new Uint8Array(200);
    padded.set(body, 192);
    feed((bytes) => wire.decodeBody(schema, bytes), padded, `schema ${schema.schema}`);
  }
  const gone = wire.encodeMessage(wire.RoomList, {}).subarray(wire.HEADER_BYTES);
  new DataView(gone.buffer, gone.byteOffset).setUint32(gone.length - 4, 0xffff_ffff, true);
  assert.throws(() => wire.decodeBody(wire.RoomList, gone), WireError);
});
