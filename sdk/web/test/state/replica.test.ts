// `Replica` with valid and invalid messages of a server: catches a state that differs from the
// server's, and a hostile message that is taken.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ProtocolError } from "../../src/session/error.js";
import { objectId, partsOf, Replica, sceneObject } from "../../src/state/index.js";
import { modeToWire, valueToWire } from "../../src/state/index.js";
import type { EntityId, HostRoster, StateChange, Value } from "../../src/state/index.js";
import { EMPTY, utf8 } from "../../src/wire/codec.js";
import { MAX_STATE_FIELDS, MAX_STATE_OBJECTS, MAX_STATE_VALUE } from "../../src/wire/limits.js";
import * as wire from "../../src/wire/state.js";

const CUP = objectId(1, 7);
const NONE = { kind: 0, bits: 0n, bytes: EMPTY };

function raw(kind: number, bits = 0n, bytes: Uint8Array = EMPTY) {
  return { kind, bits, bytes };
}

function changed(kind: number, entity: EntityId): wire.Change {
  return { kind, ...partsOf(entity), peer: 0, mode: 0, key: EMPTY, value: NONE };
}

function set(entity: EntityId, key: string, value: Value | undefined): wire.Change {
  const inWire = value === undefined ? NONE : valueToWire(value);
  return { ...changed(wire.CHANGE_SET, entity), key: utf8(key), value: inWire };
}

function by(kind: number, object: bigint, peer: number): wire.Change {
  return { ...changed(kind, { object }), peer, mode: wire.MODE_TAKE };
}

function update(version: bigint | number, changes: wire.Change[]): wire.StateUpdate {
  return { version: BigInt(version), peer: 1, changes };
}

function field(key: string, value: wire.Field["value"], version: bigint): wire.Field {
  return { key: utf8(key), value, version };
}

function entity(of: EntityId, fields: wire.Field[]): wire.Entity {
  return { ...partsOf(of), owner: 0, mode: 0, fields };
}

function snapshot(version: bigint, entities: wire.Entity[], host = 0): wire.StateSnapshot {
  return { version, host, entities };
}

function empty(version: bigint): Replica {
  const replica = new Replica();
  replica.applySnapshot(snapshot(version, []));
  return replica;
}

/** Returns the state of a room with a topic, a peer's field and an object. */
function example(): Replica {
  const replica = new Replica();
  const changes = [
    set("room", "topic", "drill"),
    set({ peer: 2 }, "hand", true),
    by(wire.CHANGE_CREATED, CUP, 1),
    set({ object: CUP }, "color", "red"),
  ];
  assert.equal(replica.applyUpdate(update(1, changes)).length, 4);
  return replica;
}

/** The peers whose fields the tests use. */
const PEERS = [1, 2, 3];

/** Returns the snapshot that the server would send for `replica`. */
function asSnapshot(replica: Replica, host = 0): wire.StateSnapshot {
  const fields = (of: EntityId): wire.Field[] =>
    replica.fields(of).map(([key, f]) => field(key, valueToWire(f.value), f.version));
  const others: EntityId[] = ["room", ...PEERS.map((peer) => ({ peer }))];
  const entities = others.map((of) => entity(of, fields(of)));
  for (const { id: object, owner, mode } of replica.objects()) {
    const inMode = { owner: owner ?? 0, mode: modeToWire(mode) };
    entities.push({ ...entity({ object }, fields({ object })), ...inMode });
  }
  return snapshot(
    replica.version,
    entities.filter(({ scope, fields }) => scope === wire.SCOPE_OBJECT || fields.length > 0),
    host,
  );
}

/** Returns everything that an application can read of a state. */
function content(replica: Replica) {
  const sorted = (of: EntityId) => replica.fields(of).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    version: replica.version,
    others: ["room" as const, ...PEERS.map((peer) => ({ peer }))].map(sorted),
    objects: replica.objects().map((object) => [object, sorted({ object: object.id })]),
  };
}

test("updates apply in order", () => {
  const replica = example();
  assert.deepEqual(
    [replica.field({ object: CUP }, "color")?.value, replica.field("room", "topic")?.version],
    ["red", 1n],
  );
  const mode = { ownership: "take", withRoom: false } as const;
  assert.deepEqual(replica.object(CUP), { id: CUP, owner: 1, mode });
  const changes = [
    by(wire.CHANGE_OWNER, CUP, 2),
    by(wire.CHANGE_CLAIMED, CUP, 3),
    set("room", "topic", undefined),
    // Removing a field that does not exist is valid.
    set("room", "topic", undefined),
    changed(wire.CHANGE_DELETED, { peer: 2 }),
  ];
  const topic = { kind: "field", entity: "room", key: "topic", value: undefined, by: 1 } as const;
  assert.deepEqual(replica.applyUpdate(update(2, changes)), [
    { kind: "owner", object: CUP, owner: 2, by: 1 },
    { kind: "claimed", object: CUP, by: 3 },
    topic,
    topic,
    { kind: "deleted", entity: { peer: 2 }, by: 1 },
  ] satisfies StateChange[]);
  assert.equal(replica.field("room", "topic"), undefined);
  assert.equal(replica.objects()[0]?.owner, 2);
  replica.applyUpdate(update(3, [changed(wire.CHANGE_DELETED, { object: CUP })]));
  assert.deepEqual(content(replica), content(empty(3n)));
  assert.deepEqual(replica.objects(), []);
});

test("what makes no sense is refused", () => {
  const nowhere = { object: 99n };
  const badKey = (key: Uint8Array) => ({ ...set("room", "", ""), key });
  const bad: wire.Change[] = [
    set(nowhere, "k", ""),
    set(nowhere, "k", undefined),
    by(wire.CHANGE_OWNER, 99n, 1),
    by(wire.CHANGE_CLAIMED, 99n, 1),
    by(wire.CHANGE_CLAIMED, CUP, 0),
    changed(wire.CHANGE_DELETED, nowhere),
    by(wire.CHANGE_CREATED, CUP, 1),
    { ...by(wire.CHANGE_CREATED, 99n, 1), mode: 9 },
    changed(wire.CHANGE_CREATED, "room"),
    changed(wire.CHANGE_CREATED, { peer: 1 }),
    changed(wire.CHANGE_OWNER, { peer: 1 }),
    changed(wire.CHANGE_DELETED, "room"),
    changed(77, "room"),
    changed(0, "room"),
    { ...set("room", "k", ""), scope: 9 },
    { ...set("room", "k", ""), value: raw(8) },
    badKey(EMPTY),
    badKey(Uint8Array.of(0xff)),
    badKey(new Uint8Array(65).fill(0x6b)),
  ];
  bad.forEach((change, i) => {
    assert.throws(() => example().applyUpdate(update(2, [change])), ProtocolError, `change ${i}`);
  });
  for (const found of [0n, 1n, 3n, 2n ** 64n - 1n]) {
    assert.throws(() => example().applyUpdate(update(found, [])), /expected 2/);
  }
});

test("snapshots that make no sense are refused, and change nothing", () => {
  const topic = field("topic", valueToWire("x"), 1n);
  const room = entity("room", [topic]);
  const cup = entity({ object: CUP }, []);
  const bad: wire.Entity[][] = [
    [room, room],
    [cup, cup],
    [entity("room", [topic, topic])],
    [entity("room", [field("topic", NONE, 1n)])],
    [{ ...room, scope: 5 }],
    [entity("room", [field("k", valueToWire(""), 2n)])],
    [{ ...cup, mode: 7 }],
  ];
  bad.forEach((entities, i) => {
    const replica = example();
    assert.throws(() => replica.applySnapshot(snapshot(1n, entities)), ProtocolError, `${i}`);
    assert.deepEqual(content(replica), content(example()));
  });
});

test("what is kept has bounds", () => {
  const fields = (n: number) => Array.from({ length: n }, (_, i) => set("room", `${i}`, ""));
  const replica = new Replica();
  replica.applyUpdate(update(1, fields(MAX_STATE_FIELDS)));
  assert.throws(() => replica.applyUpdate(update(2, fields(MAX_STATE_FIELDS + 1))), /fields/);

  const objects = (n: number) =>
    Array.from({ length: n }, (_, i) => by(wire.CHANGE_CREATED, BigInt(i), 1));
  new Replica().applyUpdate(update(1, objects(MAX_STATE_OBJECTS)));
  const tooMany = update(1, objects(MAX_STATE_OBJECTS + 1));
  assert.throws(() => new Replica().applyUpdate(tooMany), /objects/);

  const large = new Uint8Array(MAX_STATE_VALUE);
  const filled = new Replica();
  let peer = 0;
  assert.throws(() => {
    for (;;) {
      peer += 1;
      filled.applyUpdate(update(peer, [set({ peer }, "k", large)]));
    }
  }, /bytes/);
  assert.equal(peer, 254);
});

test("the bytes of fields that are gone do not count", () => {
  const replica = new Replica();
  const large = new Uint8Array(MAX_STATE_VALUE);
  for (let version = 1; version <= 3_000; version += 1) {
    const object = BigInt(version);
    replica.applyUpdate(
      update(version, [
        set("room", "k", large),
        set("room", "k", version % 2 === 0 ? undefined : "short"),
        by(wire.CHANGE_CREATED, object, 1),
        set({ object }, "k", large),
        changed(wire.CHANGE_DELETED, { object }),
        set({ peer: 2 }, "k", large),
        changed(wire.CHANGE_DELETED, { peer: 2 }),
      ]),
    );
  }
  assert.deepEqual(content(replica), content(empty(3_000n)));
});

test("a snapshot tells what changed meanwhile", () => {
  const replica = example();
  assert.deepEqual(replica.applySnapshot(asSnapshot(example())), []);

  const later = example();
  const [ball, box] = [sceneObject(1), objectId(2, 1)];
  later.applyUpdate(
    update(2, [
      by(wire.CHANGE_CREATED, ball, 0),
      set({ object: ball }, "size", 3n),
      by(wire.CHANGE_CREATED, box, 2),
      by(wire.CHANGE_OWNER, CUP, 0),
      set({ object: CUP }, "color", "blue"),
      set("room", "topic", undefined),
      changed(wire.CHANGE_DELETED, { peer: 2 }),
    ]),
  );
  const none = undefined;
  const mode = { ownership: "take", withRoom: false } as const;
  assert.deepEqual(replica.applySnapshot(asSnapshot(later)), [
    { kind: "deleted", entity: { peer: 2 }, by: none },
    { kind: "field", entity: "room", key: "topic", value: none, by: none },
    { kind: "created", object: ball, owner: none, mode, by: none },
    { kind: "field", entity: { object: ball }, key: "size", value: 3n, by: none },
    { kind: "owner", object: CUP, owner: none, by: none },
    { kind: "field", entity: { object: CUP }, key: "color", value: "blue", by: none },
    { kind: "created", object: box, owner: 2, mode, by: none },
  ] satisfies StateChange[]);
  assert.deepEqual(content(replica), content(later));

  const changes = replica.clear();
  assert.deepEqual(content(replica), content(new Replica()));
  assert.deepEqual(
    changes.map(({ kind }) => kind),
    ["deleted", "deleted", "deleted"],
  );
});

test("an object with another mode is a new one", () => {
  const replica = example();
  const cup = { ...entity({ object: CUP }, []), owner: 1, mode: wire.MODE_FIXED };
  const kinds = replica.applySnapshot(snapshot(1n, [cup])).map(({ kind }) => kind);
  assert.deepEqual(kinds, ["deleted", "deleted", "field", "created"]);
});

/** Numbers below a bound from a seed (mulberry32). */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Returns a random change, valid or not, mostly of existing entities. */
function randomChange(next: (below: number) => number): wire.Change {
  const pick = <T>(of: readonly T[]): T => of[next(of.length)] as T;
  const of = pick<EntityId>(["room", { peer: 2 }, { object: CUP }, { object: BigInt(next(3)) }]);
  const letters = (most: number): Uint8Array =>
    Uint8Array.from({ length: next(most) }, () => 0x61 + next(3));
  return {
    ...changed(pick([1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7]), of),
    ...(next(256) === 0 ? { scope: next(256) } : {}),
    peer: next(4),
    mode: pick([0, 1, 2, 0x10, 0x12, 3]),
    key: letters(4),
    value: raw(next(7), BigInt(next(3)), letters(3)),
  };
}

test("whatever comes, copies agree or refuse it alike", () => {
  for (let seed = 0; seed < 100; seed += 1) {
    const next = seeded(seed);
    let replica = new Replica();
    let late = new Replica();
    let version = 0;
    let host = 0;
    const roster: HostRoster = { peer: () => ({ away: false }), all: () => [] };
    const tryApply = (to: Replica, message: wire.StateUpdate): StateChange[] | undefined => {
      try {
        return to.applyUpdate(message);
      } catch (error) {
        assert.ok(error instanceof ProtocolError, `seed ${seed}: ${String(error)}`);
        return undefined;
      }
    };
    for (let round = 0; round < 200; round += 1) {
      const change = randomChange(next);
      const message = update(version + 1, [change]);
      // An invalid update leaves a replica inconsistent: the next rounds go on with a copy.
      const copy = new Replica();
      copy.applySnapshot(asSnapshot(replica, host));
      const changes = tryApply(replica, message);
      assert.deepEqual(tryApply(late, message), changes, `seed ${seed}`);
      if (!changes) {
        replica = copy;
        late = new Replica();
        late.applySnapshot(asSnapshot(copy, host));
        continue;
      }
      version += 1;
      host = change.kind === wire.CHANGE_HOST ? change.peer : host;
      assert.deepEqual(content(late), content(replica), `seed ${seed}`);
      assert.equal(late.host(roster), host || undefined, `seed ${seed}`);
      assert.equal(replica.host(roster), host || undefined, `seed ${seed}`);
    }
    assert.ok(version > 20, `seed ${seed}: ${version}`);
  }
});

test("the chosen host leads while it is present", () => {
  const peers = [1, 2, 3].map((id) => ({ id, away: id === 1 }));
  const roster: HostRoster = { peer: (id) => peers[id - 1], all: () => peers };
  const replica = new Replica();
  assert.equal(replica.host(roster), 2);
  const cases = [
    [3, 3],
    [1, 2],
    [9, 2],
    [3, 3],
    [0, 2],
  ] as const;
  cases.forEach(([chosen, host], i) => {
    const change = { ...changed(wire.CHANGE_HOST, "room"), peer: chosen };
    assert.deepEqual(replica.applyUpdate(update(i + 1, [change])), []);
    assert.equal(replica.host(roster), host, `${chosen} was chosen`);
  });
  assert.equal(replica.host({ peer: () => undefined, all: () => [] }), undefined);
});
