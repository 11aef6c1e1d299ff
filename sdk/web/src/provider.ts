/** Where a client gets fresh tokens. */

import type { Clock } from "./clock.js";
import { localError, messageOf } from "./session/error.js";
import { tokenProblem, trimmed } from "./session/token.js";

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

/**
 * Asks for a token. Rejects with "noToken" if the provider throws, takes longer than `mostMs`, or
 * returns what cannot be a token; and with the reason of `signal`.
 */
export function provide(
  clock: Clock,
  provider: TokenProvider,
  mostMs: number,
  signal?: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown) => {
      reject(localError("noToken", `the token provider ${why}`, { cause }));
    };
    const stop = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.after(mostMs, () => fail(`gave no token within ${mostMs / 1_000} s`));
    signal?.addEventListener("abort", stop);
    Promise.resolve()
      .then(provider)
      .then(
        (given: unknown) => {
          const token = typeof given === "string" ? trimmed(given) : "";
          const problem = token === "" ? "" : tokenProblem(token);
          if (problem === undefined) {
            resolve(token);
          } else {
            fail(problem ? `gave what is no token: ${problem}` : "gave no token");
          }
        },
        (error: unknown) => fail(`failed: ${messageOf(error)}`, error),
      )
      .finally(() => {
        cancel();
        signal?.removeEventListener("abort", stop);
      });
  });
}
