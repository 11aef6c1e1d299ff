// What is sent, and what is delivered. Ports of the Rust client's tests of its realtime plane.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RealtimePlane } from "../../src/realtime/plane.js";
import { decodeSent, encodeSent } from "../../src/realtime/sent.js";
import { SenderHistory } from "../../src/realtime/sequences.js";
import { Reader, Writer } from "../../src/wire/codec.js";
import { POINTER, UNRELIABLE, VOICE } from "../../src/wire/frame.js";
import { MAX_PAYLOAD, UNKNOWN_SLOT_FRAMES } from "../../src/wire/limits.js";
import { Rng } from "./network.js";
import { ADA, BOB, message, outgoing, Pair, sequences } from "./pair.js";

const P = Uint8Array.of(7);

test("what is queued travels together", () => {
  const pair = Pair.settled();
  for (let n = 0; n < 10; n += 1) {
    const payload = new Uint8Array(75).fill(n);
    pair.plane.send(outgoing(payload, { kind: VOICE, newestWins: false }));
  }
  pair.plane.send(outgoing(P));
  assert.ok(pair.plane.deadline() <= pair.now);
  const arrived = pair.exchange();
  assert.equal(arrived.length, 1);
  assert.deepEqual(
    arrived[0]?.map(({ sequence }) => sequence),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0],
  );
});

test("sequences go on and queued poses are replaced", () => {
  const pair = Pair.settled();
  const sent = [1, 2].flatMap((byte) => {
    pair.plane.send(outgoing(Uint8Array.of(99)));
    pair.plane.send(outgoing(Uint8Array.of(byte)));
    return pair.exchange().flat();
  });
  assert.deepEqual(
    sent.map(({ sequence, payload }) => [sequence, payload[0]]),
    [
      [0, 1],
      [1, 2],
    ],
  );
  assert.equal(pair.plane.counters().unsent, 2);
  // Another target is another message.
  pair.plane.send(outgoing(P));
  pair.plane.send(outgoing(P, { target: 3 }));
  assert.equal(pair.exchange().flat().length, 2);
});

test("the largest payloads fit one datagram each", () => {
  const pair = Pair.settled();
  for (let n = 0; n < 3; n += 1) {
    pair.plane.send(outgoing(new Uint8Array(MAX_PAYLOAD), { newestWins: false }));
  }
  assert.equal(pair.exchange().length, 3);
  pair.plane.send(outgoing(new Uint8Array(MAX_PAYLOAD + 1)));
  assert.equal(pair.exchange().length, 0);
  assert.equal(pair.plane.counters().unsent, 1);
});

test("the queue is bounded, and without a session nothing is queued", () => {
  const pair = Pair.settled();
  for (let n = 0; n < 300; n += 1) {
    pair.plane.send(outgoing(P, { newestWins: false }));
  }
  assert.equal(pair.exchange().flat().length, 256);
  assert.equal(pair.plane.counters().unsent, 300 - 256);
  pair.plane.send(outgoing(P));
  pair.plane.disconnect();
  pair.plane.send(outgoing(P));
  assert.equal(pair.plane.takeDatagram(pair.now), undefined);
  pair.grant(true);
  assert.deepEqual(pair.exchange(), []);
});

test("newest wins over duplicates and older ones", () => {
  const pair = Pair.settled();
  const order = [65_534, 65_535, 65_535, 1, 0, 65_534, 2, 2];
  const received = order.flatMap((n) => pair.deliver(message(n)));
  assert.deepEqual(sequences(received), [65_534, 65_535, 1, 2]);
  assert.ok(received.every(({ from }) => from === ADA.peer));
  assert.equal(pair.plane.counters().superseded, 4);
});

test("every key and every sender has its own newest", () => {
  const pair = Pair.settled();
  assert.equal(pair.deliver(message(9)).length, 1);
  const others = [{ key: 1 }, { channel: 1 }, { kind: POINTER }, { peer: BOB.slot }] as const;
  assert.equal(pair.deliver(...others.map((fields) => message(1, fields))).length, 4);
});

test("without newest wins everything is heard once, within 64 numbers", () => {
  const pair = Pair.settled();
  const voice = (n: number): number[] =>
    sequences(pair.deliver(message(n & 0xffff, { flags: 0, kind: VOICE })));
  assert.deepEqual([5, 4, 6, 4, 5, 6].flatMap(voice), [5, 4, 6]);
  assert.deepEqual([6 + 40, 7, 6 + 40 - 32, 7].flatMap(voice), [46, 7, 14]);
  // 63 behind is heard, 64 behind is too late, and does not hide the others.
  assert.deepEqual([100, 100 - 64, 100 - 63, 100 - 62, 100 - 63].flatMap(voice), [100, 37, 38]);
});

/** Would catch a wrong bit of the 64 numbers that are remembered. */
test("duplicates are found as a model finds them", () => {
  for (let seed = 0; seed < 50; seed += 1) {
    const rng = new Rng(seed);
    const history = new SenderHistory(1);
    const seen = new Set<number>();
    let newest = -1;
    for (let n = 0; n < 2_000; n += 1) {
      const ahead = rng.chance(0.02) ? rng.below(200) : rng.below(10);
      const number = Math.max(newest + 1 + ahead - rng.below(100), 0);
      const newestWins = rng.chance(0.2);
      const isNewer = number > newest;
      const expected = isNewer || (!newestWins && newest - number < 64 && !seen.has(number));
      const found = history.isFresh(n, newestWins, 7, (number + 65_000) & 0xffff);
      assert.equal(found, expected, `seed ${seed}: ${number} after ${newest}`);
      seen.add(number);
      newest = Math.max(newest, number);
    }
  }
});

test("a wrapped sequence is believed after a pause", () => {
  const pair = Pair.settled();
  assert.equal(pair.deliver(message(40_000)).length, 1);
  pair.advance(4_999);
  assert.equal(pair.deliver(message(30_000)).length, 0);
  pair.advance(1);
  assert.equal(pair.deliver(message(30_000)).length, 1);
});

test("a new owner of a slot starts anew", () => {
  const pair = Pair.settled();
  pair.deliver(message(9));
  pair.plane.removePeer(ADA.slot, 99);
  assert.equal(pair.deliver(message(10)).length, 1);
  pair.plane.removePeer(ADA.slot, ADA.peer);
  pair.plane.addPeer(pair.now, ADA.slot, 31);
  assert.equal(pair.deliver(message(0))[0]?.from, 31);
});

test("an unknown sender is heard once the roster names it, within 200 ms", () => {
  const pair = Pair.settled();
  const stranger = { peer: 9 };
  assert.deepEqual(pair.deliver(message(1, stranger), message(0, stranger)), []);
  pair.advance(199);
  pair.plane.addPeer(pair.now, 9, 90);
  const received = pair.received();
  assert.deepEqual(sequences(received), [1]);
  assert.equal(received[0]?.from, 90);

  assert.deepEqual(pair.deliver(message(1, { peer: 10 })), []);
  assert.ok(pair.plane.deadline() <= pair.now + 200);
  pair.advance(200);
  assert.equal(pair.plane.counters().unknownSender, 1);
  pair.plane.addPeer(pair.now, 10, 100);
  assert.deepEqual(pair.received(), []);
});

test("only so many wait for the roster, and the oldest goes", () => {
  const pair = Pair.settled();
  for (let n = 0; n < 100; n += 1) {
    pair.deliverOnly(message(n, { peer: 9, flags: 0 }));
  }
  pair.plane.addPeer(pair.now, 9, 90);
  const received = sequences(pair.received());
  assert.equal(received.length, UNKNOWN_SLOT_FRAMES);
  assert.equal(received[0], 100 - UNKNOWN_SLOT_FRAMES);
  assert.equal(pair.plane.counters().unknownSender, 100 - UNKNOWN_SLOT_FRAMES);
});

/** The capture time is the one that the sender wrote, whenever the message arrives. */
test("capture times are on the server's clock and free of the network's jitter", () => {
  const pair = Pair.settled();
  const captured = pair.now + 70_000;
  [7.3, 20.999, 1, 400.123].forEach((delay, n) => {
    pair.now = captured + delay;
    const time = pair.server.millis(captured);
    const [received] = pair.deliver(message(n, { time }));
    assert.equal(received?.captured, pair.server.time(captured));
    assert.ok(Math.abs((received?.age ?? -1) - delay) <= 1, `${received?.age}`);
    assert.equal(received?.arrived, pair.now);
  });
  // Clocks differ a little: what comes from the future is captured now.
  const [ahead] = pair.deliver(message(9, { time: pair.server.millis(pair.now + 5) }));
  assert.equal(ahead?.age, 0);
  const [untimed] = pair.deliver(message(10));
  assert.deepEqual([untimed?.age, untimed?.captured], [undefined, undefined]);
});

test("what waited for seconds or minutes is not delivered", () => {
  const pair = Pair.settled();
  pair.now += 100_000;
  const at = (n: number, age: number): ReturnType<typeof message> =>
    message(n, { flags: 0, time: pair.server.millis(pair.now - age) });
  assert.deepEqual(pair.deliver(at(1, 3_000), at(2, 14_000), at(3, 40_000)), []);
  assert.equal(pair.plane.counters().tooOld, 3);
  const young = pair.deliver(at(4, 0), at(5, 100), at(6, 1_900));
  assert.deepEqual(
    young.map(({ age }) => age),
    [0, 100, 1_900],
  );
  // A capture time wraps after 65 s. The send time of the datagram does not.
  for (const seconds of [3, 62, 64, 66, 131, 1_000]) {
    const later = Pair.settled();
    const time = later.server.millis(later.now);
    const datagram = later.server.messages(later.now, [message(0, { time }), message(1)]);
    later.now += seconds * 1_000;
    later.plane.datagram(later.now, datagram);
    assert.deepEqual(later.received(), [], `after ${seconds} s`);
    assert.equal(later.plane.counters().tooOld, 2);
  }
});

test("before the first clock reply, sent messages have no capture time", () => {
  const pair = new Pair();
  const time = (): number | undefined => {
    pair.plane.send(outgoing(P));
    const datagram = pair.plane.takeDatagram(pair.now);
    assert.ok(datagram);
    const { frames, answer } = pair.server.handleInput(pair.now, datagram);
    if (answer !== undefined) {
      pair.plane.datagram(pair.now, answer);
    }
    const sent = frames.find((frame) => frame.kind === "message");
    return sent?.kind === "message" ? sent.message.time : -1;
  };
  assert.equal(time(), undefined);
  assert.equal(time(), pair.server.millis(pair.now));
});

/** Otherwise receivers would drop its poses as old. */
test("another page continues the numbers of the one before", () => {
  const before = Pair.settled();
  const next = (pair: Pair): number => {
    pair.plane.send(outgoing(P));
    return pair.exchange()[0]?.[0]?.sequence ?? -1;
  };
  let last = -1;
  for (let n = 0; n < 100; n += 1) {
    last = next(before);
  }
  const out = new Writer();
  encodeSent(before.plane.sentSequences(), out);
  const sent = decodeSent(new Reader(out.view()));
  const first = next(Pair.settled(new RealtimePlane(sent)));
  const receiver = Pair.settled();
  assert.equal(receiver.deliver(message(last)).length, 1);
  assert.equal(receiver.deliver(message(first)).length, 1);
  for (let length = 0; length < out.length; length += 1) {
    assert.throws(() => decodeSent(new Reader(out.view().subarray(0, length))));
  }
});

test("the streams that were used last stay in a ticket", () => {
  const pair = Pair.settled();
  for (let key = 0; key < 500; key += 1) {
    pair.plane.send(outgoing(P, { kind: UNRELIABLE, key }));
    pair.exchange();
  }
  const keys = pair.plane.sentSequences().map(([stream]) => stream & 0xffff);
  assert.equal(keys.length, 256);
  assert.equal(Math.min(...keys), 500 - 256);
});

test("another room instance forgets everything, the same one nothing", () => {
  const pair = Pair.settled();
  pair.deliverOnly(message(0), message(0, { kind: VOICE }), message(0, { kind: UNRELIABLE }));
  pair.grant(true);
  assert.equal(pair.plane.waiting, 3);
  pair.plane.send(outgoing(P));
  pair.grant(false);
  assert.equal(pair.plane.waiting, 0);
  assert.deepEqual(pair.exchange(), []);
  pair.plane.addPeer(pair.now, ADA.slot, 31);
  assert.equal(pair.deliver(message(0))[0]?.from, 31);
});

test("without datagrams there is no realtime plane, and the time is that of the join", () => {
  const plane = new RealtimePlane();
  assert.equal(plane.serverTime(5), undefined);
  assert.deepEqual(plane.shownPoses(5), []);
  const clock = { at: 1_000, serverTime: 90_000_000, epoch: 1 };
  plane.granted(1_000, { link: undefined, clock }, true);
  plane.send(outgoing(P));
  plane.datagram(1_000, new Uint8Array(40));
  assert.equal(plane.takeDatagram(1_000), undefined);
  assert.equal(plane.deadline(), Infinity);
  assert.equal(plane.serverTime(1_500), 90_500_000);
  assert.equal(plane.counters().unsent, 1);
});
