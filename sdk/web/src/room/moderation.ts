/** Acts of moderation as they are reported to all peers of the room. */

import { lossyText } from "../wire/codec.js";
import { type ActName, actName, type Audit as WireAudit } from "../wire/messaging.js";
import type { PeerId } from "./roster.js";

/** A completed act of moderation. The server also writes it to its log. */
export interface Audit {
  /** The act; `undefined`: one that this version does not know. */
  readonly act: ActName | undefined;
  /** The act's number on the wire. */
  readonly number: number;
  /** The moderator. */
  readonly by: PeerId;
  /** The affected peer, if the act affects a single peer. */
  readonly peer: PeerId | undefined;
  /** The user id of the affected peer; empty if there is none. */
  readonly user: string;
  /** How long the user is banned, in whole seconds; 0 without a ban. */
  readonly banS: number;
  /** Time of the act on the server's clock, in µs. */
  readonly at: number;
}

/** Converts an audit from the wire. */
export function auditOf({ act, by, peer, user, seconds, time }: WireAudit): Audit {
  return {
    act: actName(act),
    number: act,
    by,
    peer: peer === 0 ? undefined : peer,
    user: lossyText(user),
    banS: seconds,
    at: Number(time),
  };
}
