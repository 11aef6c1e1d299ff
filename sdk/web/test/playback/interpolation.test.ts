// How true the shown poses are on bad networks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { PoseInterpolator } from "../../src/playback/interpolation.js";
import { encodePose, parsePose, type Pose, type Transform } from "../../src/wire/pose.js";
import { type Conditions, delayed, Pipe, quantile, WIFI } from "../realtime/network.js";

const START = 100_000;

/** Where a head is that walks in a circle of 1 m at 1 m/s, and looks ahead. The time is in µs. */
function truth(at: number): Pose {
  const angle = ((at / 1_000 - START) / 1_000) % (2 * Math.PI);
  const rotation: Transform["rotation"] = [0, Math.sin(angle / 2), 0, Math.cos(angle / 2)];
  const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
  return {
    head: { position: [cos, 1.7, sin], rotation },
    left: { position: [cos + 0.3, 1.2, sin], rotation },
  };
}

/**
 * How a minute of poses was shown: distances from the truth in mm, delays in ms, guessed frames.
 */
interface Shown {
  errors: number[];
  delays: number[];
  guessed: number;
}

/** Shows the poses of one sender over a network, in both directions, at this rate. */
function show(seed: number, conditions: Conditions, hertz: number): Shown {
  const pipes = [0, 1].map((way) => new Pipe<[number, Uint8Array]>(2 * seed + way, conditions));
  const [up, down] = [pipes[0]!, pipes[1]!];
  const interpolator = new PoseInterpolator();
  const shown: Shown = { errors: [], delays: [], guessed: 0 };
  let [next, nextFrame, before, newest] = [START, START, 0, 0];
  for (let ms = 0; ms < 60_000; ms += 1) {
    const now = START + ms;
    if (next <= now) {
      up.handleInput(now, [now * 1_000, encodePose(truth(now * 1_000))]);
      next += 1_000 / hertz;
    }
    for (let item; (item = up.pollOutput(now)) !== undefined;) {
      down.handleInput(now, item);
    }
    for (let item; (item = down.pollOutput(now)) !== undefined;) {
      // The realtime plane drops what is older than the newest.
      const [captured, payload] = item;
      if (captured > newest) {
        newest = captured;
        interpolator.add(1, 0, 0, captured, now * 1_000, parsePose(payload).pose);
      }
    }
    if (nextFrame > now) {
      continue;
    }
    nextFrame += 11.111;
    const pose = interpolator.posesAt(now, now * 1_000)[0];
    if (pose === undefined) {
      continue;
    }
    assert.ok(before <= pose.shown, `seed ${seed}`);
    before = pose.shown;
    // In the first seconds the delay is measured.
    if (ms < 5_000) {
      continue;
    }
    const right = truth(pose.shown).head.position;
    const [x, y, z] = pose.pose.head.position;
    shown.errors.push(1_000 * Math.hypot(x - right[0], y - right[1], z - right[2]));
    shown.delays.push(now - pose.shown / 1_000);
    shown.guessed += pose.certainty === "interpolated" ? 0 : 1;
  }
  return shown;
}

/**
 * Over Wi-Fi in both directions, at 1 m/s. Would catch a wrong delay, and a wrong interpolation.
 */
test("a shown head is within 10 mm of the truth in 99 of 100 frames", () => {
  for (const hertz of [30, 72, 90]) {
    const errors: number[] = [];
    for (let seed = 0; seed < 20; seed += 1) {
      const shown = show(seed, WIFI, hertz);
      const delay = quantile(shown.delays, 0.5);
      // The network takes 10 to 60 ms, and a lost pose is replaced by the next one.
      assert.ok(delay <= 60 + 2_000 / hertz, `${hertz} Hz, seed ${seed}: ${delay} ms`);
      const guessed = shown.guessed / shown.errors.length;
      assert.ok(guessed < 0.05, `${hertz} Hz, seed ${seed}: ${guessed} of the frames`);
      errors.push(...shown.errors);
    }
    const error = quantile(errors, 0.99);
    assert.ok(error <= 10, `${hertz} Hz: ${error} mm`);
  }
});

test("a good network costs no more than one interval", () => {
  const shown = show(1, delayed(10, 10), 50);
  assert.ok(quantile(shown.errors, 0.999) < 2);
  const delay = quantile(shown.delays, 0.99);
  assert.ok(delay >= 20 && delay <= 42, `${delay} ms`);
});

/** Would catch a frame that makes garbage: the list, its entries and their poses stay the same. */
test("the shown poses are the same objects in each frame", () => {
  const interpolator = new PoseInterpolator();
  const add = (ms: number): void => {
    for (const from of [1, 2, 3]) {
      interpolator.add(from, 0, 0, ms * 1_000, (ms + 20) * 1_000, truth(ms * 1_000));
    }
  };
  add(START);
  add(START + 20);
  add(START + 40);
  const frame = (ms: number): [unknown, unknown, unknown][] =>
    interpolator.posesAt(ms, ms * 1_000).map((shown) => [shown, shown.pose, shown.pose.left]);
  const list = interpolator.posesAt(START + 60, (START + 60) * 1_000);
  const first = frame(START + 61);
  assert.equal(first.length, 3);
  const second = frame(START + 72);
  first.forEach((objects, i) =>
    objects.forEach((object, k) => assert.equal(second[i]?.[k], object)),
  );
  assert.equal(interpolator.posesAt(START + 73, (START + 73) * 1_000), list);
  interpolator.removePeer(2);
  assert.deepEqual(
    interpolator.posesAt(START + 74, (START + 74) * 1_000).map((s) => s.from),
    [1, 3],
  );
  interpolator.clear();
  assert.equal(list.length, 2, "until the next frame");
  assert.equal(interpolator.posesAt(START + 75, (START + 75) * 1_000).length, 0);
});

function add(interpolator: PoseInterpolator, from: number, key: number): void {
  interpolator.add(from, 0, key, 1_000, 2_000, truth(1_000));
}

/** Returns which keys of which senders are kept, sorted. */
function kept(interpolator: PoseInterpolator): [number, number][] {
  const shown = interpolator.posesAt(1, 1_000);
  return shown.map(({ from, key }): [number, number] => [from, key]).sort(([, a], [, b]) => a - b);
}

/** Would catch a sender that takes the tracks of all others. */
test("a hostile sender with all keys hides nobody", () => {
  const interpolator = new PoseInterpolator();
  for (let key = 0; key < 5_000; key += 1) {
    // Its body is in use all the time.
    add(interpolator, 66, 0);
    add(interpolator, 66, key);
  }
  add(interpolator, 7, 0);
  const keys = Array.from({ length: 63 }, (_, i): [number, number] => [66, 4_937 + i]);
  assert.deepEqual(kept(interpolator), [[66, 0], [7, 0], ...keys]);
  interpolator.removePeer(66);
  assert.deepEqual(kept(interpolator), [[7, 0]]);
});

/** Would catch many senders that together take all tracks. */
test("senders with many keys make room for new senders", () => {
  const interpolator = new PoseInterpolator();
  for (let from = 0; from < 70; from += 1) {
    for (let key = 0; key < 64; key += 1) {
      add(interpolator, from, key);
    }
  }
  const isKept = (from: number): boolean =>
    kept(interpolator).some(([sender, key]) => sender === from && key === 63);
  assert.equal(kept(interpolator).length, 4_096);
  for (let from = 0; from < 70; from += 1) {
    assert.ok(isKept(from), `${from}`);
  }
  interpolator.removePeer(69);
  for (let from = 100; from < 4_400; from += 1) {
    add(interpolator, from, 0);
  }
  // Each sender has one track, and nobody loses its last one.
  assert.equal(kept(interpolator).length, 4_096);
  for (let from = 0; from < 69; from += 1) {
    assert.ok(isKept(from), `${from}`);
  }
  interpolator.clear();
  add(interpolator, 1, 0);
  assert.deepEqual(kept(interpolator), [[1, 0]]);
});
