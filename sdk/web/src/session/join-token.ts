/** The token with which a client joins, and where the next one comes from. */

import { utf8 } from "../wire/codec.js";
import type { ClientSession } from "./client-session.js";
import type { NucleusError } from "./error.js";
import { isAboutToken } from "./reconnect.js";
import { tokenProblem } from "./token.js";

/**
 * Shortest time between two questions for a token that may name the server's new certificate, in
 * ms. A server that does not answer looks the same, and backends take each question seriously.
 */
const PINS_INTERVAL_MS = 5_000;

/**
 * The token of the next join. A caller that provides tokens is asked for one when the server
 * refuses it during a return, or when the server's certificate may be another one.
 */
export class JoinToken {
  /** Whether the caller provides fresh tokens. */
  readonly hasProvider: boolean;
  _newest: string;
  /** The token before the newest one, which may never have been checked. */
  _earlier: string | undefined;
  /** Whether the caller has been asked: the output may be due, or the answer. */
  _asking: "no" | "due" | "waiting" = "no";
  /** The refusal after which the client waits for a token. */
  _refusal: NucleusError | undefined;
  /** Whether the newest token of the caller is from this try. */
  _isFresh = false;
  /** Whether the caller was asked because of the server's certificate. */
  _wantsPins = false;
  /** When the caller may be asked again because of the certificate. */
  _pinsAt = 0;

  constructor(token: string, hasProvider: boolean) {
    this._newest = token;
    this.hasProvider = hasProvider;
  }

  /** The newest token. */
  get newest(): string {
    return this._newest;
  }

  /** The newest token as it is sent. */
  bytes(): Uint8Array {
    return utf8(this._newest);
  }

  /** Sets the token that the application has handed in. The one before is tried too. */
  replace(token: string): void {
    this._earlier = this._newest;
    this._newest = token;
  }

  /** Asks the caller for a token, once. */
  ask(): void {
    if (this._asking === "no") {
      this._asking = "due";
    }
  }

  /** Returns whether the caller is to be asked now. */
  takeDue(): boolean {
    const isDue = this._asking === "due";
    if (isDue) {
      this._asking = "waiting";
    }
    return isDue;
  }

  /** Notes that the client has joined. */
  joined(): void {
    this._earlier = undefined;
    this._isFresh = this._wantsPins = false;
    this._pinsAt = 0;
  }

  /**
   * Decides about a join that has failed: the token before the newest one may still be good, or the
   * caller may provide another one. `hasJoined` says whether there was a session before.
   */
  notJoined(now: number, session: ClientSession, error: NucleusError, hasJoined: boolean): void {
    if (!isAboutToken(error)) {
      this._askForPins(now, error, hasJoined);
      session.joinFailed(now, error);
    } else if (this._earlier !== undefined) {
      this._newest = this._earlier;
      this._earlier = undefined;
      session.joinAgain(now);
    } else if (!this.hasProvider || !hasJoined) {
      session.joinFailed(now, error);
    } else if (this._isFresh) {
      // The caller's token is refused too. After a pause the caller is asked again.
      this._isFresh = false;
      session.joinFailedForNow(now, error);
    } else {
      this._refusal = error;
      this.ask();
    }
  }

  /**
   * A token also says which certificates are trusted, and a server renews its certificate. So a
   * client with pins that cannot connect asks for a fresh token, and tries on meanwhile.
   */
  _askForPins(now: number, error: NucleusError, hasJoined: boolean): void {
    if (this.hasProvider && hasJoined && error.mayBeCertificate && now >= this._pinsAt) {
      this._pinsAt = now + PINS_INTERVAL_MS;
      this._wantsPins = true;
      this.ask();
    }
  }

  /** Returns whether a join waits for the caller's answer, or can use it. */
  isAwaited(): boolean {
    return this._refusal !== undefined || this._wantsPins;
  }

  /**
   * Takes the caller's answer; `undefined`, or a text that cannot be a token: there is no token
   * now. Returns the token if no join waits for it.
   */
  takeAnswer(now: number, session: ClientSession, given: string | undefined): string | undefined {
    const token = given !== undefined && tokenProblem(given) === undefined ? given : undefined;
    const refusal = this._refusal;
    const wantsPins = this._wantsPins && !session.isRunning();
    this._refusal = undefined;
    this._asking = "no";
    this._wantsPins = false;
    if (refusal && token !== undefined) {
      this._newest = token;
      this._isFresh = true;
      session.joinAgain(now);
    } else if (refusal) {
      session.joinFailedForNow(now, refusal);
    } else if (wantsPins && token !== undefined) {
      if (token !== this._newest) {
        this.replace(token);
        session.tryNow(now);
      }
    } else {
      return token;
    }
    return undefined;
  }

  /** Ends the wait for a token when the time to come back is over. */
  handleTimeout(now: number, session: ClientSession): void {
    const refusal = this._refusal;
    if (refusal && session.isReturnOver(now)) {
      this._refusal = undefined;
      session.joinFailed(now, refusal);
    }
  }
}
