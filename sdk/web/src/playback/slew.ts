// A time that never jumps, derived from one that does.

/**
 * A time that follows a measured one without jumps: it goes at most a share faster or slower than
 * real time, and never backwards. Local times are in ms, the measured and the shown time in µs.
 */
export class SlewedTime {
  readonly #rate: number;
  readonly #largest: number;
  /** The newest local time and the time that was returned for it. */
  #before = 0;
  #shown: number | undefined;

  /**
   * Creates a time that is faster or slower than real time by the share `rate` while it catches up.
   * Differences above `largest` µs are not evened out: the time jumps forward, or stands still.
   */
  constructor(rate: number, largest: number) {
    this.#rate = rate;
    this.#largest = largest;
  }

  /** Returns the time at the local time `now`, for which `measured` was measured. */
  at(now: number, measured: number): number {
    const shown = this.#shown;
    if (shown === undefined) {
      this.#before = now;
      return (this.#shown = measured);
    }
    const passed = Math.max(now - this.#before, 0) * 1_000;
    const most = passed * this.#rate;
    const ahead = measured - (shown + passed);
    this.#before = Math.max(now, this.#before);
    if (ahead > this.#largest) {
      this.#shown = measured;
    } else if (ahead >= -this.#largest) {
      this.#shown = shown + passed + Math.min(Math.max(ahead, -most), most);
    }
    return this.#shown ?? measured;
  }

  /**
   * Returns the time at the local time `now`, for which nothing was measured; `undefined` if
   * nothing was measured before.
   */
  goOn(now: number): number | undefined {
    const shown = this.#shown;
    return shown === undefined
      ? undefined
      : this.at(now, shown + Math.max(now - this.#before, 0) * 1_000);
  }

  /** Forgets the measured time, because another clock is measured from now on. */
  restart(): void {
    this.#shown = undefined;
  }
}
