// Runs in a browser: the microphone, a network with losses, and the speaker.

import { VOICE_AGAIN, VoicePlayer } from "../../src/playback/voice.js";
import { Microphone, type MicrophonePacket, Speaker } from "../../src/voice/index.js";
import { Rng } from "../realtime/network.js";

const PEER = 7;

/** What was measured. */
export interface Result {
  packets: number;
  lost: number;
  spurts: number;
  /** Packets with a voice. */
  speaking: number;
  /** The loudest and the most silent packet in -dBov. */
  loudest: number;
  largestPacket: number;
  /** What the player has handed out. */
  steps: Record<string, number>;
  /** Root mean square of the loudest 20 ms that came out of the speaker, left and right. */
  heard: [number, number];
  /** Packets after the end, states of the contexts and of the microphone's track after it. */
  after: { packets: number; steps: number; contexts: string[]; track: string; peers: number };
}

/** Measures the loudness of a node, and plays nothing. */
class Meter {
  readonly #analysers: AnalyserNode[];
  readonly #block = new Float32Array(1_024);
  readonly input: ChannelSplitterNode;
  readonly loudest: [number, number] = [0, 0];

  constructor(context: AudioContext) {
    this.input = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    this.#analysers = [0, 1].map((channel) => {
      const analyser = new AnalyserNode(context, { fftSize: 1_024 });
      this.input.connect(analyser, channel);
      // Chromium pulls only what leads to the destination.
      analyser.connect(new GainNode(context, { gain: 0 })).connect(context.destination);
      return analyser;
    });
  }

  measure(): void {
    this.#analysers.forEach((analyser, channel) => {
      analyser.getFloatTimeDomainData(this.#block);
      const sum = this.#block.reduce((total, sample) => total + sample * sample, 0);
      const found = Math.sqrt(sum / this.#block.length);
      this.loudest[channel] = Math.max(this.loudest[channel] ?? 0, found);
    });
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A stream with a voice: a tone of a second, a second of silence, and so on. */
function toneStream(context: AudioContext): MediaStream {
  const oscillator = new OscillatorNode(context, { frequency: 300 });
  const gain = new GainNode(context, { gain: 0 });
  for (let second = 0; second < 60; second += 1) {
    gain.gain.setValueAtTime(second % 2 === 0 ? 0.5 : 0, context.currentTime + second);
  }
  const destination = new MediaStreamAudioDestinationNode(context);
  oscillator.connect(gain).connect(destination);
  oscillator.start();
  return destination.stream;
}

/**
 * Speaks and listens for this time. `loss` is the share of packets that are lost; each is sent
 * twice. `tone`: the voice is a tone of the page's own, and not the microphone.
 */
export async function run(options: {
  ms: number;
  loss: number;
  pan?: number;
  workletUrl?: string;
  tone?: boolean;
  rate?: number;
  hang?: boolean;
  garbage?: boolean;
}): Promise<Result> {
  const { ms, loss, pan = 0, workletUrl, rate } = options;
  const rng = new Rng(1);
  const player = new VoicePlayer();
  const steps: Record<string, number> = { packet: 0, conceal: 0, silence: 0 };
  const result = { packets: 0, lost: 0, spurts: 0, speaking: 0, loudest: 127, largestPacket: 0 };
  const source = {
    speakers: () => player.speakers(),
    playVoice: (peer: number) => {
      const step = player.play(peer, performance.now() * 1_000);
      steps[step.kind] = (steps[step.kind] ?? 0) + 1;
      return step;
    },
  };
  let sequence = 65_500;
  const seen = new Set<number>();
  const onPacket = (packet: MicrophonePacket): void => {
    const [number, captured] = [sequence, performance.now() * 1_000];
    sequence = (sequence + 1) & 0xffff;
    result.packets += 1;
    result.spurts += packet.spurtStart ? 1 : 0;
    result.speaking += packet.speaking ? 1 : 0;
    result.loudest = Math.min(result.loudest, packet.level);
    result.largestPacket = Math.max(result.largestPacket, packet.opus.length);
    const opus = options.garbage ? rng.bytes(1 + rng.below(100)) : packet.opus;
    for (const again of [0, VOICE_AGAIN]) {
      if (rng.chance(loss)) {
        result.lost += 1;
        continue;
      }
      setTimeout(
        () => {
          if (!seen.has(number)) {
            seen.add(number);
            const voice = { level: packet.level, speaking: packet.speaking, flags: 0, opus };
            player.add(PEER, number, captured, performance.now() * 1_000, voice);
          }
        },
        again + 10 + rng.below(20),
      );
    }
  };
  const context = new AudioContext(rate === undefined ? {} : { sampleRate: rate });
  const meter = new Meter(context);
  const stream = options.tone ? toneStream(context) : undefined;
  const microphone = await Microphone.start({ onPacket, workletUrl, ...(stream && { stream }) });
  const track = stream ?? (await findStream());
  const speaker = await Speaker.start({ source, context, workletUrl, destination: meter.input });
  speaker.place(PEER, 1, pan);
  const end = performance.now() + ms;
  let hasHung = !options.hang;
  while (performance.now() < end) {
    await wait(10);
    meter.measure();
    if (!hasHung && performance.now() > end - ms / 2) {
      hasHung = true;
      for (const until = performance.now() + 400; performance.now() < until;) {
        // The page is busy.
      }
    }
  }
  await microphone.close();
  await microphone.close();
  await speaker.close();
  await speaker.close();
  const before = [result.packets, (steps["packet"] ?? 0) + (steps["silence"] ?? 0)] as const;
  await wait(200);
  const state = context.state;
  await context.close();
  return {
    ...result,
    steps,
    heard: meter.loudest,
    after: {
      packets: result.packets - before[0],
      steps: (steps["packet"] ?? 0) + (steps["silence"] ?? 0) - before[1],
      contexts: [state, context.state],
      track: track?.getAudioTracks()[0]?.readyState ?? "none",
      peers: [...player.speakers()].length,
    },
  };
}

/** The stream that the microphone has opened, if the test has kept it. */
async function findStream(): Promise<MediaStream | undefined> {
  return (globalThis as { openedStream?: MediaStream }).openedStream;
}

/** Keeps the streams that the page opens, and counts the questions for them. */
export function watchUserMedia(): { asked: number } {
  const watch = { asked: 0 };
  const { mediaDevices } = navigator;
  const open = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (constraints) => {
    watch.asked += 1;
    const stream = await open(constraints);
    (globalThis as { openedStream?: MediaStream }).openedStream = stream;
    return stream;
  };
  return watch;
}
