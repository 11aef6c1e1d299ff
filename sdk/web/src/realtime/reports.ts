// What the realtime plane reports besides messages: who speaks, and how good the connection is.

import type { Voice } from "../wire/voice.js";
import type { ConnectionQuality } from "./quality.js";
import { Speaking, type SpeakingChange } from "./speaking.js";

/**
 * Speaking changes that may wait for the application. When the queue is full, the oldest is
 * dropped.
 */
const SPEAKING_CHANGES = 512;

/** A report for the application. */
export type RealtimeReport =
  /** A peer started or stopped speaking. */
  | ({ kind: "speaking" } & SpeakingChange)
  /** The connection became better or worse. */
  | { kind: "quality"; quality: ConnectionQuality };

/** The reports that wait for the application. */
export class RealtimeReports {
  readonly speaking = new Speaking();
  #changes: SpeakingChange[] = [];
  /** The newest quality that the application was not told. */
  #quality: ConnectionQuality | undefined;

  /** Handles a voice packet. */
  onVoice(now: number, from: number, voice: Voice): void {
    const change = this.speaking.onVoice(now, from, voice.level, voice.speaking);
    if (change !== undefined) {
      this.#push(change);
    }
  }

  /** Notes the speakers that have stopped by `now`. */
  handleTimeout(now: number): void {
    for (const change of this.speaking.handleTimeout(now)) {
      this.#push(change);
    }
  }

  #push(change: SpeakingChange): void {
    if (this.#changes.length >= SPEAKING_CHANGES) {
      this.#changes.shift();
    }
    this.#changes.push(change);
  }

  /** Removes a peer that left, without a report. */
  forget(peer: number): void {
    this.speaking.forget(peer);
    this.#changes = this.#changes.filter((change) => change.peer !== peer);
  }

  /** Forgets all peers. */
  forgetAll(): void {
    this.speaking.clear();
    this.#changes = [];
  }

  /** Sets the quality, if it is to be reported. */
  setQuality(quality: ConnectionQuality | undefined): void {
    this.#quality = quality ?? this.#quality;
  }

  /** Takes the next report. */
  take(): RealtimeReport | undefined {
    const quality = this.#quality;
    if (quality !== undefined) {
      this.#quality = undefined;
      return { kind: "quality", quality };
    }
    const change = this.#changes.shift();
    return change && { kind: "speaking", ...change };
  }

  /** Whether no report waits. */
  get isEmpty(): boolean {
    return this.#changes.length === 0 && this.#quality === undefined;
  }
}
