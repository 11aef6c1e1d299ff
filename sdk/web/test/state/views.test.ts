// The state as an application has seen it, and its callbacks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { StateViews } from "../../src/state/index.js";
import type { EntityId, StateChange, Value, ViewChange } from "../../src/state/index.js";

const DOOR = { object: 7n };

function field(entity: EntityId, key: string, value: Value | undefined): StateChange {
  return { kind: "field", entity, key, value, by: undefined };
}

test("a callback finds the change and what was before", () => {
  const views = new StateViews();
  const told: ViewChange[] = [];
  let all = 0;
  const watch = views.watch(DOOR, (change) => told.push(change));
  views.watchAll(() => {
    all += 1;
  });
  const mode = { ownership: "take", withRoom: false } as const;
  const changes: StateChange[] = [
    { kind: "created", object: 7n, owner: 1, mode, by: undefined },
    field(DOOR, "open", true),
    field("room", "open", 1n),
    field(DOOR, "open", false),
    { kind: "owner", object: 7n, owner: undefined, by: undefined },
    { kind: "host", host: undefined },
  ];
  changes.forEach((change) => views.apply(change));
  assert.deepEqual(views.object(7n), { id: 7n, owner: undefined, mode });
  assert.deepEqual([views.field(DOOR, "open"), views.fields("room").length], [false, 1]);
  assert.deepEqual(
    told.map(({ before }) => before),
    [undefined, undefined, true, undefined],
  );
  views.unwatch(watch);
  views.apply({ kind: "deleted", entity: DOOR, by: undefined });
  assert.deepEqual([views.objects(), views.field(DOOR, "open")], [[], undefined]);
  assert.deepEqual([told.length, all], [4, 7]);
});

test("changes of what is unknown do no harm", () => {
  const views = new StateViews();
  views.apply({ kind: "owner", object: 7n, owner: undefined, by: undefined });
  views.apply(field(DOOR, "a", undefined));
  views.apply({ kind: "deleted", entity: DOOR, by: undefined });
  assert.deepEqual([views.objects(), views.fields(DOOR)], [[], []]);
});

test("a callback may add and remove callbacks", () => {
  const views = new StateViews();
  const told: string[] = [];
  const first = views.watchAll(() => {
    told.push("first");
    views.unwatch(first);
    views.watchAll(() => told.push("third"));
  });
  views.watchAll(() => told.push("second"));
  views.apply({ kind: "host", host: 1 });
  views.apply({ kind: "host", host: 2 });
  assert.deepEqual(told, ["first", "second", "second", "third"]);
});
