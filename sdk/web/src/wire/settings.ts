// What holds for a session: its rates, largest sizes and times. `Joined` and `Entered` carry them
// as a list, so that a later version can add settings.

import { struct, U16, U64 } from "./kinds.js";
import type { Of } from "./kinds.js";
import { MAX_BODY, MAX_BULK_MESSAGE, MAX_EVENT_PAYLOAD, MAX_ROOM_PEERS } from "./limits.js";
import { MAX_STATE, MAX_STATE_OBJECTS } from "./limits.js";

/** One setting of a session. A client ignores unknown keys. */
export const SessionSetting = struct({ key: U16, value: U64 });
export type SessionSetting = Of<typeof SessionSetting>;

/** The key and the default of each setting. */
const SETTINGS = {
  /** Most peers of the room. */
  capacity: [1, MAX_ROOM_PEERS],
  /** How long the room outlives its last participant, ms. */
  emptyTtlMs: [2, 0],
  /** How long a participant outlives a lost session, ms. */
  peerTtlMs: [3, 30_000],
  /** After this silence the roster shows a peer as away, ms. */
  awayAfterMs: [4, 10_000],
  /** Interval of the client's reports, ms. */
  reportIntervalMs: [5, 100],
  /** Most bytes of frames in one datagram, in both directions. */
  maxBody: [6, MAX_BODY],
  /** Largest payload of an event, bytes. */
  maxEvent: [7, MAX_EVENT_PAYLOAD],
  /** Largest message of the bulk lane, bytes. */
  maxBulk: [8, MAX_BULK_MESSAGE],
  /** Largest state of the room, as a snapshot, bytes. */
  maxState: [9, MAX_STATE],
  /** Most objects of the room. */
  maxObjects: [10, MAX_STATE_OBJECTS],
  /** Most objects of one user without the right to moderate. */
  maxUserObjects: [11, MAX_STATE_OBJECTS / 4],
  /** Events of this client a second, on average; and at once. */
  eventsPerS: [12, 200],
  eventBurst: [13, 400],
  /** Bytes of this client's events a second, on average; and at once. */
  eventBytesPerS: [14, 64 << 10],
  eventBytesBurst: [15, 128 << 10],
  /** Pieces on the bulk lane a second, on average; and at once. */
  bulkPerS: [16, 50],
  bulkBurst: [17, 100],
  /** Bytes on the bulk lane a second, on average; and at once. */
  bulkBytesPerS: [18, 64 << 10],
  bulkBytesBurst: [19, 256 << 10],
  /** Requests a second, on average; and at once. */
  requestsPerS: [20, 30],
  requestBurst: [21, 32],
  /** Bytes of requests a second, on average; and at once. */
  requestBytesPerS: [22, 32 << 10],
  requestBytesBurst: [23, 128 << 10],
  /** Realtime messages of this client a second, on average. */
  messagesPerS: [24, 1_000],
  /** Bytes of this client's realtime messages a second, on average. */
  messageBytesPerS: [25, 256 << 10],
  /** Most peers of the room that may speak at once. */
  speakers: [26, 128],
  /** Most bits a second that the server sends to this client on the realtime plane. */
  egressBitsPerS: [27, 10_000_000],
  /** How long the ticket admits to another instance of the room, s. */
  ticketTtlS: [28, 0],
  /** Bytes of this client's realtime messages at once. */
  messageBytesBurst: [29, 16 << 10],
  /** Realtime messages of this client at once. */
  messageBurst: [30, 500],
} as const satisfies Record<string, readonly [key: number, value: number]>;

/** The settings of a session, each in its unit. */
export type SessionSettings = { [N in keyof typeof SETTINGS]: number };

/**
 * Reads a list. A setting that the list lacks has its default, unknown keys are ignored, and of one
 * key the last value counts. A value above 2^53 - 1 is cut to that.
 */
export function settingsFromList(list: readonly SessionSetting[]): SessionSettings {
  const entries = Object.entries(SETTINGS).map(([name, [key, value]]) => {
    const told = list.findLast((setting) => setting.key === key)?.value;
    return [name, told === undefined ? value : Math.min(Number(told), Number.MAX_SAFE_INTEGER)];
  });
  return Object.fromEntries(entries) as SessionSettings;
}
