/**
 * Reads the certificate pins and the room from this client's own join token.
 *
 * The token is not verified here, and need not be: the application has it from where it trusts. An
 * attacker on the path to the server cannot forge `pin`, because the client does not receive the
 * token over that path. The server verifies the signature.
 */

import { lossyText } from "../wire/codec.js";
import { MAX_TOKEN } from "../wire/limits.js";
import { fromBase64Url } from "./ticket.js";

/** What to do about a text that cannot be a token. */
export const TOKEN_ADVICE =
  "Hand in the complete token, as your backend or `nucleus token` has written it";

/** Length of a pin in bytes: SHA-256. */
const PIN_BYTES = 32;

/**
 * Returns the token without the white space and the byte order mark that a file with it may have.
 */
export function trimmed(token: string): string {
  // `trim` takes the byte order mark for white space.
  return token.trim();
}

/**
 * Returns why a text cannot be a token, in words; `undefined` if it can be one. A server refuses
 * such a text, and ends the session. The signature is not checked: only the server can do this.
 */
export function tokenProblem(text: string): string | undefined {
  const parts = text.split(".");
  const [header = "", payload = "", signature = ""] = parts;
  if (text === "") {
    return "the join token is empty";
  } else if (text.length > MAX_TOKEN) {
    return "a join token has at most 4,096 bytes";
  } else if (parts.length !== 3 || !/^[\w-]+$/.test(signature)) {
    return "a join token has three parts of base64url, with dots between them";
  } else if (!objectIn(header) || !objectIn(payload)) {
    return "the first two parts of a join token are JSON objects in base64url";
  }
  return undefined;
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
  const [, payload = ""] = token.length <= MAX_TOKEN ? token.split(".") : [];
  return objectIn(payload) ?? {};
}

/** Reads a part of a token. Returns `undefined` for what is no JSON object. */
function objectIn(part: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = fromBase64Url(part);
  try {
    const read: unknown = bytes && JSON.parse(lossyText(bytes));
    const isObject = typeof read === "object" && read !== null && !Array.isArray(read);
    return isObject ? { ...read } : undefined;
  } catch {
    return undefined;
  }
}
