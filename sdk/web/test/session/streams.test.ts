// The streams of a session, in both directions, without a network.

import assert from "node:assert/strict";
import { test } from "node:test";

import { MessageBuffer } from "../../src/session/buffer.js";
import { IncomingStreams } from "../../src/session/incoming.js";
import { concat, OutgoingStreams } from "../../src/session/outgoing.js";
import { SUPPORTED } from "../../src/wire/features.js";
import { EventDown, Leave, RosterUpdate } from "../../src/wire/messages.js";
import { BULK, EVENTS } from "../../src/wire/messaging.js";
import { encodeMessage } from "../../src/wire/schema.js";
import { StateSnapshot, StateUpdate } from "../../src/wire/state.js";

const leave = (code: number) => encodeMessage(Leave, { code });
const text = (bytes: string) => new TextEncoder().encode(bytes);

test("messages come out whole however they are cut", () => {
  const bytes = concat(leave(1), leave(2));
  for (let cut = 0; cut < bytes.length; cut += 1) {
    const buffer = new MessageBuffer();
    const found: Uint8Array[] = [];
    for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      buffer.push(part);
      for (let message; typeof (message = buffer.next(100)) !== "string";) {
        assert.equal(message.schema, Leave);
        found.push(message.body);
      }
    }
    assert.deepEqual(found, [leave(1).slice(8), leave(2).slice(8)]);
    buffer.end(false);
    assert.equal(buffer.next(100), "ended");
  }
});

test("an end inside a message is an error unless the stream broke", () => {
  for (const isBroken of [false, true]) {
    const buffer = new MessageBuffer();
    buffer.push(concat(leave(1), leave(2).subarray(0, 9)));
    buffer.end(isBroken);
    assert.notEqual(typeof buffer.next(100), "string");
    if (isBroken) {
      assert.equal(buffer.next(100), "ended");
    } else {
      assert.throws(() => buffer.next(100));
    }
  }
});

test("a message over the limit is an error before it has come", () => {
  const buffer = new MessageBuffer();
  buffer.push(leave(1).subarray(0, 8));
  assert.throws(() => buffer.next(1));
});

test("a stream has one write at a time and a lane begins with its type", () => {
  const streams = new OutgoingStreams();
  streams.pushControl(text("a"));
  streams.pushControl(text("b"));
  streams.write(EVENTS, text("c"));
  assert.ok(!streams.canWrite(EVENTS) && streams.canWrite(BULK));
  assert.deepEqual(streams.poll(), { target: "control", bytes: text("a") });
  assert.deepEqual(streams.poll(), { target: EVENTS, bytes: text("\x02c") });
  assert.equal(streams.poll(), undefined);
  streams.written("control");
  assert.deepEqual(streams.poll(), { target: "control", bytes: text("b") });
  streams.written(EVENTS);
  streams.write(EVENTS, text("d"));
  assert.deepEqual(streams.poll(), { target: EVENTS, bytes: text("d") });
});

test("a leave is said after the server has all events", () => {
  const streams = new OutgoingStreams();
  streams.pushControl(text("a"));
  streams.poll();
  streams.written("control");
  streams.write(EVENTS, text("c"));
  streams.leave(text("l"));
  assert.equal(streams.poll()?.target, EVENTS);
  assert.equal(streams.poll(), undefined, "the event is not written yet");
  streams.written(EVENTS);
  assert.deepEqual(streams.poll(), { target: EVENTS, bytes: undefined });
  assert.equal(streams.poll(), undefined, "the server does not have it yet");
  streams.finished(EVENTS);
  assert.deepEqual(streams.poll(), { target: "control", bytes: text("l") });
  streams.written("control");
  assert.deepEqual(streams.poll(), { target: "control", bytes: undefined });
  streams.finished("control");
  assert.equal(streams.poll(), undefined);
});

/** The streams of a session with all features, and a stream of the server with these bytes. */
function opened(...bytes: Uint8Array[]): IncomingStreams {
  const streams = new IncomingStreams();
  streams.features = SUPPORTED;
  streams.open(0);
  streams.push(0, concat(...bytes));
  return streams;
}

function eventDown(sequence: bigint, rosterVersion = 0): Uint8Array {
  return encodeMessage(EventDown, { sequence, rosterVersion });
}

test("an event waits for its roster, and its lane is not read meanwhile", () => {
  const streams = opened(Uint8Array.of(2), eventDown(1n, 1), eventDown(2n, 0));
  assert.equal(streams.next(), undefined);
  assert.ok(!streams.wants(0) && streams.wants("control"));
  assert.deepEqual(streams.lastSequences, [0n, 0n]);
  streams.rosterVersion = 1;
  const sequences = [streams.next(), streams.next()].map((item) => {
    return item?.kind === "event" && item.event.sequence;
  });
  assert.deepEqual(sequences, [1n, 2n]);
  assert.deepEqual(streams.lastSequences, [2n, 0n]);
});

test("unknown streams and a second one of a lane are refused", () => {
  const streams = opened(Uint8Array.of(2));
  assert.equal(streams.next(), undefined);
  assert.ok(streams.wantsStream());
  streams.open(1);
  assert.ok(!streams.wantsStream(), "its type is not known");
  streams.push(1, Uint8Array.of(2));
  assert.equal(streams.next(), undefined);
  assert.equal(streams.takeRefused(), 1);
  streams.open(2);
  streams.push(2, Uint8Array.of(77, 1, 2, 3));
  assert.equal(streams.next(), undefined);
  assert.equal(streams.takeRefused(), 2);
  assert.ok(!streams.wants(2) && streams.wants(0));
});

test("the state has one stream, a snapshot first, and no gaps", () => {
  const snapshot = encodeMessage(StateSnapshot, { version: 7n });
  const update = (version: bigint) => encodeMessage(StateUpdate, { version });
  const streams = opened(Uint8Array.of(3), snapshot, update(8n), update(10n));
  assert.equal(streams.next()?.kind, "snapshot");
  assert.equal(streams.next()?.kind, "update");
  assert.throws(() => streams.next(), /version 10/);
  assert.throws(() => opened(Uint8Array.of(3), update(1n)).next());
  const second = opened(Uint8Array.of(3), snapshot);
  second.next();
  second.open(1);
  second.push(1, Uint8Array.of(3));
  assert.throws(() => second.next(), /second/);
  const without = opened(Uint8Array.of(3));
  without.features = 0;
  assert.throws(() => without.next());
});

test("a message on the wrong stream is an error", () => {
  assert.throws(() => opened(Uint8Array.of(2), encodeMessage(RosterUpdate, {})).next());
  const control = new IncomingStreams();
  control.push("control", encodeMessage(StateSnapshot, {}));
  assert.throws(() => control.next(), /belong/);
});
