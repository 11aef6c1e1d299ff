/** `ReturnTicket`: what a client needs to resume a session, also in another page. */

import { EMPTY, Reader, strictText, utf8, Writer } from "../wire/codec.js";
import { MAX_ROOM_NAME, MAX_TOKEN } from "../wire/limits.js";
import { decodeSent, encodeSent, type SentSequences } from "../realtime/sent.js";

/** The format of the text, for whole and for partial tickets. */
const FORMATS = [3, 4];
/** Most characters of a text: far more than a ticket with 256 streams needs. */
const MAX_TEXT = 16 << 10;

/** The ticket of a session in a room, and how far its events were received. It is a secret. */
export interface ReturnTicket {
  /** The room's name. */
  room: string;
  /** Where the sequences of the realtime messages continue. */
  sent: SentSequences;
  /** The ticket, opaque to the client. Empty: no session is resumed. */
  ticket: Uint8Array;
  /** Largest sequence that the application has taken, by lane. */
  lastSequences: [bigint, bigint];
  /** Whether pieces of an incomplete bulk message are before that. */
  isPartial: boolean;
}

/** Returns a ticket that resumes nothing. */
export function noTicket(): ReturnTicket {
  return { room: "", sent: [], ticket: EMPTY, lastSequences: [0n, 0n], isPartial: false };
}

/** Returns the 32-bit FNV-1a hash, which finds damage but no forgery. */
function checksum(bytes: Uint8Array): number {
  return bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x0100_0193), 0x811c_9dc5) >>> 0;
}

/**
 * Writes a ticket as text, for `sessionStorage` or another page. The text has letters, digits, `-`
 * and `_`.
 */
export function ticketToText(ticket: ReturnTicket): string {
  const room = utf8(ticket.room).subarray(0, MAX_ROOM_NAME);
  const out = new Writer();
  out.u8(ticket.isPartial ? 4 : 3);
  ticket.lastSequences.forEach((sequence) => out.u64(sequence));
  out.u8(room.length);
  out.bytes(room);
  encodeSent(ticket.sent, out);
  out.bytes(ticket.ticket);
  out.u32(checksum(out.view()));
  return toBase64Url(out.view());
}

/** Reads what {@link ticketToText} has written. Returns `undefined` for any other text. */
export function ticketFromText(text: string): ReturnTicket | undefined {
  try {
    const bytes = text.length <= MAX_TEXT ? fromBase64Url(text.trim()) : undefined;
    return bytes && parse(bytes);
  } catch {
    return undefined;
  }
}

function parse(bytes: Uint8Array): ReturnTicket | undefined {
  const body = bytes.subarray(0, -4);
  if (new Reader(bytes.subarray(body.length)).u32() !== checksum(body)) {
    return undefined;
  }
  const reader = new Reader(body);
  const format = reader.u8();
  const lastSequences: [bigint, bigint] = [reader.u64(), reader.u64()];
  const room = strictText(reader.bytes(reader.u8()));
  const sent = decodeSent(reader);
  const ticket = reader.rest().slice();
  const isValid = FORMATS.includes(format) && ticket.length > 0 && ticket.length <= MAX_TOKEN;
  return room !== undefined && isValid
    ? { room, sent, ticket, lastSequences, isPartial: format === 4 }
    : undefined;
}

/** Encodes bytes as base64url without padding. */
export function toBase64Url(bytes: Uint8Array): string {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** Decodes base64url without padding. Returns `undefined` for any other text. */
export function fromBase64Url(text: string): Uint8Array | undefined {
  if (!/^[\w-]*$/.test(text)) {
    return undefined;
  }
  try {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    // A text whose last bits are not 0 stands for no bytes.
    return toBase64Url(bytes) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
}
