// Sessions outside rooms: users, their status, and calls.

import { BYTES, list, struct, U16, U32, U64, U8 } from "./kinds.js";
import type { Of } from "./kinds.js";
import type { Body } from "./schema.js";
import { archive } from "./schema.js";
import { SessionSetting } from "./settings.js";

/** The status of a user. An offline user has no session, and is in no list. */
export const STATUSES = { offline: 0, online: 1, busy: 2, away: 3 } as const;
export type StatusName = keyof typeof STATUSES;

/** A client asks for a session outside rooms. */
export const Enter = archive(20, { token: BYTES, name: BYTES, status: U8 });
export type Enter = Body<typeof Enter>;

/** The server's answer to a successful `Enter`. */
export const Entered = archive(21, {
  user: BYTES,
  name: BYTES,
  role: BYTES,
  serverTime: U64,
  clockEpoch: U32,
  serverInstance: { array: 8 },
  ringMs: U32,
  call: U64,
  entries: list(BYTES),
  settings: list(SessionSetting),
});
export type Entered = Body<typeof Entered>;

/** A client subscribes to users. */
export const WatchUsers = archive(72, { request: U32, roles: list(BYTES), users: list(BYTES) });
export type WatchUsers = Body<typeof WatchUsers>;

/** A client sets its device's status. */
export const SetStatus = archive(73, { status: U8 });
export type SetStatus = Body<typeof SetStatus>;

/** A user as the list shows it. */
export const UserInfo = struct({ user: BYTES, name: BYTES, role: BYTES, status: U8 });
export type UserInfo = Of<typeof UserInfo>;

/** The watched users: the whole list in answer to `WatchUsers`, then each change. */
export const UserList = archive(74, {
  request: U32,
  code: U16,
  whole: U8,
  total: U32,
  users: list(UserInfo),
  gone: list(BYTES),
});
export type UserList = Body<typeof UserList>;

/** The acts of a `CallRequest`. */
export const CALL_START = 1;
export const CALL_ACCEPT = 2;
export const CALL_REJECT = 3;
export const CALL_CANCEL = 4;
export const CALL_HANG_UP = 5;
export const CALL_ADD = 6;

/** A client acts on a call. */
export const CallRequest = archive(80, {
  request: U32,
  act: U8,
  call: U64,
  users: list(BYTES),
  text: BYTES,
});
export type CallRequest = Body<typeof CallRequest>;

/** The server's answer to a `CallRequest`. */
export const CallReply = archive(81, { request: U32, code: U16, call: U64 });
export type CallReply = Body<typeof CallReply>;

/** The kinds of a `CallUpdate`. `user` calls this user: the client rings. */
export const CALL_INCOMING = 1;
/** The client stops ringing; `code` says why. */
export const CALL_RINGING_ENDED = 2;
/** This user calls `members`. */
export const CALL_CALLING = 3;
/** The call was accepted; `members` meet in `room`. */
export const CALL_ACCEPTED = 4;
/** `user` has been added. */
export const CALL_JOINED = 5;
/** `user` left the call, which goes on. */
export const CALL_LEFT = 6;
/** `user`, who was called, does not come; the call goes on. */
export const CALL_PASSED = 7;
/** The call is over. */
export const CALL_ENDED = 8;

/** A change in a call of this user. */
export const CallUpdate = archive(82, {
  call: U64,
  kind: U8,
  user: BYTES,
  name: BYTES,
  room: BYTES,
  code: U16,
  members: list(BYTES),
  text: BYTES,
});
export type CallUpdate = Body<typeof CallUpdate>;
