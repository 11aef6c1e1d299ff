// The received messages that wait for the application.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Inbox } from "../../src/realtime/inbox.js";
import type { ReceivedMessage } from "../../src/realtime/message.js";
import {
  type Message,
  MESSAGE_KINDS,
  type MessageKind,
  NEWEST_WINS,
  POINTER,
  POSE,
  UNRELIABLE,
  VOICE,
} from "../../src/wire/frame.js";
import { encodePose, POSE_BYTES } from "../../src/wire/pose.js";
import { Rng } from "./network.js";
import { ADA, BOB, message, Pair, sequences } from "./pair.js";

function poseAt(x: number): Uint8Array {
  return encodePose({ head: { position: [x, 1.5, 0], rotation: [0, 0, 0, 1] } });
}

function voice(sequence: number, fields: Partial<Message> = {}): Message {
  const payload = Uint8Array.of(0x80, 0, 1, 2);
  return message(sequence, { kind: VOICE, flags: 0, payload, ...fields });
}

function other(sequence: number): Message {
  return message(sequence, { kind: UNRELIABLE, flags: 0 });
}

function kept(pair: Pair): [number, number, number][] {
  const poses = pair.plane.poses().map(({ from, key, sequence }) => [from, key, sequence] as const);
  return poses
    .map((pose) => [...pose] as [number, number, number])
    .sort(([a, b], [c, d]) => a - c || b - d);
}

test("a newer message takes the place of a waiting one", () => {
  const pair = Pair.settled();
  const ofBob = message(7, { peer: BOB.slot });
  pair.deliverOnly(message(0), voice(0), ofBob, other(0), message(3, { key: 1 }));
  pair.deliverOnly(other(1), message(1, { payload: Uint8Array.of(1, 2, 3) }));
  assert.equal(pair.plane.waiting, 6);
  const received = pair.received();
  assert.deepEqual(
    received.map(({ from, kind, key, sequence }) => [from, kind, key, sequence]),
    [
      [ADA.peer, POSE, 0, 1],
      [ADA.peer, VOICE, 0, 0],
      [BOB.peer, POSE, 0, 7],
      [ADA.peer, UNRELIABLE, 0, 0],
      [ADA.peer, POSE, 1, 3],
      [ADA.peer, UNRELIABLE, 0, 1],
    ],
  );
  assert.equal(received[0]?.payload.length, 3);
  const { replaced, notTaken, superseded } = pair.plane.counters();
  assert.deepEqual([replaced, notTaken, superseded], [1, 0, 0]);
  pair.deliverOnly(message(2));
  assert.deepEqual(sequences(pair.received()), [2]);
  assert.equal(pair.plane.counters().replaced, 1, "the application had taken the last one");
});

test("pointers and newest-wins messages are replaced too, and only poses are kept", () => {
  const pair = Pair.settled();
  for (const kind of [POINTER, UNRELIABLE] as const) {
    for (let n = 0; n < 5; n += 1) {
      pair.deliverOnly(message(n, { kind }));
    }
    assert.deepEqual(
      pair.received().map((m) => [m.kind, m.sequence]),
      [[kind, 4]],
    );
  }
  assert.deepEqual(kept(pair), []);
});

test("poses stay until their peer leaves", () => {
  const pair = Pair.settled();
  const fist = Uint8Array.of(...poseAt(4), 5, 6);
  pair.deliverOnly(message(0, { payload: poseAt(2) }), message(1, { payload: fist }));
  pair.deliverOnly(message(5, { key: 9, payload: poseAt(2) }));
  pair.deliverOnly(message(2, { peer: BOB.slot, payload: poseAt(2) }));
  const arrived = pair.now;
  const all = [
    [ADA.peer, 0, 1],
    [ADA.peer, 9, 5],
    [BOB.peer, 0, 2],
  ];
  assert.deepEqual(kept(pair), all);
  assert.equal(pair.received().length, 3);
  pair.advance(3_600_000);
  assert.deepEqual(kept(pair), all, "whether or not they were taken");
  const pose = pair.plane.poses().find(({ sequence }) => sequence === 1);
  assert.deepEqual([pose?.pose.head.position[0], [...(pose?.rest ?? [])]], [4, [5, 6]]);
  assert.equal(pose?.arrived, arrived);
  pair.plane.removePeer(ADA.slot, ADA.peer);
  assert.deepEqual(kept(pair), [[BOB.peer, 0, 2]]);
  pair.plane.addPeer(pair.now, BOB.slot, 41);
  assert.deepEqual(kept(pair), [], "the slot has a new owner");
});

test("a malformed pose is no pose", () => {
  const pair = Pair.settled();
  const payload = poseAt(1).subarray(0, POSE_BYTES - 1);
  pair.plane.shownPoses(pair.now);
  pair.deliverOnly(message(0, { payload, time: pair.server.millis(pair.now) }));
  assert.deepEqual(kept(pair), []);
  assert.equal(pair.plane.shownPoses(pair.now).length, 0);
  assert.equal(pair.received().length, 1, "the caller finds out by itself");
});

test("after a hitch nobody hears stale voice", () => {
  const pair = Pair.settled();
  for (let n = 0; n < 100; n += 1) {
    pair.deliverOnly(voice(n));
    pair.advance(20);
  }
  const expected = Array.from({ length: 16 }, (_, n) => 84 + n);
  assert.deepEqual(sequences(pair.received()), expected);
  assert.equal(pair.plane.counters().notTaken, 84);
  // The network stops together with the application.
  [0, 1, 2].forEach((n) => pair.deliverOnly(voice(200 + n), other(n)));
  pair.advance(400);
  pair.deliverOnly(voice(0, { peer: BOB.slot }));
  assert.equal(pair.plane.pop(pair.now)?.sequence, 200, "not longer than 400 ms");
  pair.advance(1);
  const rest = pair.received().map(({ kind, sequence }) => [kind, sequence]);
  assert.deepEqual(rest, [
    [UNRELIABLE, 0],
    [UNRELIABLE, 1],
    [UNRELIABLE, 2],
    [VOICE, 0],
  ]);
  assert.equal(pair.plane.counters().staleVoice, 2);
  assert.equal(pair.plane.waiting, 0);
});

test("voice is taken by speaker", () => {
  const pair = Pair.settled();
  for (let n = 0; n < 20; n += 1) {
    pair.deliverOnly(voice(n), voice(500 + n, { peer: BOB.slot }));
  }
  const next = (peer: number): number | undefined => pair.plane.popVoice(pair.now, peer)?.sequence;
  assert.deepEqual(
    [next(BOB.peer), next(BOB.peer), next(ADA.peer), next(99)],
    [504, 505, 4, undefined],
  );
  assert.equal(pair.plane.pop(pair.now)?.sequence, 5);
});

test("other messages and all voices are bounded, and the oldest goes", () => {
  const pair = Pair.settled();
  pair.deliverOnly(message(0));
  for (let n = 0; n < 2_050; n += 1) {
    pair.deliverOnly(other(n));
  }
  const received = sequences(pair.received());
  assert.deepEqual([received.length, received[1], received[2_048]], [2_049, 2, 2_049]);
  assert.equal(pair.plane.counters().notTaken, 2);
  for (let speaker = 100; speaker < 400; speaker += 1) {
    pair.plane.addPeer(pair.now, speaker, speaker);
    for (let n = 0; n < 16; n += 1) {
      pair.deliverOnly(voice(n, { peer: speaker }));
    }
  }
  const voices = pair.received();
  assert.deepEqual([voices.length, voices[0]?.from], [4_096, 144]);
});

/**
 * Many hostile senders share a limit, and the first keys of everyone else are out of their reach.
 */
test("hostile senders take nothing from others", () => {
  const pair = Pair.settled();
  for (let key = 0; key < 5; key += 1) {
    pair.deliverOnly(message(0, { peer: BOB.slot, key }));
  }
  for (let sender = 100; sender < 150; sender += 1) {
    pair.plane.addPeer(pair.now, sender, sender);
    for (let key = 0; key < 300; key += 1) {
      pair.deliverOnly(message(0, { peer: sender, key }));
    }
  }
  assert.equal(pair.plane.waiting, 4 + 50 * 4 + 4_096);
  const ofBob = pair.received().filter(({ from }) => from === BOB.peer);
  assert.deepEqual(
    ofBob.map(({ key }) => key),
    [0, 1, 2, 3],
    "the fifth was a shared one",
  );
});

test("a sender with 65,536 keys keeps its last 256", () => {
  const pair = Pair.settled();
  for (let key = 0; key <= 0xffff; key += 1) {
    pair.deliverOnly(message(0, { key, payload: poseAt(1) }));
    assert.ok(pair.plane.waiting <= 256);
  }
  assert.equal(pair.plane.counters().notTaken, 65_536 - 256);
  assert.equal(pair.plane.poses().length, 256);
});

/** Would catch a key that goes although it is in use. */
test("the least recently updated key goes", () => {
  const pair = Pair.settled();
  for (let key = 0; key < 256; key += 1) {
    pair.deliverOnly(message(0, { key }));
  }
  pair.deliverOnly(message(1, { key: 0 }), message(0, { key: 256 }));
  const keys = pair.received().map(({ key }) => key);
  assert.deepEqual(keys, [0, ...Array.from({ length: 255 }, (_, n) => n + 2)]);
});

/** A message of the model. */
interface ModelMessage extends ReceivedMessage {
  newestWins: boolean;
  isWaiting: boolean;
  isOwnKey: boolean;
  position: number;
  updated: number;
}

function isNewest(m: ModelMessage): boolean {
  return m.newestWins && m.kind !== VOICE;
}

function isOfClass(a: ModelMessage, b: ModelMessage): boolean {
  return (a.kind === VOICE) === (b.kind === VOICE) && isNewest(a) === isNewest(b);
}

function isPose(m: ModelMessage): boolean {
  return isNewest(m) && m.kind === POSE;
}

/** A list of messages that is searched from its start for everything. */
class InboxModel {
  messages: ModelMessage[] = [];
  clock = 0;
  counters = { replaced: 0, notTaken: 0, staleVoice: 0 };

  deliver(message: ModelMessage): void {
    this.clock += 1;
    const next = { ...message, position: this.clock, updated: this.clock };
    const at = this.messages.findIndex(
      (old) =>
        isNewest(next) &&
        isNewest(old) &&
        (["from", "kind", "channel", "key"] as const).every((field) => old[field] === next[field]),
    );
    const old = this.messages[at];
    if (old !== undefined) {
      if (old.isWaiting) {
        this.counters.replaced += 1;
        next.position = old.position;
      }
      this.messages[at] = { ...next, isOwnKey: old.isOwnKey };
      return;
    }
    const [perSender, shared] =
      next.kind === VOICE ? [16, 4_096] : isNewest(next) ? [256, 4_096] : [2_048, 2_048];
    this.#dropOldest(perSender, (m) => isOfClass(m, next) && m.from === next.from);
    const own = this.messages.filter((m) => m.isOwnKey && m.from === next.from);
    next.isOwnKey = isNewest(next) && own.length < 4;
    if (!next.isOwnKey) {
      this.#dropOldest(shared, (m) => isOfClass(m, next) && !m.isOwnKey);
    }
    this.messages.push(next);
  }

  #dropOldest(limit: number, among: (message: ModelMessage) => boolean): void {
    const messages = this.messages.filter(among);
    if (messages.length >= limit) {
      const oldest = messages.reduce((a, b) => (b.updated < a.updated ? b : a));
      this.counters.notTaken += oldest.isWaiting ? 1 : 0;
      this.#remove(oldest);
    }
  }

  #remove(message: ModelMessage): void {
    this.messages.splice(this.messages.indexOf(message), 1);
  }

  pop(now: number, speaker: number | undefined): [number, number] | undefined {
    for (;;) {
      const asked = this.messages.filter((m) =>
        speaker === undefined ? m.isWaiting : m.kind === VOICE && m.from === speaker,
      );
      const [first, ...rest] = asked;
      if (first === undefined) {
        return undefined;
      }
      const next = rest.reduce((a, b) => (b.position < a.position ? b : a), first);
      if (isPose(next)) {
        next.isWaiting = false;
        return [next.from, next.sequence];
      }
      this.#remove(next);
      if (next.kind !== VOICE || now - next.arrived <= 400) {
        return [next.from, next.sequence];
      }
      this.counters.staleVoice += 1;
    }
  }
}

function randomMessage(rng: Rng, now: number, sequence: number): ModelMessage {
  const from = rng.below(6);
  return {
    from,
    kind: MESSAGE_KINDS[rng.below(4)] as MessageKind,
    channel: rng.below(2),
    // Peer 0 uses many keys.
    key: rng.below(from === 0 ? 400 : 4),
    sequence,
    age: undefined,
    captured: undefined,
    arrived: now,
    payload: new Uint8Array(POSE_BYTES),
    newestWins: rng.chance(0.5),
    isWaiting: true,
    isOwnKey: false,
    position: 0,
    updated: 0,
  };
}

/** Would catch any wrong order, limit or count of the inbox. */
test("the inbox does what its slow model does", () => {
  for (let seed = 0; seed < 5; seed += 1) {
    const rng = new Rng(seed);
    const [inbox, model] = [new Inbox(), new InboxModel()];
    let now = 1_000;
    for (let sequence = 0; sequence < 5_000; sequence += 1) {
      now += rng.below(8) === 0 ? rng.below(20) : 0;
      const random = randomMessage(rng, now, sequence);
      inbox.deliver(random.newestWins, random);
      model.deliver(random);
      // Now and then the application takes some, and seldom all.
      const takes = rng.below(2_000) === 0 ? 9_999 : rng.below(3) >> 1;
      for (let n = 0; n < takes; n += 1) {
        const speaker = rng.chance(0.5) ? rng.below(6) : undefined;
        const taken = speaker === undefined ? inbox.pop(now) : inbox.popVoice(now, speaker);
        const expected = model.pop(now, speaker);
        assert.deepEqual(taken && [taken.from, taken.sequence], expected, `seed ${seed}`);
        if (expected === undefined && n > 100) {
          break;
        }
      }
      if (rng.below(1_000) === 0) {
        const peer = rng.below(6);
        inbox.removePeer(peer);
        model.messages = model.messages.filter(({ from }) => from !== peer);
      }
    }
    assert.equal(inbox.waiting, model.messages.filter(({ isWaiting }) => isWaiting).length);
    const key = (m: { from: number; sequence: number }): string => `${m.from} ${m.sequence}`;
    const poses = model.messages.filter(isPose).map(key).sort();
    assert.deepEqual(inbox.poses().map(key).sort(), poses, `seed ${seed}`);
    assert.deepEqual(inbox.counters, model.counters, `seed ${seed}`);
    assert.ok(
      Object.values(inbox.counters).every((count) => count > 0),
      "nothing was tested",
    );
  }
});

test("voice waits even if it says that the newest wins", () => {
  const pair = Pair.settled();
  const flags = NEWEST_WINS;
  pair.deliverOnly(voice(0, { flags }), voice(1, { flags }), voice(2, { flags }));
  assert.deepEqual(sequences(pair.received()), [0, 1, 2]);
});
