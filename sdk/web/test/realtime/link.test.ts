// When the link sends what, and what it measures.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ServerClock } from "../../src/realtime/clock.js";
import { ClockSync } from "../../src/realtime/clock-sync.js";
import { Delays } from "../../src/realtime/delays.js";
import { Link } from "../../src/realtime/link.js";
import { qualityOf } from "../../src/realtime/quality.js";
import { Writer } from "../../src/wire/codec.js";
import { putFrame, readClientBody } from "../../src/wire/control.js";
import { VOICE } from "../../src/wire/frame.js";
import { KEEP_ALIVE } from "../../src/wire/limits.js";
import { REPORT_INTERVAL } from "../../src/wire/report.js";
import { ADA, message, outgoing, Pair } from "./pair.js";
import { Rng } from "./network.js";

const P = Uint8Array.of(7);

/** Returns the times in ms since the start at which frames of a kind were sent. */
function times(pair: Pair, kind: string, start: number): number[] {
  const sent = pair.frames.filter(({ kinds }) => kinds.includes(kind));
  return sent.map(({ at }) => at - start);
}

test("keep-alive and clock request at once and every 200 ms, then after longer pauses", () => {
  const pair = new Pair();
  pair.server.isSilent = true;
  const start = pair.now;
  pair.run(60_000);
  const hellos = times(pair, "clock", start);
  const first = Array.from({ length: 10 }, (_, n) => 200 * n);
  assert.deepEqual(hellos.slice(0, 10), first);
  // The keep-alive goes on, because the choice is not confirmed.
  const keepAlives = times(pair, "keepAlive", start);
  assert.ok(keepAlives.length >= 299, `${keepAlives.length}`);
  assert.ok(hellos.length > 10 && hellos.length < 320, `${hellos.length}`);
});

test("an answered link asks four times more, and is then idle", () => {
  const pair = new Pair();
  const start = pair.now;
  pair.run(60_000);
  assert.deepEqual(times(pair, "clock", start), [0, 100, 200, 300, 400, 15_400, 30_400, 45_400]);
  assert.deepEqual(times(pair, "keepAlive", start), [0, 15_400, 30_400, 45_400]);
  const pings = pair.frames.filter(({ kinds }) => kinds.length === 0).map(({ at }) => at - start);
  assert.deepEqual(pings, [7_900, 22_900, 37_900, 52_900]);
});

test("with traffic the clock is asked every 5 s, and reports come as the server wants", () => {
  const pair = Pair.settled();
  const start = pair.now;
  pair.frames = [];
  for (let n = 0; n < 1_000; n += 1) {
    pair.deliver(message(n));
    pair.exchange();
    pair.advance(20);
  }
  const clocks = times(pair, "clock", start);
  assert.ok(clocks.length >= 3 && clocks.length <= 5, `${clocks}`);
  const reports = times(pair, "report", start).length;
  assert.ok(reports >= 190 && reports <= 201, `${reports}`);
  // Steered to 1 s.
  pair.frames = [];
  const steer = pair.server.begin();
  putFrame(steer, REPORT_INTERVAL, Uint8Array.of(100));
  pair.plane.datagram(pair.now, steer.copy());
  for (let n = 0; n < 1_000; n += 1) {
    pair.deliver(message(1_000 + n));
    pair.exchange();
    pair.advance(20);
  }
  const steered = times(pair, "report", start).length;
  assert.ok(steered >= 19 && steered <= 21, `${steered}`);
});

test("a network change sends at once, and a session ping a second later at the latest", () => {
  const pair = Pair.settled();
  pair.run(5_000);
  const start = pair.now;
  pair.frames = [];
  pair.plane.networkChanged();
  assert.ok(pair.plane.deadline() <= pair.now);
  pair.run(3_000);
  const [first] = times(pair, "keepAlive", start);
  assert.equal(first, 0);
  assert.ok(times(pair, "keepAlive", start).length <= 3);
});

/** Would catch a clock that trusts a sample which waited in a queue. */
test("the clock's error is at most half of the jitter", () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const rng = new Rng(seed);
    const clock = new ClockSync();
    const offset = 7_000_000_000;
    for (let n = 0; n < 8; n += 1) {
      const [up, down] = [30_000 + rng.below(20_000), 30_000 + rng.below(20_000)];
      const clientSent = n * 100_000;
      const serverReceived = clientSent + offset + up;
      const serverSent = serverReceived + 300;
      const now = (clientSent + up + 300 + down) / 1_000;
      clock.handleReply(now, { clientSent, serverReceived, serverSent, epoch: 1 });
      const error = (clock.serverTime(1_000) ?? 0) - (1_000_000 + offset);
      assert.ok(Math.abs(error) <= 10_001, `seed ${seed}: ${error} us`);
    }
  }
});

function exchange(clock: ClockSync, at: number, up: number, down: number, epoch = 1): boolean {
  const serverReceived = at + 7_000_000_000 + up;
  const reply = { clientSent: at, serverReceived, serverSent: serverReceived + 300, epoch };
  return clock.handleReply((at + up + 300 + down) / 1_000, reply);
}

test("the least round trip counts, a new epoch and a clock that stood still forget the old", () => {
  const clock = new ClockSync();
  const error = (): number => (clock.serverTime(1_000) ?? 0) - 7_001_000_000;
  exchange(clock, 0, 90_000, 10_000);
  assert.equal(error(), 40_000);
  exchange(clock, 1, 10_000, 10_000);
  exchange(clock, 2, 10_000, 90_000);
  assert.equal(error(), 0);
  exchange(clock, 0, 9_000, 1_000, 2);
  assert.deepEqual([clock.epoch, error(), clock.roundTrip], [2, 4_000, 10]);
  // The device slept for 5 s, so its clock is behind from now on.
  exchange(clock, 50_000_000, 5_000_000 + 90_000, -5_000_000 + 10_000, 2);
  assert.ok(Math.abs(error() - 5_000_000) <= 40_000, `${error()}`);
});

test("the round trip is right soon after a stop of the server", () => {
  for (const stop of [1, 3, 12, 15, 40]) {
    const clock = new ClockSync();
    for (let n = 0; n < 8; n += 1) {
      exchange(clock, n * 5_000_000, 20_000, 20_000);
    }
    assert.equal(exchange(clock, 40_000_000, stop * 1_000_000, 20_000), true, "it has jumped");
    exchange(clock, 40_100_000 + stop * 1_000_000, 20_000, 20_000);
    assert.ok((clock.roundTrip ?? 999) < 45, `${clock.roundTrip} ms after ${stop} s`);
  }
});

test("nonsense in a clock reply is ignored", () => {
  const ends = [0, 1, 2 ** 52, 2 ** 53, 2 ** 64];
  const clock = new ClockSync();
  for (const clientSent of ends) {
    for (const serverReceived of ends) {
      for (const serverSent of ends) {
        for (const now of [0.005, 1e12]) {
          clock.handleReply(now, { clientSent, serverReceived, serverSent, epoch: 0 });
          assert.ok(Number.isFinite(clock.serverTime(1) ?? 0));
        }
      }
    }
  }
});

test("a report has the least, the mean and the newest delay, also over the wrap", () => {
  for (const start of [0, 2 ** 32 / 1_000 - 30]) {
    const delays = new Delays();
    assert.equal(delays.take(0), undefined);
    let now = start;
    for (const ms of [12, 10, 17]) {
      now += 20;
      delays.add(now, (Math.floor(now * 1_000) - 1_000 * ms + 7_000) % 2 ** 32);
    }
    const report = delays.take(now + 3);
    assert.equal((report?.delayMin ?? 0) | 0, 10_000 - 7_000);
    assert.deepEqual([report?.spread, report?.hold], [300, 30]);
    assert.equal(((report?.arrival ?? 0) - (report?.sendTime ?? 0)) >>> 0, 10_000);
    assert.equal(delays.take(now), undefined, "nothing came since");
  }
});

test("one early report for one rise, and a jump of a clock begins anew", () => {
  const delays = new Delays();
  let now = 0;
  const feed = (...ms: number[]): boolean => {
    for (const delay of ms) {
      now += 20;
      delays.add(now, (now * 1_000 - 1_000 * delay) >>> 0);
    }
    return delays.hasRisen;
  };
  assert.equal(feed(10, 39), false);
  assert.equal(feed(41), true);
  delays.take(now);
  assert.equal(feed(60, 80), false, "the queue still stands");
  assert.equal(feed(10, 45), true);
  delays.take(now);
  feed(40_010);
  delays.take(now);
  assert.equal(feed(40_039), false);
  assert.equal(feed(40_041), true);
});

/** Would catch a server's time that jumps or turns back when the clock is measured. */
test("the server's time is known from the join on and never turns back", () => {
  const joined = { at: 500, serverTime: 90_000_000, epoch: 7 };
  const clock = new ServerClock(joined);
  assert.equal(clock.at(520, undefined), 90_020_000);
  // The answer was under way for 80 ms.
  assert.equal(clock.at(550, 90_130_000), 90_130_000);
  // A later measurement is evened out.
  assert.equal(clock.at(650, 90_330_000), 90_232_000);
  clock.rejoin({ at: 600, serverTime: 90_000_000, epoch: 7 });
  assert.equal(clock.at(700, undefined), 90_282_000);
  clock.rejoin({ at: 500, serverTime: 3_000, epoch: 8 });
  assert.equal(clock.at(700, undefined), 203_000);

  const behind = new ServerClock(joined);
  const shown = behind.at(500, undefined);
  assert.equal(behind.at(550, shown + 20_000), shown + 50_000);
  assert.equal(behind.at(650, shown + 120_000), shown + 148_000);
});

test("a new link keeps the time, and asks anew", () => {
  const pair = Pair.settled();
  const before = pair.plane.serverTime(pair.now) ?? 0;
  pair.plane.disconnect();
  assert.equal(pair.plane.deadline(), Infinity);
  pair.server.linkId = 8;
  pair.advance(1_000);
  pair.grant(true);
  assert.ok(Math.abs((pair.plane.serverTime(pair.now) ?? 0) - before - 1_000_000) < 1_000);
  pair.plane.datagram(pair.now, Uint8Array.of(7, 0, 0, 0, 9, 0));
  assert.equal(pair.plane.counters().rejected, 1, "a datagram of the old link");
  // What wakes a page is no mistake of the server's.
  for (const length of [0, 1, 3]) {
    pair.plane.datagram(pair.now, new Uint8Array(length));
  }
  assert.equal(pair.plane.counters().rejected, 1, "datagrams without a link id");
  pair.frames = [];
  pair.exchange();
  assert.deepEqual(pair.frames[0]?.kinds, ["keepAlive", "clock"]);
});

/** The last clock request of a link on a network that loses datagrams has no answer. */
test("with losses voice is sent twice, without losses once", () => {
  const pair = Pair.settled();
  const speak = (): number => {
    pair.plane.send(outgoing(P, { kind: VOICE, newestWins: false }));
    const first = pair.exchange().flat();
    assert.equal(first.length, 1);
    assert.equal(pair.plane.deadline() <= pair.now, false);
    pair.advance(60);
    const again = pair.exchange().flat();
    assert.ok(
      again.every(
        ({ sequence, time }) => sequence === first[0]?.sequence && time === first[0]?.time,
      ),
    );
    return first.length + again.length;
  };
  assert.equal(speak(), 1);
  pair.plane.packetCounts(pair.now, { sent: 1_000, lost: 20 });
  assert.equal(speak(), 2);
  assert.equal(pair.plane.connection().lossUp, 0.02);
  pair.plane.send(outgoing(P));
  assert.equal(pair.exchange().flat().length, 1);
  pair.advance(60);
  assert.equal(pair.exchange().flat().length, 0, "poses are not sent twice");
  pair.advance(31_000);
  assert.equal(speak(), 1, "half a minute later it is over");

  const other = Pair.settled();
  other.server.isSilent = true;
  for (let n = 0; n < 400; n += 1) {
    other.plane.send(outgoing(P));
    other.exchange();
    other.advance(20);
  }
  other.plane.send(outgoing(P, { kind: VOICE, newestWins: false }));
  other.exchange();
  other.advance(60);
  assert.equal(other.exchange().flat().length, 1, "a clock request had no answer");
});

test("the quality follows the round trip, and a lost session is told at once", () => {
  const pair = Pair.settled();
  pair.run(5_000);
  assert.equal(pair.plane.connection().quality, "excellent");
  assert.equal(pair.plane.takeReport(), undefined, "nobody hears that all is well");
  pair.plane.disconnect();
  pair.plane.disconnect();
  assert.deepEqual(pair.plane.takeReport(), { kind: "quality", quality: "lost" });
  assert.equal(pair.plane.takeReport(), undefined);
  pair.grant(true);
  pair.run(5_000);
  assert.deepEqual(pair.plane.takeReport(), { kind: "quality", quality: "excellent" });
});

test("without datagrams of the server the quality is unknown, and never excellent", () => {
  const pair = new Pair();
  pair.server.isSilent = true;
  pair.run(5_000);
  assert.equal(pair.plane.connection().quality, "unknown");
  assert.equal(pair.plane.connection().roundTrip, undefined);
  assert.deepEqual(pair.plane.takeReport(), { kind: "quality", quality: "unknown" });
  assert.equal(pair.plane.takeReport(), undefined, "it is told once");
  pair.server.isSilent = false;
  pair.run(20_000);
  assert.deepEqual(pair.plane.takeReport(), { kind: "quality", quality: "excellent" });
});

/** Sends poses for a time. Returns the qualities that the application was told. */
function sending(pair: Pair, ms: number, others = false): unknown[] {
  const told: unknown[] = [];
  for (const end = pair.now + ms; pair.now < end; pair.advance(20)) {
    pair.plane.send(outgoing(P));
    if (others) {
      pair.deliver(message(pair.now & 0xffff));
    }
    pair.exchange();
    const report = pair.plane.takeReport();
    told.push(...(report?.kind === "quality" ? [report.quality] : []));
  }
  return told;
}

test("datagrams that stop make the quality unknown, until they come again", () => {
  const pair = Pair.settled();
  assert.deepEqual(sending(pair, 10_000), []);
  pair.server.isSilent = true;
  assert.deepEqual(sending(pair, 15_000), ["unknown"]);
  assert.equal(pair.plane.connection().roundTrip, undefined);
  pair.server.isSilent = false;
  assert.deepEqual(sending(pair, 15_000), ["excellent"]);
  assert.equal(pair.plane.connection().roundTrip, 0);
  // The poses of others show that datagrams come.
  pair.server.isSilent = true;
  assert.deepEqual(sending(pair, 15_000, true), []);
});

test("one lost answer of an idle link is no silence", () => {
  const pair = Pair.settled();
  pair.delay = 300;
  pair.run(40_000);
  for (let loss = 0; loss < 5; loss += 1) {
    pair.lost = 1;
    for (let step = 0; step < 400; step += 1) {
      pair.run(100);
      assert.notEqual(pair.plane.connection().roundTrip, undefined, `loss ${loss}`);
    }
    assert.deepEqual([pair.lost, pair.plane.takeReport()], [0, undefined]);
  }
});

test("a request that is late by itself is no silence before its answer can come", () => {
  const pair = Pair.settled();
  pair.delay = 300;
  pair.run(40_000);
  pair.lost = 1;
  pair.run(KEEP_ALIVE);
  while (pair.lost > 0) {
    pair.run(100);
  }
  // The timers of a hidden page are slow.
  pair.now += 60_000;
  for (let step = 0; step < 100; step += 1) {
    pair.run(100);
    assert.notEqual(pair.plane.connection().roundTrip, undefined);
  }
});

test("an idle client notices a silence soon after its keep-alive", () => {
  const pair = Pair.settled();
  pair.run(40_000);
  pair.server.isSilent = true;
  pair.frames = [];
  const start = pair.now;
  pair.run(KEEP_ALIVE + 9_000);
  assert.deepEqual(pair.plane.takeReport(), { kind: "quality", quality: "unknown" });
  const [first = 0, ...others] = times(pair, "clock", start);
  assert.ok(first <= KEEP_ALIVE);
  pair.run(120_000);
  const asked = [first, ...others, ...times(pair, "clock", start).slice(1 + others.length)];
  const later = [2_000, 4_000, 6_000, 8_000, 23_000, 38_000, 53_000].map((ms) => first + ms);
  assert.deepEqual(asked.slice(1, 8), later, "and then as rarely as before");
});

test("losses and delay make a connection worse", () => {
  const losses = [0, 0.03, 0.08, 0.2].map((loss) => qualityOf(20, loss));
  assert.deepEqual(losses, ["excellent", "excellent", "good", "poor"]);
  const delays = [300, 600, 1_200].map((roundTrip) => qualityOf(roundTrip, 0));
  assert.deepEqual(delays, ["excellent", "good", "poor"]);
});

test("who speaks is reported from the first voice to a pause", () => {
  const pair = Pair.settled();
  const voice = (n: number, level: number): void => {
    pair.deliver(message(n, { kind: VOICE, flags: 0, payload: Uint8Array.of(level, 0, 1) }));
  };
  voice(0, 60);
  assert.equal(pair.plane.takeReport(), undefined, "noise is not a voice");
  voice(1, 0x80 | 30);
  const change = { kind: "speaking", peer: ADA.peer, level: 30 };
  assert.deepEqual(pair.plane.takeReport(), { ...change, speaking: true });
  assert.deepEqual(pair.plane.speaking(), [{ peer: ADA.peer, level: 30 }]);
  pair.advance(299);
  assert.equal(pair.plane.takeReport(), undefined);
  pair.advance(1);
  assert.deepEqual(pair.plane.takeReport(), { ...change, speaking: false });
  voice(2, 0x80 | 30);
  pair.plane.removePeer(ADA.slot, ADA.peer);
  assert.equal(pair.plane.takeReport(), undefined, "who has left is not reported");
});

test("control frames leave space for the largest message", () => {
  const link = new Link(0, { linkId: 1, maxBody: 0, reportIntervalMs: 5 });
  const out = new Writer();
  link.begin(0, out);
  assert.ok(out.length <= 4 + 53, `${out.length}`);
  assert.deepEqual(
    readClientBody(out.view().subarray(4)).map(({ kind }) => kind),
    ["keepAlive", "clock"],
  );
  assert.equal(link.maxBody, 1_000);
});
