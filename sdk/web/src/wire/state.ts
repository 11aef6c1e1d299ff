// The shared state of a room: entities with fields, which its peers change together.

import * as features from "./features.js";
import { BYTES, list, struct, U16, U32, U64, U8 } from "./kinds.js";
import type { Of } from "./kinds.js";
import type { Body } from "./schema.js";
import { archive } from "./schema.js";
import { Value } from "./value.js";

/** The scopes of entities. The room itself; its number is 0. */
export const SCOPE_ROOM = 0;
/** A peer, with its peer id. */
export const SCOPE_PEER = 1;
/** An object. The upper 32 bits of its number are its maker's peer id, or 0. */
export const SCOPE_OBJECT = 2;

/** Kinds of an operation. Sets a field, or removes it by a value of kind 0. */
export const OPERATION_SET = 1;
/** Makes an object, owned by the requesting peer. */
export const OPERATION_CREATE = 2;
/** Deletes an object with its fields. */
export const OPERATION_DELETE = 3;
/** Asks for an object. */
export const OPERATION_CLAIM = 4;
/** Gives an object to `peer`. */
export const OPERATION_GIVE = 5;
/** Makes `peer` the host. */
export const OPERATION_HOST = 6;

/** Modes of an object. Only the owner can give the object away. */
export const MODE_FIXED = 0;
/** Other peers may claim the object, and its owner decides. */
export const MODE_ASK = 1;
/** A peer that claims the object becomes its owner at once. */
export const MODE_TAKE = 2;
/** A bit besides these: the object outlives its owner. */
export const MODE_WITH_ROOM = 0x10;

/** The expected version that every version of a field matches. */
export const ANY_VERSION = 2n ** 64n - 1n;

/** One requested change. Fields that its kind does not use are 0 or empty. */
export const Operation = struct({
  kind: U8,
  scope: U8,
  id: U64,
  mode: U8,
  peer: U32,
  key: BYTES,
  value: Value,
  expected: U64,
});
export type Operation = Of<typeof Operation>;

/** A client asks for changes. The server applies all operations in order, or none. */
export const StateRequest = archive(
  48,
  { request: U32, operations: list(Operation) },
  features.STATE,
);
export type StateRequest = Body<typeof StateRequest>;

/** The server's answer to a `StateRequest`, `Moderate` or `Subscribe`. */
export const StateReply = archive(49, { request: U32, code: U16, failed: U16, version: U64 });
export type StateReply = Body<typeof StateReply>;

/** A field of an entity. */
export const Field = struct({ key: BYTES, value: Value, version: U64 });
export type Field = Of<typeof Field>;

/** An entity with its fields. */
export const Entity = struct({ scope: U8, id: U64, owner: U32, mode: U8, fields: list(Field) });
export type Entity = Of<typeof Entity>;

/** The whole state, the first message on every state stream. */
export const StateSnapshot = archive(
  50,
  { version: U64, host: U32, entities: list(Entity) },
  features.STATE,
);
export type StateSnapshot = Body<typeof StateSnapshot>;

/** Kinds of a change. A field was set, or removed if the value has kind 0. */
export const CHANGE_SET = 1;
/** An object without fields was made. Its owner is `peer`. */
export const CHANGE_CREATED = 2;
/** An entity was deleted with its fields. */
export const CHANGE_DELETED = 3;
/** An object's owner is now `peer`; 0 for nobody. */
export const CHANGE_OWNER = 4;
/** `peer` claims an object; the owner may give it. */
export const CHANGE_CLAIMED = 5;
/** The chosen host is now `peer`; 0 for none. */
export const CHANGE_HOST = 6;

/** One change of the state. Fields that its kind does not use are 0 or empty. */
export const Change = struct({
  kind: U8,
  scope: U8,
  id: U64,
  peer: U32,
  mode: U8,
  key: BYTES,
  value: Value,
});
export type Change = Of<typeof Change>;

/** The changes that make up the next version of the state. */
export const StateUpdate = archive(
  51,
  { version: U64, peer: U32, changes: list(Change) },
  features.STATE,
);
export type StateUpdate = Body<typeof StateUpdate>;
