// The events that are kept until the server has them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventBacklog, pieces, type QueuedEvent } from "../../src/session/backlog.js";
import type { To } from "../../src/session/to.js";
import { RPC_CHANNEL } from "../../src/wire/application.js";
import { PIECE_CONTINUES, PIECE_MORE } from "../../src/wire/messages.js";
import { BULK, EVENTS, type Lane } from "../../src/wire/messaging.js";

function event(n: number, more: Partial<QueuedEvent> = {}): QueuedEvent {
  return { to: "all", channel: 0, piece: 0, payload: Uint8Array.of(n), ...more };
}

/** A backlog that a session has been attached to, with six events of which four are written. */
function backlog(first = 0): EventBacklog {
  const backlog = new EventBacklog();
  backlog.attach([first, first], false, true);
  backlog.queue(
    EVENTS,
    [0, 1, 2, 3, 4, 5].map((n) => event(n)),
  );
  write(backlog, EVENTS, 4);
  return backlog;
}

function write(backlog: EventBacklog, lane: Lane, count: number): number[] {
  return Array.from({ length: count }, () => {
    const event = backlog.beginWrite(lane);
    backlog.markWritten(lane);
    return event?.payload[0] ?? -1;
  });
}

/** Writes everything that waits, and returns it. */
function rest(backlog: EventBacklog, lane: Lane = EVENTS): number[] {
  const found: number[] = [];
  for (let event; (event = backlog.beginWrite(lane)); backlog.markWritten(lane)) {
    found.push(event.payload[0] ?? -1);
  }
  return found;
}

test("a message is cut into pieces that know their place", () => {
  const cut = (length: number, size: number) => {
    const payload = Uint8Array.from({ length }, (_, n) => n);
    const parts = pieces(payload, size);
    assert.deepEqual(Uint8Array.from(parts.flatMap(({ bytes }) => [...bytes])), payload);
    return parts.map(({ piece, bytes }) => [piece, bytes.length]);
  };
  assert.deepEqual(cut(0, 4), [[0, 0]]);
  assert.deepEqual(cut(4, 4), [[0, 4]]);
  const both = PIECE_MORE | PIECE_CONTINUES;
  assert.deepEqual(cut(9, 4), [
    [PIECE_MORE, 4],
    [both, 4],
    [PIECE_CONTINUES, 1],
  ]);
});

test("acknowledged events are forgotten and no others", () => {
  const kept = backlog();
  assert.equal(kept.acknowledge([0, 0]), false, "nothing new");
  assert.equal(kept.acknowledge([3, 0]), true);
  assert.equal(kept.kept(), 3);
  assert.equal(kept.acknowledge([3, 0]), false, "repeated");
  kept.attach([3, 0], false, true);
  assert.deepEqual(rest(kept), [3, 4, 5], "the last one written comes again");
});

test("counts wrap", () => {
  const kept = backlog(0xffff_fffe);
  assert.equal(kept.acknowledge([1, 0xffff_fffe]), true);
  assert.equal(kept.kept(), 3);
});

test("an impossible count is an error and forgets nothing", () => {
  for (const first of [0, 7, 0xffff_fffd]) {
    const kept = backlog(first);
    const least = (first + 2) >>> 0;
    kept.acknowledge([least, first]);
    for (const ahead of [-1, -2, -(2 ** 31), 3, 4, 1_000, 2 ** 31 - 1]) {
      const taken = (least + ahead) >>> 0;
      assert.throws(() => kept.acknowledge([taken, first]), /possible are/);
      assert.throws(() => kept.attach([taken, first], false, true), /possible are/);
      assert.throws(() => kept.acknowledge([least, (first + ahead) >>> 0]), /possible are/);
      assert.equal(kept.kept(), 4);
    }
  }
});

test("the server may be faster than the writer", () => {
  const kept = backlog();
  kept.beginWrite(EVENTS);
  assert.equal(kept.acknowledge([5, 0]), true);
  kept.markWritten(EVENTS);
  assert.deepEqual(rest(kept), [5]);
  assert.equal(kept.hasWaiting(), false);
});

test("a new peer sends again only what was not written, and no pieces of a started message", () => {
  const kept = backlog();
  kept.queue(EVENTS, [event(6, { channel: RPC_CHANNEL }), event(7)]);
  kept.queue(BULK, [
    event(1, { piece: PIECE_MORE }),
    event(2, { piece: PIECE_MORE | PIECE_CONTINUES }),
    event(3, { piece: PIECE_CONTINUES }),
    event(4),
  ]);
  write(kept, BULK, 1);
  kept.attach([0, 0], true, true);
  assert.deepEqual(rest(kept), [4, 5, 7]);
  assert.deepEqual(rest(kept, BULK), [4]);
});

test("events for named peers mean nothing in another room", () => {
  const kept = backlog();
  const to: To = { peers: [2] };
  kept.queue(EVENTS, [event(6, { to }), event(7, { to: { group: 2 } })]);
  kept.attach([0, 0], true, false);
  assert.deepEqual(rest(kept), [4, 5, 7]);
});

test("what waits and what is not acknowledged is bounded", () => {
  const kept = new EventBacklog();
  kept.attach([0, 0], false, true);
  const large = () => event(0, { payload: new Uint8Array(16 << 10) });
  let queued = 0;
  for (; kept.hasCapacity(EVENTS); queued += 1) {
    kept.queue(EVENTS, [large()]);
  }
  assert.equal(queued, 4, "64 KiB wait");
  for (let written = 0; written < 100; written += 1) {
    kept.queue(EVENTS, [large()]);
  }
  assert.equal(rest(kept).length, 32, "512 KiB are written and not acknowledged");
  assert.ok(kept.hasWaiting());
  kept.acknowledge([1, 0]);
  assert.equal(rest(kept).length, 1);
  kept.clear();
  assert.equal(kept.kept(), 0);
});
