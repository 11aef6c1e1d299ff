/**
 * The first messages of a session: what the client sends before the server's first answer, and the
 * answers of the server.
 */

import { lossyText, strictText, utf8 } from "../wire/codec.js";
import { featureBytes, parseFeatures, SUPPORTED } from "../wire/features.js";
import {
  Hello,
  NO_REALTIME_PORT,
  OLDEST_VERSION,
  Refuse,
  STREAM_CONTROL,
  VERSION,
  Welcome,
} from "../wire/handshake.js";
import {
  MAX_AGENT,
  MAX_ENDPOINT,
  MAX_ENDPOINTS,
  MAX_HANDSHAKE_MESSAGE,
  MAX_NAME,
} from "../wire/limits.js";
import { decodeBody, encodeMessage, type Schema } from "../wire/schema.js";
import type { MessageBuffer } from "./buffer.js";
import { localError, ProtocolError, refusal } from "./error.js";
import { unexpected } from "./incoming.js";
import { concat } from "./outgoing.js";
import { TOKEN_ADVICE, tokenProblem } from "./token.js";

/** Encodes the type byte and `Hello`, with which every control stream begins. */
export function hello(agent: string): Uint8Array {
  const message = encodeMessage(Hello, {
    oldest: OLDEST_VERSION,
    newest: VERSION,
    // JavaScript has no exporter of TLS.
    flags: NO_REALTIME_PORT,
    agent: utf8(agent),
    features: featureBytes(SUPPORTED),
  });
  return concat(Uint8Array.of(STREAM_CONTROL), message);
}

/** Checks the limits of the options that all sessions have in common. Throws. */
export function checkOpening(token: string, name: string, agent: string): void {
  const problem = tokenProblem(token);
  check(problem === undefined, `${problem}. ${TOKEN_ADVICE}`);
  check(utf8(name).length <= MAX_NAME, "the display name must have at most 128 bytes");
  check(utf8(agent).length <= MAX_AGENT, "the agent must have at most 128 bytes");
}

/** Throws an error about the options if a condition does not hold. */
export function check(isValid: boolean, problem: string): void {
  if (!isValid) {
    throw localError("invalidOptions", problem);
  }
}

/**
 * Takes the server's `Welcome` and checks the version that the server chose. Returns the features
 * that both ends have; `undefined`: more bytes are needed. Throws.
 */
export function welcome(answers: MessageBuffer): number | undefined {
  const body = expectAnswer(answers, Welcome, MAX_HANDSHAKE_MESSAGE);
  if (!body) {
    return undefined;
  }
  const { version, features } = decodeBody(Welcome, body);
  if (version < OLDEST_VERSION || version > VERSION) {
    throw new ProtocolError(`version ${version} of the session protocol was not offered`);
  }
  return parseFeatures(features) & SUPPORTED;
}

/**
 * Takes the next message, which must have the schema `due`, and returns its body; `undefined`: more
 * bytes are needed. Throws a refusal, or a {@link ProtocolError}.
 */
export function expectAnswer(
  answers: MessageBuffer,
  due: Schema,
  limit: number,
): Uint8Array | undefined {
  const message = answers.next(limit);
  if (typeof message === "string") {
    // The connection's end says why.
    return undefined;
  }
  if (message.schema === Refuse) {
    const refuse = decodeBody(Refuse, message.body);
    throw refusal(refuse.code, lossyText(refuse.text), {
      retryAfterMs: refuse.retryAfterMs || undefined,
      endpoints: endpointsOf(refuse.endpoints),
    });
  }
  if (message.schema !== due) {
    throw unexpected(message.schema);
  }
  return message.body;
}

/** Returns the endpoints of a list that are text, at most {@link MAX_ENDPOINTS}. */
export function endpointsOf(list: readonly Uint8Array[]): string[] {
  const texts = list.filter((bytes) => bytes.length <= MAX_ENDPOINT).map(strictText);
  return texts.filter((text) => text !== undefined).slice(0, MAX_ENDPOINTS);
}
