// The client's estimate of the server's clock, from NTP's four times (RFC 5905). The sample with
// the shortest round trip counts. Times of this file are in µs, unless they are called local, in
// ms.

import type { ClockReply } from "../wire/control.js";
import {
  CLOCK_DRIFT,
  CLOCK_JUMP,
  CLOCK_SAMPLES,
  ROUND_TRIP_MEMORY,
  ROUND_TRIP_RISE,
  SETTLE_SAMPLES,
} from "../wire/limits.js";

/** Returns a local time in ms as whole µs. */
export function micros(now: number): number {
  return Math.floor(now * 1_000);
}

/** One measurement of the server's clock. */
interface ClockSample {
  /** Without the server's processing time. */
  roundTrip: number;
  /** The server's clock minus the client's. */
  offset: number;
}

/**
 * Estimates the server's clock from the newest eight samples of one clock epoch.
 *
 * The error of a sample is half the difference between its two one-way delays. A sample that did
 * not wait in a queue has the shortest round trip and the smallest such difference.
 *
 * A sample that contradicts the best one shows that one of the clocks has stood still, as a
 * device's does while it sleeps. Then only this sample and later ones count.
 */
export class ClockSync {
  #epoch: number | undefined;
  #samples: ClockSample[] = [];
  #best: ClockSample | undefined;
  /** The smoothed round trip. */
  #smoothed: number | undefined;
  /** When its newest sample arrived, local; `undefined` if the network has changed since. */
  #sampledAt: number | undefined;
  /** Number of the next samples of which the least counts, because the round trip has jumped. */
  #settling = 0;

  /**
   * Takes a reply that arrived at the local time `now`. Ignores a reply whose times contradict each
   * other. A reply of another epoch discards all earlier samples.
   *
   * Returns whether the round trip has jumped as no network makes it: the server stood still, or
   * still reads what waited for it. The caller then asks for the time at once, `SETTLE_SAMPLES`
   * times.
   */
  handleReply(now: number, reply: ClockReply): boolean {
    const sample = sampleOf(micros(now), reply);
    if (sample === undefined) {
      return false;
    }
    if (this.#epoch !== reply.epoch) {
      this.#epoch = reply.epoch;
      this.#samples = [];
      this.#smoothed = this.#sampledAt = undefined;
      this.#settling = 0;
    } else if (this.#best !== undefined && contradict(this.#best, sample)) {
      this.#samples = [];
    }
    if (this.#samples.length === CLOCK_SAMPLES) {
      this.#samples.shift();
    }
    this.#samples.push(sample);
    this.#best = this.#samples.reduce((a, b) => (b.roundTrip < a.roundTrip ? b : a));
    return this.#smooth(now, sample.roundTrip);
  }

  /**
   * Adds a sample to the smoothed round trip with the weight of RFC 6298. Begins anew with the
   * sample after a silence, and after a jump: old samples say nothing about the path of now. The
   * least of the next samples counts after a jump. Returns whether there was one.
   */
  #smooth(now: number, roundTrip: number): boolean {
    const old = this.#smoothed;
    const isKept = this.#sampledAt !== undefined && now - this.#sampledAt <= ROUND_TRIP_MEMORY;
    const kept = isKept ? old : undefined;
    const settles = this.#settling > 0 && kept !== undefined;
    const jumped =
      !settles &&
      old !== undefined &&
      (Math.abs(old - roundTrip) > CLOCK_JUMP || roundTrip > 3 * old + ROUND_TRIP_RISE);
    if (kept !== undefined && settles) {
      this.#smoothed = Math.min(kept, roundTrip);
    } else if (kept !== undefined && !jumped) {
      this.#smoothed = kept + (roundTrip - kept) / 8;
    } else {
      this.#smoothed = roundTrip;
    }
    this.#sampledAt = now;
    this.#settling = jumped ? SETTLE_SAMPLES : Math.max(this.#settling - 1, 0);
    return jumped;
  }

  /**
   * Forgets the smoothed round trip, because the network is another one. The next sample begins
   * anew.
   */
  forgetRoundTrip(): void {
    this.#sampledAt = undefined;
  }

  /** Whether there is a sample. */
  get isSet(): boolean {
    return this.#epoch !== undefined;
  }

  /** The epoch of the server's clock, which changes when the server restarts. */
  get epoch(): number | undefined {
    return this.#epoch;
  }

  /** The smoothed round trip in ms. */
  get roundTrip(): number | undefined {
    return this.#smoothed === undefined ? undefined : this.#smoothed / 1_000;
  }

  /**
   * When the newest sample of the smoothed round trip arrived, local; `undefined` without a sample
   * of the present network.
   */
  get roundTripSampledAt(): number | undefined {
    return this.#sampledAt;
  }

  /** Returns the estimated server's clock at the local time `now`; `undefined` without a sample. */
  serverTime(now: number): number | undefined {
    return this.#best === undefined ? undefined : Math.max(micros(now) + this.#best.offset, 0);
  }
}

/**
 * Returns whether no pair of steady clocks explains both samples: their offsets differ by more than
 * both errors and what clocks may drift apart.
 */
function contradict(a: ClockSample, b: ClockSample): boolean {
  return Math.abs(a.offset - b.offset) > (a.roundTrip + b.roundTrip) / 2 + CLOCK_DRIFT;
}

function sampleOf(now: number, reply: ClockReply): ClockSample | undefined {
  const { clientSent, serverReceived, serverSent } = reply;
  // A server counts from its start or from 1970. Numbers above 2^53 would not be exact.
  if (clientSent > now || serverReceived > serverSent || serverSent > Number.MAX_SAFE_INTEGER) {
    return undefined;
  }
  const roundTrip = now - clientSent - (serverSent - serverReceived);
  const offset = Math.round((serverReceived - clientSent + (serverSent - now)) / 2);
  return roundTrip < 0 ? undefined : { roundTrip, offset };
}
