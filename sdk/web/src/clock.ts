/** The clock and the timers of a client. Tests have their own. */

/** A monotonic clock with timers. */
export interface Clock {
  /** Returns the time in ms. */
  now(): number;
  /** Calls `callback` after so many ms. Returns what cancels the timer. */
  after(ms: number, callback: () => void): () => void;
}

/** The clock of the browser. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};
