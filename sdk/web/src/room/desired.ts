/**
 * The state that the application desires in every session: whether this client is muted, and its
 * groups. What no server has confirmed is sent again with the next session.
 */

import type { NucleusError } from "../session/error.js";
import type { RoomRequests } from "./requests.js";

/** A value that the application has set, if it has. */
export class Desired<T> {
  _value: T | undefined;
  /** The number of the newest setting. */
  _newest = 0;
  /**
   * No server knows the value; the request with this number is pending; a server has taken the
   * value, for the peer that this client is; or a server has refused it, and it is not sent
   * again.
   */
  _state: "unsent" | "confirmed" | number | NucleusError = "confirmed";

  /** Sets the value, and returns the number of the setting. */
  set(value: T, requests: RoomRequests): number {
    // The reply to a value that this one replaces has no meaning any more.
    if (typeof this._state === "number") {
      requests.forget(this._state);
    }
    this._value = value;
    this._newest += 1;
    this._state = "unsent";
    return this._newest;
  }

  /** Returns the value if a server must be told. */
  unsent(): T | undefined {
    return this._state === "unsent" ? this._value : undefined;
  }

  /** Notes that the request with this number carries the value. */
  sent(request: number): void {
    this._state = request;
  }

  /**
   * Takes the result of the pending request, if there is one. Without a reply the value is sent
   * again.
   */
  settle(requests: RoomRequests): void {
    const result = typeof this._state === "number" ? requests.take(this._state) : undefined;
    if (result === undefined) {
      return;
    }
    if (typeof result === "bigint") {
      this._state = "confirmed";
    } else if (result.code === "interrupted") {
      this._state = "unsent";
    } else {
      this._value = undefined;
      this._state = result;
    }
  }

  /** Notes that this client is a new peer, of which the server knows nothing. */
  becomeNewPeer(): void {
    if (this._value !== undefined) {
      this._state = "unsent";
    }
  }

  /**
   * Returns the outcome of a setting: true, or the error; `undefined`: the server has not
   * answered. A newer setting replaces an older one, and `isBlocked` says that the value cannot
   * be sent now: it is sent later, so both are no errors.
   */
  outcome(setting: number, isBlocked: boolean): true | NucleusError | undefined {
    const state = this._state;
    if (setting !== this._newest || state === "confirmed") {
      return true;
    }
    if (state === "unsent" || typeof state === "number") {
      return state === "unsent" && isBlocked ? true : undefined;
    }
    return state;
  }
}
