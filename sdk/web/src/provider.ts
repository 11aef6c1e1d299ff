/** Where a client gets fresh tokens. */

import type { Clock } from "./clock.js";
import { trimmed } from "./session/token.js";

/** Longest time for the first token, in ms: a person waits. */
export const FIRST_TOKEN_MS = 10_000;
/**
 * Longest time for a later token, in ms: a backend that is slower has failed, and may be asked
 * again.
 */
export const LATER_TOKEN_MS = 30_000;

/**
 * A function of the application that returns a fresh join token of the same user, for example by a
 * request to the application's backend. `undefined`, or a rejection: there is no token now, and the
 * client asks again later.
 */
export type TokenProvider = () => Promise<string | undefined> | string | undefined;

/** Asks for a token. A provider that throws or takes longer than `mostMs` provides nothing. */
export function provide(
  clock: Clock,
  provider: TokenProvider,
  mostMs: number,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const cancel = clock.after(mostMs, () => resolve(undefined));
    const done = (token: unknown) => {
      cancel();
      resolve(typeof token === "string" ? trimmed(token) || undefined : undefined);
    };
    Promise.resolve()
      .then(provider)
      .then(done, () => done(undefined));
  });
}
