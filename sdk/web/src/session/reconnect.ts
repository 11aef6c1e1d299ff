/**
 * The rules for resuming a lost session: whether the client tries it, and how long it waits before
 * each attempt.
 */

import { CODES, mayReconnect as mayReconnectAfter } from "../wire/code.js";
import type { ConnectionEnd } from "../carrier/carrier.js";
import { localError, type NucleusError, refusal } from "./error.js";

/** Pauses before the attempts, in ms; the last one repeats. LiveKit uses the same schedule. */
const PAUSES_MS = [0, 300, 1_200, 2_700, 4_800];
/**
 * Largest random addition to each pause, in ms. Spreads out the clients that lost the same server
 * at the same time.
 */
const JITTER_MS = 1_000;
/** Longest time that a client tries to resume its session, in ms: a year. */
export const LONGEST_PATIENCE_MS = 365 * 86_400_000;

/** The pauses between a client's attempts to resume its session. */
export class Backoff {
  _attempts = 0;

  /**
   * Returns how long to wait between the last failure and the next attempt, in ms. This is at
   * least `leastMs`, which the server may have requested. `random` is from 0 to 1, and must
   * differ between clients.
   */
  pause(leastMs: number, random: number): number {
    const pause = PAUSES_MS[Math.min(this._attempts, PAUSES_MS.length - 1)] ?? 0;
    this._attempts += 1;
    return Math.max(pause, leastMs) + JITTER_MS * random;
  }
}

/** Codes with which a server refuses the token itself. */
const ABOUT_TOKEN: ReadonlySet<number> = new Set([
  CODES.tokenMalformed,
  CODES.tokenAlgorithm,
  CODES.tokenSignature,
  CODES.tokenExpired,
  CODES.tokenNotYetValid,
  CODES.tokenAudience,
]);

/**
 * Returns whether a client should try to resume a session that ended with `code`. `undefined` means
 * that the connection was lost; a code that this version does not know is treated like that.
 *
 * Returns false for a session that was replaced by another one of the same user: resuming it would
 * end the other session.
 */
export function mayReconnect(code: number | undefined): boolean {
  return code === undefined || mayReconnectAfter(code);
}

/** Returns whether the server refused the token itself. */
export function isAboutToken(error: NucleusError): boolean {
  return error.isRefusal && error.number !== undefined && ABOUT_TOKEN.has(error.number);
}

/**
 * Returns the shortest pause after which the same join may succeed, in ms; `undefined` if it cannot
 * succeed.
 */
export function retryDelay(error: NucleusError): number | undefined {
  if (error.isRefusal) {
    const maySucceed = mayReconnect(error.number) || error.retryAfterMs !== undefined;
    return maySucceed ? (error.retryAfterMs ?? 0) : undefined;
  }
  return error.code === "invalidOptions" || error.code === "protocolError" ? undefined : 0;
}

/** Returns whether a client comes back after this end of a connection. */
export function mayReturnAfter(end: ConnectionEnd): boolean {
  return end.kind === "byServer" ? mayReconnect(end.number) : end.kind === "lost";
}

/** What an end means for a session: a code, if there is one, and a text for a person. */
export interface EndReason {
  code: number | undefined;
  text: string;
}

/** Returns what an end means for a session. */
export function reasonOf(end: ConnectionEnd): EndReason {
  switch (end.kind) {
    case "byServer":
      return { code: end.number, text: end.text };
    case "byClient":
      return { code: CODES.left, text: "closed by this client" };
    case "lost":
      return { code: undefined, text: end.text };
  }
}

/** Returns the error of a join that this end of the connection has ended. */
export function joinErrorOf(end: ConnectionEnd): NucleusError {
  if (end.kind === "byServer") {
    return refusal(end.number, end.text);
  }
  const { text } = reasonOf(end);
  return localError("connectionLost", `the connection was lost while joining: ${text}. Try again`);
}
