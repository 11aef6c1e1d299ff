/** The recipients of an event. */

import { GROUPS, isGroup } from "../wire/groups.js";
import { MAX_EVENT_TARGETS } from "../wire/limits.js";
import {
  EventUp,
  RESERVED_CHANNELS,
  TO_ALL,
  TO_GROUP,
  TO_HOST,
  TO_LATER,
  TO_LISTED,
  TO_OTHERS,
} from "../wire/messages.js";
import { encodeMessage } from "../wire/schema.js";
import { localError } from "./error.js";

/**
 * The recipients of an event or of a realtime message:
 *
 * | value | recipients |
 * |---|---|
 * | `"all"` | all peers of the room, the sender included; not for realtime messages |
 * | `"others"` | all peers except the sender |
 * | `"host"` | the host when the server takes the event; without a host, nobody |
 * | `"later"` | all peers except the sender, and peers that join later; only for events |
 * | `{ peers }` | the named peers, at most 1,024; for realtime messages exactly one |
 * | `{ group }` | the subscribers of a group, 0 to 239, except the sender |
 *
 * For peers that join later the server keeps the newest 256 of these events, at most 64 KiB.
 */
export type To =
  | "all"
  | "others"
  | "host"
  | "later"
  | { readonly peers: readonly number[] }
  | { readonly group: number };

/** Numbers of the targets on the wire. */
const TARGETS = { all: TO_ALL, others: TO_OTHERS, host: TO_HOST, later: TO_LATER } as const;

/** Returns a copy, which its caller cannot change. */
export function copyOf(to: To): To {
  return typeof to === "string" ? to : "peers" in to ? { peers: [...to.peers] } : { ...to };
}

/** Checks that these are recipients. Throws "invalidTarget", or "invalidArgument" for a group. */
export function checkTo(to: To): void {
  const isKnown =
    typeof to === "object" && to !== null
      ? "group" in to || (Array.isArray(to.peers) && to.peers.every(isPeerId))
      : Object.hasOwn(TARGETS, to);
  if (!isKnown) {
    const known = '"all", "others", "host", "later", { peers } or { group }';
    throw localError("invalidTarget", `the recipients must be ${known}`);
  }
  if (typeof to === "object" && "group" in to) {
    checkGroup(to.group);
  }
}

function isPeerId(id: unknown): boolean {
  return Number.isInteger(id) && (id as number) >>> 0 === id;
}

/**
 * Refuses a payload that is no `Uint8Array`, for programs in JavaScript: a text or a buffer would be
 * sent as other bytes. Throws "invalidArgument".
 */
export function checkBytes(payload: Uint8Array): void {
  // Also one of another window of the same page.
  if (Object.prototype.toString.call(payload) !== "[object Uint8Array]") {
    throw localError(
      "invalidArgument",
      "a payload is a Uint8Array: encode a text with TextEncoder, wrap a buffer in a Uint8Array",
    );
  }
}

/** Checks the recipients, and that a payload of `length` bytes is within `limit`. Throws. */
export function checkSize(to: To, length: number, limit: number): void {
  checkTo(to);
  if (length > limit) {
    throw localError("tooLarge", `a payload of ${length} bytes is over the limit of ${limit}`);
  }
  if (typeof to === "object" && "peers" in to && to.peers.length > MAX_EVENT_TARGETS) {
    throw localError(
      "tooManyPeers",
      `the event names ${to.peers.length} peers; at most ${MAX_EVENT_TARGETS} are allowed`,
    );
  }
}

/** Checks the number of a group. Throws. */
export function checkGroup(group: number): void {
  if (!isGroup(group)) {
    throw localError("invalidArgument", `a group is a number from 0 to ${GROUPS - 1}`);
  }
}

/**
 * Checks the channel, the recipients, and that a payload of `length` bytes is within `limit`.
 * Throws.
 */
export function checkEvent(to: To, channel: number, length: number, limit: number): void {
  if (!Number.isInteger(channel) || channel < 0 || channel >= RESERVED_CHANNELS) {
    throw localError(
      "reservedChannel",
      `channel ${channel} is reserved for the protocol; an application uses 0 to 239`,
    );
  }
  checkSize(to, length, limit);
}

/**
 * Encodes an event, or a piece of a message of the bulk lane. The payload has at most `limit`
 * bytes. Throws.
 */
export function encodeEvent(
  to: To,
  channel: number,
  piece: number,
  payload: Uint8Array,
  limit: number,
): Uint8Array {
  checkSize(to, payload.length, limit);
  const [target, peers] =
    typeof to === "string"
      ? [TARGETS[to], []]
      : "peers" in to
        ? [TO_LISTED, [...to.peers]]
        : [TO_GROUP, [to.group]];
  return encodeMessage(EventUp, { target, channel, piece, peers, payload });
}
