/** `WaitingLine`: callers that wait for capacity, in the order of their calls. */

import { localError } from "./session/error.js";

/**
 * Calls that may wait in a line. A caller that awaits each call has one. More come from calls that
 * nobody awaits: 1,024 of the largest events hold 16 MiB, so an application that sends faster than
 * the room takes must hear of it here.
 */
const MAX_WAITING_CALLS = 1_024;

/** Callers that wait for the same capacity. Only the first one is looked at. */
export class WaitingLine {
  _hasCapacity: () => boolean;
  _waiting = new Set<(now: number) => void>();

  /** `hasCapacity` says whether one more call need not wait. */
  constructor(hasCapacity: () => boolean) {
    this._hasCapacity = hasCapacity;
  }

  /** Returns whether a call need not wait: there is capacity, and nobody waits for it. */
  isFree(): boolean {
    return this._waiting.size === 0 && this._hasCapacity();
  }

  /**
   * Calls `begin` when there is capacity, at once if the line is free. Rejects with what `begin`
   * throws; with "tooMany" if too many wait; and with the reason of `signal` if it aborts before.
   */
  wait<T>(now: number, begin: (now: number) => T, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this._waiting.delete(waiter);
        reject(signal?.reason);
      };
      const waiter = (now: number) => {
        signal?.removeEventListener("abort", leave);
        try {
          resolve(begin(now));
        } catch (error) {
          reject(error);
        }
      };
      if (this.isFree()) {
        waiter(now);
      } else if (this._waiting.size >= MAX_WAITING_CALLS) {
        reject(localError("tooMany", `${MAX_WAITING_CALLS} calls wait already; await them`));
      } else {
        this._waiting.add(waiter);
        signal?.addEventListener("abort", leave);
      }
    });
  }

  /** Lets callers begin while there is capacity. Returns whether one has begun. */
  serve(now: number): boolean {
    let hasServed = false;
    for (const waiter of this._waiting) {
      if (!this._hasCapacity()) {
        break;
      }
      this._waiting.delete(waiter);
      waiter(now);
      hasServed = true;
    }
    return hasServed;
  }
}
