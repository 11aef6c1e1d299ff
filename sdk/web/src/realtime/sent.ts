// Where another process continues the sequences of this client's messages. Receivers drop a message
// as old if its number is smaller than that of an earlier one of its key, so a page that continues
// the session of another one must continue its numbers.

import { Reader, WireError, Writer } from "../wire/codec.js";
import { POINTER, POSE } from "../wire/frame.js";
import { KEYS_PER_SENDER } from "./sequences.js";

/**
 * How many numbers are skipped: those of the messages that were sent after the export, for two
 * minutes at 120 Hz. A quarter of all numbers: receivers count the next one as newer if at most as
 * many were sent, and also if none was.
 */
const SKIPPED = 1 << 14;

/** The messages of one stream that this client has sent. */
export interface SentStream {
  /** The sequence number of the next message. */
  next: number;
  /** How many messages of all streams had been sent when this one was used last. */
  lastUse: number;
}

/**
 * The next sequence number of each stream of this client, see `streamOf`. Holds at most as many
 * streams as a receiver remembers: those that were used last.
 */
export type SentSequences = readonly (readonly [stream: number, next: number])[];

/** Makes the list of the streams that were used last. */
export function sentSequences(streams: Iterable<[number, SentStream]>): SentSequences {
  const sorted = [...streams].sort(([, a], [, b]) => b.lastUse - a.lastUse);
  return sorted.slice(0, KEYS_PER_SENDER).map(([stream, { next }]) => [stream, next]);
}

/** Returns the number at which another process begins. */
export function continued(next: number): number {
  return (next + SKIPPED) & 0xffff;
}

/** Writes the number of streams and the streams. */
export function encodeSent(sent: SentSequences, out: Writer): void {
  out.u16(sent.length);
  for (const [stream, next] of sent) {
    out.u8(stream >>> 24);
    out.u8(stream >> 16);
    out.u16(stream);
    out.u16(next);
  }
}

/**
 * Reads what {@link encodeSent} has written.
 *
 * Throws {@link WireError} if it has not.
 */
export function decodeSent(from: Reader): SentSequences {
  const count = from.u16();
  if (count > KEYS_PER_SENDER) {
    throw new WireError("too many streams");
  }
  return Array.from({ length: count }, () => {
    const kind = from.u8();
    if (kind < POSE || kind > POINTER) {
      throw new WireError("unknown kind of message");
    }
    const stream = (kind << 24) | (from.u8() << 16) | from.u16();
    return [stream, from.u16()] as const;
  });
}
