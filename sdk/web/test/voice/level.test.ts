import assert from "node:assert/strict";
import { test } from "node:test";

import { FRAME_SAMPLES, levelOf } from "../../src/voice/format.js";
import { WORKLET_SOURCE } from "../../src/voice/worklet.js";

function tone(loudness: number): Float32Array {
  return new Float32Array(FRAME_SAMPLES).map(
    (_, n) => loudness * Math.sin((n * 440 * 2 * Math.PI) / 48_000),
  );
}

test("levels are those of RFC 6464, also of what is no number", () => {
  const frame = new Float32Array(FRAME_SAMPLES);
  assert.equal(levelOf(frame.fill(1)), 0);
  assert.equal(levelOf(frame.fill(0)), 127);
  assert.equal(levelOf(frame.fill(NaN)), 127);
  assert.equal(levelOf(frame.fill(Infinity)), 0);
  const quiet = levelOf(tone(0.01));
  assert.ok(quiet >= 42 && quiet <= 44, `${quiet}`);
});

/** The processors of the worklet. */
interface Processor {
  port: { onmessage: (event: { data: unknown }) => void; posted: unknown[] };
  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean;
}

/** Runs the worklet's script as the browser's audio thread does, at this sample rate. */
function worklet(sampleRate: number): Map<string, new () => Processor> {
  const processors = new Map<string, new () => Processor>();
  class Base {
    port = {
      posted: [] as unknown[],
      onmessage: () => {},
      postMessage(data: unknown) {
        this.posted.push(data);
      },
    };
  }
  const register = (name: string, type: new () => Processor): unknown => processors.set(name, type);
  const script = new Function(
    "sampleRate",
    "AudioWorkletProcessor",
    "registerProcessor",
    WORKLET_SOURCE,
  );
  script(sampleRate, Base, register);
  return processors;
}

function make(sampleRate: number, name: string): Processor {
  const type = worklet(sampleRate).get(name);
  assert.ok(type);
  return new type();
}

function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

/** Would catch a wrong resampling: a tone of 440 Hz has 440 periods a second at every rate. */
test("the capture gives frames of 20 ms at every rate of the device", () => {
  for (const rate of [16_000, 44_100, 48_000, 96_000]) {
    const capture = make(rate, "nucleus-capture");
    for (let block = 0; block < rate / 128; block += 1) {
      const input = new Float32Array(128).map(
        (_, i) => 0.5 * Math.sin((2 * Math.PI * 440 * (block * 128 + i)) / rate),
      );
      assert.equal(capture.process([[input]], []), true);
    }
    const frames = capture.port.posted as Float32Array[];
    assert.ok(Math.abs(frames.length - 50) <= 1, `${rate} Hz: ${frames.length} frames`);
    const samples = frames.flatMap((frame) => [...frame]);
    const rising = samples.filter((sample, i) => i > 0 && sample >= 0 && (samples[i - 1] ?? 0) < 0);
    const expected = (440 * samples.length) / 48_000;
    assert.ok(Math.abs(rising.length - expected) <= 2, `${rate} Hz: ${rising.length} periods`);
    assert.ok(Math.abs(rms(Float32Array.from(samples)) - 0.354) < 0.01);
    capture.process([[]], []);
    capture.port.onmessage({ data: 0 });
    assert.equal(capture.process([[]], []), false, "it has ended");
  }
});

test("the playback mixes voices with their gains, and asks every 20 ms", () => {
  for (const rate of [44_100, 48_000, 96_000]) {
    const playback = make(rate, "nucleus-playback");
    const say = (data: unknown): void => playback.port.onmessage({ data });
    say({ peer: 1, left: 1, right: 0 });
    say({ peer: 2, left: 0, right: 0.5 });
    let [asked, left, right] = [0, 0, 0];
    const blocks = Math.floor(rate / 128);
    for (let block = 0; block < blocks; block += 1) {
      const output = [new Float32Array(128), new Float32Array(128)];
      assert.equal(playback.process([], [output]), true);
      while (asked < playback.port.posted.length) {
        asked += 1;
        say({ peer: 1, samples: tone(1) });
        say({ peer: 2, samples: tone(1) });
      }
      if (block > blocks / 2) {
        left += rms(output[0]!) / (blocks / 2);
        right += rms(output[1]!) / (blocks / 2);
      }
    }
    assert.ok(Math.abs(asked - 50) <= 1, `${rate} Hz: ${asked}`);
    assert.ok(Math.abs(left - 0.7) < 0.05 && Math.abs(right - 0.35) < 0.03, `${left} ${right}`);
    say({ peer: 1 });
    const output = [new Float32Array(128), new Float32Array(128)];
    playback.process([], [output]);
    assert.equal(rms(output[0]!), 0, "a voice that has ended");
    say(0);
    assert.equal(playback.process([], [output]), false);
  }
});

/** Would catch a ring that plays old sound after a burst, or waits for ever for a second frame. */
test("the playback waits 40 ms at most, and drops what is too much", () => {
  const playback = make(48_000, "nucleus-playback");
  const say = (data: unknown): void => playback.port.onmessage({ data });
  const play = (blocks: number): number => {
    let sounding = 0;
    for (let block = 0; block < blocks; block += 1) {
      const output = [new Float32Array(128), new Float32Array(128)];
      playback.process([], [output]);
      sounding += rms(output[0]!) > 0.01 ? 1 : 0;
    }
    return sounding;
  };
  say({ peer: 1, left: 1, right: 1 });
  say({ peer: 1, samples: tone(1) });
  assert.equal(play(13), 0);
  const one = play(20);
  assert.ok(one >= 7 && one <= 8, `${one} blocks of one frame`);
  for (let n = 0; n < 50; n += 1) {
    say({ peer: 1, samples: tone(1) });
  }
  const burst = play(200);
  assert.ok(burst >= 15 && burst <= 46, `${burst} blocks after a burst of a second`);
});
