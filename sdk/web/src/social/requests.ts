// The requests of a social session, and their results.

import type { NucleusError } from "../session/error.js";
import { localError, refusal } from "../session/error.js";
import { Requests } from "../session/requests.js";
import type { CallId } from "./event.js";

/** Requests that may be pending at the same time. */
const MAX_PENDING = 16;

/**
 * The call of a request, or why there is none. A request that is not about a call has the call 0.
 */
export type CallResult = CallId | NucleusError;

/** A request without a reply. */
interface PendingRequest {
  /** One of the acts of a call, or 0 for a request that is not about a call. */
  readonly act: number;
  /**
   * Whether the caller waits for the result. The reply counts even if not: it says what this device
   * has done.
   */
  isWanted: boolean;
}

/** Returns the result that a reply with this code reports. */
export function callResult(code: number, call: CallId): CallResult {
  return code === 0 ? call : refusal(code, "");
}

/** The requests of a social session. */
export class SocialRequests {
  readonly #requests = new Requests<PendingRequest, CallResult>(MAX_PENDING);

  hasCapacity(): boolean {
    return this.#requests.hasCapacity();
  }

  /** Adds a request and returns its number. */
  start(act: number): number {
    return this.#requests.start({ act, isWanted: true });
  }

  /** Ends a request with its result. Returns its act; `undefined` if it is not pending. */
  finish(number: number, result: CallResult): number | undefined {
    const pending = this.#requests.remove(number);
    if (pending?.isWanted) {
      this.#requests.keep(number, result);
    }
    return pending?.act;
  }

  /**
   * Gives all callers "interrupted". The requests stay, because their replies still say what this
   * device has done.
   */
  interruptCallers(): void {
    for (const [number, pending] of this.#requests.pending()) {
      if (pending.isWanted) {
        pending.isWanted = false;
        const text = "no reply came: it is unknown whether the request succeeded";
        this.#requests.keep(number, localError("interrupted", text));
      }
    }
  }

  /** Ends all pending requests, because no replies will come. Returns their acts. */
  end(): number[] {
    this.interruptCallers();
    return this.#requests.finishIf(() => true).map(([, { act }]) => act);
  }

  /** Takes the result of a request; `undefined` while there is none. */
  take(number: number): CallResult | undefined {
    return this.#requests.take(number);
  }

  /** Forgets a request for whose result nobody waits. The reply still counts. */
  forget(number: number): void {
    this.#requests.forgetResult(number);
    const pending = this.#requests.get(number);
    if (pending) {
      pending.isWanted = false;
    }
  }
}
