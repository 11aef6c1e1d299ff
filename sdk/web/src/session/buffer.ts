/** Cuts the bytes of a stream into messages. */

import { EMPTY } from "../wire/codec.js";
import { readHeader } from "../wire/header.js";
import { HEADER_BYTES, type Schema } from "../wire/schema.js";
import { ProtocolError } from "./error.js";

/** A message: schema and body. */
export interface RawMessage {
  schema: Schema;
  body: Uint8Array;
}

/**
 * The bytes of a stream that are not handled yet: at most a message and one read of the caller, if
 * the caller reads only while the stream is wanted.
 */
export class MessageBuffer {
  _bytes = EMPTY;
  _start = 0;
  _end = 0;
  /** Whether the stream has ended. */
  hasEnded = false;

  /** Adds bytes of the stream. */
  push(bytes: Uint8Array): void {
    const left = this._end - this._start;
    const needed = left + bytes.length;
    if (this._end + bytes.length > this._bytes.length) {
      // A buffer that grows doubles, so that a large message in many pieces is copied seldom.
      const isLarge = needed > this._bytes.length;
      const room = isLarge ? new Uint8Array(Math.max(needed, 2 * left)) : this._bytes;
      room.set(this._bytes.subarray(this._start, this._end));
      this._bytes = room;
      this._start = 0;
      this._end = left;
    }
    this._bytes.set(bytes, this._end);
    this._end += bytes.length;
  }

  /** Notes the end of the stream. A broken stream may end in the middle of a message. */
  end(isBroken: boolean): void {
    this.hasEnded = true;
    if (isBroken) {
      this._end = this._wholeMessages();
    }
  }

  /** Removes the type byte at the start of a stream, if it has come. */
  takeKind(): number | undefined {
    return this._start < this._end ? this._bytes[this._start++] : undefined;
  }

  /**
   * Removes the next message, whose body may have at most `limit` bytes. Returns "incomplete" if
   * more bytes are needed, and "ended" at the end of the stream.
   *
   * Throws if the header is invalid, or the stream has ended in the middle of the message.
   */
  next(limit: number): RawMessage | "incomplete" | "ended" {
    const left = this._end - this._start;
    if (left >= HEADER_BYTES) {
      const { length, schema } = readHeader(this._view(), limit);
      const end = HEADER_BYTES + length;
      if (left >= end) {
        const body = this._bytes.slice(this._start + HEADER_BYTES, this._start + end);
        this._start += end;
        if (this._start === this._end) {
          this._bytes = EMPTY;
          this._start = this._end = 0;
        }
        return { schema, body };
      }
    }
    if (!this.hasEnded) {
      return "incomplete";
    }
    if (left > 0) {
      throw new ProtocolError("the stream ended in the middle of a message");
    }
    return "ended";
  }

  _view(): Uint8Array {
    return this._bytes.subarray(this._start, this._end);
  }

  /** Returns the end of the whole messages in the buffer. */
  _wholeMessages(): number {
    let whole = this._start;
    while (this._end - whole >= HEADER_BYTES) {
      let end: number;
      try {
        const header = readHeader(this._bytes.subarray(whole, this._end), Infinity);
        end = whole + HEADER_BYTES + header.length;
      } catch {
        break;
      }
      if (end > this._end) {
        break;
      }
      whole = end;
    }
    return whole;
  }
}
