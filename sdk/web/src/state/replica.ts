// A client's copy of a room's shared state.

import { ProtocolError } from "../session/error.js";
import { strictText } from "../wire/codec.js";
import { MAX_STATE, MAX_STATE_FIELDS, MAX_STATE_KEY, MAX_STATE_OBJECTS } from "../wire/limits.js";
import * as wire from "../wire/state.js";
import type { StateChange } from "./change.js";
import type { EntityId, EntityKey, ObjectId, ObjectMode } from "./entity.js";
import { entityFromWire, keyOf, modeFromWire, noSuchEntity, peerOf } from "./entity.js";
import type { Value } from "./value.js";
import { sameValue, valueFromWire } from "./value.js";

/** Bytes of a field in a snapshot besides its key and value. The size of a snapshot has a limit. */
const FIELD_COST = 33;

/** A field of an entity. */
export interface Field {
  readonly value: Value;
  /** The version of the state that set the field, for `Batch.compareAndSet`. */
  readonly version: bigint;
}

/** An object of the room. Its fields are read like those of other entities. */
export interface StateObject {
  readonly id: ObjectId;
  /** The owner; `undefined` until a peer claims the object. */
  readonly owner: number | undefined;
  readonly mode: Required<ObjectMode>;
}

/** What `Replica.host` reads of the roster. */
export interface HostRoster {
  peer(id: number): { readonly away: boolean } | undefined;
  /** All peers in the order of their ids. */
  all(): readonly { readonly id: number; readonly away: boolean }[];
}

/** A field with its bytes in a snapshot. */
interface KeptField extends Field {
  readonly cost: number;
}

/** The fields of an entity. */
interface Fields {
  readonly entity: EntityId;
  readonly fields: Map<string, KeptField>;
}

/**
 * A client's copy of a room's shared state. Empty and of version 0 until a snapshot arrives.
 *
 * Holds at most 4,096 objects and 1 MiB of fields. A message that exceeds these limits, or that
 * contradicts the state, throws `ProtocolError`.
 */
export class Replica {
  #version = 0n;
  #host: number | undefined;
  #objects = new Map<ObjectId, StateObject>();
  /** The objects in the order of their ids, if nothing has changed since. */
  #sorted: StateObject[] | undefined;
  /** The fields of each entity that has fields. */
  #fields = new Map<EntityKey, Fields>();
  /** Bytes of all fields together. */
  #cost = 0;

  /** The version of the state. Each update increases it by one. */
  get version(): bigint {
    return this.#version;
  }

  /** Returns a field, if it exists. */
  field(entity: EntityId, key: string): Field | undefined {
    return this.#fields.get(keyOf(entity))?.fields.get(key);
  }

  /** Returns an entity's fields. */
  fields(entity: EntityId): [string, Field][] {
    return [...(this.#fields.get(keyOf(entity))?.fields ?? [])];
  }

  /** Returns all objects in the order of their ids. */
  objects(): readonly StateObject[] {
    this.#sorted ??= [...this.#objects.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    return this.#sorted;
  }

  /** The chosen host, present or not. @internal */
  get _chosenHost(): number | undefined {
    return this.#host;
  }

  /** Returns the room and the peers, as far as they have fields. @internal */
  _othersWithFields(): EntityId[] {
    const entities = [...this.#fields.values()].map(({ entity }) => entity);
    return entities.filter((entity) => entity === "room" || isPeer(entity));
  }

  /** Returns an object, if it exists. */
  object(id: ObjectId): StateObject | undefined {
    return this.#objects.get(id);
  }

  /**
   * Returns the host: the chosen host while it is present, or else the present peer with the
   * smallest id.
   */
  host(roster: HostRoster): number | undefined {
    const chosen = this.#host;
    const isPresent = chosen !== undefined && roster.peer(chosen)?.away === false;
    return isPresent ? chosen : roster.all().find((peer) => !peer.away)?.id;
  }

  /**
   * Replaces this state by a snapshot and returns the differences. Throws `ProtocolError` if the
   * snapshot is invalid; the state is then unchanged.
   */
  applySnapshot(snapshot: wire.StateSnapshot): StateChange[] {
    return this.#become(fromSnapshot(snapshot));
  }

  /**
   * Applies the next update and returns the changes in their order. The choice of another host is
   * not among them; call `host` instead. Throws `ProtocolError` if the update is invalid; the
   * replica is then inconsistent, and the session must be closed.
   */
  applyUpdate(update: wire.StateUpdate): StateChange[] {
    const expected = BigInt.asUintN(64, this.#version + 1n);
    if (update.version !== expected) {
      throw wrongVersion(update.version, expected);
    }
    this.#version = expected;
    const by = peerOf(update.peer);
    const changes = update.changes.map((change) => this.#apply(change, by));
    this.#checkBounds();
    return changes.filter((change) => change !== undefined);
  }

  /** Clears the state, for another room instance, and returns the changes. */
  clear(): StateChange[] {
    return this.#become(new Replica());
  }

  /** Takes over another state, and returns the differences. */
  #become(newer: Replica): StateChange[] {
    const changes = this.#difference(newer);
    this.#version = newer.#version;
    this.#host = newer.#host;
    this.#objects = newer.#objects;
    this.#sorted = undefined;
    this.#fields = newer.#fields;
    this.#cost = newer.#cost;
    return changes;
  }

  /** Takes the content of a snapshot. Called for an empty state. @internal */
  _load(snapshot: wire.StateSnapshot): void {
    this.#version = snapshot.version;
    this.#host = peerOf(snapshot.host);
    for (const { scope, id, owner, mode, fields } of snapshot.entities) {
      const entity = entityFromWire(scope, id);
      if (typeof entity === "object" && "object" in entity) {
        this.#create(entity.object, owner, mode);
      } else if (this.#fields.has(keyOf(entity))) {
        throw duplicate();
      }
      for (const field of fields) {
        if (field.version > this.#version) {
          throw wrongVersion(field.version, this.#version);
        }
        const key = fieldKey(field.key);
        const value = valueFromWire(field.value);
        if (value === undefined) {
          throw new ProtocolError(`a value of type ${field.value.kind} is invalid`);
        }
        if (this.field(entity, key)) {
          throw duplicate();
        }
        this.#set(entity, key, value, field.version, costOf(field));
      }
    }
    this.#checkBounds();
  }

  /** Applies a change and returns it for the application; `undefined` for the choice of a host. */
  #apply(change: wire.Change, by: number | undefined): StateChange | undefined {
    const { kind, scope, id } = change;
    const peer = peerOf(change.peer);
    if (kind === wire.CHANGE_HOST) {
      this.#host = peer;
      return undefined;
    }
    if (kind < wire.CHANGE_SET || kind > wire.CHANGE_HOST) {
      throw new ProtocolError(`a change has the unknown kind ${kind}`);
    }
    const entity = entityFromWire(scope, id);
    if (kind === wire.CHANGE_SET) {
      return this.#applyField(entity, change, by);
    }
    if (entity === "room") {
      throw noSuchEntity(scope, id);
    }
    if (kind === wire.CHANGE_DELETED) {
      this.#delete(entity);
      return { kind: "deleted", entity, by };
    }
    if (!("object" in entity)) {
      throw noSuchEntity(scope, id);
    }
    const { object } = entity;
    if (kind === wire.CHANGE_CREATED) {
      const { owner, mode } = this.#create(object, change.peer, change.mode);
      return { kind: "created", object, owner, mode, by };
    }
    const before = this.#objects.get(object);
    if (!before) {
      throw missing(object);
    }
    if (kind === wire.CHANGE_OWNER) {
      this.#put({ ...before, owner: peer });
      return { kind: "owner", object, owner: peer, by };
    }
    if (peer === undefined) {
      throw noSuchEntity(scope, id);
    }
    return { kind: "claimed", object, by: peer };
  }

  #applyField(entity: EntityId, change: wire.Change, by: number | undefined): StateChange {
    const key = fieldKey(change.key);
    const value = valueFromWire(change.value);
    if (typeof entity === "object" && "object" in entity && !this.#objects.has(entity.object)) {
      throw missing(entity.object);
    }
    if (value === undefined) {
      this.#unset(entity, key);
    } else {
      this.#set(entity, key, value, this.#version, costOf(change));
    }
    return { kind: "field", entity, key, value, by };
  }

  #create(id: ObjectId, owner: number, mode: number): StateObject {
    const object = { id, owner: peerOf(owner), mode: modeFromWire(mode) };
    if (this.#objects.has(id)) {
      throw duplicate();
    }
    return this.#put(object);
  }

  #put(object: StateObject): StateObject {
    this.#objects.set(object.id, object);
    this.#sorted = undefined;
    return object;
  }

  #delete(entity: { readonly peer: number } | { readonly object: ObjectId }): void {
    if ("object" in entity) {
      if (!this.#objects.delete(entity.object)) {
        throw missing(entity.object);
      }
      this.#sorted = undefined;
    }
    // A peer without fields is valid too.
    const key = keyOf(entity);
    this.#fields.get(key)?.fields.forEach(({ cost }) => (this.#cost -= cost));
    this.#fields.delete(key);
  }

  #set(entity: EntityId, key: string, value: Value, version: bigint, cost: number): void {
    const of = keyOf(entity);
    const { fields } = this.#fields.get(of) ?? { fields: new Map<string, KeptField>() };
    this.#fields.set(of, { entity, fields });
    this.#cost += cost - (fields.get(key)?.cost ?? 0);
    fields.set(key, { value, version, cost });
    if (fields.size > MAX_STATE_FIELDS) {
      throw full("fields");
    }
  }

  #unset(entity: EntityId, key: string): void {
    const of = keyOf(entity);
    const fields = this.#fields.get(of)?.fields;
    this.#cost -= fields?.get(key)?.cost ?? 0;
    if (fields?.delete(key) && fields.size === 0) {
      this.#fields.delete(of);
    }
  }

  /**
   * Checks the limits. Called at the end of a message, because the server chooses the order of the
   * changes in it.
   */
  #checkBounds(): void {
    if (this.#objects.size > MAX_STATE_OBJECTS) {
      throw full("objects");
    }
    if (this.#cost > MAX_STATE) {
      throw full("bytes");
    }
  }

  /** Returns the changes that lead from this state to `newer`. */
  #difference(newer: Replica): StateChange[] {
    const by = undefined;
    const changes: StateChange[] = [];
    // The mode of an object never changes, so an object with another mode is a new one.
    const stays = ({ id, mode }: StateObject): boolean => {
      const now = newer.#objects.get(id)?.mode;
      return now?.ownership === mode.ownership && now.withRoom === mode.withRoom;
    };
    for (const object of this.objects()) {
      if (!stays(object)) {
        changes.push({ kind: "deleted", entity: { object: object.id }, by });
      }
    }
    for (const [key, { entity }] of this.#fields) {
      if (isPeer(entity) && !newer.#fields.has(key)) {
        changes.push({ kind: "deleted", entity, by });
      }
    }
    changes.push(...this.#fieldChanges(newer, "room"));
    for (const { entity } of newer.#fields.values()) {
      if (isPeer(entity)) {
        changes.push(...this.#fieldChanges(newer, entity));
      }
    }
    for (const now of newer.objects()) {
      const { id: object, owner, mode } = now;
      const before = this.#objects.get(object);
      const isNew = !before || !stays(before);
      if (isNew) {
        changes.push({ kind: "created", object, owner, mode, by });
      } else if (before.owner !== owner) {
        changes.push({ kind: "owner", object, owner, by });
      }
      const older = isNew ? new Replica() : this;
      changes.push(...older.#fieldChanges(newer, { object }));
    }
    return changes;
  }

  #fieldChanges(newer: Replica, entity: EntityId): StateChange[] {
    const changes: StateChange[] = [];
    const changed = (key: string, value: Value | undefined): void => {
      changes.push({ kind: "field", entity, key, value, by: undefined });
    };
    for (const [key] of this.fields(entity)) {
      if (!newer.field(entity, key)) {
        changed(key, undefined);
      }
    }
    for (const [key, { value, version }] of newer.fields(entity)) {
      const before = this.field(entity, key);
      if (before?.version !== version || !sameValue(before.value, value)) {
        changed(key, value);
      }
    }
    return changes;
  }
}

function fromSnapshot(snapshot: wire.StateSnapshot): Replica {
  const replica = new Replica();
  replica._load(snapshot);
  return replica;
}

function isPeer(entity: EntityId): boolean {
  return typeof entity === "object" && "peer" in entity;
}

/** Returns the bytes of a field in a snapshot. */
function costOf({ key, value }: { key: Uint8Array; value: { bytes: Uint8Array } }): number {
  return key.length + value.bytes.length + FIELD_COST;
}

function fieldKey(bytes: Uint8Array): string {
  const key = bytes.length > MAX_STATE_KEY ? undefined : strictText(bytes);
  if (!key) {
    throw new ProtocolError("a field's key is empty, too long or not UTF-8");
  }
  return key;
}

function wrongVersion(found: bigint, expected: bigint): ProtocolError {
  return new ProtocolError(`received state version ${found}, expected ${expected}`);
}

function missing(object: ObjectId): ProtocolError {
  return new ProtocolError(`object ${object} changed, but does not exist`);
}

function duplicate(): ProtocolError {
  return new ProtocolError("an entity, or a field of an entity, occurs twice");
}

function full(what: string): ProtocolError {
  return new ProtocolError(`the state has more ${what} than allowed`);
}
