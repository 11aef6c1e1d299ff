/** Why the server refused a request of a room, in words for a person. */

import { CODES } from "../wire/code.js";
import { lossyText } from "../wire/codec.js";
import type { Init } from "../wire/kinds.js";
import { type ActName, actName } from "../wire/messaging.js";
import * as wire from "../wire/state.js";
import { reasonOf } from "./error.js";

/** Returns why a request was refused, by the code and the index of the refused operation. */
export type Explain = (code: number, operation: number) => string;

type Operation = Init<typeof wire.Operation>;

/** The rights of the protocol's section "Shared state", and what gives them. */
const RIGHTS = {
  moderate:
    'the right to moderate: the role "host" or "expert" or the grant "moderate" in its token, ' +
    "or a hand-over",
  room:
    'the right to the room\'s fields: the role "presenter", "host" or "expert" or ' +
    'the grant "state.room" in its token',
  objects:
    'the right to objects: a role other than "observer" or the grant "state.objects" in its token',
  own: 'a role other than "observer" in its token',
} as const;

/** What a client wants to do. */
const ACT_WORDS: Readonly<Record<ActName, string>> = {
  kick: "kick a peer",
  lock: "lock the room",
  unlock: "unlock the room",
  hide: "hide the room",
  show: "show the room",
  mute: "mute a peer",
  unmute: "unmute a peer",
  muteAll: "mute all peers",
  unmuteAll: "unmute all peers",
  muteSelf: "mute itself",
  unmuteSelf: "unmute itself",
  clear: "clear the room",
  handOver: "hand over the moderation",
  end: "end the room",
};

/** Explains the refusal of an act of moderation. */
export function explainAct(act: number): Explain {
  const name = actName(act);
  const right = name === "muteSelf" || name === "unmuteSelf" ? RIGHTS.own : RIGHTS.moderate;
  return (code) => reason(code, name ? ACT_WORDS[name] : "moderate", right);
}

/** Explains the refusal of a subscription to groups. */
export function explainGroups(code: number): string {
  return reason(code, "subscribe to groups", RIGHTS.own);
}

/** Explains the refusal of a change by the peer `me`. */
export function explainChange(operations: readonly Operation[], me: number): Explain {
  return (code, index) => {
    const operation = operations[index];
    const at = operations.length > 1 ? ` (operation ${index + 1} of ${operations.length})` : "";
    if (!operation) {
      return reason(code, "change the state", RIGHTS.own);
    }
    const what = operationWords(operation) + at;
    return code === CODES.noSuchEntity && operation.kind === wire.OPERATION_CREATE
      ? `cannot ${what}: there is already an object with this id`
      : reason(code, what, RIGHTS[rightFor(operation, me)]);
  };
}

function reason(code: number, what: string, right: string): string {
  return code === CODES.forbidden
    ? `to ${what}, this client needs ${right}`
    : `cannot ${what}: ${reasonOf(code)}`;
}

function operationWords({ kind, scope, key, value }: Operation): string {
  switch (kind) {
    case wire.OPERATION_SET: {
      const owner = ["the room", "a peer", "an object"][scope ?? 0];
      const name = JSON.stringify(lossyText(key ?? new Uint8Array(0)));
      return `${value ? "set" : "remove"} the field ${name} of ${owner}`;
    }
    case wire.OPERATION_CREATE:
      return "create an object";
    case wire.OPERATION_DELETE:
      return "delete an object";
    case wire.OPERATION_CLAIM:
      return "claim an object";
    case wire.OPERATION_GIVE:
      return "give an object away";
    default:
      return "choose the host";
  }
}

function rightFor({ kind, scope, id }: Operation, me: number): keyof typeof RIGHTS {
  if (kind === wire.OPERATION_HOST) {
    return "moderate";
  } else if (scope === wire.SCOPE_ROOM) {
    return "room";
  }
  return scope === wire.SCOPE_OBJECT ? "objects" : id === BigInt(me) ? "own" : "moderate";
}
