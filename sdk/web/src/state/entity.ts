// The ids of entities, and the rules of owning objects.

import { localError, ProtocolError } from "../session/error.js";
import {
  MODE_ASK,
  MODE_FIXED,
  MODE_TAKE,
  MODE_WITH_ROOM,
  SCOPE_OBJECT,
  SCOPE_PEER,
  SCOPE_ROOM,
} from "../wire/state.js";

/**
 * The id of an object of the room, a `u64`. The creator chooses it: the upper 32 bits are its peer
 * id, or 0 for an object of the scene.
 */
export type ObjectId = bigint;

/**
 * The id of an entity of the state: the room, a peer or an object. A peer's fields are deleted when
 * its participant leaves the room.
 */
export type EntityId = "room" | { readonly peer: number } | { readonly object: ObjectId };

const U32_BITS = 32n;

/** Returns the id of an object that `maker` creates. The maker chooses `number`, a `u32`. */
export function objectId(maker: number, number: number): ObjectId {
  return (u32(maker) << U32_BITS) | u32(number);
}

/**
 * Returns the id of an object that belongs to the scene. All clients that load the scene know the
 * object by this number, a `u32`; the first client creates it.
 */
export function sceneObject(number: number): ObjectId {
  return u32(number);
}

function u32(number: number): bigint {
  if (number >>> 0 !== number) {
    throw localError("invalidArgument", `${number} is no u32`);
  }
  return BigInt(number);
}

/** Returns the peer that created an object; `undefined` for an object of the scene. */
export function makerOf(object: ObjectId): number | undefined {
  return Number(object >> U32_BITS) || undefined;
}

/** Returns the peer of a number on the wire; `undefined` for 0, which stands for nobody. */
export function peerOf(number: number): number | undefined {
  return number || undefined;
}

/**
 * What a claim by a peer that does not own the object does. `fixed`: nothing. `ask`: the owner is
 * told, and may give the object to the peer. `take`: the peer becomes the owner at once. An object
 * without an owner goes to the first peer that claims it.
 */
export type Ownership = "fixed" | "ask" | "take";

/** How an object is owned, and how long it exists. Never changes. */
export interface ObjectMode {
  readonly ownership: Ownership;
  /**
   * Whether the object stays when its owner leaves the room, without an owner. Otherwise it is
   * deleted then. Default: false.
   */
  readonly withRoom?: boolean;
}

const OWNERSHIPS = { fixed: MODE_FIXED, ask: MODE_ASK, take: MODE_TAKE } as const;

/** Returns an object's mode in wire format. */
export function modeToWire({ ownership, withRoom }: ObjectMode): number {
  return OWNERSHIPS[ownership] | (withRoom ? MODE_WITH_ROOM : 0);
}

/** Reads an object's mode. Throws `ProtocolError` for an unknown one. */
export function modeFromWire(wire: number): Required<ObjectMode> {
  const ownership = (["fixed", "ask", "take"] as const)[wire & ~MODE_WITH_ROOM];
  if (ownership === undefined) {
    throw new ProtocolError(`an object has the unknown mode ${wire}`);
  }
  return { ownership, withRoom: (wire & MODE_WITH_ROOM) !== 0 };
}

/** Returns the scope and the number of an entity in wire format. */
export function partsOf(entity: EntityId): { scope: number; id: bigint } {
  if (entity === "room") {
    return { scope: SCOPE_ROOM, id: 0n };
  }
  const { peer, object } = Object(entity) as { peer?: number; object?: ObjectId };
  if (peer !== undefined) {
    return { scope: SCOPE_PEER, id: u32(peer) };
  }
  if (typeof object !== "bigint") {
    throw localError("invalidArgument", "there is no such entity");
  }
  return { scope: SCOPE_OBJECT, id: object };
}

/** Reads the id of an entity. Throws `ProtocolError` if there is no such scope or number. */
export function entityFromWire(scope: number, id: bigint): EntityId {
  if (scope === SCOPE_ROOM && id === 0n) {
    return "room";
  }
  if (scope === SCOPE_PEER && id > 0n && id >> U32_BITS === 0n) {
    return { peer: Number(id) };
  }
  if (scope === SCOPE_OBJECT) {
    return { object: id };
  }
  throw noSuchEntity(scope, id);
}

/** Returns the fault of a message that names an entity that cannot be. */
export function noSuchEntity(scope: number, id: bigint): ProtocolError {
  return new ProtocolError(`there is no entity of scope ${scope} with number ${id}`);
}

/** Names an entity in maps. */
export type EntityKey = string;

/** Returns the key of an entity: equal for equal ids. */
export function keyOf(entity: EntityId): EntityKey {
  const { scope, id } = partsOf(entity);
  return `${scope}.${id}`;
}
