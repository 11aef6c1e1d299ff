// The archived messages of a session in a room: join, roster, events.

import { BYTES, list, struct, U16, U32, U64, U8 } from "./kinds.js";
import type { Of } from "./kinds.js";
import { Filter, RoomOptions } from "./rooms.js";
import type { Body } from "./schema.js";
import { archive } from "./schema.js";
import { SessionSetting } from "./settings.js";

/** A client asks to join a room. */
export const Join = archive(16, {
  token: BYTES,
  ticket: BYTES,
  lastEvent: U64,
  lastBulk: U64,
  room: BYTES,
  name: BYTES,
  suites: BYTES,
  largestBody: U16,
  mode: U8,
  version: BYTES,
  password: BYTES,
  expected: list(BYTES),
  options: RoomOptions,
  filters: list(Filter),
});
export type Join = Body<typeof Join>;

/** A peer in the roster. */
export const Peer = struct({
  peer: U32,
  slot: U16,
  presence: U8,
  user: BYTES,
  name: BYTES,
  role: BYTES,
});
export type Peer = Of<typeof Peer>;

/** The bits of a presence. The peer is away: the server heard nothing from it for a while. */
export const AWAY = 1;
/** A moderator has muted the peer, whose voice is dropped. */
export const MUTED = 2;
/** The peer has muted itself. */
export const SELF_MUTED = 4;
/** The peer may moderate. */
export const MODERATOR = 8;

/** An address of the realtime plane. */
export const RealtimeEndpoint = struct({ ip: BYTES, port: U16 });
export type RealtimeEndpoint = Of<typeof RealtimeEndpoint>;

/** Keys and addresses of a realtime link. A client without a realtime port gets none. */
export const LinkGrant = struct({
  connectionId: { array: 8 },
  spare: { array: 8 },
  secret: { array: 32 },
  suite: U8,
  flags: U8,
  endpoints: list(RealtimeEndpoint),
});
export type LinkGrant = Of<typeof LinkGrant>;

/** The server's answer to a successful `Join`. */
export const Joined = archive(17, {
  peer: U32,
  slot: U16,
  roomInstance: { array: 8 },
  serverInstance: { array: 8 },
  rosterVersion: U32,
  roster: list(Peer),
  linkId: U32,
  grant: list(LinkGrant),
  serverTime: U64,
  clockEpoch: U32,
  settings: list(SessionSetting),
  ticket: BYTES,
  resumed: U8,
  eventsTaken: U32,
  bulkTaken: U32,
  room: BYTES,
  entries: list(BYTES),
});
export type Joined = Body<typeof Joined>;

/** `Joined.resumed`: the peer is new in the room. */
export const NEW_PEER = 0;
/** The ticket's peer was resumed; the events that it missed follow. */
export const RESUMED = 1;
/** The ticket's peer was resumed, but the oldest events that it missed are lost. */
export const RESUMED_WITH_LOSS = 2;

/** The client leaves. The server tells the other peers at once. */
export const Leave = archive(18, { code: U16 });
export type Leave = Body<typeof Leave>;

/** A peer that left, and the code that says why. */
export const PeerLeft = struct({ peer: U32, code: U16 });
export type PeerLeft = Of<typeof PeerLeft>;

/** A peer's new presence. */
export const PeerPresence = struct({ peer: U32, presence: U8 });
export type PeerPresence = Of<typeof PeerPresence>;

/** The changes of the roster since the version before. */
export const RosterUpdate = archive(19, {
  version: U32,
  joined: list(Peer),
  left: list(PeerLeft),
  changed: list(PeerPresence),
});
export type RosterUpdate = Body<typeof RosterUpdate>;

/** An event, or a piece of a message of the bulk lane, from a client. */
export const EventUp = archive(32, {
  target: U8,
  channel: U8,
  piece: U8,
  peers: list(U32),
  payload: BYTES,
});
export type EventUp = Body<typeof EventUp>;

/** The first channel that the protocol reserves. The application has the channels below. */
export const RESERVED_CHANNELS = 240;

/** The bits of a piece. Another piece of the message follows. */
export const PIECE_MORE = 1;
/** The piece continues the message of the piece before. */
export const PIECE_CONTINUES = 2;

/** The targets of an event. To every peer in the room, the sender included. */
export const TO_ALL = 0;
/** To every peer in the room but the sender. */
export const TO_OTHERS = 1;
/** To the listed peers that are in the room. */
export const TO_LISTED = 2;
/** To the peer that is the host when the server takes the event. */
export const TO_HOST = 3;
/** To the peers that subscribe to the group when the server takes the event, but the sender. */
export const TO_GROUP = 4;
/** To every peer in the room but the sender, and to every peer that joins later. */
export const TO_LATER = 5;

/** An event, or a piece of a message of the bulk lane, for a client. */
export const EventDown = archive(33, {
  peer: U32,
  rosterVersion: U32,
  sequence: U64,
  channel: U8,
  piece: U8,
  payload: BYTES,
});
export type EventDown = Body<typeof EventDown>;
