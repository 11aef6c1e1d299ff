// The codes that say why a session or a request was refused or ended. They travel in `Refuse` and
// other messages, and as the code of a close.

/** Every code with its number, by its name in docs/PROTOCOL.md. */
export const CODES = {
  /** Nothing went wrong: the client left. */
  left: 0,
  /** No session version in common. */
  version: 1,
  /** An invalid message: bad header, bad archive, or out of order. */
  malformed: 2,
  /** The join did not come in time. */
  joinTimeout: 3,
  /** The client leaves at once, without a `Leave` before. */
  leaving: 4,
  /** The token is not a JWT, is too long, or lacks a required claim. */
  tokenMalformed: 10,
  /** The token is signed with another algorithm than the server is set to. */
  tokenAlgorithm: 11,
  /** The token's signature is wrong. */
  tokenSignature: 12,
  /** The token has expired. */
  tokenExpired: 13,
  /** The token is not valid yet. */
  tokenNotYetValid: 14,
  /** The token is for another server. */
  tokenAudience: 15,
  /** The token does not admit to this room. */
  roomNotAllowed: 20,
  /** A room's name, display name, version or expected user breaks the rules. */
  badName: 21,
  /** The room is full. */
  roomFull: 22,
  /** None of the offered suites is known. */
  suite: 23,
  /** The user is in the room with another device, and the server allows only one. */
  alreadyJoined: 24,
  /** The user joins, guesses a password, or starts calls too often. */
  joinRate: 25,
  /** A moderator has locked the room. */
  roomLocked: 26,
  /** There is a room of that name, and the join was to create one. */
  roomExists: 27,
  /** There is no such room, and the join was not to create one. */
  noSuchRoom: 28,
  /** The room is for another version of the application. */
  incompatible: 29,
  /** The server has reached its limit of sessions or rooms. */
  serverFull: 30,
  /** The server is shutting down. */
  shuttingDown: 31,
  /** The server failed; the client made no mistake. */
  internal: 32,
  /** The room has a password, and the join has another one or none. */
  wrongPassword: 33,
  /** The room is by invitation, and the user is not invited. */
  notInvited: 34,
  /** The tenant has reached its limit of sessions. */
  tenantFull: 35,
  /** The tenant has reached its limit of rooms or of kept rooms. */
  tenantRooms: 36,
  /** The user has reached the limit of sessions, or of rooms that it may have created. */
  userSessions: 37,
  /** The tenant's product has reached its limit of calls. */
  tenantCalls: 38,
  /** Another server takes the join. */
  moved: 39,
  /** An event is larger than allowed, or names too many peers. */
  eventTooLarge: 40,
  /** The client does not read its events or the state as fast as they come. */
  slowConsumer: 41,
  /** The peer was silent for longer than allowed. */
  timedOut: 42,
  /** Reserved. */
  eventRate: 43,
  /** Another session replaced this one. */
  replaced: 44,
  /** A moderator removed the peer, or its user is banned for a time. */
  kicked: 50,
  /** A moderator has ended the room. */
  roomEnded: 51,
  /** The room's moderators act faster than allowed. */
  actRate: 52,
  /** The peer's role and grants do not allow it. */
  forbidden: 60,
  /** There is no such entity, peer or call; or the entity to create exists already. */
  noSuchEntity: 61,
  /** The field has another version than expected, or the object has another owner. */
  conflict: 62,
  /** A key, value or number breaks the rules. */
  badState: 63,
  /** The room's state has reached its limit of bytes. */
  stateFull: 64,
  /** The room has reached its limit of objects. */
  roomObjects: 65,
  /** The user has reached its limit of objects. */
  peerObjects: 66,
  /** The entity has reached its limit of fields. */
  entityFields: 67,
  /** The user does not want calls, or is in a call. */
  busy: 70,
  /** The user has no session. */
  unreachable: 71,
  /** Nobody accepted the call in time. */
  noAnswer: 72,
  /** The user rejected the call. */
  declined: 73,
  /** The caller cancelled the call. */
  cancelled: 74,
  /** The call was accepted already: by another user, or on another device. */
  answered: 75,
} as const;

/** The name of a code. */
export type CodeName = keyof typeof CODES;

const NAMES = new Map<number, CodeName>(
  (Object.keys(CODES) as CodeName[]).map((name) => [CODES[name], name]),
);

/** Returns the name of a code's number, or `undefined` for a code of a later version. */
export function codeName(number: number): CodeName | undefined {
  return NAMES.get(number);
}

/**
 * Returns whether a client tries again after a session ended, or a try was refused, with this code:
 * codes that pass by themselves, and codes of later versions. docs/PROTOCOL.md, "Reconnecting".
 */
export function mayReconnect(number: number): boolean {
  return [3, 30, 31, 32, 41, 42].includes(number) || !NAMES.has(number);
}
