// Requests for changes of the state. A `Batch` checks the limits while it is built, so that a
// mistake is found at its operation, before the request is sent.

import { localError } from "../session/error.js";
import { type Explain, explainChange } from "../session/explain.js";
import { utf8 } from "../wire/codec.js";
import type { Init } from "../wire/kinds.js";
import {
  MAX_STATE_KEY,
  MAX_STATE_OPERATIONS,
  MAX_STATE_REQUEST,
  MAX_STATE_VALUE,
} from "../wire/limits.js";
import { encodeMessage, HEADER_BYTES } from "../wire/schema.js";
import * as wire from "../wire/state.js";
import type { EntityId, ObjectId, ObjectMode } from "./entity.js";
import { modeToWire, partsOf } from "./entity.js";
import type { Value } from "./value.js";
import { valueToWire } from "./value.js";

/** An operation; what its kind does not use is left out. */
type Operation = Init<typeof wire.Operation>;

/**
 * Operations that the server applies together and in this order, or not at all: 1 to 64, of at most
 * 16 KiB. Each method adds one, returns the batch, and throws `NucleusError` "invalidBatch" if the
 * operation violates a limit.
 *
 * The role in the join token decides which operations are allowed:
 *
 * | role | allows |
 * |---|---|
 * | `observer` | nothing |
 * | `participant`, `technician` or any other | the own peer's fields, and objects |
 * | `presenter` | also the room's fields |
 * | `host`, `expert` | also the fields of all peers, and deleting or giving any object |
 *
 * ```ts
 * const batch = new Batch()
 *   .set("room", "topic", "fire drill")
 *   .create(cup, { ownership: "take", withRoom: true })
 *   .set({ object: cup }, "color", "red");
 * ```
 */
export class Batch {
  readonly #operations: Operation[] = [];

  /** Sets a field, without a check of its current value. `key` has 1 to 64 bytes. */
  set(entity: EntityId, key: string, value: Value): this {
    return this.#field(entity, key, value, wire.ANY_VERSION);
  }

  /** Removes a field. Also succeeds if the field does not exist. */
  remove(entity: EntityId, key: string): this {
    return this.#field(entity, key, undefined, wire.ANY_VERSION);
  }

  /**
   * Sets a field if it still has this version. Version 0 means that the field does not exist. If
   * the field has another version, the whole batch is refused with "conflict".
   */
  compareAndSet(entity: EntityId, key: string, version: bigint, value: Value): this {
    return this.#field(entity, key, value, version);
  }

  /** Removes a field if it still has this version, as `compareAndSet`. */
  compareAndRemove(entity: EntityId, key: string, version: bigint): this {
    return this.#field(entity, key, undefined, version);
  }

  /** Creates an object, which this client then owns. */
  create(object: ObjectId, mode: ObjectMode): this {
    return this.#push(wire.OPERATION_CREATE, { object }, { mode: modeToWire(mode) });
  }

  /** Deletes an object and its fields. */
  delete(object: ObjectId): this {
    return this.#push(wire.OPERATION_DELETE, { object });
  }

  /** Claims the ownership of an object. Its mode decides the effect. */
  claim(object: ObjectId): this {
    return this.#push(wire.OPERATION_CLAIM, { object });
  }

  /** Makes `peer` the owner of an object. */
  give(object: ObjectId, peer: number): this {
    return this.#push(wire.OPERATION_GIVE, { object }, { peer });
  }

  /** Makes `peer` the chosen host. */
  host(peer: number): this {
    return this.#push(wire.OPERATION_HOST, "room", { peer });
  }

  /** Number of operations. */
  get length(): number {
    return this.#operations.length;
  }

  /**
   * Encodes the request with this number. Throws `NucleusError` "invalidBatch" if the batch has no
   * operations, or too many bytes.
   *
   * @internal
   */
  encode(request: number): Uint8Array {
    if (this.length === 0) {
      throw invalid(`a batch must have 1 to ${MAX_STATE_OPERATIONS} operations`);
    }
    const message = encodeMessage(wire.StateRequest, { request, operations: this.#operations });
    const bytes = message.length - HEADER_BYTES;
    if (bytes > MAX_STATE_REQUEST) {
      throw invalid(`a batch of ${bytes} bytes is over the limit of ${MAX_STATE_REQUEST}`);
    }
    return message;
  }

  /** Explains a refusal of these operations, for the peer `me`. @internal */
  explain(me: number): Explain {
    return explainChange([...this.#operations], me);
  }

  #field(entity: EntityId, key: string, value: Value | undefined, expected: bigint): this {
    const operation = this.length;
    const bytes = utf8(key);
    if (bytes.length === 0 || bytes.length > MAX_STATE_KEY) {
      throw invalid(`a key must have 1 to ${MAX_STATE_KEY} bytes, not ${bytes.length}`, operation);
    }
    const inWire = value === undefined ? undefined : valueToWire(value);
    const length = inWire?.bytes.length ?? 0;
    if (length > MAX_STATE_VALUE) {
      const text = `a value must have at most ${MAX_STATE_VALUE} bytes, not ${length}`;
      throw invalid(text, operation);
    }
    if (typeof value === "bigint" && BigInt.asIntN(64, value) !== value) {
      throw invalid("an integer must have at most 64 bits", operation);
    }
    if (Number.isNaN(value)) {
      throw invalid("the float is NaN", operation);
    }
    return this.#push(wire.OPERATION_SET, entity, { key: bytes, value: inWire, expected });
  }

  #push(kind: number, entity: EntityId, rest: Operation = {}): this {
    if (this.length === MAX_STATE_OPERATIONS) {
      throw invalid(`a batch has at most ${MAX_STATE_OPERATIONS} operations`, this.length);
    }
    this.#operations.push({ kind, ...partsOf(entity), ...rest });
    return this;
  }
}

function invalid(text: string, operation?: number): Error {
  const at = operation === undefined ? "" : `operation ${operation + 1} of the batch: `;
  return localError("invalidBatch", at + text, { operation });
}
