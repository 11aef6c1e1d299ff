// `StateViews`: the shared state as an application has seen it, with callbacks for changes.

import type { StateChange } from "./change.js";
import type { EntityId, EntityKey, ObjectId } from "./entity.js";
import { keyOf } from "./entity.js";
import type { StateObject } from "./replica.js";
import type { Value } from "./value.js";

/** A change as a callback gets it. */
export interface ViewChange {
  readonly change: StateChange;
  /** The value that a field had before; `undefined` if there was none. */
  readonly before: Value | undefined;
}

/** A callback for changes. */
export type WatchCallback = (change: ViewChange) => void;

/**
 * The shared state as an application has seen it.
 *
 * `Room.field` reads the newest state, which may be ahead of the events that the application has
 * taken. This state changes only when the application passes an event on, so a callback finds
 * exactly what the changes before have made of it.
 *
 * ```ts
 * const views = new StateViews();
 * views.watch({ object: door }, ({ change, before }) => show(change, before));
 * // In each frame:
 * for (const event of room.poll()) {
 *   if (event.kind === "state") {
 *     views.apply(event.change);
 *   }
 * }
 * ```
 */
export class StateViews {
  readonly #objects = new Map<ObjectId, StateObject>();
  readonly #fields = new Map<EntityKey, Map<string, Value>>();
  #watches: { number: number; of: EntityKey | undefined; callback: WatchCallback }[] = [];
  #next = 0;

  /**
   * Calls `callback` at each change of an entity: of its fields, its owner, its creation, its
   * deletion, and claims. Returns the number for `unwatch`. Callbacks are called in the order in
   * which they were added.
   */
  watch(entity: EntityId, callback: WatchCallback): number {
    return this.#add(keyOf(entity), callback);
  }

  /** Calls `callback` at each change of anything. Returns the number for `unwatch`. */
  watchAll(callback: WatchCallback): number {
    return this.#add(undefined, callback);
  }

  #add(of: EntityKey | undefined, callback: WatchCallback): number {
    const number = this.#next;
    this.#next += 1;
    this.#watches = [...this.#watches, { number, of, callback }];
    return number;
  }

  /** Removes a callback. */
  unwatch(number: number): void {
    this.#watches = this.#watches.filter((watch) => watch.number !== number);
  }

  /** Makes the change of an event "state", and calls the callbacks. */
  apply(change: StateChange): void {
    const before = this.#make(change);
    const entity = entityOf(change);
    const key = entity && keyOf(entity);
    // A callback may add and remove callbacks: the list is replaced, never changed.
    for (const { of, callback } of this.#watches) {
      if (of === undefined || of === key) {
        callback({ change, before });
      }
    }
  }

  /** Makes a change. Returns the value that its field had. */
  #make(change: StateChange): Value | undefined {
    switch (change.kind) {
      case "field":
        return this.#makeField(keyOf(change.entity), change.key, change.value);
      case "created": {
        const { object: id, owner, mode } = change;
        this.#objects.set(id, { id, owner, mode });
        break;
      }
      case "deleted":
        this.#fields.delete(keyOf(change.entity));
        if (typeof change.entity === "object" && "object" in change.entity) {
          this.#objects.delete(change.entity.object);
        }
        break;
      case "owner": {
        const object = this.#objects.get(change.object);
        if (object) {
          this.#objects.set(change.object, { ...object, owner: change.owner });
        }
      }
    }
    return undefined;
  }

  #makeField(of: EntityKey, key: string, value: Value | undefined): Value | undefined {
    const fields = this.#fields.get(of) ?? new Map<string, Value>();
    const before = fields.get(key);
    if (value === undefined) {
      fields.delete(key);
    } else {
      fields.set(key, value);
    }
    if (fields.size > 0) {
      this.#fields.set(of, fields);
    } else {
      this.#fields.delete(of);
    }
    return before;
  }

  /** Returns an object, if it exists. */
  object(id: ObjectId): StateObject | undefined {
    return this.#objects.get(id);
  }

  /** Returns all objects in the order of their ids. */
  objects(): StateObject[] {
    return [...this.#objects.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Returns a field, if it exists. */
  field(entity: EntityId, key: string): Value | undefined {
    return this.#fields.get(keyOf(entity))?.get(key);
  }

  /** Returns an entity's fields. */
  fields(entity: EntityId): [string, Value][] {
    return [...(this.#fields.get(keyOf(entity)) ?? [])];
  }
}

/** Returns the entity that a change is of; `undefined` for a change of the host. */
function entityOf(change: StateChange): EntityId | undefined {
  if (change.kind === "host") {
    return undefined;
  }
  return "entity" in change ? change.entity : { object: change.object };
}
