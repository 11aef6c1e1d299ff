// What a roster refuses.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Roster } from "../../src/room/roster.js";
import { ProtocolError } from "../../src/session/error.js";
import { EMPTY } from "../../src/wire/codec.js";
import type { Peer } from "../../src/wire/messages.js";

function peers(from: number, count: number): Peer[] {
  const peer = { slot: 0, presence: 0, user: EMPTY, name: EMPTY, role: EMPTY };
  return Array.from({ length: count }, (_, i) => ({ ...peer, peer: from + i }));
}

/** Would catch a server that fills the memory with peers that never leave. */
test("a roster has at most 64,000 peers", () => {
  assert.throws(() => new Roster(0, peers(1, 64_001)), ProtocolError);
  const roster = new Roster(0, peers(1, 63_000));
  const update = { left: [], changed: [] };
  assert.equal(roster.apply({ ...update, version: 1, joined: peers(63_001, 1_000) }).length, 1_000);
  const next = { ...update, version: 2, joined: peers(64_001, 1) };
  assert.throws(() => roster.apply(next), ProtocolError);
  assert.deepEqual([roster.version, roster.all().length], [1, 64_000], "unchanged");
  roster.apply({ version: 2, joined: [], left: [{ peer: 1, code: 0 }], changed: [] });
  assert.equal(roster.apply({ ...next, version: 3 }).length, 1);
});
