// Finds out which peers speak, from the header of each voice packet. Times are local, in ms.

/**
 * A peer counts as speaking until this time has passed without a packet in which the encoder
 * detected a voice. The time is longer than the gap between two words, and shorter than the pause
 * after which another person starts to talk.
 */
const SILENCE_BEFORE_END = 300;
/**
 * Speakers that are reported at the same time. By default, a server lets at most 128 peers speak.
 * The voice of a further speaker is delivered, but the speaker is not reported.
 */
const MAX_SPEAKERS = 256;

/** A change of the speakers: a peer started or stopped speaking. */
export interface SpeakingChange {
  /** The peer's id. */
  peer: number;
  /** Whether the peer speaks now. */
  speaking: boolean;
  /** Level of the peer's newest packet in -dBov: 0 is loudest, 127 is silence. */
  level: number;
}

/** A peer that speaks. */
interface Speaker {
  level: number;
  /** When a packet with a voice last arrived. */
  lastVoice: number;
}

/** The peers that are speaking. */
export class Speaking {
  /** In the order in which they started. */
  readonly #speakers = new Map<number, Speaker>();

  /**
   * Handles the header of a voice packet: the level, and whether the encoder detected a voice.
   * Returns a change if the peer started speaking.
   */
  onVoice(now: number, peer: number, level: number, voice: boolean): SpeakingChange | undefined {
    const speaker = this.#speakers.get(peer);
    if (speaker !== undefined) {
      speaker.level = level;
      speaker.lastVoice = voice ? Math.max(speaker.lastVoice, now) : speaker.lastVoice;
      return undefined;
    }
    if (!voice || this.#speakers.size >= MAX_SPEAKERS) {
      return undefined;
    }
    this.#speakers.set(peer, { level, lastVoice: now });
    return { peer, speaking: true, level };
  }

  /** Removes and returns the speakers that have stopped by `now`. */
  handleTimeout(now: number): SpeakingChange[] {
    const stopped: SpeakingChange[] = [];
    for (const [peer, { level, lastVoice }] of this.#speakers) {
      if (lastVoice + SILENCE_BEFORE_END <= now) {
        this.#speakers.delete(peer);
        stopped.push({ peer, speaking: false, level });
      }
    }
    return stopped;
  }

  /** Returns when {@link handleTimeout} must be called next; `Infinity` if nobody speaks. */
  deadline(): number {
    let deadline = Infinity;
    for (const { lastVoice } of this.#speakers.values()) {
      deadline = Math.min(deadline, lastVoice + SILENCE_BEFORE_END);
    }
    return deadline;
  }

  /** Removes a peer that left, without reporting a change. */
  forget(peer: number): void {
    this.#speakers.delete(peer);
  }

  /** Forgets all peers. */
  clear(): void {
    this.#speakers.clear();
  }

  /** Returns the speakers and their levels, in the order in which they started. */
  speakers(): { peer: number; level: number }[] {
    return [...this.#speakers].map(([peer, { level }]) => ({ peer, level }));
  }
}
