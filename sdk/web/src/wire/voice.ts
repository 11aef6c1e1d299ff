// A voice payload: two bytes that receivers' mixers and the server may read, then an Opus packet.

import type { Writer } from "./codec.js";

/** The bit of `Voice.flags` that says that the packet starts a talk spurt. */
export const SPURT_START = 1;
/** The bit of `Voice.flags` that says that the Opus packet is encrypted end to end. */
export const END_TO_END = 2;
/** The level of silence, in -dBov: the largest number of a level. */
export const LOWEST_LEVEL = 127;
/** Length in bytes of what stands in front of the Opus packet. */
export const VOICE_FIELDS_BYTES = 2;

/** A voice payload. */
export interface Voice {
  /** Loudness in -dBov, 0 (loudest) to 127 (silence), as in RFC 6464. */
  readonly level: number;
  /** Whether the encoder detects voice. */
  readonly speaking: boolean;
  /** `SPURT_START` and `END_TO_END`; other bits are reserved. */
  readonly flags: number;
  /** The Opus packet; of a received payload a view. */
  readonly opus: Uint8Array;
}

/** Reads a payload; `undefined` if it is shorter than its two leading bytes. */
export function parseVoice(payload: Uint8Array): Voice | undefined {
  const [level, flags] = payload;
  if (level === undefined || flags === undefined) {
    return undefined;
  }
  const opus = payload.subarray(VOICE_FIELDS_BYTES);
  return { level: level & 0x7f, speaking: level >= 0x80, flags, opus };
}

/** Appends the payload. */
export function putVoice(out: Writer, voice: Voice): void {
  out.u8(Math.min(voice.level, LOWEST_LEVEL) | (voice.speaking ? 0x80 : 0));
  out.u8(voice.flags);
  out.bytes(voice.opus);
}
