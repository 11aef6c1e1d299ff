// The server's time as an application sees it.

import { SlewedTime } from "../playback/slew.js";

/**
 * How much faster or slower than real time the server's time may go for the application: it makes
 * up for an estimate that was wrong by 20 ms within a second.
 */
const CLOCK_SLEW = 0.02;
/**
 * A larger change of the server's time, in µs, is no error of an estimate: its clock was set, or
 * this device has slept.
 */
const LARGEST_SLEW = 1_000_000;

/** What the server has said of its clock in its answer to a join. */
export interface JoinedClock {
  /** When the answer was handled, by the local clock in ms. */
  at: number;
  /** The server's time in µs when it sent the answer. */
  serverTime: number;
  /** Names the clock: a server that was started again has another one. */
  epoch: number;
}

/**
 * The server's time for the application: known from the join on, never backwards, and without jumps
 * once it is measured.
 */
export class ServerClock {
  #joined: JoinedClock;
  /** Whether the application has been told a measured time. */
  #isMeasured = false;
  #shown = new SlewedTime(CLOCK_SLEW, LARGEST_SLEW);

  constructor(joined: JoinedClock) {
    this.#joined = joined;
  }

  /** Continues with another session. Its server may have another clock. */
  rejoin(joined: JoinedClock): void {
    if (joined.epoch !== this.#joined.epoch) {
      this.#joined = joined;
      this.#isMeasured = false;
      this.#shown.restart();
    }
  }

  /**
   * Returns the server's time in µs at the local time `now` in ms. `measured` is what the link says
   * of it.
   */
  at(now: number, measured: number | undefined): number {
    if (measured === undefined) {
      // The answer took some time to arrive, so this is a little behind the server.
      const { at, serverTime } = this.#joined;
      const estimate = serverTime + Math.max(now - at, 0) * 1_000;
      return this.#shown.goOn(now) ?? this.#shown.at(now, estimate);
    }
    const isFirst = !this.#isMeasured;
    this.#isMeasured = true;
    if (isFirst && (this.#shown.goOn(now) ?? Infinity) <= measured) {
      this.#shown.restart();
    }
    return this.#shown.at(now, measured);
  }
}
