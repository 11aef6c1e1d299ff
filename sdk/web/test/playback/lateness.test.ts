import assert from "node:assert/strict";
import { test } from "node:test";

import { Lateness } from "../../src/playback/lateness.js";
import { SlewedTime } from "../../src/playback/slew.js";
import { Rng } from "../realtime/network.js";

/** Would catch a delay that one outlier decides, or that never becomes smaller. */
test("a few late messages do not count, and the past is forgotten", () => {
  const remembered = 128;
  const lateness = new Lateness(remembered);
  assert.equal(lateness.isKnown, false);
  lateness.add(40_000);
  assert.equal(lateness.usual, 40_000);
  for (let number = 0; number < 10 * remembered; number += 1) {
    lateness.add(1_000 * (number % 64 === 0 ? 900 : 20 + (number % 30)));
  }
  assert.ok(lateness.usual >= 45_000 && lateness.usual < 50_000, `${lateness.usual}`);
  for (let number = 0; number < remembered + 16; number += 1) {
    lateness.add(5_000);
  }
  assert.equal(lateness.usual, 5_000);
  for (let number = 0; number < 16; number += 1) {
    lateness.add(Number.MAX_VALUE);
  }
  assert.equal(lateness.usual, 1_000_000);
  lateness.add(-5);
});

/** Would catch a clock that jumps, goes backwards, or stays wrong. */
test("a slewed time never goes backwards, never jumps, and is right in the end", () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const rng = new Rng(seed);
    const slewed = new SlewedTime(0.02, 500_000);
    let [now, offset] = [5_000, 100_000];
    let before: number | undefined;
    for (let step = 0; step < 2_000; step += 1) {
      if (step < 1_000 && rng.below(256) === 0) {
        offset += rng.below(100) - rng.below(100);
      }
      const passed = rng.below(30);
      now += passed;
      const at = slewed.at(now, (now + offset) * 1_000);
      if (before !== undefined) {
        const shown = at - before;
        assert.ok(shown >= passed * 979 && shown <= passed * 1_021, `seed ${seed}: ${shown}`);
      }
      before = at;
    }
    assert.ok(Math.abs((before ?? 0) - (now + offset) * 1_000) < 1, `seed ${seed}`);
  }
});

test("a large difference is a jump forward or a halt", () => {
  const slewed = new SlewedTime(0.02, 500_000);
  const start = 10_000;
  const us = (ms: number): number => (start + ms) * 1_000;
  assert.equal(slewed.at(start, us(0)), us(0));
  assert.equal(slewed.at(start + 1, us(700)), us(700));
  assert.equal(slewed.at(start + 2, us(2)), us(700));
  assert.equal(slewed.at(start, us(0)), us(700), "the local time went backwards");
  assert.equal(slewed.goOn(start + 5), us(703));
  slewed.restart();
  assert.equal(slewed.goOn(start), undefined);
  assert.equal(slewed.at(start, 0), 0);
});
