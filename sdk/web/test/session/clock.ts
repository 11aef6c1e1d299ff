// A clock whose time a test moves.

import type { Clock } from "../../src/clock.js";

interface Timer {
  at: number;
  callback: () => void;
}

/** A clock of simulated time. */
export class SimulatedClock implements Clock {
  /** Timers that have come. */
  fired = 0;
  #now = 1_000;
  #timers = new Set<Timer>();

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Lets so much time pass. Timers come in their order, and what waits for promises goes on. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (let timer; (timer = this.#next()) && timer.at <= until;) {
      this.#now = Math.max(this.#now, timer.at);
      this.#timers.delete(timer);
      this.fired += 1;
      timer.callback();
      await settle();
    }
    this.#now = until;
  }

  /**
   * Stands still for so long, as a page that sleeps: no timer comes in this time, all come after
   * it.
   */
  async sleep(ms: number): Promise<void> {
    this.#now += ms;
    await this.pass(0);
  }

  #next(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (!first || timer.at < first.at) {
        first = timer;
      }
    }
    return first;
  }
}

/** The clock of a page that may be hidden: then its timers come at the earliest after a minute. */
export class PageClock implements Clock {
  isHidden = false;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  after(ms: number, callback: () => void): () => void {
    return this.#clock.after(this.isHidden ? Math.max(ms, 60_000) : ms, callback);
  }
}

/** Lets promises that are ready go on. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
