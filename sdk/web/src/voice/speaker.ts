// The voices of the others: from Opus packets to the sound device.

import type { VoiceStep } from "../playback/voice.js";
import { localError } from "../session/error.js";
import { type AudioOptions, type OpenAudio, openAudio } from "./context.js";
import { VoiceDecoder } from "./decoder.js";
import { PLAYBACK } from "./worklet.js";

/** Speakers that are decoded at the same time. By default a room lets 128 peers speak. */
const MAX_VOICES = 128;
/**
 * Silence after which a speaker's decoder is freed, in ms: longer than a pause between sentences.
 */
const IDLE = 10_000;
/**
 * Shortest time between two frames in the long run, in ms. A little less than 20 ms, because the
 * clock of the sound device may be fast. A page that was busy does not catch up: the past is not
 * worth it.
 */
const LEAST_INTERVAL = 19;
/** Frames that may be made up for at once. */
const BURST = 2;
/** Frames between two looks for peers that have left: a second. */
const LOOK_FRAMES = 50;
/** No peer has this id. */
const NOBODY = 0;

/** Where voices come from: a room is one. */
export interface VoiceSource {
  /** Returns the peers whose voice is kept, also those that are silent now. */
  speakers(): Iterable<number>;
  /**
   * Returns what to play for the next 20 ms of a peer. A room keeps voices from the first call on,
   * so while there are no speakers, it is called with the peer 0, which does not exist.
   */
  playVoice(peer: number): VoiceStep;
  /** Returns a peer of the room, or `undefined` once it has left. Otherwise {@link speakers} tells. */
  peer?(id: number): unknown;
}

/** How to start a speaker. */
export interface SpeakerOptions extends AudioOptions {
  /** The room. */
  source: VoiceSource;
  /** Where the sound goes; the context's destination by default. */
  destination?: AudioNode;
  /**
   * Decrypts a packet that its sender has encrypted end to end. A packet for which this function
   * returns `undefined` or throws is concealed, as all such packets are without this function.
   */
  decrypt?: (peer: number, opus: Uint8Array) => Uint8Array | undefined;
}

/** The voice of one peer. */
interface PeerVoice {
  decoder: VoiceDecoder;
  /** When the peer was heard last, local, in ms. */
  heard: number;
}

/** How loud and where a peer is. */
interface Place {
  /** At least 0. */
  gain: number;
  /** From -1 (left) to 1 (right). */
  pan: number;
}

/** Where a peer is that the application has not placed. */
const MIDDLE: Place = { gain: 1, pan: 0 };

/** A running speaker: it asks its source for voices by the clock of the sound device. */
export class Speaker {
  readonly #audio: OpenAudio;
  readonly #options: SpeakerOptions;
  readonly #worklet: AudioWorkletNode;
  readonly #voices = new Map<number, PeerVoice>();
  readonly #places = new Map<number, Place>();
  #nextFrame = 0;
  #framesToLook = LOOK_FRAMES;
  #isClosed = false;

  /**
   * Starts a speaker. Browsers play no sound before the user has clicked something: call this in
   * the handler of a click or a key, or call {@link resume} there.
   *
   * For what a page's policy must allow, see {@link AudioOptions.workletUrl}.
   *
   * Rejects with "noVoice" if the browser does not decode Opus, and with the browser's error if the page's policy does not allow the
   * worklet.
   */
  static async start(options: SpeakerOptions): Promise<Speaker> {
    if (typeof AudioDecoder === "undefined") {
      throw localError("noVoice", "this browser does not decode Opus");
    }
    const audio = await openAudio(options);
    try {
      return new Speaker(options, audio);
    } catch (error) {
      await audio.close();
      throw error;
    }
  }

  private constructor(options: SpeakerOptions, audio: OpenAudio) {
    this.#options = options;
    this.#audio = audio;
    const { context } = audio;
    const output = { numberOfInputs: 0, outputChannelCount: [2] };
    this.#worklet = new AudioWorkletNode(context, PLAYBACK, output);
    this.#worklet.port.onmessage = () => this.#playFrame(performance.now());
    this.#worklet.connect(options.destination ?? context.destination);
    void this.resume();
  }

  /** The audio context. It is `suspended` while the browser does not allow sound. */
  get context(): AudioContext {
    return this.#audio.context;
  }

  /** Begins to play, once the user has clicked something. */
  async resume(): Promise<void> {
    if (!this.#isClosed) {
      // Some browsers reject, others wait for a click.
      await this.#audio.context.resume().catch(() => {});
    }
  }

  /**
   * Sets how loud a peer is, from 0, 1 by default, and where: from -1 (left) to 1 (right), 0 by
   * default. A number that is not finite counts as the default. It holds until the peer leaves, or
   * until {@link forget}.
   */
  place(peer: number, gain: number, pan: number = MIDDLE.pan): void {
    this.#places.set(peer, {
      gain: Number.isFinite(gain) ? Math.max(gain, 0) : MIDDLE.gain,
      pan: Number.isFinite(pan) ? Math.min(Math.max(pan, -1), 1) : MIDDLE.pan,
    });
    if (this.#voices.has(peer)) {
      this.#sendPlace(peer);
    }
  }

  /**
   * Forgets how loud and where a peer is; without `peer`, how loud and where all are. Call it
   * without `peer` after the room's event "rejoined": the ids then belong to other peers.
   */
  forget(peer?: number): void {
    const forgotten = peer === undefined ? [...this.#places.keys()] : [peer];
    for (const id of forgotten) {
      if (this.#places.delete(id) && this.#voices.has(id)) {
        this.#sendPlace(id);
      }
    }
  }

  /** Stops the sound, and frees everything. */
  async close(): Promise<void> {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    for (const { decoder } of this.#voices.values()) {
      decoder.close();
    }
    this.#voices.clear();
    this.#worklet.port.postMessage(0);
    this.#worklet.port.close();
    this.#worklet.disconnect();
    await this.#audio.close();
  }

  /** Gets the next 20 ms of all voices. */
  #playFrame(now: number): void {
    this.#nextFrame = Math.max(this.#nextFrame, now - BURST * LEAST_INTERVAL);
    if (this.#isClosed || now < this.#nextFrame) {
      return;
    }
    this.#nextFrame += LEAST_INTERVAL;
    const { source } = this.#options;
    const peers = new Set(source.speakers());
    if (peers.size === 0) {
      source.playVoice(NOBODY);
    }
    for (const peer of peers) {
      const step = source.playVoice(peer);
      let voice = this.#voices.get(peer);
      if (voice === undefined && step.kind === "packet" && this.#voices.size < MAX_VOICES) {
        voice = this.#addVoice(peer, now);
      }
      if (voice !== undefined && step.kind !== "silence") {
        voice.heard = now;
        voice.decoder.play(now, this.#decrypted(peer, step));
      }
    }
    for (const [peer, { decoder, heard }] of this.#voices) {
      const hasLeft = !peers.has(peer);
      if (hasLeft || now - heard > IDLE) {
        decoder.close();
        this.#voices.delete(peer);
        this.#worklet.port.postMessage({ peer });
      }
      if (hasLeft && source.peer === undefined) {
        this.#places.delete(peer);
      }
    }
    this.#framesToLook -= 1;
    if (this.#framesToLook === 0) {
      this.#framesToLook = LOOK_FRAMES;
      this.#dropPlaces(source);
    }
  }

  /** Drops the places of peers that have left, also of those that were silent. */
  #dropPlaces(source: VoiceSource): void {
    for (const peer of this.#places.keys()) {
      if (source.peer !== undefined && source.peer(peer) === undefined) {
        this.#places.delete(peer);
      }
    }
  }

  #addVoice(peer: number, now: number): PeerVoice {
    const { port } = this.#worklet;
    const decoder = new VoiceDecoder((samples) => {
      port.postMessage({ peer, samples }, [samples.buffer]);
    });
    const voice = { decoder, heard: now };
    this.#voices.set(peer, voice);
    this.#sendPlace(peer);
    return voice;
  }

  /** Tells the worklet the gains of a peer: with equal power, 0.7 on both sides in the middle. */
  #sendPlace(peer: number): void {
    const { gain, pan } = this.#places.get(peer) ?? MIDDLE;
    const angle = ((pan + 1) * Math.PI) / 4;
    const left = gain * Math.cos(angle);
    this.#worklet.port.postMessage({ peer, left, right: gain * Math.sin(angle) });
  }

  #decrypted(peer: number, step: VoiceStep): VoiceStep {
    if (step.kind !== "packet" || !step.isEncrypted) {
      return step;
    }
    const opus = this.#tryDecrypt(peer, step.opus);
    return opus === undefined ? { kind: "conceal" } : { kind: "packet", opus, isEncrypted: false };
  }

  /** An error of the application must not silence the other peers. */
  #tryDecrypt(peer: number, opus: Uint8Array): Uint8Array | undefined {
    try {
      return this.#options.decrypt?.(peer, opus);
    } catch {
      return undefined;
    }
  }
}
