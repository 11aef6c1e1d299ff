/** The requests of a room: changes of the state and acts of moderation. */

import type { StateReply } from "../wire/state.js";
import { localError, type NucleusError, reasonOf, refusal } from "../session/error.js";
import type { Explain } from "../session/explain.js";
import { Requests } from "../session/requests.js";

/**
 * Requests that may be pending at the same time. 16 requests of the largest size (16 KiB) fill the
 * send window of the session.
 */
const MAX_PENDING = 16;

/** The version of the state in which the change is, or why there is none. */
export type RequestResult = bigint | NucleusError;

/** A request without a result. */
interface PendingRequest {
  /** The server's reply, while the replica has not reached the version in it. */
  reply: StateReply | undefined;
  /** Says in words why the server refused it. */
  readonly explain: Explain;
}

/** The requests of a room to its server. */
export class RoomRequests {
  _requests = new Requests<PendingRequest, RequestResult>(MAX_PENDING);

  hasCapacity(): boolean {
    return this._requests.hasCapacity();
  }

  /** Adds a request and returns its number. */
  start(explain: Explain = reasonOf): number {
    return this._requests.start({ reply: undefined, explain });
  }

  /**
   * Handles a reply of the server. `version` is the replica's current version; `undefined`: there
   * is no replica, and nothing to wait for.
   */
  onReply(reply: StateReply, version: bigint | undefined): void {
    // An unknown number belongs to a request whose caller has stopped waiting.
    const request = this._requests.get(reply.request);
    if (request) {
      request.reply = reply;
    }
    this.onVersion(version);
  }

  /** Completes the requests that waited for the replica to reach `version`. */
  onVersion(version: bigint | undefined): void {
    this._finish(({ reply }) => {
      return reply !== undefined && (version === undefined || reply.version <= version);
    });
  }

  /** Ends all pending requests: those without a reply are interrupted. */
  endAll(): void {
    this._finish(() => true);
  }

  _finish(isDone: (request: PendingRequest) => boolean): void {
    for (const [number, request] of this._requests.finishIf(isDone)) {
      this._requests.keep(number, resultOf(request));
    }
  }

  /** Takes the result of a request; `undefined` while there is none. */
  take(number: number): RequestResult | undefined {
    return this._requests.take(number);
  }

  /** Forgets a request for whose result nobody waits. */
  forget(number: number): void {
    this._requests.remove(number);
    this._requests.forgetResult(number);
  }
}

/** Returns the server's reply as a result. */
function resultOf({ reply, explain }: PendingRequest): RequestResult {
  if (!reply) {
    const text = "no reply came: it is unknown whether the change was applied";
    return localError("interrupted", text);
  }
  const { code, failed: operation, version } = reply;
  return code === 0
    ? version
    : refusal(code, explain(code, operation), { operation, version });
}
