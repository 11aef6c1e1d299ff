// A server that sends anything: nothing throws, nothing hangs, and what waits stays bounded.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomClient } from "../../src/room/client.js";
import { selectionOf } from "../../src/room/selection.js";
import { concat } from "../../src/session/outgoing.js";
import type { SessionInput } from "../../src/session/step.js";
import { encodeRpc } from "../../src/wire/application.js";
import { utf8 } from "../../src/wire/codec.js";
import { Refuse, Welcome } from "../../src/wire/handshake.js";
import { EventDown, Joined, RosterUpdate } from "../../src/wire/messages.js";
import { Audit, EventAck, Renewed, Throttled, TokenWanted } from "../../src/wire/messaging.js";
import { encodeMessage } from "../../src/wire/schema.js";
import { StateReply, StateSnapshot, StateUpdate } from "../../src/wire/state.js";

/** Runs of the test. Each takes about a millisecond. */
const RUNS = 3_000;

/** Random numbers from a seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const welcome = encodeMessage(Welcome, { version: 1, features: Uint8Array.of(7) });

/** Returns a message that a server may send, more or less. */
function messageOf(random: () => number): Uint8Array {
  const u32 = () => [0, 1, 2, 3, 0xffff_ffff, Math.floor(random() * 2 ** 32)][pick(6)] ?? 0;
  const u64 = () => [0n, 1n, 2n, 3n, 2n ** 64n - 1n][pick(5)] ?? 0n;
  const pick = (count: number) => Math.floor(random() * count);
  const bytes = () => Uint8Array.from({ length: pick(40) }, () => pick(256));
  const channel = () => [0, 240, 241, 250][pick(4)] ?? 0;
  const peer = () => ({ peer: u32(), slot: pick(4), presence: pick(256), user: bytes() });
  const list = <T>(item: () => T) => Array.from({ length: pick(4) }, item);
  const value = () => ({ kind: pick(8), bits: u64(), bytes: bytes() });
  const field = () => ({ key: bytes(), value: value(), version: u64() });
  const entity = () => ({ scope: pick(4), id: u64(), owner: u32(), fields: list(field) });
  const change = () => ({ kind: pick(8), scope: pick(4), id: u64(), peer: u32(), key: bytes() });
  const rpc = () => {
    const method = "m";
    const request = u32();
    const payload = bytes();
    return pick(2)
      ? encodeRpc({ kind: "request", request, timeoutMs: 1_000, method, payload })
      : encodeRpc({ kind: "answer", request, code: pick(3), payload });
  };
  const makers = [
    () => encodeMessage(RosterUpdate, { version: u32(), joined: list(peer) }),
    () =>
      encodeMessage(RosterUpdate, {
        version: 2,
        left: list(() => ({ peer: u32(), code: pick(80) })),
        changed: list(() => ({ peer: u32(), presence: pick(256) })),
      }),
    () => encodeMessage(EventAck, { eventsTaken: u32(), bulkTaken: u32() }),
    () => encodeMessage(StateReply, { request: u32(), code: pick(80), version: u64() }),
    () => encodeMessage(Audit, { act: pick(30), by: u32(), user: bytes(), time: u64() }),
    () => encodeMessage(Throttled, { what: pick(9) }),
    () => encodeMessage(Renewed, { code: pick(2), ticketTtlS: u32(), ticket: bytes() }),
    () => encodeMessage(TokenWanted, { withinS: u32() }),
    () => encodeMessage(Refuse, { code: pick(80), text: bytes() }),
    () =>
      encodeMessage(EventDown, {
        peer: u32(),
        rosterVersion: pick(3),
        sequence: u64(),
        channel: channel(),
        piece: pick(5),
        payload: pick(2) ? rpc() : bytes(),
      }),
    () => encodeMessage(StateSnapshot, { version: u64(), host: u32(), entities: list(entity) }),
    () => encodeMessage(StateUpdate, { version: u64(), peer: u32(), changes: list(change) }),
    () =>
      encodeMessage(Joined, {
        peer: 1,
        roster: list(peer),
        rosterVersion: 1,
        linkId: u32(),
        serverTime: u64(),
        settings: list(() => ({ key: pick(32), value: u64() })),
        ticket: bytes(),
        resumed: pick(4),
        room: bytes(),
        entries: list(bytes),
      }),
  ];
  const bytesOf = makers[pick(makers.length)]?.() ?? welcome;
  if (random() < 0.3) {
    // A byte is another one, or the end is missing.
    bytesOf[pick(bytesOf.length)] = pick(256);
    return random() < 0.2 ? bytesOf.subarray(0, pick(bytesOf.length)) : bytesOf;
  }
  return bytesOf;
}

function clientOf(random: () => number): RoomClient {
  const join = { token: "t", room: "r", name: "", agent: "a", ticket: undefined };
  const options = { patienceMs: 5_000, hasTokenProvider: random() < 0.5, random };
  return new RoomClient(0, "s:1", { ...join, selection: selectionOf({}) }, options);
}

test("random messages of a server never throw, and leave a client that works or is closed", () => {
  let joined = 0;
  let closed = 0;
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const random = randomOf(seed);
    const client = clientOf(random);
    let now = 0;
    const give = (input: SessionInput) => {
      now += random() < 0.1 ? random() * 3_000 : 1;
      client.handle(now, input);
      for (let output, count = 0; (output = client.poll()); count += 1) {
        assert.ok(count < 1_000, `seed ${seed}: outputs without end`);
        if (output.kind === "stream" && output.bytes) {
          client.handle(now, { kind: "written", target: output.target });
        }
      }
      if (client.deadline() <= now) {
        client.handleTimeout(now);
      }
    };
    try {
      give({ kind: "connected", maxDatagramSize: random() < 0.5 ? 1_154 : 0 });
      const roster = [{ peer: 1 }, { peer: 2, user: utf8("ben") }];
      const answer = encodeMessage(Joined, { peer: 1, roster, rosterVersion: 1 });
      give({ kind: "bytes", source: "control", bytes: concat(welcome, answer) });
      joined += client.hasJoined ? 1 : 0;
      [2, 3, 4, 77].forEach((type, number) => {
        if (client.session.wantsStream()) {
          give({ kind: "streamOpened", number });
          give({ kind: "bytes", source: number, bytes: Uint8Array.of(type) });
        }
      });
      for (let step = 0; step < 40 && !client.session.isClosed(); step += 1) {
        const source = random() < 0.5 ? "control" : Math.floor(random() * 4);
        if (random() < 0.02) {
          give({ kind: "streamEnded", source, isBroken: random() < 0.5 });
        } else if (random() < 0.02) {
          give({ kind: "closed", end: { kind: "lost", text: "" } });
        } else if (client.session.wants(source)) {
          give({ kind: "bytes", source, bytes: messageOf(random) });
        }
        if (random() < 0.1) {
          client.takeEvent(now);
        }
      }
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
    closed += client.session.isClosed() ? 1 : 0;
  }
  // Otherwise the test would say little.
  assert.equal(joined, RUNS);
  assert.ok(closed > RUNS / 3 && closed < RUNS, `${closed} of ${RUNS} were closed`);
});

test("an answer to the join that is malformed ends the join", () => {
  let joined = 0;
  let malformed = 0;
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const random = randomOf(seed);
    const client = clientOf(random);
    client.handle(0, { kind: "connected", maxDatagramSize: 0 });
    const bytes = concat(welcome, messageOf(random), messageOf(random));
    bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    client.handle(1, { kind: "bytes", source: "control", bytes });
    client.handle(2, { kind: "closed", end: { kind: "lost", text: "" } });
    client.handleTimeout(60_000);
    while (client.poll()) {
      // All outputs are carried out.
    }
    assert.ok(client.isClosed && client.failure !== undefined, `seed ${seed}`);
    joined += client.hasJoined ? 1 : 0;
    malformed += client.failure.code === "protocolError" ? 1 : 0;
  }
  // Most messages answer no join. The answers of which a byte without a meaning is changed do.
  assert.ok(malformed > RUNS / 2, `${malformed} of ${RUNS} were malformed`);
  assert.ok(joined > 0 && joined < RUNS / 10, `${joined} of ${RUNS} have joined`);
});
