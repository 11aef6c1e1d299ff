// `Hello`, `Welcome`, `Refuse` and `Ping`. Their layout is frozen, so that any two versions
// understand a refusal. A reader ignores bytes behind the fields that it knows.

import { BYTES, list, U16, U32, U8 } from "./kinds.js";
import type { Body } from "./schema.js";
import { plain } from "./schema.js";

/** The newest and the oldest version of the session protocol that this code supports. */
export const VERSION = 1;
export const OLDEST_VERSION = 1;

/** The bit of `Hello.flags` that says that the client has no realtime port. */
export const NO_REALTIME_PORT = 2;

/** The first byte of a stream. Control: opened by the client, bidirectional. */
export const STREAM_CONTROL = 1;
/** Opened by either end, unidirectional: reliable ordered events. */
export const STREAM_EVENTS = 2;
/** Opened by the server, unidirectional: a snapshot of the shared state, then each change. */
export const STREAM_STATE = 3;
/** Opened by either end, unidirectional: reliable messages that never delay an event. */
export const STREAM_BULK = 4;

/** The client's first message: the versions that it supports. */
export const Hello = plain(1, { oldest: U8, newest: U8, flags: U8, agent: BYTES, features: BYTES });
export type Hello = Body<typeof Hello>;

/** The server's answer to `Hello`: the version that both use. */
export const Welcome = plain(2, {
  version: U8,
  flags: U8,
  serverId: BYTES,
  agent: BYTES,
  features: BYTES,
});
export type Welcome = Body<typeof Welcome>;

/** The server refuses the session and closes it. */
export const Refuse = plain(3, {
  code: U16,
  text: BYTES,
  retryAfterMs: U32,
  oldest: U8,
  newest: U8,
  endpoints: list(BYTES),
});
export type Refuse = Body<typeof Refuse>;

/** A client keeps its session alive. There is no answer. */
export const Ping = plain(4, {});
export type Ping = Body<typeof Ping>;
