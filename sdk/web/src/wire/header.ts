// The frozen header in front of every session message.

import { Reader, WireError } from "./codec.js";
import { Hello, Ping, Refuse, Welcome } from "./handshake.js";
import { EventDown, EventUp, Join, Joined, Leave, RosterUpdate } from "./messages.js";
import { Audit, EventAck, Moderate, Renew, Renewed, Subscribe } from "./messaging.js";
import { Throttled, TokenWanted } from "./messaging.js";
import { Moved, Probe, ProbeGrant, SettingsUpdate } from "./reserved.js";
import { RoomList, WatchRooms } from "./rooms.js";
import type { Schema } from "./schema.js";
import { CallReply, CallRequest, CallUpdate, Enter, Entered } from "./social.js";
import { SetStatus, UserList, WatchUsers } from "./social.js";
import { StateReply, StateRequest, StateSnapshot, StateUpdate } from "./state.js";

/** Every schema by its number. */
export const SCHEMAS: ReadonlyMap<number, Schema> = new Map(
  [
    ...[Hello, Welcome, Refuse, Ping, Join, Joined, Leave, RosterUpdate, Enter, Entered],
    ...[Renew, Renewed, TokenWanted, Moved, Probe, ProbeGrant, EventUp, EventDown, EventAck],
    ...[Subscribe, Throttled, SettingsUpdate, StateRequest, StateReply, StateSnapshot],
    ...[StateUpdate, Moderate, Audit, WatchRooms, RoomList, WatchUsers, SetStatus, UserList],
    ...[CallRequest, CallReply, CallUpdate],
  ].map((schema) => [schema.schema, schema]),
);

/** The header of a message. */
export interface MessageHeader {
  /** Length of the body in bytes. */
  readonly length: number;
  /** The schema of the body: compare it with the message's table, as in `=== Joined`. */
  readonly schema: Schema;
}

/**
 * Reads a header, the first `HEADER_BYTES` of a message. Throws `WireError` if the schema is
 * unknown, or not known in this version or encoding, or if the body is longer than `limit` bytes.
 */
export function readHeader(bytes: Uint8Array, limit: number): MessageHeader {
  const reader = new Reader(bytes);
  const length = reader.u32();
  const encoding = reader.u8();
  const schema = SCHEMAS.get(reader.u16());
  const version = reader.u8();
  if (schema?.encoding !== encoding || version !== 1) {
    throw new WireError("unknown schema");
  }
  if (length > limit) {
    throw new WireError(`a message of ${length} bytes is over the limit of ${limit}`);
  }
  return { length, schema };
}
