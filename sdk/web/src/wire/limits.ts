// The limits of the protocol that a client needs, with their reasons. Lengths are in bytes, times
// in milliseconds unless a name says otherwise.

/** Bytes of the link id in front of the frames inside a datagram of the session. */
export const LINK_ID = 4;
/** Largest body: all frames of one datagram. */
export const MAX_BODY = 1_150;
/** Smallest `largestBody` of a client: what its datagrams must hold at least. */
export const MIN_BODY = 1_000;
/** Largest payload of one realtime message. Every client's body holds such a message. */
export const MAX_PAYLOAD = 900;

/** Interval of keep-alives of an idle client: below the 30 s after which common NATs forget. */
export const KEEP_ALIVE = 15_000;
/** Shortest and longest interval at which a server may ask for a client's reports. */
export const REPORT_INTERVAL_MIN = 50;
export const REPORT_INTERVAL_MAX = 1_000;
/** Shortest time between two reports of a client, even if its delay rises. */
export const EARLY_REPORT_AFTER = 50;
/** Rise of the delay above its least value that makes a client report at once, in µs. */
export const EARLY_REPORT_RISE = 30_000;
/**
 * The least delay is the least of the last one to two of these times: it changes with the route.
 */
export const DELAY_BASE_TIME = 15_000;
/** Interval of clock requests of a client that has traffic and whose clock has settled. */
export const CLOCK_INTERVAL = 5_000;
/** Clock samples that a client keeps; it uses the one with the shortest round trip. */
export const CLOCK_SAMPLES = 8;
/** How long a smoothed round trip counts without a new sample. */
export const ROUND_TRIP_MEMORY = 10_000;
/** How far two steady clocks may drift apart while a client keeps a sample, in µs. */
export const CLOCK_DRIFT = 50_000;
/** A change of the delay or the round trip that shows that a clock stood still, in µs. */
export const CLOCK_JUMP = 500_000;
/** A round trip of more than three times the smoothed one and this, in µs, is a jump as well. */
export const ROUND_TRIP_RISE = 50_000;
/** Clock requests that a client sends 100 ms apart at the start of a link and after a jump. */
export const SETTLE_SAMPLES = 4;
/** How far ahead of the server's clock a capture time may be, in ms. */
export const CAPTURE_IN_FUTURE = 4_096;
/** Longest time in ms from the capture of a message to its receipt by a client. */
export const RECEIVED_AGE = 2_000;
/** How long a client holds frames from a slot that its roster does not name yet. */
export const UNKNOWN_SLOT_HOLD = 200;
/** Most frames that a client holds for unknown slots. */
export const UNKNOWN_SLOT_FRAMES = 64;

/** Largest message on the control stream: the roster of a full room with the longest names. */
export const MAX_CONTROL_MESSAGE = 2 << 20;
/** Largest `Hello`, `Welcome` or `Refuse`: a refusal with its text and four endpoints. */
export const MAX_HANDSHAKE_MESSAGE = 2_048;
/** Largest payload of a reliable event. Larger data needs the bulk lane. */
export const MAX_EVENT_PAYLOAD = 16 << 10;
/** Largest message of the bulk lane. It travels in pieces of an event's size. */
export const MAX_BULK_MESSAGE = 4 * MAX_EVENT_PAYLOAD;
/** Most peers that one event may name. */
export const MAX_EVENT_TARGETS = 1_024;
/** Largest event message: the payload, a full list of peers, and the archive's overhead. */
export const MAX_EVENT_MESSAGE = MAX_EVENT_PAYLOAD + 4 * MAX_EVENT_TARGETS + 256;
/** Largest message on the state stream: a snapshot of the largest state. */
export const MAX_STATE = 1 << 20;
/** Largest type of a typed event, and largest method of a request to a peer. */
export const MAX_EVENT_NAME = 64;
/** Longest time in ms that a peer may wait for the answer of another. */
export const MAX_RPC_TIMEOUT_MS = 60_000;
/** Largest text of a request that failed: a few lines for a person. */
export const MAX_RPC_TEXT = 1_024;
/** Largest `StateRequest`. */
export const MAX_STATE_REQUEST = 16 << 10;
/** Most operations of one `StateRequest`. */
export const MAX_STATE_OPERATIONS = 64;
/** Largest key of a field. */
export const MAX_STATE_KEY = 64;
/** Largest text or byte string of a field. Larger data belongs on a storage server. */
export const MAX_STATE_VALUE = 4 << 10;
/** Most fields of one entity. */
export const MAX_STATE_FIELDS = 64;
/** Most objects of a room. */
export const MAX_STATE_OBJECTS = 4_096;
/** Largest version tag of an application. */
export const MAX_APPLICATION_VERSION = 32;
/** Largest password of a room. */
export const MAX_PASSWORD = 64;
/** Most users that one join may expect. */
export const MAX_EXPECTED = 16;
/** Most fields of a room that the lobby shows. */
export const MAX_LISTED = 8;
/** Most fields that a room may be created with. */
export const MAX_FIRST_FIELDS = 16;
/** Most filters of one join or one subscription to rooms. */
export const MAX_FILTERS = 8;
/** Most values of one filter. */
export const MAX_FILTER_VALUES = 16;
/** Most rooms in a list. */
export const MAX_ROOM_LIST = 500;
/** Most endpoints in `Refuse` or `Joined`. */
export const MAX_ENDPOINTS = 4;
/** Largest endpoint: a host name of 253 bytes, a colon, and a port. */
export const MAX_ENDPOINT = 259;
/** Most refusals in a row that send a client to another server. */
export const MAX_MOVES = 3;
/** Largest name and version of a client's software. */
export const MAX_AGENT = 128;
/** Longest ban from a room, in s. */
export const MAX_BAN_S = 86_400;
/** Most users that the start of a call names, besides the caller. */
export const MAX_CALL_USERS = 16;
/** Largest subject of a call. */
export const MAX_CALL_TEXT = 256;
/** Most roles and users that one subscription to users may name, together. */
export const MAX_WATCH_NAMES = 64;
/** Most users in a list. */
export const MAX_USER_LIST = 1_000;
/** Largest join token. */
export const MAX_TOKEN = 4 << 10;
/** Largest room name. */
export const MAX_ROOM_NAME = 128;
/** Largest display name, user or role. */
export const MAX_NAME = 128;
/** Most peers in one room. */
export const MAX_ROOM_PEERS = 4_000;
