// The delay from the server to a client, as the client reports it: the difference between its own
// clock at the arrival of a datagram and the datagram's send time. The unknown offset between the
// two clocks is in it, so only the difference of two delays has a meaning. All values are in µs,
// and local times in ms.

import { CLOCK_JUMP, DELAY_BASE_TIME, EARLY_REPORT_RISE } from "../wire/limits.js";
import type { DelayReport } from "../wire/report.js";
import { micros } from "./clock-sync.js";

/** The largest number of a `u16`. */
const U16_MAX = 0xffff;

/** Differences since the last report, and the least one of the last 15 to 30 s. */
export class Delays {
  /** The arrival, local, and the send time of the newest datagram since the last report. */
  #newest: { arrived: number; sendTime: number } | undefined;
  /**
   * The first difference of the link, modulo 2^32. All others are relative to it, so that they do
   * not wrap.
   */
  #origin: number | undefined;
  #min = 0;
  #sum = 0;
  #count = 0;
  /** The difference of the newest datagram. */
  #last = 0;
  /** The least difference of the present half and of the one before, and when the next begins. */
  #baseUntil = 0;
  #baseNow = Infinity;
  #baseBefore = Infinity;
  /** Whether the newest difference is far above the base. */
  #isHigh = false;
  #hasRisen = false;

  /**
   * Takes a datagram that arrived at the local time `now` and was sent at `sendTime`, modulo 2^32.
   * Returns whether the delay has jumped as no network makes it: one of the clocks stood still.
   * Then all earlier differences are worth nothing, and the figures begin anew.
   */
  add(now: number, sendTime: number): boolean {
    const raw = (micros(now) - sendTime) >>> 0;
    const jump = this.#origin === undefined ? 0 : ((raw - this.#origin) | 0) - this.#last;
    const jumped = Math.abs(jump) > CLOCK_JUMP;
    if (jumped) {
      const hasRisen = this.#hasRisen || jump > 0;
      this.reset();
      this.#hasRisen = hasRisen;
    }
    this.#origin ??= raw;
    const delay = (raw - this.#origin) | 0;
    this.#min = this.#count === 0 ? delay : Math.min(this.#min, delay);
    this.#sum += delay;
    this.#count += 1;
    this.#newest = { arrived: now, sendTime };
    const isHigh = delay - this.#base(now, delay) >= EARLY_REPORT_RISE;
    this.#hasRisen ||= isHigh && !this.#isHigh;
    this.#isHigh = isHigh;
    this.#last = delay;
    return jumped;
  }

  /** Adds a difference to the least ones. Returns the least of the last 15 to 30 s. */
  #base(now: number, delay: number): number {
    if (now >= this.#baseUntil) {
      this.#baseUntil = now + DELAY_BASE_TIME;
      this.#baseBefore = this.#baseNow;
      this.#baseNow = Infinity;
    }
    this.#baseNow = Math.min(this.#baseNow, delay);
    return Math.min(this.#baseNow, this.#baseBefore);
  }

  /** Begins anew: earlier differences are worth nothing. */
  reset(): void {
    this.#newest = this.#origin = undefined;
    this.#min = this.#sum = this.#count = this.#last = this.#baseUntil = 0;
    this.#baseNow = this.#baseBefore = Infinity;
    this.#isHigh = this.#hasRisen = false;
  }

  /** Whether the delay has risen far above its least value since the last report. */
  get hasRisen(): boolean {
    return this.#hasRisen;
  }

  /**
   * Returns the figures since the last report, and begins anew. `undefined`: no datagram had a send
   * time.
   */
  take(now: number): DelayReport | undefined {
    const newest = this.#newest;
    if (newest === undefined) {
      return undefined;
    }
    this.#newest = undefined;
    const spread = Math.floor(this.#sum / this.#count) - this.#min;
    const report: DelayReport = {
      arrival: micros(newest.arrived) >>> 0,
      sendTime: newest.sendTime,
      delayMin: ((this.#origin ?? 0) + this.#min) >>> 0,
      spread: cut(spread / 10),
      hold: cut((micros(now) - micros(newest.arrived)) / 100),
    };
    this.#sum = this.#count = 0;
    this.#hasRisen = false;
    return report;
  }
}

/** Returns a number as a `u16`. */
function cut(value: number): number {
  return Math.min(Math.max(Math.floor(value), 0), U16_MAX);
}
