import assert from "node:assert/strict";
import { test } from "node:test";

import {
  between,
  beyond,
  mix,
  mixTransforms,
  PoseSpace,
  type Snapshot,
} from "../../src/playback/track.js";
import type { Pose, Transform } from "../../src/wire/pose.js";

const START = 100_000_000;

function transform(x: number): Transform {
  return { position: [x, 1.7, 0], rotation: [0, 0, 0, 1] };
}

function snapshot(ms: number, x: number): Snapshot {
  return { captured: START + ms * 1_000, pose: { head: transform(x) } };
}

function near(found: number | undefined, expected: number, text?: string): void {
  assert.ok(
    Math.abs((found ?? NaN) - expected) < 1e-4,
    `${found} is not ${expected} ${text ?? ""}`,
  );
}

/** Would catch an avatar that flies through the room when its user teleports. */
test("a teleport has no way", () => {
  const space = new PoseSpace();
  const a = snapshot(0, 0);
  assert.equal(between(a, snapshot(33, 5), START + 30_000, space), undefined);
  assert.equal(beyond(a, snapshot(33, 5), START + 40_000, space), undefined);
  // 0.6 m in 33 ms is a fast movement.
  near(between(a, snapshot(33, 0.6), START + 11_000, space)?.head.position[0], 0.2);
  // Nothing is known of the way in ten seconds.
  assert.equal(between(a, snapshot(10_000, 1), START + 5_000_000, space), undefined);
});

test("an extrapolation is bounded and goes back", () => {
  const [a, b] = [snapshot(0, 0), snapshot(50, 0.05)];
  for (const [ms, expected] of [
    [100, 0.1],
    [250, 0.25],
    [400, 0.15],
    [520, 0.07],
  ] as const) {
    const pose = beyond(a, b, START + ms * 1_000, new PoseSpace());
    near(pose?.head.position[0], expected, `at ${ms} ms`);
  }
  assert.equal(beyond(a, b, START + 550_000, new PoseSpace()), undefined, "the newest pose stays");
});

test("rotations take the shorter way and have the length one", () => {
  const turned = (rotation: Transform["rotation"]): Transform => ({
    position: [0, 0, 0],
    rotation,
  });
  const out = transform(0);
  mixTransforms(turned([0, 0, 0, 1]), turned([0, -Math.SQRT1_2, 0, -Math.SQRT1_2]), 0.5, out);
  const expected = [0, Math.sin(Math.PI / 8), 0, Math.cos(Math.PI / 8)];
  expected.forEach((part, i) => near(out.rotation[i], part));
  const zero = turned([0, 0, 0, 0]);
  mixTransforms(zero, zero, 0.5, out);
  assert.deepEqual([...out.rotation], [0, 0, 0, 0], "and no NaN");
});

test("a hand that is lost moves with the head", () => {
  const hand: Transform = { position: [0.3, 1.2, 0.1], rotation: [0, 0, 0, 1] };
  const a: Pose = { head: transform(0), left: hand };
  const b: Pose = { head: transform(1) };
  const moved = mix(a, b, 0.5, new PoseSpace()).left?.position;
  [0.8, 1.2, 0.1].forEach((expected, i) => near(moved?.[i], expected));
  assert.equal(mix(a, b, 1, new PoseSpace()).left, undefined);
});
