/** Fresh tokens in mid-session: those that wait for the server's reply, and the newest one. */

import type { Renewed } from "../wire/messaging.js";
import { localError, type NucleusError, refusal } from "../session/error.js";

/**
 * Fresh tokens that may wait for a reply, or whose results may wait for the caller. A token is good
 * for an hour, so more are a mistake.
 */
const MAX_WAITING = 8;

/** Why a token was not handed in. The client uses it when it joins again. */
export type RenewProblem = "interrupted" | "behind" | "notOffered" | "closed";

const TEXTS: Readonly<Record<RenewProblem, string>> = {
  interrupted: "the session was lost; the token is used when the client joins again",
  behind: "too many events wait for the application; the token is used when it joins again",
  notOffered: "the server takes no fresh tokens in mid-session; this one is used at the next join",
  closed: "the room is closed",
};

/** Returns the error of a token that was not handed in. */
export function renewError(problem: RenewProblem): NucleusError {
  return localError(problem, TEXTS[problem]);
}

/** A token that waits for the server's reply. */
interface WaitingToken {
  number: number;
  token: string;
  /** Whether the caller waits for the result. */
  isWanted: boolean;
}

/** The fresh tokens of a room. */
export class TokenRenewal {
  /** The token for the next join, if it is newer than the one of the last join. */
  newest: string | undefined;
  _handedIn = 0;
  /** In the order of the requests, which is the order of the replies. */
  _waiting: WaitingToken[] = [];
  _results = new Map<number, true | NucleusError>();
  /** Replies that will come to requests that have been ended. */
  _unwanted = 0;

  hasCapacity(): boolean {
    return this._waiting.length + this._results.size < MAX_WAITING;
  }

  /** Adds a token that is sent now, and returns its number. */
  start(token: string): number {
    const number = this._handedIn++;
    this._waiting.push({ number, token, isWanted: true });
    return number;
  }

  /** Keeps a token that cannot be sent for the next join. */
  keep(token: string): void {
    this.newest = token;
  }

  /** Notes that there is a new session, which owes no replies. */
  attach(): void {
    this._unwanted = 0;
  }

  /** Takes the reply to the oldest token. Returns whether the server took the token. */
  onReply({ code }: Renewed): boolean {
    if (this._unwanted > 0) {
      this._unwanted -= 1;
      return code === 0;
    }
    const waiting = this._waiting.shift();
    if (!waiting) {
      return false;
    }
    if (code === 0) {
      this.newest = waiting.token;
    }
    this._keepResult(waiting, code === 0 || refusal(code, "the room goes on as before"));
    return code === 0;
  }

  /** Ends all waiting requests. The newest of their tokens is used for the next join. */
  endAll(problem: RenewProblem): void {
    this._unwanted += this._waiting.length;
    for (const waiting of this._waiting.splice(0)) {
      this.newest = waiting.token;
      this._keepResult(waiting, renewError(problem));
    }
  }

  _keepResult({ number, isWanted }: WaitingToken, result: true | NucleusError): void {
    if (isWanted) {
      this._results.set(number, result);
    }
  }

  /** Takes the outcome of a token; `undefined` while there is none. */
  take(number: number): true | NucleusError | undefined {
    const result = this._results.get(number);
    this._results.delete(number);
    return result;
  }

  /** Takes the token for the next join; `undefined` if the last join's is the newest. */
  takeNewest(): string | undefined {
    const { newest } = this;
    this.newest = undefined;
    return newest;
  }

  /** Forgets a token for whose result nobody waits. Its reply is still due. */
  forget(number: number): void {
    this._results.delete(number);
    const waiting = this._waiting.find((token) => token.number === number);
    if (waiting) {
      waiting.isWanted = false;
    }
  }
}
