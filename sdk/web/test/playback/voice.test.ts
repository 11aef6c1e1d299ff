// What a listener hears on bad networks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { VOICE_AGAIN, VOICE_PACKET, VoicePlayer } from "../../src/playback/voice.js";
import type { Voice } from "../../src/wire/voice.js";
import { type Conditions, delayed, Pipe, quantile, WIFI } from "../realtime/network.js";

const START = 100_000;
const SPEAKER = 1;

/** What happened in a minute. Times are in ms. */
interface Heard {
  sent: number;
  lost: number;
  played: number;
  /** Times from the capture to the begin of the packet's 20 ms. */
  delays: number[];
  /** Changes between sound and silence. */
  changes: number;
  /** Times that the packets were under way. */
  network: number[];
}

interface Options {
  /** Parts in a million by which the listener's sound device is slower. */
  drift?: number;
  /** The application plays nothing for two seconds. */
  hangs?: boolean;
  /** Each packet is sent again after this time. */
  again?: number;
}

function packet(sequence: number): Voice {
  const opus = Uint8Array.of(sequence & 0xff, sequence >> 8);
  return { level: 30, speaking: true, flags: 0, opus };
}

/**
 * Returns what a listener hears of a speaker whose speech lasts 3 s and who then pauses for 1 s.
 */
function listen(seed: number, conditions: Conditions, options: Options = {}): Heard {
  const { drift = 0, hangs = false, again } = options;
  const [up, down] = [0, 1].map((way) => new Pipe<[number, number]>(2 * seed + way, conditions));
  assert.ok(up && down);
  const player = new VoicePlayer();
  const heard: Heard = { sent: 0, lost: 0, played: 0, delays: [], changes: 0, network: [] };
  const captures = new Map<number, number>();
  const seen = new Set<string>();
  const repeats: [number, [number, number]][] = [];
  let [next, nextFrame, sequence] = [START, START, 65_000];
  let last: number | undefined;
  let wasSilent = true;
  for (let ms = 0; ms < 60_000; ms += 1) {
    const now = START + ms;
    if (next <= now) {
      if (ms % 4_000 < 3_000) {
        up.handleInput(now, [sequence, now]);
        captures.set(sequence, now);
        if (again !== undefined) {
          repeats.push([now + again, [sequence, now]]);
        }
        heard.sent += 1;
        sequence = (sequence + 1) & 0xffff;
      }
      next += VOICE_PACKET;
    }
    while (repeats[0] !== undefined && repeats[0][0] <= now) {
      up.handleInput(now, repeats.shift()![1]);
    }
    for (let item; (item = up.pollOutput(now)) !== undefined;) {
      down.handleInput(now, item);
    }
    for (let item; (item = down.pollOutput(now)) !== undefined;) {
      const [number, captured] = item;
      if (!seen.has(`${number} ${captured}`)) {
        seen.add(`${number} ${captured}`);
        heard.network.push(now - captured);
        player.add(SPEAKER, number, captured * 1_000, now * 1_000, packet(number));
      }
    }
    // The application hangs for two seconds.
    if (nextFrame > now || (ms >= 20_500 && ms < 22_500 && hangs)) {
      continue;
    }
    nextFrame = Math.max(nextFrame, now - VOICE_PACKET);
    nextFrame += VOICE_PACKET + (VOICE_PACKET * drift) / 1_000_000;
    const step = player.play(SPEAKER, now * 1_000);
    heard.changes += (step.kind === "silence") !== wasSilent ? 1 : 0;
    wasSilent = step.kind === "silence";
    if (step.kind !== "packet") {
      continue;
    }
    assert.equal(step.isEncrypted, false);
    const played = (step.opus[0] ?? 0) | ((step.opus[1] ?? 0) << 8);
    if (last !== undefined) {
      assert.ok(((played - last) & 0xffff) < 0x8000 && played !== last, `seed ${seed}: ${played}`);
    }
    last = played;
    heard.delays.push(now - (captures.get(played) ?? NaN));
    heard.played += 1;
  }
  heard.lost = up.lost + down.lost;
  return heard;
}

/** A sender that knows of the losses sends its voice again, as `VOICE_AGAIN` says. */
test("on Wi-Fi hardly a packet is concealed", () => {
  let [sent, concealed] = [0, 0];
  for (let seed = 0; seed < 100; seed += 1) {
    const heard = listen(seed, WIFI, { drift: 100, again: VOICE_AGAIN });
    const missing = heard.sent - heard.played;
    assert.ok(missing / heard.sent <= 0.015, `seed ${seed}: ${missing} of ${heard.sent}`);
    const more = quantile(heard.delays, 0.5) - quantile(heard.network, 0.5);
    assert.ok(more <= 100, `seed ${seed}: heard ${more} ms later than the network's median`);
    sent += heard.sent;
    concealed += missing;
  }
  assert.ok(concealed * 100 <= sent, `${concealed} of ${sent}`);
});

test("on Wi-Fi nearly everything that arrives is played and not late", () => {
  for (let seed = 0; seed < 100; seed += 1) {
    const { sent, lost, played, delays, changes } = listen(seed, WIFI, { drift: 100 });
    const tooLate = (sent - lost - played) / sent;
    assert.ok(tooLate <= 0.01, `seed ${seed}: ${tooLate} of the packets came too late`);
    const delay = quantile(delays, 0.5);
    assert.ok(delay <= 100, `seed ${seed}: ${delay} ms; the network takes 10 to 60 ms`);
    // Fifteen pauses, and losses of more than 100 ms.
    assert.ok(changes <= 2 * 15 + 20, `seed ${seed}: the voice was cut ${changes} times`);
  }
});

test("on a good network everything is played although the clocks differ", () => {
  for (const drift of [0, 50, 500]) {
    const { sent, played, delays, changes } = listen(1, delayed(10, 12), { drift });
    // A slow sound device plays less.
    assert.ok(played + (sent * drift) / 1_000_000 + 16 >= sent, `${played} of ${sent}`);
    assert.ok(
      delays.every((delay) => delay <= 90),
      `${Math.max(...delays)}`,
    );
    assert.ok(changes <= 30, `${changes}`);
  }
});

/** The numbers may have wrapped while the listener got nothing, or a new process begins at 0. */
test("a speaker whose numbers begin anew is heard", () => {
  const player = new VoicePlayer();
  let now = START;
  for (const first of [40_000, 20_000, 0, 30_000]) {
    let played = 0;
    for (let number = 0; number < 50; number += 1) {
      const sequence = first + number;
      player.add(SPEAKER, sequence, (now - 10) * 1_000, now * 1_000, packet(sequence));
      played += player.play(SPEAKER, now * 1_000).kind === "packet" ? 1 : 0;
      now += VOICE_PACKET;
    }
    assert.ok(played >= 48, `${played} of 50 from ${first}`);
    now += 300 * VOICE_PACKET;
  }
});

test("after a hitch nobody hears the past", () => {
  const { sent, played, delays } = listen(1, delayed(10, 12), { hangs: true });
  assert.ok(
    delays.every((delay) => delay <= 60),
    `${Math.max(...delays)}`,
  );
  assert.ok(sent - played >= 90 && sent - played < 130, `${played} of ${sent}`);
});

/** Would catch a listener who misses a word when the network becomes better. */
test("playback catches up with a better network by one packet at a time", () => {
  const player = new VoicePlayer();
  const played: number[] = [];
  const arriving: [number, number][] = [];
  let delay = NaN;
  for (let n = 0; n < 3_000; n += 1) {
    const now = START + n * VOICE_PACKET;
    arriving.push([now + (n < 1_000 ? 150 : 10), n]);
    for (const [at, number] of arriving.filter(([at]) => at <= now)) {
      player.add(
        SPEAKER,
        number,
        (START + number * VOICE_PACKET) * 1_000,
        at * 1_000,
        packet(number),
      );
    }
    arriving.splice(0, arriving.length, ...arriving.filter(([at]) => at > now));
    const step = player.play(SPEAKER, now * 1_000);
    if (step.kind === "packet") {
      const number = (step.opus[0] ?? 0) | ((step.opus[1] ?? 0) << 8);
      played.push(number);
      delay = now - START - number * VOICE_PACKET;
    }
  }
  const steps = played.map((number, i) => number - (played[i - 1] ?? number - 1));
  assert.ok(Math.max(...steps.slice(20)) <= 2, `${Math.max(...steps.slice(20))} packets at once`);
  assert.ok(delay <= 40, `${delay} ms in the end`);
});

/** Would catch a buffer that grows with what hostile peers send. */
test("what waits is bounded, for one speaker and for all", () => {
  const player = new VoicePlayer();
  for (let number = 0; number < 1_000; number += 1) {
    player.add(SPEAKER, number, START * 1_000, START * 1_000, packet(number));
  }
  let played = 0;
  for (let frame = 0; frame < 100; frame += 1) {
    played += player.play(SPEAKER, START * 1_000).kind === "packet" ? 1 : 0;
  }
  assert.ok(played <= 32, `${played}`);
  for (let speaker = 0; speaker < 1_000; speaker += 1) {
    player.add(speaker, 0, START * 1_000, START * 1_000, packet(0));
  }
  assert.equal(player.play(999, START * 1_000).kind, "silence");
});

/**
 * Would catch a player that hears nobody new after 256 speakers, and one whose speakers displace
 * each other while they speak.
 */
test("a new speaker replaces the one that was silent longest", () => {
  const player = new VoicePlayer();
  const add = (speaker: number, ms: number): void => {
    const at = (START + ms) * 1_000;
    player.add(speaker, 0, at, at, packet(0));
  };
  for (let speaker = 1; speaker <= 256; speaker += 1) {
    add(speaker, 10 * (speaker % 100));
  }
  add(300, 500);
  add(301, 1_000);
  add(302, 5_000);
  const speakers = new Set(player.speakers());
  assert.equal(speakers.size, 256);
  assert.equal(speakers.has(300), false, "everybody speaks");
  assert.ok(speakers.has(301) && speakers.has(302));
  // 100 and 200 began first.
  assert.ok(!speakers.has(100) && !speakers.has(200));
  assert.equal(player.play(302, (START + 5_000) * 1_000).kind, "packet");
});
