// Lanes of reliable messages, the acknowledgement of events, subscriptions to groups, throttling,
// moderation, and fresh tokens.

import * as features from "./features.js";
import { GROUP_BYTES } from "./groups.js";
import { STREAM_BULK, STREAM_EVENTS } from "./handshake.js";
import { BYTES, U16, U32, U64, U8 } from "./kinds.js";
import type { Body } from "./schema.js";
import { archive } from "./schema.js";

/** A lane of reliable messages: small messages sent first, or large ones sent in pieces. */
export type Lane = typeof EVENTS | typeof BULK;
/** The lane of events, and its index. */
export const EVENTS = 0;
/** The bulk lane, and its index. */
export const BULK = 1;
/** The first byte of the streams of each lane. */
export const LANE_STREAMS = [STREAM_EVENTS, STREAM_BULK] as const;

/** Returns the lane of streams with this first byte, if they belong to a lane. */
export function laneOfStream(type: number): Lane | undefined {
  return type === STREAM_EVENTS ? EVENTS : type === STREAM_BULK ? BULK : undefined;
}

/** The server acknowledges a client's events. Both counts are cumulative, and wrap. */
export const EventAck = archive(34, { eventsTaken: U32, bulkTaken: U32 });
export type EventAck = Body<typeof EventAck>;

/** A client replaces the set of groups that it subscribes to. */
export const Subscribe = archive(36, { request: U32, groups: { array: GROUP_BYTES } });
export type Subscribe = Body<typeof Subscribe>;

/** The server tells a client that it slows down or drops the client's messages. */
export const Throttled = archive(37, { what: U8 }, features.NOTICES);
export type Throttled = Body<typeof Throttled>;

/** The names of `Throttled.what`, from 1 on. */
export const THROTTLED = ["events", "bulk", "requests", "realtime", "speakers", "muted"] as const;
export type ThrottledName = (typeof THROTTLED)[number];

/** Acts of moderation: `Moderate.act`. */
export const ACTS = {
  /** Removes `peer`, and bans its user for `seconds` if that is not 0. */
  kick: 1,
  /** Locks the room to newcomers other than moderators. */
  lock: 2,
  /** Ends a lock. */
  unlock: 3,
  /** Hides the room from the lobby. */
  hide: 4,
  /** Puts a hidden room into the lobby again. */
  show: 5,
  /** Mutes `peer`. */
  mute: 6,
  /** Ends a mute of `peer`. */
  unmute: 7,
  /** Mutes every peer that may not moderate, newcomers included. */
  muteAll: 8,
  /** Ends every mute by a moderator. */
  unmuteAll: 9,
  /** Mutes the sender itself; needs no right. */
  muteSelf: 10,
  /** Ends `muteSelf`; needs no right. */
  unmuteSelf: 11,
  /** Deletes all objects, the room's fields, and the kept events. */
  clear: 12,
  /** Hands the right to moderate over to `peer`. */
  handOver: 13,
  /** Ends the room. */
  end: 20,
} as const;
export type ActName = keyof typeof ACTS;

/** Returns the name of an act's number, or `undefined` for an act of a later version. */
export function actName(number: number): ActName | undefined {
  return (Object.keys(ACTS) as ActName[]).find((name) => ACTS[name] === number);
}

/** A client asks for an act of moderation. The server answers with a `StateReply`. */
export const Moderate = archive(52, { request: U32, act: U8, peer: U32, seconds: U32 });
export type Moderate = Body<typeof Moderate>;

/** An act of moderation that was carried out. `time` is the server's clock in µs. */
export const Audit = archive(
  53,
  { act: U8, by: U32, peer: U32, user: BYTES, seconds: U32, time: U64 },
  features.NOTICES,
);
export type Audit = Body<typeof Audit>;

/** A client hands in a fresh token of its user. */
export const Renew = archive(22, { token: BYTES }, features.RENEW);
export type Renew = Body<typeof Renew>;

/** The server's answer to a `Renew`. */
export const Renewed = archive(23, { code: U16, ticketTtlS: U32, ticket: BYTES }, features.RENEW);
export type Renewed = Body<typeof Renewed>;

/** The server asks for a fresh token: the ticket still admits for so long, in s. */
export const TokenWanted = archive(24, { withinS: U32 }, features.RENEW);
export type TokenWanted = Body<typeof TokenWanted>;
