// The characters that a plain text must not contain, see docs/PROTOCOL.md.

import { utf8 } from "./codec.js";
import { MAX_EVENT_NAME } from "./limits.js";

// Control characters; characters that change the direction of writing; invisible characters. And
// surrogates without a partner, which UTF-8 cannot express.
const NOT_PLAIN = new RegExp(
  "[\\0-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u061c\\u202a-\\u202e\\u2060-\\u206f\\xad\\u034f\\u115f" +
    "\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\u{1bca0}-\\u{1bca3}" +
    "\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}\\ud800-\\udfff]",
  "u",
);

/** Returns whether all characters of a text may stand in a plain text. */
export function isPlain(text: string): boolean {
  return !NOT_PLAIN.test(text);
}

/**
 * Returns whether a text may be the type of a typed event or the method of a request: 1 to
 * `MAX_EVENT_NAME` bytes of UTF-8, all characters plain.
 */
export function isEventName(name: string): boolean {
  const length = utf8(name).length;
  return length >= 1 && length <= MAX_EVENT_NAME && isPlain(name);
}
