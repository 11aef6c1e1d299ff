// The speaker, with stand-ins for the browser's audio.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import type { VoiceStep } from "../../src/playback/voice.js";
import { Speaker, type SpeakerOptions } from "../../src/voice/speaker.js";

/** What the speaker has told the worklet about a peer. */
interface Told {
  peer: number;
  left?: number;
  right?: number;
}

interface FakePort {
  onmessage: (event: unknown) => void;
  postMessage: (told: Told) => void;
  close: () => void;
}

/** A speaker of peers 1 and 2, whose packets begin with their ids. */
class Rig {
  now = 1_000;
  peers = [1, 2];
  readonly decoded: number[] = [];
  readonly told: Told[] = [];
  readonly asked: number[] = [];
  #port: FakePort | undefined;

  async start(t: TestContext, options: Partial<SpeakerOptions> = {}): Promise<Speaker> {
    const rig = this;
    t.mock.method(performance, "now", () => rig.now);
    Object.assign(globalThis, {
      AudioWorkletNode: class {
        readonly port: FakePort = {
          onmessage: () => {},
          postMessage: (told) => rig.told.push(told),
          close: () => {},
        };
        constructor() {
          rig.#port = this.port;
        }
        connect(): void {}
        disconnect(): void {}
      },
      AudioDecoder: class {
        readonly state = "configured";
        readonly decodeQueueSize = 0;
        configure(): void {}
        decode({ data }: { data: Uint8Array }): void {
          rig.decoded.push(data[0] ?? 0);
        }
        close(): void {}
      },
      EncodedAudioChunk: class {
        constructor(readonly init: { data: Uint8Array }) {}
        get data(): Uint8Array {
          return this.init.data;
        }
      },
    });
    const context = { audioWorklet: { addModule: async () => {} }, resume: async () => {} };
    const source = {
      speakers: () => this.peers,
      playVoice: (peer: number): VoiceStep => {
        this.asked.push(peer);
        return { kind: "packet", opus: Uint8Array.of(4 * peer, 1), isEncrypted: peer === 1 };
      },
    };
    return Speaker.start({
      source,
      context: context as unknown as AudioContext,
      workletUrl: "worklet.js",
      ...options,
    });
  }

  /** The sound device asks for frames. */
  frames(count = 1): void {
    for (let frame = 0; frame < count; frame += 1) {
      this.now += 20;
      this.#port?.onmessage({});
    }
  }

  /** Returns the newest gains of a peer, in hundredths. */
  gains(peer: number): [number, number] | undefined {
    const told = this.told.findLast((item) => item.peer === peer && item.left !== undefined);
    return told && [Math.round(100 * told.left!), Math.round(100 * told.right!)];
  }
}

/** Would catch an error of the application's that silences the room. */
test("a packet that cannot be decrypted is concealed, and the others are heard", async (t) => {
  const rig = new Rig();
  let calls = 0;
  await rig.start(t, {
    decrypt: () => {
      calls += 1;
      if (calls > 2) {
        throw new Error("bad tag");
      }
      return Uint8Array.of(4, 1);
    },
  });
  rig.frames(5);
  assert.equal(calls, 5);
  // The packet that stands for a lost one begins like the one before.
  assert.deepEqual(rig.decoded, [4, 8, 4, 8, 4, 8, 4, 8, 4, 8]);
});

/** Would catch a gain that is no number: the worklet would make silence of the whole mix. */
test("a place that is no number is the default", async (t) => {
  const rig = new Rig();
  const speaker = await rig.start(t);
  rig.frames();
  assert.deepEqual(rig.gains(2), [71, 71]);
  for (const [gain, pan, left, right] of [
    [1, -1, 100, 0],
    [1, NaN, 71, 71],
    [0.5, 7, 0, 50],
    [NaN, -7, 100, 0],
    [Infinity, -Infinity, 71, 71],
    [-3, 0, 0, 0],
  ] as const) {
    speaker.place(2, gain, pan);
    assert.deepEqual(rig.gains(2), [left, right], `${gain}, ${pan}`);
  }
});

/** Would catch a place that the next peer with this id inherits, and places that only grow. */
test("places are forgotten when their peers leave, and on demand", async (t) => {
  const rig = new Rig();
  const known = new Set([1, 2, 3]);
  const speaker = await rig.start(t, {
    source: {
      speakers: () => rig.peers,
      playVoice: (peer) => ({ kind: "packet", opus: Uint8Array.of(peer), isEncrypted: false }),
      peer: (id) => (known.has(id) ? {} : undefined),
    },
  });
  const place = (): void => [1, 2, 3].forEach((peer) => speaker.place(peer, 0));
  place();
  rig.frames();
  assert.deepEqual(
    [rig.gains(1), rig.gains(2)],
    [
      [0, 0],
      [0, 0],
    ],
  );
  speaker.forget(1);
  assert.deepEqual(
    [rig.gains(1), rig.gains(2)],
    [
      [71, 71],
      [0, 0],
    ],
  );
  speaker.forget();
  assert.deepEqual(rig.gains(2), [71, 71]);
  place();
  // Peer 1 gives its place among the speakers to another one, peer 3 leaves without a word.
  rig.peers = [2];
  known.delete(3);
  rig.frames(60);
  known.add(3);
  rig.peers = [1, 2, 3];
  rig.frames();
  assert.deepEqual(
    [rig.gains(1), rig.gains(2), rig.gains(3)],
    [
      [0, 0],
      [0, 0],
      [71, 71],
    ],
  );
});

/** A room keeps voices only for those who play them. */
test("a speaker tells a room without speakers that it plays", async (t) => {
  const rig = new Rig();
  rig.peers = [];
  await rig.start(t);
  rig.frames(2);
  assert.deepEqual(rig.asked, [0, 0]);
  rig.peers = [2];
  rig.frames();
  assert.deepEqual(rig.asked, [0, 0, 2]);
});

test("a browser without Opus is told by a code", async () => {
  Object.assign(globalThis, { AudioDecoder: undefined });
  const source = { speakers: () => [], playVoice: (): VoiceStep => ({ kind: "silence" }) };
  await assert.rejects(Speaker.start({ source }), { name: "NucleusError", code: "noVoice" });
});
