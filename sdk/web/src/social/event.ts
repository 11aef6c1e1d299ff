// The events that a social session delivers to the application.

import type { CodeName } from "../wire/code.js";
import { codeName } from "../wire/code.js";
import { lossyText } from "../wire/codec.js";
import * as wire from "../wire/social.js";

/** The number of a call, unique on its server. */
export type CallId = bigint;

/**
 * Whether a user can be called. `busy`: the user does not want to be called, or is in a call.
 * `away`: the user can be called, but may not answer.
 */
export type Status = Exclude<wire.StatusName, "offline">;

/** Returns a status in wire format. */
export function statusToWire(status: Status): number {
  return wire.STATUSES[status];
}

/** Reads a status. A number that this version does not know means away. */
function statusFromWire(number: number): Status {
  const { online, busy } = wire.STATUSES;
  return number === online ? "online" : number === busy ? "busy" : "away";
}

/** A user with at least one social session. */
export interface User {
  /** User id from the token. */
  readonly user: string;
  /** Display name. */
  readonly name: string;
  /** Role from the token. */
  readonly role: string;
  /** Whether the user can be called. */
  readonly status: Status;
}

/** Reads a user of a list. */
export function userFromWire({ user, name, role, status }: wire.UserInfo): User {
  return {
    user: lossyText(user),
    name: lossyText(name),
    role: lossyText(role),
    status: statusFromWire(status),
  };
}

/** What the events of a call have in common. */
interface OfCall {
  readonly call: CallId;
}

/** What an event about a user of a call names. */
interface OfUser extends OfCall {
  /** User id of the user. */
  readonly user: string;
}

/**
 * Why something ended: `undefined` if this version does not know the number, or if the server
 * gave no reason.
 */
interface Reason {
  readonly code: CodeName | undefined;
}

/**
 * An event of a social session, returned by `Social.poll` and `Social.next`.
 *
 * A call belongs to a user, not to a device: every device of the user receives the call's events.
 * Later versions may add events.
 */
export type SocialEvent =
  /**
   * The watched rooms changed: names of those that are new or have changed, and of those that have
   * ended or no longer match. `total` counts the rooms beyond the 500 that are listed too.
   */
  | {
      readonly kind: "rooms";
      readonly changed: readonly string[];
      readonly gone: readonly string[];
      readonly total: number;
    }
  /** The user `from` calls this user. The device should ring. */
  | ({
      readonly kind: "incoming";
      readonly from: string;
      readonly name: string;
      readonly text: string;
    } & OfCall)
  /**
   * The call no longer rings on this device: "answered" or "declined" on another device,
   * "cancelled" or "noAnswer". `undefined` also if the call ended while the session was lost.
   */
  | ({ readonly kind: "ringingEnded" } & OfCall & Reason)
  /**
   * This user has started a call: on another device, or on this one if the session was lost before
   * the reply to the request came.
   */
  | ({ readonly kind: "calling"; readonly users: readonly string[] } & OfCall)
  /**
   * The call was accepted. Its members meet in `room`: join that room with `connect`. Reported
   * again after "returned", with the current members. `thisDevice` says whether this device
   * started or accepted the call, rather than another device of this user.
   */
  | ({
      readonly kind: "accepted";
      readonly room: string;
      readonly members: readonly string[];
      readonly thisDevice: boolean;
    } & OfCall)
  /** A user joined the call. */
  | ({ readonly kind: "memberJoined"; readonly name: string } & OfUser)
  /** A member left the call, which continues. */
  | ({ readonly kind: "memberLeft" } & OfUser & Reason)
  /** A called user did not join: "declined", "noAnswer" or "unreachable". The call continues. */
  | ({ readonly kind: "passed" } & OfUser & Reason)
  /**
   * The call has ended: "left" if the other members hung up, or the reason why no user accepted.
   * `undefined` also if the call ended while the session was lost.
   */
  | ({ readonly kind: "ended" } & OfCall & Reason)
  /**
   * The watched users changed: those that are new or have changed, and the ids of those that are no
   * longer connected or watched. `total` counts the users beyond the 1,000 that are listed too.
   */
  | {
      readonly kind: "users";
      readonly changed: readonly User[];
      readonly gone: readonly string[];
      readonly total: number;
    }
  /** The session was lost, and the client tries to resume it. "returned" or "closed" follows. */
  | ({ readonly kind: "interrupted"; readonly text: string } & Reason)
  /**
   * The session is back. The status and the watched users and rooms are as before. A call that
   * continues is reported again.
   */
  | { readonly kind: "returned" }
  /** The session is closed. This is the last event. `text` is the reason for a person. */
  | ({ readonly kind: "closed"; readonly text: string } & Reason);

/** Converts an update of a call; `undefined` for a kind that this version does not know. */
export function callEvent(update: wire.CallUpdate, thisDevice: boolean): SocialEvent | undefined {
  const { call } = update;
  const user = lossyText(update.user);
  const name = lossyText(update.name);
  const code = codeName(update.code);
  const members = update.members.map(lossyText);
  switch (update.kind) {
    case wire.CALL_INCOMING:
      return { kind: "incoming", call, from: user, name, text: lossyText(update.text) };
    case wire.CALL_RINGING_ENDED:
      return { kind: "ringingEnded", call, code };
    case wire.CALL_CALLING:
      return { kind: "calling", call, users: members };
    case wire.CALL_ACCEPTED:
      return { kind: "accepted", call, room: lossyText(update.room), members, thisDevice };
    case wire.CALL_JOINED:
      return { kind: "memberJoined", call, user, name };
    case wire.CALL_LEFT:
      return { kind: "memberLeft", call, user, code };
    case wire.CALL_PASSED:
      return { kind: "passed", call, user, code };
    case wire.CALL_ENDED:
      return { kind: "ended", call, code };
    default:
      return undefined;
  }
}
