// The decoder of one speaker.

import type { VoiceStep } from "../playback/voice.js";
import { FRAME_SAMPLES, FRAME_US, SAMPLE_RATE } from "./format.js";

/** Packets that may wait for the decoder. More would only be late. */
const MAX_WAITING = 10;
/** Time after a malformed packet until the next try, in ms: what a peer sends costs no more. */
const RETRY = 1_000;

/** The bits of a packet's first byte that say how many frames it has; 0 is one. */
const FRAME_COUNT = 3;

/** Decodes the packets of one speaker, and conceals missing ones. */
export class VoiceDecoder {
  readonly #onSamples: (samples: Float32Array) => void;
  #decoder: AudioDecoder | undefined;
  #timestamp = 0;
  /** A packet with one empty frame, encoded like the newest packet. */
  #empty: Uint8Array | undefined;
  #retryAt = 0;

  constructor(onSamples: (samples: Float32Array) => void) {
    this.#onSamples = onSamples;
  }

  /**
   * Decodes the packet of a step, or conceals a missing one. Does nothing in silence. `now` is the
   * local time in ms.
   */
  play(now: number, step: VoiceStep): void {
    if (step.kind === "packet" && step.opus.length > 0) {
      this.#empty = Uint8Array.of((step.opus[0] ?? 0) & ~FRAME_COUNT);
      this.#decode(now, step.opus);
    } else if (step.kind !== "silence" && this.#empty !== undefined) {
      // A packet with one empty frame stands for a lost one (RFC 6716, section 3.2.1): the decoder
      // goes on with the sound before, and fades out.
      this.#decode(now, this.#empty);
    }
  }

  #decode(now: number, packet: Uint8Array): void {
    if (this.#decoder === undefined && now >= this.#retryAt) {
      this.#decoder = this.#open(now);
    }
    const decoder = this.#decoder;
    if (decoder === undefined || decoder.decodeQueueSize > MAX_WAITING) {
      return;
    }
    const { buffer, byteOffset, length } = packet as Uint8Array<ArrayBuffer>;
    const data = new Uint8Array(buffer, byteOffset, length);
    const timestamp = this.#timestamp;
    this.#timestamp += FRAME_US;
    decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, duration: FRAME_US, data }));
  }

  #open(now: number): AudioDecoder {
    const decoder = new AudioDecoder({
      output: (audio) => {
        if (this.#decoder === decoder) {
          this.#takeAudio(audio);
        }
        audio.close();
      },
      error: () => {
        // The packet was no Opus. A decoder that has failed decodes nothing more.
        if (this.#decoder === decoder) {
          this.#decoder = this.#empty = undefined;
          this.#retryAt = now + RETRY;
        }
      },
    });
    decoder.configure({ codec: "opus", sampleRate: SAMPLE_RATE, numberOfChannels: 1 });
    return decoder;
  }

  #takeAudio(audio: AudioData): void {
    // A packet of 120 ms is the longest that Opus has.
    if (audio.sampleRate !== SAMPLE_RATE || audio.numberOfFrames > 6 * FRAME_SAMPLES) {
      return;
    }
    const samples = new Float32Array(audio.numberOfFrames);
    audio.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    this.#onSamples(samples);
  }

  /** Frees the decoder. */
  close(): void {
    const decoder = this.#decoder;
    this.#decoder = this.#empty = undefined;
    if (decoder !== undefined && decoder.state !== "closed") {
      decoder.close();
    }
  }
}
