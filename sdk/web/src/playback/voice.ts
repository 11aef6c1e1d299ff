// Which voice packet of a speaker is played next, and when one is concealed. Times of this file are
// those of the server's clock in µs.
//
// A packet is played as late as nearly all packets of its speaker arrive after their capture. An
// application asks for a packet every 20 ms, by the clock of its sound device. That clock differs
// from the speaker's, so now and then a packet is dropped, or one more is concealed.

import { END_TO_END, type Voice } from "../wire/voice.js";
import { Lateness } from "./lateness.js";

/** Length of a voice packet, in ms. */
export const VOICE_PACKET = 20;
/**
 * Time after which voice is sent again, in ms: three packets later. A longer burst of losses is
 * seldom, and whoever hears the voice must wait so much longer for every packet.
 */
export const VOICE_AGAIN = 60;
/** Waiting packets of one speaker: 640 ms. The usual lateness is far below. */
const WAITING = 32;
/** Speakers whose packets are kept. By default, a server lets at most 128 peers speak at a time. */
const MAX_SPEAKERS = 256;
/**
 * Time without a packet, in µs, after which a speaker makes room for a new one: longer than the
 * network delays a packet. Otherwise 257 speakers would displace each other all the time.
 */
const REPLACEABLE = 1_000_000;
/**
 * Packets whose lateness is remembered: those of ten seconds. A packet that is lost and arrives
 * when it is sent again is late, and on a bad network there is one every few seconds.
 */
const REMEMBERED = 512;
/** Packets in a row that are concealed when nothing arrives. A decoder fades out in this time. */
const CONCEALED = 5;
/** Length of a voice packet, in µs. */
const PACKET = VOICE_PACKET * 1_000;
/**
 * While the lateness becomes smaller, each packet is played this much sooner, in µs. So one packet
 * in 0.4 s is dropped.
 */
const CATCH_UP = 1_000;
/**
 * If playback is behind by more than this, in µs, because the application has played nothing for a
 * while, it jumps ahead.
 */
const LARGEST_CATCH_UP = 200_000;
/** A packet that arrives later than this after its time, in µs, is dropped. */
const TOO_LATE = 40_000;

/**
 * What to play for the next 20 ms of a speaker. "packet": decode it, after decrypting it if
 * `isEncrypted`, because its sender has encrypted it end to end. "conceal": a packet is missing;
 * let the decoder conceal it. "silence": the speaker is silent.
 */
export type VoiceStep =
  | { kind: "packet"; opus: Uint8Array; isEncrypted: boolean }
  | { kind: "conceal" }
  | { kind: "silence" };

const CONCEAL: VoiceStep = { kind: "conceal" };
const SILENCE: VoiceStep = { kind: "silence" };

/** A packet that has arrived. */
interface WaitingPacket {
  sequence: number;
  captured: number;
  opus: Uint8Array;
  isEncrypted: boolean;
}

/** Returns whether a sequence number comes before another one. */
function isBefore(a: number, b: number): boolean {
  return ((a - b) & 0x8000) !== 0;
}

/** The voice of one speaker. */
class VoiceTrack {
  /** In the order of the sequence numbers. */
  readonly #waiting: WaitingPacket[] = [];
  readonly #lateness = new Lateness(REMEMBERED);
  /** When the newest packet arrived. */
  arrived = 0;
  /** The moment that was played last. */
  #moment = 0;
  /**
   * The sequence number of the next packet; `undefined` before the first packet. `#due` is its
   * capture time unless the speaker pauses before.
   */
  #next: number | undefined;
  #due = 0;
  /** Whether the speaker speaks, as far as is known. */
  #isSpeaking = false;
  /** Packets that were concealed in a row. */
  #concealed = 0;

  add(sequence: number, captured: number, arrived: number, voice: Voice): void {
    const waiting = this.#waiting;
    this.#lateness.add(arrived - captured);
    this.arrived = Math.max(this.arrived, arrived);
    if (captured + TOO_LATE < this.#moment) {
      return;
    }
    if (this.#next !== undefined && isBefore(sequence, this.#next)) {
      if (captured < this.#due) {
        // It was played or concealed already.
        return;
      }
      // The numbers have wrapped while nothing arrived, or begin anew.
      waiting.length = 0;
      this.#next = undefined;
      this.#isSpeaking = false;
      this.#concealed = 0;
    }
    if (waiting.length === WAITING) {
      this.#takeFirst();
    }
    let at = waiting.length;
    while (at > 0 && !isBefore(waiting[at - 1]?.sequence ?? 0, sequence)) {
      at -= 1;
    }
    const isEncrypted = (voice.flags & END_TO_END) !== 0;
    waiting.splice(at, 0, { sequence, captured, opus: voice.opus.slice(), isEncrypted });
  }

  /** Returns what to play in the 20 ms that begin at `frame`. */
  play(frame: number): VoiceStep {
    const moment = this.#nextMoment(frame);
    // The lateness has become smaller, or nothing was played for a while.
    while (this.#waiting.length > 1 && moment - (this.#waiting[0]?.captured ?? 0) >= 2 * PACKET) {
      this.#takeFirst();
    }
    const expected = this.#isSpeaking ? this.#next : undefined;
    const first = this.#waiting[0];
    if (first === undefined) {
      return expected === undefined ? SILENCE : this.#playNone(moment);
    }
    const missing = expected === undefined ? 0 : (first.sequence - expected) & 0xffff;
    const due = first.captured - PACKET * missing;
    if (moment < due) {
      // In mid-speech, the lateness has become larger.
      return expected !== undefined && due <= this.#due + PACKET ? CONCEAL : SILENCE;
    }
    if (missing > 0 && this.#concealed < CONCEALED) {
      return this.#conceal(due);
    }
    this.#takeFirst();
    this.#isSpeaking = true;
    this.#concealed = 0;
    return { kind: "packet", opus: first.opus, isEncrypted: first.isEncrypted };
  }

  /** Takes the first packet, whether it is played or dropped. */
  #takeFirst(): void {
    const packet = this.#waiting.shift();
    if (packet !== undefined) {
      this.#next = (packet.sequence + 1) & 0xffff;
      this.#due = packet.captured + PACKET;
    }
  }

  /** Returns the moment to play now. It stands still while the lateness becomes larger. */
  #nextMoment(frame: number): number {
    const target = frame - this.#lateness.usual;
    const next = this.#moment + PACKET + CATCH_UP;
    // Nobody hears a change of the lateness in a pause.
    const isEvened = this.#isSpeaking && target > next && target - next < LARGEST_CATCH_UP;
    this.#moment = isEvened ? next : Math.max(target, this.#moment);
    return this.#moment;
  }

  /** Returns what to play while no packet waits and one is due. */
  #playNone(moment: number): VoiceStep {
    if (moment < this.#due) {
      return CONCEAL;
    }
    if (this.#concealed < CONCEALED) {
      return this.#conceal(this.#due);
    }
    // They may not have been sent at all.
    this.#next = ((this.#next ?? 0) - this.#concealed) & 0xffff;
    this.#isSpeaking = false;
    this.#concealed = 0;
    return SILENCE;
  }

  /** Gives up the next packet, which was captured at `due`. */
  #conceal(due: number): VoiceStep {
    this.#concealed += 1;
    this.#next = ((this.#next ?? 0) + 1) & 0xffff;
    this.#due = due + PACKET;
    return CONCEAL;
  }
}

/**
 * The voices of a room, as they are to be played. At most 256 speakers are kept: a new one replaces
 * the one that has been silent longest.
 */
export class VoicePlayer {
  readonly #tracks = new Map<number, VoiceTrack>();

  /** Adds a packet that was captured and has arrived at these times. */
  add(speaker: number, sequence: number, captured: number, arrived: number, voice: Voice): void {
    let track = this.#tracks.get(speaker);
    if (track === undefined) {
      if (!this.#hasSpace(arrived)) {
        return;
      }
      this.#tracks.set(speaker, (track = new VoiceTrack()));
    }
    track.add(sequence, captured, arrived, voice);
  }

  /** Returns whether a new speaker may be added at this time. Makes room if one is silent. */
  #hasSpace(now: number): boolean {
    if (this.#tracks.size < MAX_SPEAKERS) {
      return true;
    }
    let [silent, since] = [0, Infinity];
    for (const [speaker, { arrived }] of this.#tracks) {
      if (arrived < since) {
        [silent, since] = [speaker, arrived];
      }
    }
    return since + REPLACEABLE <= now && this.#tracks.delete(silent);
  }

  /** Returns what to play in the 20 ms that begin at the server's time `frame`. */
  play(speaker: number, frame: number): VoiceStep {
    return this.#tracks.get(speaker)?.play(frame) ?? SILENCE;
  }

  /** Returns the peers whose voice is kept, also those that are silent now. */
  speakers(): Iterable<number> {
    return this.#tracks.keys();
  }

  /** Forgets the voice of a peer that has left. */
  removePeer(peer: number): void {
    this.#tracks.delete(peer);
  }

  /** Forgets all voices. */
  clear(): void {
    this.#tracks.clear();
  }
}
