// The changes of the state that are reported to the application.

import type { EntityId, ObjectId, ObjectMode } from "./entity.js";
import type { Value } from "./value.js";

/**
 * A change of the state.
 *
 * `by` is the peer that requested the change, which may be this client. It is `undefined` if the
 * server made the change itself, or if the change comes from a snapshot.
 *
 * A change and the roster are not synchronized: for about 0.1 s, a change may name a peer that
 * has not joined yet, or that has already left.
 */
export type StateChange =
  /** A field was set, or removed if `value` is `undefined`. */
  | {
      readonly kind: "field";
      readonly entity: EntityId;
      readonly key: string;
      readonly value: Value | undefined;
      readonly by: number | undefined;
    }
  /** An object was created. Its fields follow. */
  | {
      readonly kind: "created";
      readonly object: ObjectId;
      readonly owner: number | undefined;
      readonly mode: Required<ObjectMode>;
      readonly by: number | undefined;
    }
  /** An object was deleted with its fields, or all fields of a peer were deleted. */
  | { readonly kind: "deleted"; readonly entity: EntityId; readonly by: number | undefined }
  /** The owner of an object changed; `undefined`: it has none. */
  | {
      readonly kind: "owner";
      readonly object: ObjectId;
      readonly owner: number | undefined;
      readonly by: number | undefined;
    }
  /**
   * A peer asks for an object. The owner may give it to the peer. Claims are not stored: a client
   * without a session at that moment never receives the claim.
   */
  | { readonly kind: "claimed"; readonly object: ObjectId; readonly by: number }
  /** The host changed, because a peer was chosen, joined, left, or became away or present. */
  | { readonly kind: "host"; readonly host: number | undefined };
