//! Every limit of the wire in one place, each with its reason; their relations are asserted at
//! compile time.

use std::time::Duration;

/// Largest realtime datagram in bytes, header and tag included: fits an MTU of 1,280 (the least
/// that IPv6 allows) behind IPv6 and UDP headers and leaves room for a tunnel.
pub const MAX_DATAGRAM: usize = 1_200;
/// Form byte, connection id and packet number in front of the sealed frames, in bytes.
pub const HEADER: usize = 13;
/// Bytes of the link's id in front of the unsealed frames inside a QUIC datagram.
pub const LINK_ID: usize = 4;
/// AEAD tag in bytes, of both suites.
pub const TAG: usize = 16;
/// Largest body (sealed frames, before sealing) in bytes: the same body must fit one QUIC datagram
/// when the realtime port is blocked, whose own headers are larger.
pub const MAX_BODY: usize = 1_150;
/// Smallest datagram that can be genuine: header, one frame of two bytes, tag.
pub const MIN_DATAGRAM: usize = HEADER + 2 + TAG;
/// Largest payload of one realtime frame in bytes: what is left of a body behind the frame's type,
/// length, message header and a send-time frame in front.
pub const MAX_PAYLOAD: usize = 1_100;

/// Replay window in packet numbers. RFC 4303 asks for 64, WireGuard takes 8,192; 2,048 is 170 ms of
/// the fastest link we serve (12,000 datagrams a second) and 256 bytes a link.
pub const REPLAY_WINDOW: u32 = 2_048;
/// A sender moves its direction to the next key phase after this many packets ...
pub const PHASE_PACKETS: u32 = 1 << 24;
/// ... or this long, whichever comes first (the order of RFC 9001's limits, far on the safe side).
pub const PHASE_TIME: Duration = Duration::from_secs(3_600);
/// ... but never sooner than this after the last time, so that two phase bits cannot be ambiguous.
pub const PHASE_MIN_TIME: Duration = Duration::from_secs(60);
/// How long a receiver keeps the key and replay window of the phase before.
pub const PHASE_OVERLAP: Duration = Duration::from_secs(5);
/// No link sends more packets than this: RFC 9001's limit for AES-GCM confidentiality, with packets
/// of at most 2 KiB. Behind it the link is mute and its peer must join again: 31 days at a hundred
/// datagrams a second.
pub const MAX_PACKETS: u32 = 1 << 28;

/// Bytes a server may send to an address that has not proven itself, for each byte received from
/// it (RFC 9000, section 8).
pub const AMPLIFICATION: u64 = 3;
/// Least time between two challenges of one link: five a second.
pub const CHALLENGE_INTERVAL: Duration = Duration::from_millis(200);
/// A candidate path that has not answered for this long is forgotten.
pub const CHALLENGE_TIMEOUT: Duration = Duration::from_secs(3);

/// An idle client sends a keep-alive this often on each plane, in turn: below the 30 s after which
/// common NATs forget UDP.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Silence after which a client that had traffic starts to probe the path.
pub const PROBE_AFTER: Duration = Duration::from_millis(500);
/// A realtime port that has been silent for this long, though three probes asked it, has been lost,
/// and the client falls back to QUIC datagrams: a listener notices within it, and a gap in its poses
/// stays under a second. A speaker notices a round trip later.
pub const FALLBACK_AFTER: Duration = Duration::from_millis(700);
/// Probes before a fallback; they share the time up to [`FALLBACK_AFTER`], from [`PROBE_AFTER`] on or, on
/// a long way, earlier.
pub const FALLBACK_PROBES: u32 = 3;
/// A server acknowledges a link's messages this often where it has datagrams to send anyway ...
pub const ACK_INTERVAL: Duration = Duration::from_millis(200);
/// ... and in a datagram of its own after this long: a client whose way up is blocked alone would
/// otherwise never know.
pub const ACK_LATEST: Duration = Duration::from_millis(300);
/// On the fallback a client with traffic probes the realtime port this often, so that it is back
/// within three seconds after the port has opened; without traffic as often as a keep-alive.
pub const RETURN_PROBE: Duration = Duration::from_secs(1);
/// Answers in a row that bring a client back to the realtime port.
pub const RETURN_ANSWERS: u32 = 2;
/// A client that falls back again so soon after its return stays ...
pub const FALLBACK_RELAPSE: Duration = Duration::from_secs(10);
/// ... at least this long, and twice as long each time ...
pub const FALLBACK_HOLD_MIN: Duration = Duration::from_secs(2);
/// ... up to this: a flapping port must not make the session flap with it.
pub const FALLBACK_HOLD_MAX: Duration = Duration::from_secs(60);
/// Link reports of an active link go out this often.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A client asks for the time this often once its clock has settled and there is traffic.
pub const CLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// Clock samples kept; the one with the least round trip counts. Eight at 5 s follow a drift of
/// 50 ppm to within 2 ms.
pub const CLOCK_SAMPLES: usize = 8;

/// Frames of a sender that the roster does not name yet wait this long in a client.
pub const UNKNOWN_SLOT_HOLD: Duration = Duration::from_millis(200);
/// And at most so many of them.
pub const UNKNOWN_SLOT_FRAMES: usize = 64;
/// A slot rests this long before another peer gets it, so that late frames find nobody.
pub const SLOT_REST: Duration = Duration::from_secs(60);

/// Largest message on the control stream in bytes: a full room's roster with the longest names.
pub const MAX_CONTROL_MESSAGE: usize = 2 << 20;
/// Largest `Hello`, `Welcome` or `Refuse` in bytes.
pub const MAX_HANDSHAKE_MESSAGE: usize = 1_024;
/// Largest join: a full token, everybody expected, filters, and a room's first fields.
pub const MAX_CLIENT_CONTROL_MESSAGE: usize = 16 << 10;
/// Largest payload of a reliable event in bytes. More needs a snapshot or several events.
pub const MAX_EVENT_PAYLOAD: usize = 16 << 10;
/// Largest message of the bulk lane in bytes: a picture of a finding, a page of a plan. It travels in
/// pieces of an event's size. More belongs into a storage server.
pub const MAX_BULK_MESSAGE: usize = 4 * MAX_EVENT_PAYLOAD;
/// Largest event message in bytes: the payload, a full list of peers and the archive around them.
pub const MAX_EVENT_MESSAGE: usize = MAX_EVENT_PAYLOAD + 4 * MAX_EVENT_TARGETS + 256;
/// Most peers one event may name.
pub const MAX_EVENT_TARGETS: usize = 1_024;
/// Largest `StateRequest` in bytes; with what it makes of the server's update, below a full event.
pub const MAX_STATE_REQUEST: usize = 16 << 10;
/// Most operations of one request.
pub const MAX_STATE_OPERATIONS: usize = 64;
/// Largest key of a field in bytes.
pub const MAX_STATE_KEY: usize = 64;
/// Largest text or byte string of a field in bytes. More belongs into a storage server.
pub const MAX_STATE_VALUE: usize = 4 << 10;
/// Most fields of one entity.
pub const MAX_STATE_FIELDS: usize = 64;
/// Most objects of a room.
pub const MAX_STATE_OBJECTS: usize = 4_096;
/// Most objects that one peer without the right to moderate may own: four of them fill a room, one does
/// not.
pub const MAX_STATE_OWNED: usize = MAX_STATE_OBJECTS / 4;
/// One part in so many of the state's bytes is kept for peers with rights to the room's fields or to
/// moderate, so that nobody else can fill it up to the brim.
pub const STATE_RESERVE: usize = 4;
/// Largest state of a room in bytes, as its snapshot: five times a large room's of today.
pub const MAX_STATE: usize = 1 << 20;
/// Largest version tag of an application in bytes.
pub const MAX_APPLICATION_VERSION: usize = 32;
/// Largest password of a room in bytes.
pub const MAX_PASSWORD: usize = 64;
/// Most users one join may expect.
pub const MAX_EXPECTED: usize = 16;
/// Most fields of a room that the lobby shows.
pub const MAX_LISTED: usize = 8;
/// Most fields a room may be made with.
pub const MAX_FIRST_FIELDS: usize = 16;
/// Most filters of one question.
pub const MAX_FILTERS: usize = 8;
/// Most values of one filter.
pub const MAX_FILTER_VALUES: usize = 16;
/// Most rooms of a list: more is for a search, not for eyes.
pub const MAX_ROOM_LIST: usize = 500;
/// Largest text or byte string of a field that the lobby shows, in bytes; a larger one is not there for
/// it. What a list of rooms says of a room is for a line on a screen.
pub const MAX_LISTED_VALUE: usize = 256;
/// Longest ban from a room: whoever is to stay out for longer gets no token.
pub const MAX_BAN: Duration = Duration::from_secs(86_400);
/// Most users that one call rings, and most members of a call: more is a meeting, which has a room of
/// its own.
pub const MAX_CALL_USERS: usize = 16;
/// Largest text of a call in bytes: a line or two that a person reads while it rings.
pub const MAX_CALL_TEXT: usize = 256;
/// Most roles and users that a view of people names, together: a team.
pub const MAX_WATCH_NAMES: usize = 64;
/// Most people that a view shows: more than anybody scrolls through.
pub const MAX_USER_LIST: usize = 1_000;
/// Largest request of a session outside rooms in bytes: a view that names as many as it may.
pub const MAX_SOCIAL_REQUEST: usize = 16 << 10;
/// Largest join token in bytes.
pub const MAX_TOKEN: usize = 4 << 10;
/// Largest room name in bytes.
pub const MAX_ROOM_NAME: usize = 128;
/// Largest display name, user or role in bytes.
pub const MAX_NAME: usize = 128;

/// Peers of one room, at most: slots are u16 and the highest are reserved for targets.
pub const MAX_ROOM_PEERS: u16 = 4_000;

const _: () = assert!(HEADER + MAX_BODY + TAG <= MAX_DATAGRAM);
const _: () = assert!(MAX_PAYLOAD + 3 + 10 + 6 <= MAX_BODY);
const _: () = assert!(LINK_ID <= HEADER);
const _: () = assert!(PROBE_AFTER.as_millis() < FALLBACK_AFTER.as_millis());
const _: () = assert!(ACK_LATEST.as_millis() * 2 < FALLBACK_AFTER.as_millis());
const _: () = assert!(REPLAY_WINDOW.is_power_of_two() && REPLAY_WINDOW >= 64);
const _: () = assert!(PHASE_PACKETS < MAX_PACKETS);
const _: () = assert!(PHASE_OVERLAP.as_secs() < PHASE_MIN_TIME.as_secs());
const _: () = assert!(MAX_CLIENT_CONTROL_MESSAGE > MAX_TOKEN + MAX_ROOM_NAME + MAX_NAME);
// An archived peer takes 31 bytes and its user, name and role.
const _: () = assert!(
    MAX_ROOM_PEERS as usize * (31 + 3 * MAX_NAME) + MAX_HANDSHAKE_MESSAGE < MAX_CONTROL_MESSAGE
);
// An archived room takes 21 bytes, its name and its fields: 25 bytes each, key and value; a name that is
// gone takes 8 bytes more.
const _: () = assert!(
    MAX_ROOM_LIST * (29 + 2 * MAX_ROOM_NAME + MAX_LISTED * (25 + MAX_STATE_KEY + MAX_LISTED_VALUE))
        + MAX_HANDSHAKE_MESSAGE
        < MAX_CONTROL_MESSAGE
);
const _: () =
    assert!(MAX_WATCH_NAMES * (8 + MAX_NAME) + MAX_HANDSHAKE_MESSAGE < MAX_SOCIAL_REQUEST);
const _: () = assert!(MAX_USER_LIST * 2 * (25 + 3 * MAX_NAME) < MAX_CONTROL_MESSAGE);
