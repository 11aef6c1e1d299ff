// Values, ids and modes on their way to the wire and back, and batches of operations.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NucleusError, ProtocolError } from "../../src/session/error.js";
import * as state from "../../src/state/index.js";
import { Batch } from "../../src/state/index.js";
import type { EntityId, Value } from "../../src/state/index.js";
import { MAX_STATE_VALUE } from "../../src/wire/limits.js";
import { decodeBody, HEADER_BYTES } from "../../src/wire/schema.js";
import { ANY_VERSION, StateRequest } from "../../src/wire/state.js";

const CUP = state.objectId(1, 7);

test("values travel", () => {
  const values: Value[] = [true, false, -3n, 2n ** 63n - 1n, -(2n ** 63n), -0.5, Infinity, "grün"];
  for (const value of [...values, "", Uint8Array.of(0, 255)]) {
    assert.deepEqual(state.valueFromWire(state.valueToWire(value)), value);
  }
  assert.ok(Object.is(state.valueFromWire(state.valueToWire(-0)), -0));
  const none = { kind: 0, bits: 0n, bytes: new Uint8Array(0) };
  assert.equal(state.valueFromWire(none), undefined);
  assert.ok(!state.sameValue(1n, 1) && !state.sameValue("", new Uint8Array(0)));
  assert.ok(state.sameValue(Uint8Array.of(1), Uint8Array.of(1)));
});

test("arguments of other types are refused", () => {
  const invalid = { code: "invalidArgument" };
  for (const bad of [undefined, null, () => 1, { a: 1 }, [1], new Date()]) {
    assert.throws(() => state.valueToWire(bad as unknown as Value), invalid);
  }
  for (const bad of [-1, 2 ** 32, 0.5, NaN, "1"]) {
    assert.throws(() => state.sceneObject(bad as number), invalid);
    assert.throws(() => state.objectId(1, bad as number), invalid);
  }
  for (const bad of ["rom", {}, null, undefined, { peer: -1 }, { object: 1 }]) {
    assert.throws(() => state.partsOf(bad as unknown as EntityId), invalid);
  }
});

test("values that are none are refused", () => {
  const long = new Uint8Array(MAX_STATE_VALUE + 1).fill(0x78);
  const bad: [number, bigint, Uint8Array][] = [
    [6, 0n, new Uint8Array(0)],
    [255, 0n, new Uint8Array(0)],
    [1, 2n, new Uint8Array(0)],
    [3, 0x7ff8_0000_0000_0000n, new Uint8Array(0)],
    [4, 0n, Uint8Array.of(0xc3, 0x28)],
    [4, 0n, long],
    [5, 0n, long],
    [0, 0n, long],
  ];
  for (const [kind, bits, bytes] of bad) {
    assert.throws(() => state.valueFromWire({ kind, bits, bytes }), ProtocolError, `kind ${kind}`);
  }
});

test("modes and entities travel", () => {
  for (const ownership of ["fixed", "ask", "take"] as const) {
    for (const withRoom of [false, true]) {
      const mode = { ownership, withRoom };
      assert.deepEqual(state.modeFromWire(state.modeToWire(mode)), mode);
    }
  }
  for (const unknown of [3, 0x20, 0x13, 0xff]) {
    assert.throws(() => state.modeFromWire(unknown), ProtocolError);
  }
  const scene = state.sceneObject(1);
  const ids: EntityId[] = ["room", { peer: 9 }, { object: CUP }, { object: scene }];
  for (const entity of ids) {
    const { scope, id } = state.partsOf(entity);
    assert.deepEqual(state.entityFromWire(scope, id), entity);
  }
  const none = [
    [0, 1n],
    [1, 0n],
    [1, 2n ** 32n],
    [3, 0n],
  ] as const;
  for (const [scope, id] of none) {
    assert.throws(() => state.entityFromWire(scope, id), ProtocolError);
  }
  assert.deepEqual([state.makerOf(CUP), state.makerOf(scene)], [1, undefined]);
  assert.equal(state.makerOf(state.objectId(0xffff_ffff, 0xffff_ffff)), 0xffff_ffff);
  assert.equal(new Set(ids.map(state.keyOf)).size, ids.length);
});

test("batches become operations", () => {
  const batch = new Batch()
    .set("room", "topic", "drill")
    .compareAndSet({ peer: 2 }, "hand", 4n, true)
    .remove({ object: CUP }, "color")
    .compareAndRemove({ object: CUP }, "size", 0n)
    .create(CUP, { ownership: "ask", withRoom: true })
    .claim(CUP)
    .give(CUP, 5)
    .host(6)
    .delete(CUP);
  const { request, operations } = decodeBody(StateRequest, batch.encode(3).subarray(HEADER_BYTES));
  assert.equal(request, 3);
  assert.deepEqual(
    operations.map(({ kind, scope, id, mode, peer, expected }) => [
      kind,
      scope,
      id,
      mode,
      peer,
      expected,
    ]),
    [
      [1, 0, 0n, 0, 0, ANY_VERSION],
      [1, 1, 2n, 0, 0, 4n],
      [1, 2, CUP, 0, 0, ANY_VERSION],
      [1, 2, CUP, 0, 0, 0n],
      [2, 2, CUP, 0x11, 0, 0n],
      [4, 2, CUP, 0, 0, 0n],
      [5, 2, CUP, 0, 5, 0n],
      [6, 0, 0n, 0, 6, 0n],
      [3, 2, CUP, 0, 0, 0n],
    ],
  );
  assert.deepEqual(operations[0]?.value, state.valueToWire("drill"));
  assert.deepEqual(operations[2]?.value.kind, 0);
});

test("a mistake is told at its operation", () => {
  const one = (): Batch => new Batch().set("room", "k", 1n);
  const mistakes: [string, () => unknown, number | undefined][] = [
    ["no operation", () => new Batch().encode(1), undefined],
    ["no key", () => one().set("room", "", 1n), 1],
    ["a long key", () => one().remove("room", "ü".repeat(33)), 1],
    ["a long value", () => one().set("room", "k", "x".repeat(MAX_STATE_VALUE + 1)), 1],
    ["not a number", () => one().set("room", "k", NaN), 1],
    ["65 bits", () => one().set("room", "k", 2n ** 63n), 1],
    [
      "65 operations",
      () =>
        Array(65)
          .fill(0)
          .reduce((b: Batch) => b.claim(CUP), new Batch()),
      64,
    ],
    [
      "17 KiB",
      () =>
        [1, 2, 3, 4, 5]
          .reduce((b, i) => b.set("room", `${i}`, "x".repeat(3_500)), new Batch())
          .encode(1),
      undefined,
    ],
  ];
  for (const [name, mistake, operation] of mistakes) {
    assert.throws(
      mistake,
      (error) =>
        error instanceof NucleusError &&
        error.code === "invalidBatch" &&
        error.operation === operation,
      name,
    );
  }
  const full = Array(64)
    .fill(0)
    .reduce((b: Batch) => b.claim(CUP), new Batch()) as Batch;
  assert.equal(full.length, 64);
  full.encode(1);
});
