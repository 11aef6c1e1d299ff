// The digest of the state: catches a digest that other SDKs do not compute, and two states with one
// digest. The expected digests were made with another program, from the layout in the description.

import assert from "node:assert/strict";
import { test } from "node:test";

import { digestOf, type EntityId, partsOf, Replica } from "../../src/state/index.js";
import { type Value, valueToWire } from "../../src/state/index.js";
import { utf8 } from "../../src/wire/codec.js";
import * as wire from "../../src/wire/state.js";

const CUP = (1n << 32n) | 7n;

async function hexOf(replica: Replica): Promise<string> {
  return Buffer.from(await digestOf(replica)).toString("hex");
}

function entity(of: EntityId, fields: [string, Value, bigint][], owner = 0, mode = 0): wire.Entity {
  const inWire = fields.map(([key, value, version]) => {
    return { key: utf8(key), value: valueToWire(value), version };
  });
  return { ...partsOf(of), owner, mode, fields: inWire };
}

/** Returns the entities of a state, in another order than that of the digest. */
function entities(): wire.Entity[] {
  const wide = "\u{1f600}";
  return [
    entity(
      { object: CUP },
      [
        ["color", "red", 9n],
        ["colo", "", 8n],
      ],
      3,
    ),
    entity({ peer: 10 }, [["x", new Uint8Array([1, 2]), 5n]]),
    entity({ object: 7n }, [], 0, wire.MODE_TAKE | wire.MODE_WITH_ROOM),
    entity({ peer: 2 }, [["hand", true, 4n]]),
    // As UTF-16, the wide character comes first; as UTF-8, last.
    entity("room", [
      [wide, 0.5, 3n],
      ["\uff21", -5n, 2n],
      ["topic", "drill", 1n],
    ]),
  ];
}

function replicaOf(list: wire.Entity[], host = 2): Replica {
  const replica = new Replica();
  replica.applySnapshot({ version: 9n, host, entities: list });
  return replica;
}

test("the digest is that of other SDKs, whatever the order in which entities arrived", async () => {
  const expected = "8c8340d74607a714df963d63cafeb9aa3475ac0d9b6a23af33a17ed029780c24";
  assert.equal(await hexOf(replicaOf(entities())), expected);
  assert.equal(await hexOf(replicaOf(entities().reverse())), expected);
  const empty = "15ec7bf0b50732b49f8228e07d24365338f9e3ab994b00af08e5a3bffe55fd8b";
  assert.equal(await hexOf(new Replica()), empty);
});

test("the digest is of the state at the call", async () => {
  const replica = replicaOf(entities());
  const digest = hexOf(replica);
  replica.clear();
  assert.equal(await digest, await hexOf(replicaOf(entities())));
});

test("digests tell states apart", async () => {
  const all = entities();
  type Five = [wire.Entity, wire.Entity, wire.Entity, wire.Entity, wire.Entity];
  const [cup, peer, scene, hand, room] = all as Five;
  const others = [
    replicaOf(all, 0),
    replicaOf([cup, peer, scene, hand]),
    replicaOf([{ ...cup, owner: 4 }, peer, scene, hand, room]),
    replicaOf([{ ...cup, mode: wire.MODE_ASK }, peer, scene, hand, room]),
    replicaOf([{ ...cup, fields: cup.fields.slice(1) }, peer, scene, hand, room]),
    replicaOf([cup, entity({ peer: 10 }, [["x", "\x01\x02", 5n]]), scene, hand, room]),
    replicaOf([cup, peer, scene, entity({ peer: 2 }, [["hand", true, 3n]]), room]),
  ];
  const digests = await Promise.all([...others, replicaOf(all)].map(hexOf));
  assert.equal(new Set(digests).size, digests.length);
});
