// Frames of the realtime plane: type, length, body. Type 0 is padding up to the end of the body. A
// reader skips types that it does not know, and takes a body as a whole or not at all.

import { Reader, WireError } from "./codec.js";
import type { Writer } from "./codec.js";
import { MAX_PAYLOAD } from "./limits.js";

/** The types of frames with messages; those of control frames are in control.ts. */
export const POSE = 1;
/** A voice packet. */
export const VOICE = 2;
/** Application data that may be lost. */
export const UNRELIABLE = 3;
/** A pointer or cursor. */
export const POINTER = 4;

/** The type of a message's frame, which decides its priority and age limit. */
export type MessageKind = typeof POSE | typeof VOICE | typeof UNRELIABLE | typeof POINTER;

/** Every kind of message, in the order of the counts in a server's report. */
export const MESSAGE_KINDS = [POSE, VOICE, UNRELIABLE, POINTER] as const;

/** The target for every peer in the room but the sender. */
export const TARGET_OTHERS = 0xffff;
/** The target of group 0. The other groups follow in order. */
export const TARGET_GROUPS = 0xff00;

/** The bit of `Message.flags` that makes a message replace older ones of its sender and key. */
export const NEWEST_WINS = 1;
/** The bits of `Message.flags` for the ring of the sender. Reserved: 0 today. */
const RING = 0b1110;
/** The bit of the flags on the wire that says that the message has a capture time. */
const TIMED = 16;
/** Length in bytes of a message's fields in front of its payload. */
export const MESSAGE_FIELDS_BYTES = 10;

/** One application message on the realtime plane. */
export interface Message {
  readonly kind: MessageKind;
  /** `NEWEST_WINS` or 0; bits that are not named are 0. */
  readonly flags: number;
  /** From a client the target: a slot, a group or `TARGET_OTHERS`. From the server a slot. */
  readonly peer: number;
  /** The application's channel. */
  readonly channel: number;
  /** The application's key within the channel. */
  readonly key: number;
  /** Counts up within a (sender, kind, channel, key), wrapping. */
  readonly sequence: number;
  /** Capture time: the server's clock in ms modulo 2^16. `undefined`: it is not known. */
  readonly time: number | undefined;
  /** The payload; of a received message a view of its datagram. */
  readonly payload: Uint8Array;
}

/** A frame whose fields have not been read. */
export interface RawFrame {
  readonly kind: number;
  readonly body: Uint8Array;
}

/** Returns whether a frame of this type is a message. */
export function isMessage(kind: number): kind is MessageKind {
  return kind >= POSE && kind <= POINTER;
}

/** Splits a body into its frames. Throws `WireError` if it is not a sequence of frames. */
export function readFrames(body: Uint8Array): RawFrame[] {
  const reader = new Reader(body);
  const frames: RawFrame[] = [];
  while (reader.left > 0) {
    const kind = reader.u8();
    if (kind === 0) {
      break;
    }
    frames.push({ kind, body: reader.bytes(readLength(reader)) });
  }
  return frames;
}

/** Reads a length: one byte below 128, else two. Each length has one form only. */
function readLength(reader: Reader): number {
  const low = reader.u8();
  if (low < 0x80) {
    return low;
  }
  const high = reader.u8();
  if (high === 0 || high >= 0x80) {
    throw new WireError("malformed frame");
  }
  return (low & 0x7f) | (high << 7);
}

/** Reads the body of a message's frame. Throws `WireError` if it is too short or too long. */
export function readMessage(kind: MessageKind, body: Uint8Array): Message {
  if (body.length > MESSAGE_FIELDS_BYTES + MAX_PAYLOAD) {
    throw new WireError("malformed frame");
  }
  const reader = new Reader(body);
  const flags = reader.u8();
  const message = {
    kind,
    flags: flags & (NEWEST_WINS | RING),
    peer: reader.u16(),
    channel: reader.u8(),
    key: reader.u16(),
    sequence: reader.u16(),
  };
  const time = reader.u16();
  return { ...message, time: flags & TIMED ? time : undefined, payload: reader.rest() };
}

/** Returns the length of a message's frame with a payload of so many bytes. */
export function messageBytes(payload: number): number {
  const body = MESSAGE_FIELDS_BYTES + payload;
  return (body < 0x80 ? 2 : 3) + body;
}

/** Appends the frame of a message. */
export function putMessage(out: Writer, message: Message): void {
  putFrameHeader(out, message.kind, MESSAGE_FIELDS_BYTES + message.payload.length);
  out.u8((message.flags & (NEWEST_WINS | RING)) | (message.time === undefined ? 0 : TIMED));
  out.u16(message.peer);
  out.u8(message.channel);
  out.u16(message.key);
  out.u16(message.sequence);
  out.u16(message.time ?? 0);
  out.bytes(message.payload);
}

/** Appends a frame's type and the length of its body, at most 16,383 bytes. */
export function putFrameHeader(out: Writer, kind: number, length: number): void {
  out.u8(kind);
  if (length < 0x80) {
    out.u8(length);
  } else {
    out.u8((length & 0x7f) | 0x80);
    out.u8(length >> 7);
  }
}
