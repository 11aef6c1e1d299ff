//! Every bound of the server, each with its reason, and how they hang together. [`Limits`] is what an
//! operator may set, the constants below it are fixed.

use std::ops::RangeInclusive;
use std::time::Duration;

use nucleus_protocol::limits::{
    MAX_BULK_MESSAGE, MAX_ROOM_PEERS, MAX_STATE, MAX_STATE_OBJECTS, MAX_STATE_OWNED,
    MAX_STATE_REQUEST,
};
use nucleus_protocol::realtime::{MessageKind, TARGET_RESERVED};
use serde::Deserialize;
use thiserror::Error;

use crate::text;

/// A setting is outside its range; says what would be inside.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key} = {value} is out of range: write {low} to {high}")]
pub struct OutOfRange {
    key: String,
    value: String,
    low: String,
    high: String,
}

/// A value that can be set in a range, and how it is written.
pub trait Setting: Copy + PartialOrd {
    /// As in a configuration file.
    fn written(self) -> String;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Setting for $number {
            fn written(self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 usize);

impl Setting for Duration {
    fn written(self) -> String {
        let millis = self.as_millis();
        match millis.is_multiple_of(1_000) {
            true => format!("{}s", millis / 1_000),
            false => format!("{millis}ms"),
        }
    }
}

/// Whether the value of a setting is in its range.
///
/// # Errors
///
/// It is not.
pub fn within<T: Setting>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), OutOfRange> {
    if range.contains(&value) {
        return Ok(());
    }
    let [value, low, high] = [value, *range.start(), *range.end()].map(T::written);
    Err(OutOfRange { key: key.to_owned(), value, low, high })
}

/// Each setting with its default and its range.
macro_rules! settings {
    ($($(#[$about:meta])* $name:ident: $type:ty = $default:expr, $range:expr;)*) => {
        /// Bounds of a running server that an operator may set; none of them is unlimited.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits { $($(#[$about])* pub $name: $type,)* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Whether each setting is in its range.
            ///
            /// # Errors
            ///
            /// The first one that is not.
            pub fn check(&self) -> Result<(), OutOfRange> {
                $(within(concat!("limits.", stringify!($name)), self.$name, $range)?;)*
                Ok(())
            }
        }
    };
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

settings! {
    /// Sessions that have joined, at a time.
    sessions: u32 = 20_000, 1..=1_000_000;
    /// Connections whose token has not been accepted yet, at a time.
    unjoined: u32 = 4_096, 1..=65_536;
    /// How long such a connection may stay.
    #[serde(deserialize_with = "text::duration")]
    unjoined_timeout: Duration = ms(5_000), ms(100)..=ms(5_000);
    /// Rooms at a time.
    rooms: u32 = 10_000, 1..=1_000_000;
    /// Sessions of one tenant, of all its products.
    tenant_sessions: u32 = 20_000, 1..=1_000_000;
    /// Sessions of one user of a tenant; and rooms that one user has made, for empty rooms outlive
    /// their sessions.
    user_sessions: u32 = 1_000, 1..=10_000;
    /// Rooms of one tenant, of all its products.
    tenant_rooms: u32 = 10_000, 1..=1_000_000;
    /// Rooms of one tenant that do not end when they are empty.
    kept_rooms: u32 = 16, 0..=10_000;
    /// The longest that a room may outlive its last peer.
    #[serde(deserialize_with = "text::duration")]
    empty_room_ttl: Duration = ms(300_000), ms(0)..=ms(3_600_000);
    /// Peers in one room.
    room_capacity: u16 = 1_000, 2..=MAX_ROOM_PEERS;
    /// Peers of one room that may speak at once.
    speakers: u16 = 128, 1..=MAX_ROOM_PEERS;
    /// Objects in one room's shared state.
    room_objects: u32 = MAX_STATE_OBJECTS as u32, 1..=MAX_STATE_OBJECTS as u32;
    /// Objects of these that one peer may own, unless it may moderate.
    peer_objects: u32 = MAX_STATE_OWNED as u32, 1..=MAX_STATE_OBJECTS as u32;
    /// Bytes of one room's shared state, as its snapshot. The last quarter is for those who may change
    /// the room's fields or moderate.
    room_state_bytes: u32 = MAX_STATE as u32, 32_768..=MAX_STATE as u32;
    /// Reliable messages that one room takes a second on average, of all its peers and of both lanes;
    /// twice as many at once.
    room_events_per_s: u32 = 1_000, 1..=1_000_000;
    /// Bytes of them.
    room_event_bytes_per_s: u32 = 512 << 10, 4_096..=1_073_741_824;
    /// Reliable events of one peer a second, on average. What exceeds a peer's rates waits, and the
    /// peer is told.
    peer_events_per_s: u32 = 200, 1..=100_000;
    /// Bytes of them.
    peer_event_bytes_per_s: u32 = 64 << 10, 1_024..=16_777_216;
    /// Bytes of one peer's bulk lane a second.
    peer_bulk_bytes_per_s: u32 = 64 << 10, 1_024..=16_777_216;
    /// Requests of one peer a second: changes of the shared state, moderation, groups.
    peer_requests_per_s: u32 = 30, 1..=1_000;
    /// Realtime messages of one peer a second; more are dropped.
    peer_messages_per_s: u32 = 1_000, 10..=100_000;
    /// Silence on both planes after which the roster calls a peer away. Idle clients are heard every
    /// 7.5 s and get so much longer; after 30 s a silent session is lost.
    #[serde(deserialize_with = "text::duration")]
    away_after: Duration = ms(10_000), ms(10_000)..=ms(30_000);
    /// How long a peer keeps its place after its session was lost, which takes 30 s of silence.
    #[serde(deserialize_with = "text::duration")]
    peer_ttl: Duration = ms(30_000), ms(1_000)..=ms(600_000);
    /// How long a call rings.
    #[serde(deserialize_with = "text::duration")]
    ring_time: Duration = ms(30_000), ms(5_000)..=ms(300_000);
    /// Calls of a tenant's product at a time, ringing ones among them.
    tenant_calls: u32 = 2_000, 1..=1_000_000;
    /// Realtime bits a second to one recipient.
    egress_bits_per_s: u64 = 10_000_000, 64_000..=1_000_000_000;
}

/// Most realtime threads: a connection id names its shard in one byte, and no machine needs more.
pub const MAX_SHARDS: u16 = 64;

/// Bytes that the flushes of one turn send at most, but for the last recipient's: a millisecond or two of
/// work. A flush of a room of 300 that is all tracked takes several turns, between which the socket is
/// drained.
pub const FLUSH_BYTES_PER_TURN: usize = 512 << 10;
/// Messages that the flushes of one turn look at, times recipients: a few ms. A room full of peers who
/// whisper to one of them makes no bytes for the others, but work.
pub const FLUSH_CHECKS_PER_TURN: usize = 1 << 20;
/// How often a shard looks at its load to choose its tick.
pub const LOAD_INTERVAL: Duration = Duration::from_millis(100);
/// The socket is drained at least this often, whatever the flush tick: stock receive buffers hold
/// 512 small datagrams, 8 ms of 60,000 a second.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(2);
/// Receive calls (64 datagrams each) in one turn of a shard's loop, so that a flood cannot starve
/// the flush.
pub const DRAINS_PER_TURN: usize = 32;
/// Commands a shard takes in one turn of its loop.
pub const SHARD_MAIL_PER_TURN: usize = 256;
/// Commands waiting for a shard: a thousand joins at once and room to spare. Senders wait.
pub const SHARD_MAILBOX: usize = 4_096;
/// Datagrams that another shard received, waiting for the one they belong to: a few milliseconds of a
/// busy shard that gets everything by mistake. More are dropped and counted.
pub const MISDIRECTED: usize = 1_024;
/// Datagrams from sessions waiting for a shard: a quarter of a second of five hundred clients on the
/// fallback. More are dropped and counted.
pub const SHARD_SESSION_DATAGRAMS: usize = 4_096;
/// Datagrams waiting for one session to put them into QUIC: a tenth of a second of its egress budget.
pub const SESSION_DATAGRAMS: usize = 128;
/// ... and how long they may wait: the age limit of most of what is in them.
pub const SESSION_DATAGRAM_AGE: Duration = Duration::from_millis(100);
/// Bytes of datagrams that QUIC itself may hold for a client on the fallback: what a tick sends in a
/// busy room. They do not age in there.
pub const SESSION_DATAGRAM_BYTES: usize = 8 << 10;
/// Bytes of datagrams from a client that may wait to be read.
pub const SESSION_DATAGRAM_INBOX: usize = 64 << 10;
/// Bytes of a room's newest events that are kept for peers who come back, with what they cost to keep.
/// Half of what may wait for a recipient, so that a replay leaves room for what comes after it.
pub const EVENT_LOG_BYTES: usize = EVENT_BACKLOG_BYTES / 2;
/// Events of a room that are kept for whoever comes later, and their bytes: what a newcomer reads before it
/// sees anything, and with a full replay still less than may wait for a recipient.
pub const HISTORY_EVENTS: usize = 256;
/// See [`HISTORY_EVENTS`].
pub const HISTORY_BYTES: usize = 64 << 10;
/// A link's silence is noticed at multiples of this: thousands of idle links share their wake-ups.
pub const SILENCE_GRID: Duration = Duration::from_millis(250);
/// A peer says nothing but keep-alives whose last word came so long after its last message ...
pub const ONLY_KEEP_ALIVES_AFTER: Duration = Duration::from_secs(2);
/// ... and may be silent for so much longer than one that talks: it speaks every 7.5 s, and one of its
/// words may be lost.
pub const KEEP_ALIVE_GRACE: Duration = Duration::from_millis(7_500);
/// The pieces of a large room's flush begin at least a turn divided by this apart: each takes longer than
/// that, so this only leaves time to look at the socket. Spread over whole turns, a room of 300 would take
/// longer for it than its poses are worth.
pub const FLUSH_PAUSE: u32 = 8;
/// A session that takes messages on its streams tells the shard so at most this often.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Links of one shard: the slab index in a connection id has 24 bits and each link takes two ids.
pub const LINKS_PER_SHARD: usize = 1 << 20;

/// Message bytes a room may hold for one flush: 4,000 peers with a pose of 45 bytes each. More is
/// dropped and counted.
pub const FRAME_TABLE_BYTES: usize = 256 << 10;
/// Bytes of messages a link may send a second, on average: a fifth of what one recipient gets ...
pub const MESSAGE_BYTES_PER_SECOND: u32 = 256 << 10;
/// ... and at once.
pub const MESSAGE_BYTES_BURST: u32 = 16 << 10;

/// Nothing older than this since its arrival is relayed: a server that was stopped for three
/// seconds must not pour out old poses.
pub fn age_limit(kind: MessageKind) -> Duration {
    match kind {
        MessageKind::Pose | MessageKind::Pointer => Duration::from_millis(100),
        MessageKind::Voice | MessageKind::Unreliable => Duration::from_millis(200),
    }
}

/// Inputs waiting for a room's task. Sessions wait, so QUIC's flow control reaches the sender.
pub const ROOM_MAILBOX: usize = 1_024;
/// Inputs waiting for a lobby's task, and for that of the users outside rooms. Whoever posts waits.
pub const LOBBY_MAILBOX: usize = ROOM_MAILBOX;
/// Places of that mailbox for what joins and watchers ask a lobby: the other half is for what rooms tell it.
pub const LOBBY_QUESTIONS: usize = LOBBY_MAILBOX / 2;
/// Inputs a task takes before it lets other tasks run.
pub const ROOM_INPUTS_PER_TURN: usize = 128;
/// Roster changes are collected for this long: a thousand joins make ten updates a second.
pub const ROSTER_BATCH: Duration = Duration::from_millis(100);
/// Control messages waiting for one session; each is at most a full roster. A moderator's burst of requests
/// is as many replies and audits to itself, and there is room for half of them beside.
pub const CONTROL_QUEUE: usize = 128;
/// Event messages waiting for one session ...
pub const EVENT_QUEUE: usize = 4_096;
/// ... and their bytes: a recipient further behind than this is cut and resumes from a snapshot.
pub const EVENT_BACKLOG_BYTES: usize = 256 << 10;
/// ... and their age.
pub const EVENT_BACKLOG_AGE: Duration = Duration::from_secs(5);
/// Messages of the bulk lane waiting for one session ...
pub const BULK_QUEUE: usize = 4_096;
/// ... and their bytes: eight of the largest messages, that is, from as many senders at once ...
pub const BULK_BACKLOG_BYTES: usize = 8 * MAX_BULK_MESSAGE;
/// ... and their age: nothing that large is urgent, and on a slow network it stands behind the events.
pub const BULK_BACKLOG_AGE: Duration = Duration::from_secs(15);
/// Bytes of a room's newest pieces that are kept for peers who come back. A log of its own: two large
/// messages would fill that of the events, and half a minute of events be gone for them.
pub const BULK_LOG_BYTES: usize = BULK_BACKLOG_BYTES / 2;
/// Pieces a peer may send a second, on average; reading waits beyond it. Small messages belong to the
/// other lane.
pub const BULK_PER_SECOND: u32 = 50;
/// ... and at once.
pub const BULK_BURST: u32 = 100;
/// Bytes of them at once, or a second's: half of a recipient's backlog, as with events.
pub const BULK_BYTES_BURST: u32 = (BULK_BACKLOG_BYTES / 2) as u32;
/// Events a peer may send at once; where less is set, four seconds' of it, where more, one second's. The same
/// holds for the bursts below.
pub const EVENTS_BURST: u32 = 400;
/// Bytes of events a peer may send at once, or a second's: half of a recipient's backlog, so that one sender
/// alone cuts nobody off whose network carries the average.
pub const EVENT_BYTES_BURST: u32 = 128 << 10;
/// Requests that a peer may make at once, or a second's: their replies fill a quarter of a session's control
/// queue.
pub const STATE_REQUESTS_BURST: u32 = CONTROL_QUEUE as u32 / 4;
/// Bytes of them a second, on average: half of what a peer's events have, for everybody gets these too ...
pub const STATE_BYTES_PER_SECOND: u32 = 32 << 10;
/// ... and at once: eight full ones, when somebody lays out a scene.
pub const STATE_BYTES_BURST: u32 = 8 * MAX_STATE_REQUEST as u32;
/// Bytes of updates that are kept behind an encoded snapshot, for whoever comes in the same moment:
/// above that a new snapshot is less than what it saves.
pub const STATE_FEED_BYTES: usize = 64 << 10;
/// Users banned from a room at a time, 64 KiB with the longest names; the oldest ban goes first.
pub const BANS: usize = 256;
/// A room that a join makes waits so long for it: longer than a join may take.
pub const FOUNDING_TIME: Duration = Duration::from_secs(10);
/// How long a seat stays reserved for a user who is expected: to read a message and put on a headset.
pub const RESERVATION_TIME: Duration = Duration::from_secs(60);
/// Seats of a room that one user may have reserved at a time: a table of friends.
pub const RESERVATIONS_OF_USER: usize = 16;
/// In a room of at most so many, all seats but one may be reserved; in a larger one, half of them.
pub const SMALL_ROOM: usize = 16;
/// Users on a room's list of invited users: 128 KiB with the longest names.
pub const INVITED_USERS: usize = 1_024;
/// Wrong passwords of one user in [`GUESS_TIME`] ...
pub const GUESSES_OF_USER: usize = 5;
/// ... and of everybody: ten thousand common passwords take longer than a meeting.
pub const GUESSES: usize = 60;
/// See [`GUESSES_OF_USER`].
pub const GUESS_TIME: Duration = Duration::from_secs(60);
/// Changes of a lobby that are kept for watchers: of a busy tenant's rooms two looks of a slow one. One
/// further behind gets the whole list.
pub const LOBBY_LOG: usize = 4_096;
/// A watcher of a lobby is told of changes at most this often: a list that people read.
pub const LOBBY_INTERVAL: Duration = Duration::from_millis(250);
/// Rooms that a match tries; each refused it because it has just changed.
pub const MATCH_TRIES: usize = 8;
/// Acts of moderation that a room takes a second, on average, of all its moderators: everybody is told of each,
/// and somebody whose network is dark for ten seconds must not be cut off for it.
pub const ACTS_PER_SECOND: u64 = 5;
/// ... and at once.
pub const ACTS_BURST: u64 = 20;
/// Users whom a moderator has muted and who stay so when they come again; the one muted first goes first.
pub const MUTED_USERS: usize = 256;
/// Messages waiting for a session's state stream ...
pub const STATE_QUEUE: usize = 4_096;
/// ... and their bytes: a full snapshot, and what changes while it is on its way. A recipient further
/// behind is cut and resumes from a new snapshot.
pub const STATE_BACKLOG_BYTES: usize = MAX_STATE + 2 * EVENT_BACKLOG_BYTES;
/// A state message goes to QUIC in pieces of this many bytes ...
pub const STATE_PIECE: usize = 16 << 10;
/// ... and a recipient that does not take one in this time is cut. There is no limit on the age of what
/// waits behind a snapshot, which takes its time on a slow network.
pub const STATE_PIECE_TIME: Duration = EVENT_BACKLOG_AGE;
/// Messages waiting for a session outside rooms ...
pub const SOCIAL_QUEUE: usize = 256;
/// ... and their bytes: what two full lists of users take, with the longest names. One further behind is
/// cut.
pub const SOCIAL_BACKLOG_BYTES: usize = 1 << 20;
/// A session outside rooms that does not take a message in this time is cut.
pub const SOCIAL_WRITE_TIME: Duration = EVENT_BACKLOG_AGE;
/// Requests that a session outside rooms may make a second, on average; reading waits beyond it. A
/// person's hand is slower.
pub const SOCIAL_REQUESTS_PER_SECOND: u32 = 10;
/// ... and at once.
pub const SOCIAL_REQUESTS_BURST: u32 = 20;
/// Watching other users counts for so many: they are looked for among everybody, and may fill half of the
/// session's backlog.
pub const WATCH_COST: u64 = 10;
/// Changes of users are collected for this long: a shift that begins makes ten updates a second.
pub const WATCHERS_BATCH: Duration = Duration::from_millis(100);
/// Where so many watch that each batch would be more updates a second than this, batches are longer: half
/// a second for five thousand. One who keeps changing his status costs no more than that.
pub const WATCHERS_UPDATES_PER_SECOND: u32 = 10_000;
/// Devices of one user outside rooms; with one more the oldest goes, which is most likely a lost one.
pub const DEVICES: usize = 16;
/// Calls that a user may start, or add somebody to, a second, on average: each rings at up to sixteen
/// users', makes them busy to all others, and is two lines of the log ...
pub const STARTS_PER_SECOND: u32 = 1;
/// ... and at once.
pub const STARTS_BURST: u32 = 20;
/// A user without any session stays in an accepted call for so long: the time in which a session that is
/// lost comes back.
pub const CALL_GRACE: Duration = Duration::from_secs(30);
/// ... and in one that still rings: whoever waits for an answer sits in front of it.
pub const RING_GRACE: Duration = Duration::from_secs(5);
/// A peer is told that it is throttled at most this often, for each kind of stream and for its link.
pub const THROTTLED_INTERVAL: Duration = Duration::from_secs(1);
/// A message that is read so soon after the reading had to wait was there before.
pub const WAS_WAITING: Duration = Duration::from_millis(5);
/// How long a leaving peer's last events may take to arrive behind its leave.
pub const LEAVE_TIME: Duration = Duration::from_secs(1);
/// How long a new stream may take to say what it is.
pub const STREAM_TYPE_TIME: Duration = Duration::from_secs(2);
/// Tries of a join that meets a room instance, or users outside rooms, just as they end.
pub const JOIN_TRIES: usize = 3;
/// Lobbies that a join may meet just as they end. Each that ends has answered somebody, so this is far more
/// than a storm of joins for rooms that are not there brings about.
pub const LOBBY_TRIES: usize = 64;
/// Pause between two looks at rooms that are closing.
pub const CLOSING_PAUSE: Duration = Duration::from_millis(5);
/// How long the session of a peer that a moderator puts out stays, until the peer has the `Audit` that says
/// so: a slow round trip.
pub const LAST_ACT_TIME: Duration = Duration::from_millis(500);
/// How long ending sessions may take to say their code before the endpoints close.
pub const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a drain waits for closing connections.
pub const DRAIN_TIME: Duration = Duration::from_secs(3);

/// Ids of closed links that rest before the oldest of them is used again, so that late datagrams of a
/// closed link rarely meet a live one (and then fail on the id's random bits).
pub const RESTING_CONNECTION_IDS: usize = 1_024;
/// Who pauses for so long is no speaker any more: longer than the gaps of Opus's
/// discontinuous transmission (a packet every 400 ms, RFC 6716 and RFC 7587), shorter than a person
/// waits for the next sentence.
pub const SPEAKER_PAUSE: Duration = Duration::from_millis(500);
/// Slots of a room in use and resting together: a room may turn over its whole capacity several times
/// in a minute before joins must wait.
pub const SLOTS: u16 = MAX_ROOM_PEERS * 8;
/// Of these, as many as one user's devices may have resting: who joins and leaves in a loop keeps
/// nobody else out.
pub const RESTING_SLOTS_OF_USER: u16 = MAX_ROOM_PEERS / 2;

/// A session that was silent for this long is lost, and its peer keeps its place from then on. Clients
/// keep it alive every 15 s, and QUIC asks again for what is lost: a dark quarter of a minute, at the
/// worst moment, costs nobody his session.
pub const SESSION_IDLE: Duration = Duration::from_secs(30);
/// Bytes a client may have in flight on one stream: enough for the largest join, or for four of the largest
/// events.
pub const STREAM_WINDOW: u32 = 64 << 10;
/// ... and on all of its streams: control, events and bulk, so that none that is not read stops another.
pub const CONNECTION_WINDOW: u32 = 3 * STREAM_WINDOW;
/// Bytes of ours in flight to one client, on top of the backlog that waits in front of QUIC.
pub const SEND_WINDOW: u64 = 128 << 10;
/// Bytes of a client's handshake that may come out of order.
pub const CRYPTO_BUFFER: usize = 16 << 10;
/// Incoming connections that wait for the accept loop.
pub const INCOMING: usize = 1_024;
/// Their early bytes together: the loop takes them within milliseconds.
pub const INCOMING_BYTES: u64 = 4 << 20;
/// How long a refusal may take to reach the client before the connection is closed.
pub const REFUSAL_TIME: Duration = Duration::from_millis(500);
/// Bytes of a resume ticket, longer than the longest genuine one: a longer ticket is refused unread.
pub const TICKET_BYTES: usize = 1_024;
/// Bytes of a join token; a longer one is refused unread.
pub const TOKEN_BYTES: usize = 4_096;
/// Grants in one token.
pub const TOKEN_GRANTS: usize = 32;
/// Bytes of a configuration file; a larger one is none.
pub const CONFIG_FILE_BYTES: u64 = 1 << 20;
/// HTTP connections at a time; the next ones wait in the kernel's queue. A scraper, a few probes and
/// a person need five.
pub const HTTP_CONNECTIONS: usize = 64;
/// Time for one HTTP connection, from its first byte to its last.
pub const HTTP_CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Time for the head of a request.
pub const HTTP_HEAD_TIME: Duration = Duration::from_secs(5);
/// Bytes of that head; also what one connection may buffer.
pub const HTTP_HEAD_BYTES: usize = 16 << 10;

// How they hang together.
const _: () = {
    // Whoever comes back is sent the log, and there is room for what comes behind it.
    assert!(2 * EVENT_LOG_BYTES <= EVENT_BACKLOG_BYTES && 2 * BULK_LOG_BYTES <= BULK_BACKLOG_BYTES);
    // What a newcomer is sent leaves room for what comes meanwhile.
    assert!(HISTORY_BYTES + EVENT_LOG_BYTES < EVENT_BACKLOG_BYTES);
    // One sender alone fills nobody's backlog.
    assert!(2 * EVENT_BYTES_BURST as usize <= EVENT_BACKLOG_BYTES);
    assert!(2 * BULK_BYTES_BURST as usize <= BULK_BACKLOG_BYTES);
    // A session takes a whole snapshot with what is kept behind it.
    assert!(STATE_BACKLOG_BYTES >= MAX_STATE + STATE_FEED_BYTES);
    // A moderator's burst comes back to the moderator as replies and as audits.
    assert!(CONTROL_QUEUE >= 2 * ACTS_BURST as usize + STATE_REQUESTS_BURST as usize);
    // The join that makes a room has this long at most (`unjoined_timeout`).
    assert!(FOUNDING_TIME.as_secs() > 5);
    // A flush and a message fit their tables.
    assert!(FRAME_TABLE_BYTES <= FLUSH_BYTES_PER_TURN);
    assert!(MESSAGE_BYTES_BURST as usize <= FRAME_TABLE_BYTES);
    // A link takes two of the ids that a connection id can name.
    assert!(2 * LINKS_PER_SHARD <= 1 << 24);
    // One byte of a connection id names the shard.
    assert!(MAX_SHARDS <= 256);
    // Targets above a room's slots have meanings of their own.
    assert!(SLOTS < TARGET_RESERVED);
    // A user's resting slots leave others at least as many.
    assert!(2 * RESTING_SLOTS_OF_USER < SLOTS);
};
