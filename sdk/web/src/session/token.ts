/**
 * Reads the certificate pins and the room from this client's own join token.
 *
 * The token is not verified here, and need not be: the application has it from where it trusts. An
 * attacker on the path to the server cannot forge `pin`, because the client does not receive the
 * token over that path. The server verifies the signature.
 */

import { lossyText, utf8 } from "../wire/codec.js";
import { MAX_TOKEN } from "../wire/limits.js";
import { fromBase64Url } from "./ticket.js";

/** Length of a pin in bytes: SHA-256. */
const PIN_BYTES = 32;

/**
 * Returns the token without the white space and the byte order mark that a file with it may have.
 */
export function trimmed(token: string): string {
  // `trim` takes the byte order mark for white space.
  return token.trim();
}

/** Returns whether a text can be a token. A server refuses others, and ends the session. */
export function mayBeToken(text: string): boolean {
  return text !== "" && text.length <= MAX_TOKEN && utf8(text).length <= MAX_TOKEN;
}

/**
 * Returns the SHA-256 digests of the server's certificates that the token contains (claim `pin`).
 * Ignores texts that are no such digest.
 */
export function pinsIn(token: string): Uint8Array[] {
  const { pin } = claimsOf(token);
  const texts = (Array.isArray(pin) ? pin : [pin]).filter((text) => typeof text === "string");
  return texts.flatMap((text) => {
    const digest = fromBase64Url(text);
    return digest?.length === PIN_BYTES ? [digest] : [];
  });
}

/** Returns the room that the token names (claim `room`); `undefined` for a pattern. */
export function roomIn(token: string): string | undefined {
  const { room } = claimsOf(token);
  return typeof room === "string" && !room.endsWith("*") ? room : undefined;
}

function claimsOf(token: string): Readonly<Record<string, unknown>> {
  const [, payload] = token.length <= MAX_TOKEN ? token.split(".") : [];
  const bytes = payload === undefined ? undefined : fromBase64Url(payload);
  try {
    const claims: unknown = JSON.parse(bytes ? lossyText(bytes) : "{}");
    return typeof claims === "object" && claims !== null ? { ...claims } : {};
  } catch {
    return {};
  }
}
