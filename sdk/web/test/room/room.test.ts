// The parts of a room, without a session.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BulkAssembly } from "../../src/room/assembly.js";
import { Desired } from "../../src/room/desired.js";
import { TokenRenewal } from "../../src/room/renewal.js";
import { RoomRequests } from "../../src/room/requests.js";
import { Roster } from "../../src/room/roster.js";
import { filtersOf, forRejoin, selectionOf } from "../../src/room/selection.js";
import { TakenEvents } from "../../src/room/taken.js";
import { NucleusError } from "../../src/session/error.js";
import { EMPTY, utf8 } from "../../src/wire/codec.js";
import { MAX_BULK_MESSAGE } from "../../src/wire/limits.js";
import { AWAY, MUTED, type Peer, PIECE_CONTINUES, PIECE_MORE } from "../../src/wire/messages.js";
import { BULK, EVENTS } from "../../src/wire/messaging.js";
import { JOIN_MODES } from "../../src/wire/rooms.js";

function peer(id: number, slot: number, presence = 0): Peer {
  return { peer: id, slot, presence, user: EMPTY, name: utf8(`peer ${id}`), role: EMPTY };
}

function update(version: number, more: Partial<Parameters<Roster["apply"]>[0]>) {
  return { version, joined: [], left: [], changed: [], ...more };
}

test("updates of the roster apply in order", () => {
  const roster = new Roster(7, [peer(2, 11), peer(1, 10)]);
  const changes = roster.apply(
    update(8, {
      joined: [peer(3, 12), peer(4, 13)],
      left: [
        { peer: 2, code: 42 },
        { peer: 4, code: 0 },
        { peer: 99, code: 0 },
      ],
      changed: [
        { peer: 1, presence: AWAY | MUTED },
        { peer: 77, presence: 1 },
      ],
    }),
  );
  const found = changes.map(({ kind, peer }) => `${kind} ${peer.id}`);
  // A peer that joins and leaves within one update is not told.
  assert.deepEqual(found, ["left 2", "joined 3", "presence 1", "changed 1"]);
  assert.deepEqual(
    roster.all().map(({ id }) => id),
    [1, 3],
  );
  assert.ok(roster.peer(1)?.away && roster.peer(1)?.muted);
  assert.throws(() => roster.apply(update(10, {})), /expected 9/);
  assert.equal(roster.version, 8);
});

test("versions of the roster wrap", () => {
  const roster = new Roster(0xffff_ffff, []);
  assert.deepEqual(roster.apply(update(0, {})), []);
});

test("another instance of the room has other peers", () => {
  const kinds = (isSameRoom: boolean) => {
    const roster = new Roster(1, [peer(1, 1), peer(2, 2)]);
    const changes = roster.replace(isSameRoom, new Roster(9, [peer(2, 2, AWAY), peer(3, 3)]));
    assert.equal(roster.version, 9);
    return changes.map(({ kind, peer }) => `${kind} ${peer.id}`);
  };
  assert.deepEqual(kinds(true), ["left 1", "presence 2", "joined 3"]);
  assert.deepEqual(kinds(false), ["left 1", "left 2", "joined 2", "joined 3"]);
});

const BOTH = PIECE_MORE | PIECE_CONTINUES;

function piece(from: number, piece: number, text: string | Uint8Array) {
  const payload = typeof text === "string" ? utf8(text) : text;
  return { peer: from, rosterVersion: 1, sequence: 1n, channel: 3, piece, payload };
}

function message(from: number, text: string) {
  return { from, channel: 3, payload: utf8(text) };
}

test("pieces of several senders interleave", () => {
  const bulk = new BulkAssembly();
  assert.equal(bulk.take(piece(1, PIECE_MORE, "a")), undefined);
  assert.equal(bulk.take(piece(2, PIECE_MORE, "x")), undefined);
  assert.equal(bulk.take(piece(1, BOTH, "b")), undefined);
  assert.ok(bulk.hasBegunBy(1n) && !bulk.hasBegunBy(0n));
  assert.deepEqual(bulk.take(piece(2, PIECE_CONTINUES, "y")), message(2, "xy"));
  assert.deepEqual(bulk.take(piece(3, 0, "whole")), message(3, "whole"));
  assert.deepEqual(bulk.take(piece(1, PIECE_CONTINUES, "c")), message(1, "abc"));
  assert.equal(bulk.dropped, 0);
});

test("a message without its beginning is dropped and counted once", () => {
  const bulk = new BulkAssembly();
  assert.equal(bulk.take(piece(1, BOTH, "b")), undefined);
  assert.equal(bulk.take(piece(1, PIECE_CONTINUES, "c")), undefined);
  assert.deepEqual(bulk.take(piece(1, 0, "next")), message(1, "next"));
  bulk.take(piece(2, PIECE_MORE, "a"));
  bulk.clear();
  assert.equal(bulk.take(piece(2, PIECE_CONTINUES, "c")), undefined);
  assert.equal(bulk.dropped, 2);
});

test("what is kept of bulk messages is bounded", () => {
  const bulk = new BulkAssembly();
  const quarter = new Uint8Array(MAX_BULK_MESSAGE / 4);
  for (const kind of [PIECE_MORE, BOTH, BOTH, BOTH, BOTH, PIECE_CONTINUES]) {
    assert.equal(bulk.take(piece(1, kind, quarter)), undefined);
  }
  assert.equal(bulk.dropped, 1, "the message is too long");
  for (let from = 0; from < 128; from += 1) {
    bulk.take(piece(from, PIECE_MORE, "a"));
  }
  assert.equal(bulk.take(piece(0, PIECE_CONTINUES, "b")), undefined, "the oldest was dropped");
  assert.deepEqual(bulk.take(piece(127, PIECE_CONTINUES, "b")), message(127, "ab"));
});

test("an event of the client counts as taken when no earlier one waits", () => {
  const taken = new TakenEvents([3n, 1n]);
  const at = (sequence: bigint) => ({ lane: EVENTS, sequence }) as const;
  taken.pass(4n);
  assert.deepEqual(taken.lastSequences(), [4n, 1n]);
  taken.queue("event", at(5n));
  taken.pass(6n);
  taken.queue("event", at(7n));
  taken.pass(8n);
  assert.deepEqual(taken.lastSequences(), [4n, 1n]);
  taken.take("event", at(5n));
  assert.deepEqual(taken.lastSequences(), [5n, 1n], "the event before the next one comes again");
  taken.take("event", at(7n));
  assert.deepEqual(taken.lastSequences(), [8n, 1n]);
  taken.queue("bulk", { lane: BULK, sequence: 9n });
  taken.take("bulk", { lane: BULK, sequence: 9n });
  assert.deepEqual(taken.lastSequences(), [8n, 9n]);
});

test("a new peer has taken nothing", () => {
  const taken = new TakenEvents([30n, 40n]);
  taken.pass(60n);
  taken.queue("rejoined", undefined);
  assert.deepEqual(taken.lastSequences(), [0n, 0n]);
  taken.pass(2n);
  taken.take("rejoined", undefined);
  assert.deepEqual(taken.lastSequences(), [2n, 0n]);
});

test("a desired value is sent until a server takes it", () => {
  const desired = new Desired<boolean>();
  const requests = new RoomRequests();
  assert.equal(desired.unsent(), undefined);
  const first = desired.set(true, requests);
  assert.deepEqual([desired.unsent(), desired.outcome(first, false)], [true, undefined]);
  assert.equal(desired.outcome(first, true), true, "it is sent later");
  desired.sent(requests.start());
  requests.endAll();
  desired.settle(requests);
  assert.equal(desired.unsent(), true);
  const second = requests.start();
  desired.sent(second);
  requests.onReply({ request: second, code: 0, failed: 0, version: 0n }, 0n);
  desired.settle(requests);
  assert.deepEqual([desired.unsent(), desired.outcome(first, false)], [undefined, true]);
  desired.becomeNewPeer();
  assert.equal(desired.unsent(), true);
});

test("a refused value is not sent again, and a newer setting replaces an older one", () => {
  const desired = new Desired<boolean>();
  const requests = new RoomRequests();
  const older = desired.set(false, requests);
  const newer = desired.set(true, requests);
  const request = requests.start();
  desired.sent(request);
  requests.onReply({ request, code: 60, failed: 0, version: 0n }, 0n);
  desired.settle(requests);
  const outcome = desired.outcome(newer, false);
  assert.ok(outcome instanceof NucleusError && outcome.code === "forbidden");
  assert.equal(desired.outcome(older, false), true);
  desired.becomeNewPeer();
  assert.equal(desired.unsent(), undefined);
});

test("a request waits until the replica has its version", () => {
  const requests = new RoomRequests();
  const request = requests.start();
  requests.onReply({ request, code: 0, failed: 0, version: 5n }, 4n);
  assert.equal(requests.take(request), undefined);
  requests.onVersion(5n);
  assert.equal(requests.take(request), 5n);
  const many = Array.from({ length: 16 }, () => requests.start());
  assert.ok(!requests.hasCapacity());
  requests.endAll();
  const result = requests.take(many[3] ?? 0);
  assert.ok(result instanceof NucleusError && result.code === "interrupted");
});

test("tokens are answered in order, and those of a lost session stay for the next join", () => {
  const renewal = new TokenRenewal();
  const reply = (code: number) => renewal.onReply({ code, ticketTtlS: 0, ticket: EMPTY });
  const first = renewal.start("a");
  const second = renewal.start("b");
  assert.equal(reply(60), false);
  assert.equal(reply(0), true);
  assert.ok(renewal.take(first) instanceof NucleusError);
  assert.deepEqual([renewal.take(second), renewal.takeNewest()], [true, "b"]);
  renewal.start("c");
  renewal.endAll("interrupted");
  assert.equal(renewal.newest, "c");
  assert.equal(reply(0), true, "a late reply counts for the ticket");
  assert.equal(reply(0), false, "a reply that nobody has asked for");
});

test("coming back looks for no other room", () => {
  const selection = selectionOf({
    mode: "matchOrCreate",
    version: "1",
    expectedUsers: ["ben"],
    options: { capacity: 3, fields: { map: "x" } },
    filters: [{ key: "level", from: 3n }],
  });
  const back = forRejoin(selection);
  assert.equal(back.mode, JOIN_MODES.joinOrCreate);
  assert.deepEqual([back.expected, back.filters], [[], []]);
  assert.deepEqual(back.options, selection.options);
  assert.equal(forRejoin(selectionOf({ mode: "join" })).mode, JOIN_MODES.join);
  const secret = selectionOf({ expectedUsers: ["ben"], options: { byInvitation: true } });
  assert.equal(forRejoin(secret).expected.length, 1);
});

test("what is too much is not sent", () => {
  const fails = (work: () => unknown) => assert.throws(work, { code: "invalidOptions" });
  const options = (options: object) => () => selectionOf({ options });
  const listed = (count: number) => ({ listed: new Array<string>(count).fill("k") });
  selectionOf({ options: listed(8) });
  fails(options(listed(9)));
  const text = "x".repeat(4_000);
  selectionOf({ options: { fields: { a: text, b: text } } });
  fails(options({ fields: { a: text, b: text, c: text } }));
  fails(options({ fields: { a: NaN } }));
  fails(options({ fields: { "": 1 } }));
  fails(options({ fields: { a: "x".repeat(4_097) } }));
  fails(options({ listed: ["x".repeat(65)] }));
  fails(() => selectionOf({ version: "x".repeat(33) }));
  fails(() => selectionOf({ password: "x".repeat(65) }));
  fails(() => filtersOf(new Array(9).fill({ key: "k", oneOf: [1] })));
  fails(() => filtersOf([{ key: "k", oneOf: [] }]));
  fails(() => filtersOf([{ key: "k", from: NaN }]));
  selectionOf({ options: { fields: { a: Infinity, b: -0, c: 1e300 } } });
});
