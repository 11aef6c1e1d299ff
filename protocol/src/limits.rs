//! Every limit of the protocol, with its reason. Assertions at the end check the relations between
//! the limits at compile time.

use std::time::Duration;

/// Largest realtime datagram in bytes, header and tag included. With IPv6 and UDP headers it fits
/// an MTU of 1,280, the smallest that IPv6 allows, and leaves space for a tunnel's header.
pub const MAX_DATAGRAM: usize = 1_200;
/// Length in bytes of the header in front of the sealed frames: form byte, connection id and packet
/// number.
pub const HEADER: usize = 13;
/// Length in bytes of the link id in front of the unsealed frames inside a QUIC datagram.
pub const LINK_ID: usize = 4;
/// Length in bytes of the AEAD tag, the same in both suites.
pub const TAG: usize = 16;
/// Largest body in bytes, that is, all frames of a datagram before sealing. On the fallback the
/// same body must fit into one QUIC datagram, whose headers are larger.
pub const MAX_BODY: usize = 1_150;
/// Smallest `largest_body` of a client: what its datagrams must hold at least. Leaves 150 bytes to
/// the headers of tunnels and of other carriers.
pub const MIN_BODY: usize = 1_000;
/// Smallest datagram that can be authentic, in bytes: header, one frame of two bytes, tag.
pub const MIN_DATAGRAM: usize = HEADER + 2 + TAG;
/// Largest payload of one realtime message in bytes. The body of every client holds such a message,
/// with its frame type, length and fixed fields, behind the control frames that may be due. Leaves
/// 34 bytes to control frames of later versions.
pub const MAX_PAYLOAD: usize = 900;

/// Size of the replay window in packet numbers. RFC 4303 requires 64, WireGuard uses 8,192. A
/// window of 2,048 covers 170 ms of the fastest link that a server supports (12,000 datagrams a
/// second) and costs 256 bytes per link.
pub const REPLAY_WINDOW: u32 = 2_048;
/// Packets after which a sender starts the next key phase. RFC 9001 allows a key 2^28 packets of at
/// most 2 KiB.
pub const PHASE_PACKETS: u32 = 1 << 24;
/// Time after which a sender starts the next key phase, whatever number of packets it sent.
pub const PHASE_TIME: Duration = Duration::from_secs(3_600);
/// Shortest time from the first acknowledgement of a key phase to the next phase, so that the two
/// phase bits in a header are never ambiguous. A receiver takes the next phase after half of it.
pub const PHASE_MIN_TIME: Duration = Duration::from_secs(60);
/// How long a receiver keeps the key and the replay window of the previous phase.
pub const PHASE_OVERLAP: Duration = Duration::from_secs(5);
/// Most packets that one end of a link may send: RFC 9001's limit for AES-GCM confidentiality with
/// packets of at most 2 KiB. Beyond this limit the link sends nothing, and its client must join
/// again. A hundred datagrams a second reach the limit after 31 days.
pub const MAX_PACKETS: u32 = 1 << 28;

/// Bytes that a server may send to an unproven address for each byte received from it (RFC 9000,
/// section 8).
pub const AMPLIFICATION: u64 = 3;
/// Shortest time between two path challenges of one link, so at most five a second.
pub const CHALLENGE_INTERVAL: Duration = Duration::from_millis(200);
/// How long a candidate path may take to answer a challenge before the server forgets the path.
pub const CHALLENGE_TIMEOUT: Duration = Duration::from_secs(3);

/// Interval of keep-alives on each plane of an idle client; the planes take turns. The interval is
/// below the 30 s after which common NATs forget a UDP binding.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Silence after which a client that had traffic starts to probe the realtime port.
pub const PROBE_AFTER: Duration = Duration::from_millis(500);
/// Silence after which a client counts the realtime port as lost and falls back to QUIC datagrams.
/// The client sends three probes before. A listener falls back within this time, so that a gap in
/// its poses stays under a second; a speaker falls back a round trip later.
pub const FALLBACK_AFTER: Duration = Duration::from_millis(700);
/// Probes before a fallback. They are spread over the time from [`PROBE_AFTER`], or earlier if the
/// round trip is long, to [`FALLBACK_AFTER`].
pub const FALLBACK_PROBES: u32 = 3;
/// Interval at which a server acknowledges a link's messages in datagrams that it sends anyway.
pub const ACK_INTERVAL: Duration = Duration::from_millis(200);
/// Time after which a server acknowledges a link's messages in a datagram of its own. Otherwise a
/// client that can receive but not send would never notice.
pub const ACK_LATEST: Duration = Duration::from_millis(300);
/// Interval at which a client with traffic on the fallback probes the realtime port, so that it
/// returns within three seconds after the port has opened. Without traffic the client probes at the
/// interval of keep-alives.
pub const RETURN_PROBE: Duration = Duration::from_secs(1);
/// Answers in a row after which a client returns to the realtime port.
pub const RETURN_ANSWERS: u32 = 2;
/// A fallback within this time after a return is a relapse, and the client then stays on the
/// fallback for a minimum time.
pub const FALLBACK_RELAPSE: Duration = Duration::from_secs(10);
/// Shortest time on the fallback after a relapse. The time doubles with each further relapse.
pub const FALLBACK_HOLD_MIN: Duration = Duration::from_secs(2);
/// Upper bound of the minimum time on the fallback, so that a flapping port does not make the
/// session flap.
pub const FALLBACK_HOLD_MAX: Duration = Duration::from_secs(60);
/// Interval of the server's reports on an active link.
pub const SERVER_REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest interval at which a server may ask for a client's reports.
pub const REPORT_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// Longest interval at which a server may ask for a client's reports.
pub const REPORT_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Shortest time between two reports of a client, even if its delay rises.
pub const EARLY_REPORT_AFTER: Duration = Duration::from_millis(50);
/// Rise of the delay above its least value that makes a client report at once, in us: a queue of
/// this length is audible, and a server that learns of it late makes it longer.
pub const EARLY_REPORT_RISE: i32 = 30_000;
/// Half of the longest time for which a client remembers the least delay: it is the least of the
/// last 15 to 30 s. The least delay changes with the route.
pub const DELAY_BASE_TIME: Duration = Duration::from_secs(15);
/// Interval of clock requests of a client that has traffic and whose clock has settled.
pub const CLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// Clock samples that a client keeps; it uses the one with the shortest round trip. Eight samples
/// at 5 s follow a drift of 50 ppm to within 2 ms.
pub const CLOCK_SAMPLES: usize = 8;

/// How long a smoothed round trip counts without a new sample: two intervals of clock requests. The
/// first sample after a longer silence begins anew.
pub const ROUND_TRIP_MEMORY: Duration = Duration::from_secs(10);

/// How far two steady clocks may drift apart while a client keeps a sample, in us: 200 ppm for the
/// 120 s that eight samples of an idle client take, twice.
pub const CLOCK_DRIFT: u64 = 50_000;
/// A change of the delay between two datagrams, or of the round trip between two clock replies, that
/// shows that a clock or an end stood still, in us. The client then asks for the time at once, and
/// begins its figures anew.
pub const CLOCK_JUMP: i32 = 500_000;
/// A round trip of more than three times the smoothed one and this, in us, is a jump as well: more than
/// the jitter of Wi-Fi, and what a client on a fast network waits for a server that was held up.
pub const ROUND_TRIP_RISE: u64 = 50_000;
/// Clock requests that a client sends 100 ms apart at the start of a link and after a jump.
pub const SETTLE_SAMPLES: u32 = 4;
/// How far ahead of the server's clock a capture time may be, in ms; such a message counts as
/// captured at its arrival. The estimates of honest clients differ by milliseconds. Capture times
/// farther ahead count as times of the past: the field wraps after 65 s.
pub const CAPTURE_IN_FUTURE: u16 = 4_096;
/// Longest time in ms from the capture of a message to its arrival at the server. An older message
/// waited in a buffer that nobody read, and is worth nothing. A path by satellite takes 300 ms.
pub const CAPTURE_AGE: u16 = 1_000;
/// Longest time in ms from the capture of a message to its receipt by a client: that of the way to
/// the server, and as much again for the way from there.
pub const RECEIVED_AGE: u16 = 2_000;

/// How long a client holds frames from a slot that its roster does not name yet.
pub const UNKNOWN_SLOT_HOLD: Duration = Duration::from_millis(200);
/// Most frames that a client holds for unknown slots.
pub const UNKNOWN_SLOT_FRAMES: usize = 64;
/// How long a slot stays free before another peer gets it, so that late frames are not attributed
/// to the wrong peer.
pub const SLOT_REST: Duration = Duration::from_secs(60);

/// Largest message on the control stream in bytes: the roster of a full room with the longest
/// names.
pub const MAX_CONTROL_MESSAGE: usize = 2 << 20;
/// Largest `Hello`, `Welcome` or `Refuse` in bytes: a refusal with its text and four endpoints.
pub const MAX_HANDSHAKE_MESSAGE: usize = 2_048;
/// Largest `Join` in bytes: a token of the largest size, all expected users, filters, and a room's
/// initial fields.
pub const MAX_CLIENT_CONTROL_MESSAGE: usize = 16 << 10;
/// Largest payload of a reliable event in bytes. Larger data needs the bulk lane or several events.
pub const MAX_EVENT_PAYLOAD: usize = 16 << 10;
/// Largest message of the bulk lane in bytes: a photo of a finding, or a page of a plan. The
/// message travels in pieces of an event's size. Larger data belongs on a storage server.
pub const MAX_BULK_MESSAGE: usize = 4 * MAX_EVENT_PAYLOAD;
/// Largest event message in bytes: the payload, a full list of peers, and the archive's overhead.
pub const MAX_EVENT_MESSAGE: usize = MAX_EVENT_PAYLOAD + 4 * MAX_EVENT_TARGETS + 256;
/// Most peers that one event may name.
pub const MAX_EVENT_TARGETS: usize = 1_024;
/// Largest type of a typed event, and largest method of a request to a peer, in bytes: a name as
/// programmers write it, with its module.
pub const MAX_EVENT_NAME: usize = 64;
/// Longest time in ms that a peer may wait for the answer of another. Longer work should be
/// acknowledged at once, and its end reported by an event.
pub const MAX_RPC_TIMEOUT_MS: u32 = 60_000;
/// Largest text of a request that failed, in bytes: a few lines for a person.
pub const MAX_RPC_TEXT: usize = 1_024;
/// Largest `StateRequest` in bytes. The server's update that results is smaller than the largest
/// event message.
pub const MAX_STATE_REQUEST: usize = 16 << 10;
/// Most operations of one `StateRequest`.
pub const MAX_STATE_OPERATIONS: usize = 64;
/// Largest key of a field in bytes.
pub const MAX_STATE_KEY: usize = 64;
/// Largest text or byte string of a field in bytes. Larger data belongs on a storage server.
pub const MAX_STATE_VALUE: usize = 4 << 10;
/// Most fields of one entity.
pub const MAX_STATE_FIELDS: usize = 64;
/// Most objects of a room.
pub const MAX_STATE_OBJECTS: usize = 4_096;
/// Most objects of one user without the right to moderate, in all its peers of the room together,
/// so that no single user can fill the room.
pub const MAX_STATE_OWNED: usize = MAX_STATE_OBJECTS / 4;
/// Divisor that gives the reserved part of the state's bytes. This part, a quarter, is for peers
/// with the right to moderate or to set the room's fields, so that no other peer can fill the
/// state.
pub const STATE_RESERVE: usize = 4;
/// Events and pieces of one peer after which the server acknowledges them at once. A peer that
/// sends as fast as it may (200 a second) then gets six acknowledgements a second.
pub const EVENT_ACK_COUNT: u32 = 32;
/// Bytes of payload after which the server acknowledges a peer's events at once: half of what a
/// client may have in flight on one stream, so an acknowledgement arrives before a client that
/// keeps no more than that has to wait.
pub const EVENT_ACK_BYTES: usize = 32 << 10;
/// Age of the oldest unacknowledged event after which the next event is acknowledged at once. That
/// acknowledgement shares a datagram with QUIC's own. A peer that sends an event every 3 s gets one
/// acknowledgement for five events.
pub const EVENT_ACK_AGE: Duration = Duration::from_secs(10);
/// Longest time that an event stays unacknowledged if no event follows, to within a second. Waiting
/// costs nothing but the client's memory: a resume tells the counts by itself.
pub const EVENT_ACK_LATEST: Duration = Duration::from_secs(15);
/// Largest state of a room in bytes, encoded as a snapshot: five times that of a large room today.
pub const MAX_STATE: usize = 1 << 20;
/// Largest version tag of an application in bytes.
pub const MAX_APPLICATION_VERSION: usize = 32;
/// Largest password of a room in bytes.
pub const MAX_PASSWORD: usize = 64;
/// Most users one join may expect.
pub const MAX_EXPECTED: usize = 16;
/// Most fields of a room that the lobby shows.
pub const MAX_LISTED: usize = 8;
/// Most fields that a room may be created with.
pub const MAX_FIRST_FIELDS: usize = 16;
/// Most filters of one join or one subscription to rooms.
pub const MAX_FILTERS: usize = 8;
/// Most values of one filter.
pub const MAX_FILTER_VALUES: usize = 16;
/// Most rooms in a list. A person who wants to see more should use filters.
pub const MAX_ROOM_LIST: usize = 500;
/// Largest text or byte string of a field that the lobby shows, in bytes. The lobby ignores larger
/// values: a list shows a room in one line.
pub const MAX_LISTED_VALUE: usize = 256;
/// Most endpoints in `Refuse` or `Joined`: a client tries them one after the other, while a person
/// waits.
pub const MAX_ENDPOINTS: usize = 4;
/// Largest endpoint in bytes: a host name of 253 bytes, a colon, and a port.
pub const MAX_ENDPOINT: usize = 259;
/// Most refusals in a row that send a client to another server. More are a mistake of the operator,
/// such as two servers that name each other.
pub const MAX_MOVES: usize = 3;
/// Largest name and version of a client's software, in bytes of UTF-8.
pub const MAX_AGENT: usize = 128;
/// Longest ban from a room. To exclude a user for longer, issue no token.
pub const MAX_BAN: Duration = Duration::from_secs(86_400);
/// Most users that the start of a call names, besides the caller. A later add is refused if the
/// call has this many members and called users already. A larger group should meet in a room.
pub const MAX_CALL_USERS: usize = 16;
/// Largest subject of a call in bytes: a line or two that a person reads while the call rings.
pub const MAX_CALL_TEXT: usize = 256;
/// Most roles and users that one subscription to users may name, together: a team.
pub const MAX_WATCH_NAMES: usize = 64;
/// Most users in a list: more than a person scrolls through.
pub const MAX_USER_LIST: usize = 1_000;
/// Largest list of users in bytes: [`MAX_USER_LIST`] users with the longest names.
pub const MAX_USER_LIST_BYTES: usize = MAX_USER_LIST * (25 + 3 * MAX_NAME);
/// Largest list of rooms in bytes: [`MAX_ROOM_LIST`] rooms with the longest names and fields, and as
/// many removed ones. An archived room takes 21 bytes plus its name and its fields. A field takes 25
/// bytes plus key and value. The name of a removed room takes 8 bytes plus the name.
pub const MAX_ROOM_LIST_BYTES: usize = MAX_ROOM_LIST
    * (29 + 2 * MAX_ROOM_NAME + MAX_LISTED * (25 + MAX_STATE_KEY + MAX_LISTED_VALUE))
    + MAX_HANDSHAKE_MESSAGE;
/// Largest request of a session outside rooms in bytes: a subscription to users with the most
/// names.
pub const MAX_SOCIAL_REQUEST: usize = 16 << 10;
/// Largest join token in bytes.
pub const MAX_TOKEN: usize = 4 << 10;
/// Largest room name in bytes.
pub const MAX_ROOM_NAME: usize = 128;
/// Largest display name, user or role in bytes.
pub const MAX_NAME: usize = 128;

/// Most peers in one room. Slots are u16, and the highest values are reserved for targets.
pub const MAX_ROOM_PEERS: u16 = 4_000;

const _: () = assert!(HEADER + MAX_BODY + TAG <= MAX_DATAGRAM);
const _: () = assert!(MIN_BODY < MAX_BODY && MAX_PAYLOAD + 3 + 10 + 6 <= MIN_BODY);
const _: () = assert!(LINK_ID <= HEADER);
const _: () = assert!(PROBE_AFTER.as_millis() < FALLBACK_AFTER.as_millis());
const _: () = assert!(ACK_LATEST.as_millis() * 2 < FALLBACK_AFTER.as_millis());
const _: () = assert!(REPLAY_WINDOW.is_power_of_two() && REPLAY_WINDOW >= 64);
const _: () = assert!(PHASE_PACKETS < MAX_PACKETS);
const _: () = assert!(PHASE_OVERLAP.as_secs() < PHASE_MIN_TIME.as_secs() / 2);
const _: () = assert!(EVENT_ACK_AGE.as_secs() < EVENT_ACK_LATEST.as_secs());
const _: () = assert!(MAX_CLIENT_CONTROL_MESSAGE > MAX_TOKEN + MAX_ROOM_NAME + MAX_NAME);
// An archived peer takes 31 bytes plus its user, name and role.
const _: () = assert!(
    MAX_ROOM_PEERS as usize * (31 + 3 * MAX_NAME) + MAX_HANDSHAKE_MESSAGE < MAX_CONTROL_MESSAGE
);
const _: () = assert!(MAX_ROOM_LIST_BYTES < MAX_CONTROL_MESSAGE);
const _: () =
    assert!(MAX_WATCH_NAMES * (8 + MAX_NAME) + MAX_HANDSHAKE_MESSAGE < MAX_SOCIAL_REQUEST);
const _: () = assert!(2 * MAX_USER_LIST_BYTES < MAX_CONTROL_MESSAGE);
