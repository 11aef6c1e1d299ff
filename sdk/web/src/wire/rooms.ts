// Finding and creating rooms: the options and filters of a join, and the lobby's list.

import { BYTES, list, struct, U16, U32, U8 } from "./kinds.js";
import type { Of } from "./kinds.js";
import type { Body } from "./schema.js";
import { archive } from "./schema.js";
import { Value } from "./value.js";

/** How a join selects its room: `Join.mode`. */
export const JOIN_MODES = {
  /** Joins the named room, or creates it if it does not exist. */
  joinOrCreate: 0,
  /** Creates the named room; refused if it exists. */
  create: 1,
  /** Joins the named room; refused if it does not exist. */
  join: 2,
  /** Joins any matching room; refused if none matches. */
  match: 3,
  /** Joins any matching room, or creates one if none matches. */
  matchOrCreate: 4,
} as const;
export type JoinMode = keyof typeof JOIN_MODES;

/** Bits of `RoomOptions.flags`. The lobby neither lists nor matches the room. */
export const HIDDEN = 1;
/** The room is locked from the start; needs the right to moderate. */
export const LOCKED = 2;
/** The room is kept while it is empty; needs the right to moderate. */
export const KEPT = 4;
/** The room admits only its creator and the users that the join expects. */
export const BY_INVITATION = 8;

/** A field of a room. */
export const RoomField = struct({ key: BYTES, value: Value });
export type RoomField = Of<typeof RoomField>;

/** The options of a room that a join creates. */
export const RoomOptions = struct({
  capacity: U16,
  flags: U8,
  emptyTtlMs: U32,
  listed: list(BYTES),
  fields: list(RoomField),
});
export type RoomOptions = Of<typeof RoomOptions>;

/** `Filter.kind`: the field equals one of 1 to 16 values in kind, bits and bytes. */
export const FILTER_ONE_OF = 1;
/** The field is a number between two values, both included. */
export const FILTER_RANGE = 2;

/** A condition on a listed field. */
export const Filter = struct({ key: BYTES, kind: U8, values: list(Value) });
export type Filter = Of<typeof Filter>;

/** A client subscribes to the lobby's rooms. */
export const WatchRooms = archive(64, { request: U32, version: BYTES, filters: list(Filter) });
export type WatchRooms = Body<typeof WatchRooms>;

/** A room as the lobby shows it. */
export const RoomInfo = struct({
  room: BYTES,
  peers: U16,
  capacity: U16,
  flags: U8,
  fields: list(RoomField),
});
export type RoomInfo = Of<typeof RoomInfo>;

/** In `RoomInfo.flags`: the room is locked. */
export const ROOM_LOCKED = 1;
/** In `RoomInfo.flags`: the room has a password. */
export const ROOM_PASSWORD = 2;

/** The lobby's rooms, or the changes since the list before. */
export const RoomList = archive(65, {
  request: U32,
  total: U32,
  whole: U8,
  rooms: list(RoomInfo),
  gone: list(BYTES),
});
export type RoomList = Body<typeof RoomList>;
