/** The join of a room: its options, and the message that they become. */

import { utf8 } from "../wire/codec.js";
import { MAX_ROOM_NAME } from "../wire/limits.js";
import { Join } from "../wire/messages.js";
import { encodeMessage } from "../wire/schema.js";
import { check, checkOpening } from "../session/opening.js";
import type { ReturnTicket } from "../session/ticket.js";
import { isMatch, type RoomSelection } from "./selection.js";

/** What a client tells a server when it joins a room. */
export interface RoomJoin {
  /** The join token, a JWT of at most 4 KiB. */
  token: string;
  /** The room's name, 1 to 128 bytes. May be empty if `selection` looks for any matching room. */
  room: string;
  /** Display name, at most 128 bytes. If empty, the name in the token is used. */
  name: string;
  /** How the room is selected, and its options if this join creates it. */
  selection: RoomSelection;
  /** Name and version of the application, for the server's operator. */
  agent: string;
  /** The ticket of an earlier session that the first join resumes. */
  ticket: ReturnTicket | undefined;
}

/** Checks the limits that the server enforces too. Throws. */
export function checkJoin({ token, room, name, agent, selection }: RoomJoin): void {
  checkOpening(token, name, agent);
  const { length } = utf8(room);
  check(
    length <= MAX_ROOM_NAME && (length > 0 || isMatch(selection.mode)),
    "the room's name must have 1 to 128 bytes",
  );
}

/** Encodes `Join` with the newest token. `resume` is the session to resume. */
export function encodeJoin(
  join: RoomJoin,
  token: Uint8Array,
  resume: ReturnTicket,
  largestBody: number,
  mode = join.selection.mode,
): Uint8Array {
  const [lastEvent, lastBulk] = resume.lastSequences;
  return encodeMessage(Join, {
    ...join.selection,
    token,
    ticket: resume.ticket,
    lastEvent,
    lastBulk,
    room: utf8(join.room),
    name: utf8(join.name),
    largestBody,
    mode,
  });
}
