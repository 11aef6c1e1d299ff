// The frozen header in front of every session message.

import { Reader, WireError } from "./codec.js";
import * as handshake from "./handshake.js";
import * as messages from "./messages.js";
import * as messaging from "./messaging.js";
import * as reserved from "./reserved.js";
import * as rooms from "./rooms.js";
import type { Schema } from "./schema.js";
import * as social from "./social.js";
import * as state from "./state.js";

const { Hello, Welcome, Refuse, Ping } = handshake;
const { Join, Joined, Leave, RosterUpdate, EventUp, EventDown } = messages;
const { EventAck, Subscribe, Throttled, Moderate, Audit, Renew, Renewed, TokenWanted } = messaging;
const { StateRequest, StateReply, StateSnapshot, StateUpdate } = state;
const { WatchRooms, RoomList } = rooms;
const { Enter, Entered, WatchUsers, SetStatus, UserList } = social;
const { CallRequest, CallReply, CallUpdate } = social;
const { Moved, Probe, ProbeGrant, SettingsUpdate } = reserved;

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
 * Reads a header, the first `HEADER_BYTES` of a message. Throws `WireError` if the schema is unknown,
 * or not known in this version or encoding, or if the body is longer than `limit` bytes.
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
