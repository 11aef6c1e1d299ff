/**
 * Limits on what a client holds for a server, each with its reason. A server that exceeds one is
 * broken or hostile: the client closes the session, or reads no further. The Rust client has the
 * same limits in `client/core/src/limits.rs`.
 *
 * Most are sixteen times what a server of today sends. So a later server may have larger rooms and
 * longer lists, but cannot fill the page's memory. A text counts with its length: each unit takes
 * one or two bytes.
 */

import { MAX_NAME, MAX_ROOM_LIST, MAX_ROOM_PEERS, MAX_USER_LIST } from "../wire/limits.js";
import { ProtocolError } from "./error.js";

/** The largest size of a list. */
export interface ListLimit {
  readonly entries: number;
  /** Bytes that the texts and values of the entries hold. */
  readonly bytes: number;
}

/** The limits of an `EventQueue`. */
export interface QueueLimit {
  /** Bytes of the counted events at which the queue is full. */
  readonly full: number;
  /** Number of events, free ones included, at which the queue is overfull. */
  readonly most: number;
  /** Bytes of events, free ones included, at which the queue is overfull. */
  readonly mostBytes: number;
  /** Bytes counted for an event in addition to those that it holds. */
  readonly overhead: number;
}

/** How much larger lists may be than those of a server of today. */
const SPARE = 16;
/** About what an entry of a list takes besides its texts. */
const ENTRY = 64;
/** Largest room in a list of today: its name, and eight fields of up to 345 bytes. */
const ROOM_BYTES = 3_045;

/**
 * Length of one peer's user id, name and role together. Copies of them wait in events, and the user
 * ids of callers are kept for a while.
 */
export const MAX_PEER_TEXT = SPARE * 3 * MAX_NAME;
/** The peers of a room: nearly as many as there are slots, with texts as if all had the longest. */
export const ROSTER = listLimit(MAX_ROOM_PEERS, 3 * MAX_NAME);
/** The watched users. */
export const USERS = listLimit(MAX_USER_LIST, 25 + 3 * MAX_NAME);
/** The watched rooms, with the fields that they list. */
export const ROOMS = listLimit(MAX_ROOM_LIST, ROOM_BYTES);
/**
 * The events of a room that wait for the application. The queue is full with all events of one act
 * upon the largest room, such as muting everybody: one act never fills an empty queue. It is
 * overfull with twice as much, which one session never brings; or with the rosters and states of
 * several sessions, which do not make it full.
 */
export const ROOM_EVENTS: QueueLimit = {
  full: 2 << 20,
  most: 128 << 10,
  mostBytes: 32 << 20,
  overhead: 64,
};
/**
 * The events of a social session that wait for the application: about a minute of changes of many
 * watched users. Two lists of the largest size fit.
 */
export const SOCIAL_EVENTS: QueueLimit = {
  full: 1 << 20,
  most: 2_048,
  mostBytes: 2 << 20,
  overhead: 1_024,
};

function listLimit(entries: number, bytes: number): ListLimit {
  return { entries: SPARE * entries, bytes: SPARE * entries * bytes };
}

/** Deepest part of a value that is counted: the values of fields of a room in a list have four levels. */
const DEEPEST = 8;

/**
 * Returns the length of all texts and byte strings in a value, and {@link ENTRY} for each entry of a
 * list. It looks at every property, so that none is forgotten, but not into objects of classes: what
 * an application has attached to a peer may be large, and have no end.
 */
export function heldBytes(value: unknown, depth = 0): number {
  if (typeof value === "string" || value instanceof Uint8Array) {
    return value.length;
  }
  const isMap = value instanceof Map;
  const isList = isMap || Array.isArray(value);
  if (depth > DEEPEST || !(isList || isPlain(value))) {
    return 0;
  }
  const parts: unknown[] = isMap ? [...value].flat() : Object.values(value);
  const overhead = isList ? ENTRY : 0;
  return parts.reduce((bytes: number, part) => bytes + overhead + heldBytes(part, depth + 1), 0);
}

/** Whether a value is an object of no class. */
function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** A list by the keys of its entries, whose size is known. */
export class SizedMap<K, V> {
  _entries = new Map<K, V>();
  /** The sizes of the entries when they were added: the application may change an entry. */
  _sizes = new Map<K, number>();
  _bytes = 0;

  get entries(): ReadonlyMap<K, V> {
    return this._entries;
  }

  set(key: K, entry: V): void {
    const size = heldBytes(entry);
    this._bytes += size - (this._sizes.get(key) ?? 0);
    this._sizes.set(key, size);
    this._entries.set(key, entry);
  }

  /** Removes an entry, and returns it. */
  delete(key: K): V | undefined {
    const entry = this._entries.get(key);
    this._bytes -= this._sizes.get(key) ?? 0;
    this._sizes.delete(key);
    this._entries.delete(key);
    return entry;
  }

  /** Throws {@link ProtocolError} unless the list stays within a limit with `more` entries. */
  check(limit: ListLimit, more: readonly V[], name: string): void {
    const bytes = more.reduce((sum, entry) => sum + heldBytes(entry), this._bytes);
    if (this._entries.size + more.length > limit.entries || bytes > limit.bytes) {
      throw new ProtocolError(`the list of ${name} is too long`);
    }
  }
}
