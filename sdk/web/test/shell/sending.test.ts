// How a room sends: waiting calls, copies, and messages that cannot be sent.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SYSTEM_CLOCK } from "../../src/clock.js";
import { MessageBuffer } from "../../src/session/buffer.js";
import type { To } from "../../src/session/to.js";
import { EventUp, RosterUpdate } from "../../src/wire/messages.js";
import { EventAck } from "../../src/wire/messaging.js";
import type { Pose } from "../../src/wire/pose.js";
import { decodeBody } from "../../src/wire/schema.js";
import { FakeCarrier, type FakeConnection, join, settle } from "./fake.js";

const POSE: Pose = { head: { position: [0, 0, 0], rotation: [0, 0, 0, 1] } };

/** Returns the events that the client has written. */
function written(connection: FakeConnection) {
  const buffer = new MessageBuffer();
  connection.lanes.forEach((bytes) => buffer.push(bytes));
  buffer.takeKind();
  const events = [];
  for (let message; typeof (message = buffer.next(1 << 20)) !== "string";) {
    events.push(decodeBody(EventUp, message.body));
  }
  return events;
}

test("waiting calls cost the same however many wait, and keep their order", async () => {
  const carrier = new FakeCarrier({ holdsWrites: true });
  const room = await join(carrier);
  // The lane takes 900 of these before calls wait.
  const count = 900 + 1_000;
  const start = performance.now();
  const sent = Array.from({ length: count }, (_, i) =>
    room.sendEvent("others", 1, Uint8Array.of(i & 0xff, i >> 8, 0, 0, 0, 0, 0, 0)),
  );
  // 1,900 calls that look at each other took more than 20 s.
  assert.ok(performance.now() - start < 2_000);
  assert.throws(() => room.trySendEvent("others", 1, Uint8Array.of(1)), { code: "wouldBlock" });
  carrier.newest.release();
  await Promise.all(sent);
  await settle();
  const numbers = written(carrier.newest).map(
    ({ payload: [low = 0, high = 0] }) => low | (high << 8),
  );
  assert.deepEqual(numbers, [...Array(count).keys()]);
  room.close();
});

test("too many waiting calls are rejected, and a close ends those that wait", async () => {
  const room = await join(new FakeCarrier({ holdsWrites: true }));
  const codes = new Map<string, number>();
  const sent = Array.from({ length: 3_000 }, () =>
    room.sendEvent("others", 1, new Uint8Array(8)).catch(({ code }) => {
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }),
  );
  await settle();
  assert.ok((codes.get("tooMany") ?? 0) > 500);
  room.close();
  await Promise.all(sent);
  assert.equal(codes.get("closed"), 1_024);
});

test("an acknowledgement wakes those who wait", async () => {
  const carrier = new FakeCarrier({ holdsWrites: true });
  const room = await join(carrier);
  const big = new Uint8Array(16 << 10);
  for (let i = 0; i < 4; i++) {
    await room.sendEvent("others", 1, big);
  }
  let isSent = false;
  const last = room.sendEvent("others", 1, big).then(() => (isSent = true));
  await settle();
  assert.equal(isSent, false);
  carrier.newest.say(EventAck, { eventsTaken: 1 });
  await last;
  room.close();
});

test("recipients and payloads that the caller changes are sent as they were", async () => {
  const carrier = new FakeCarrier({ holdsWrites: true });
  const room = await join(carrier);
  const payload = new Uint8Array(12_000);
  const peers = [2];
  const sent = Array.from({ length: 8 }, (_, i) => {
    payload[0] = i;
    return room.sendEvent({ peers }, 1, payload);
  });
  payload[0] = 99;
  peers[0] = 3;
  carrier.newest.release();
  await Promise.all(sent);
  await settle();
  const events = written(carrier.newest);
  assert.deepEqual(
    events.map(({ payload }) => payload[0]),
    [0, 1, 2, 3, 4, 5, 6, 7],
  );
  assert.ok(events.every(({ peers }) => peers.length === 1 && peers[0] === 2));
  room.close();
});

test("unknown recipients are refused, not sent to others", async () => {
  const carrier = new FakeCarrier();
  const room = await join(carrier);
  for (const to of [
    "Host",
    "toString",
    undefined,
    null,
    7,
    {},
    { peers: ["2"] },
    { peers: [-1] },
  ]) {
    const wrong = { code: "invalidTarget" };
    await assert.rejects(room.sendEvent(to as To, 1, new Uint8Array(1)), wrong, String(to));
    await assert.rejects(room.sendBulk(to as To, 1, new Uint8Array(1)), wrong, String(to));
    if (to !== undefined) {
      assert.throws(() => room.sendUnreliable(new Uint8Array(1), { to: to as To }), wrong);
    }
  }
  await settle();
  assert.deepEqual(carrier.newest.lanes, []);
  room.close();
});

test("realtime messages that cannot be sent are counted, and do not throw", async () => {
  const carrier = new FakeCarrier();
  const room = await join(carrier);
  carrier.newest.say(RosterUpdate, { version: 2, left: [{ peer: 2 }] });
  await settle();
  room.sendUnreliable(new Uint8Array(1), { to: { peers: [2] } });
  assert.equal(room.stats().realtime.unsent, 1);
  room.close();
  room.sendPose(POSE);
  room.sendPointer(new Uint8Array(1));
  assert.equal(room.stats().realtime.unsent, 3);
  // A mistake of the caller still is one.
  assert.throws(() => room.sendUnreliable(new Uint8Array(1), { channel: 256 }), {
    code: "invalidArgument",
  });
});

test("timers of requests to peers end with the answer and with the room", async () => {
  const timers = new Set<object>();
  const clock = {
    now: () => performance.now(),
    after: (ms: number, callback: () => void) => {
      const timer = {};
      timers.add(timer);
      const cancel = SYSTEM_CLOCK.after(ms, () => {
        timers.delete(timer);
        callback();
      });
      return () => {
        timers.delete(timer);
        cancel();
      };
    },
  };
  const room = await join(new FakeCarrier({ holdsWrites: true }), { clock });
  // More than may wait for their answers at the same time.
  const asked = Array.from({ length: 100 }, () =>
    room.rpc(2, "method", new Uint8Array(1), { timeoutMs: 60_000 }).catch(({ code }) => code),
  );
  const late = room.rpc(2, "method", new Uint8Array(1), { timeoutMs: 20 });
  await assert.rejects(late, { code: "rpcTimedOut" });
  room.close();
  assert.deepEqual(new Set(await Promise.all(asked)), new Set(["closed"]));
  await settle();
  assert.equal(timers.size, 0);
});

test("a payload that is no Uint8Array is refused, and nothing is sent", async () => {
  const carrier = new FakeCarrier();
  const room = await join(carrier);
  for (const payload of ["a text", new ArrayBuffer(2), [1, 2], null, undefined, { length: 1 }]) {
    const wrong = payload as unknown as Uint8Array;
    const refused = { code: "invalidArgument" };
    await assert.rejects(room.sendEvent("others", 1, wrong), refused);
    await assert.rejects(room.sendTypedEvent("others", "t", wrong), refused);
    await assert.rejects(room.sendBulk("others", 1, wrong), refused);
    await assert.rejects(room.rpc(1, "m", wrong), refused);
    assert.throws(() => room.trySendEvent("others", 1, wrong), refused);
    assert.throws(() => room.answerRpc(1, wrong), refused);
    assert.throws(() => room.sendPointer(wrong), refused);
    assert.throws(() => room.sendUnreliable(wrong), refused);
    assert.throws(() => room.sendNewest(wrong), refused);
    assert.throws(() => room.sendVoice({ level: 1, speaking: true, opus: wrong }), refused);
  }
  await room.sendEvent("others", 1, Uint8Array.of(7));
  await settle();
  assert.deepEqual(
    written(carrier.newest).map(({ payload }) => [...payload]),
    [[7]],
  );
  room.close();
});
