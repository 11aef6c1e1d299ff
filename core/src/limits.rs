//! All limits of the server in one place, each with its reason. The relations between them are
//! asserted at compile time, at the end of the file. [`Limits`] is what an operator may set; the
//! constants below it are fixed.

use std::time::Duration;

use nucleus_protocol::limits::{
    EVENT_ACK_BYTES, MAX_BODY, MAX_BULK_MESSAGE, MAX_CALL_USERS, MAX_CLIENT_CONTROL_MESSAGE,
    MAX_CONTROL_MESSAGE, MAX_DATAGRAM, MAX_EVENT_MESSAGE, MAX_ROOM_LIST_BYTES, MAX_ROOM_PEERS,
    MAX_SOCIAL_REQUEST, MAX_STATE, MAX_STATE_OBJECTS, MAX_STATE_OWNED, MAX_STATE_REQUEST,
    MAX_USER_LIST_BYTES,
};
use nucleus_protocol::realtime::{MessageKind, TARGET_RESERVED};
use serde::Deserialize;

pub use crate::edge_limits::*;
pub use crate::range::{OutOfRange, Setting, within};
use crate::rate::Rate;
pub use crate::room_limits::*;
use crate::text;

/// Defines [`Limits`] from a list of settings, each with its default and its range.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $range:expr;)*) => {
        /// The limits that an operator may set. None of them can be switched off.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits { $($(#[$doc])* pub $name: $type,)* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Returns every setting at the least value of its range.
            pub fn least() -> Self {
                Self { $($name: *($range).start(),)* }
            }

            /// Checks that every setting is in its range.
            ///
            /// # Errors
            ///
            /// [`OutOfRange`] for the first setting that is not.
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

/// Longest [`Limits::ticket_ttl`].
pub const MAX_TICKET_TTL: Duration = ms(604_800_000);

settings! {
    /// Most sessions at a time that have joined a room or entered outside rooms.
    sessions: u32 = 20_000, 1..=1_000_000;
    /// Most connections at a time whose token has not been accepted yet.
    unjoined: u32 = 4_096, 1..=65_536;
    /// How long a connection may stay open before its token is accepted.
    #[serde(deserialize_with = "text::duration")]
    unjoined_timeout: Duration = ms(5_000), ms(100)..=ms(5_000);
    /// Most rooms at a time.
    rooms: u32 = 10_000, 1..=1_000_000;
    /// Most sessions of one tenant, in all its products together.
    tenant_sessions: u32 = 20_000, 1..=1_000_000;
    /// Most sessions of one user of a tenant. Also limits the rooms that one user has made, because
    /// an empty room may outlive the session that made it.
    user_sessions: u32 = 1_000, 1..=10_000;
    /// Most rooms of one tenant, in all its products together.
    tenant_rooms: u32 = 10_000, 1..=1_000_000;
    /// Most rooms of one tenant that do not end when they are empty.
    kept_rooms: u32 = 16, 0..=10_000;
    /// Most rooms of one tenant that outlive their last peer at a time, kept ones not included. One
    /// more ends at once when its last peer leaves.
    tenant_empty_rooms: u32 = 1_000, 0..=1_000_000;
    /// Most of these rooms that one user has made.
    user_empty_rooms: u32 = 16, 0..=10_000;
    /// Longest time that a room may outlive its last peer.
    #[serde(deserialize_with = "text::duration")]
    empty_room_ttl: Duration = ms(300_000), ms(0)..=ms(3_600_000);
    /// Most peers in one room.
    room_capacity: u16 = 1_000, 2..=MAX_ROOM_PEERS;
    /// Most peers of one room that may speak at once.
    speakers: u16 = 128, 1..=MAX_ROOM_PEERS;
    /// Most objects in the shared state of one room.
    room_objects: u32 = MAX_STATE_OBJECTS as u32, 1..=MAX_STATE_OBJECTS as u32;
    /// Most objects of one user in the shared state of one room, unless the user may moderate: those
    /// that all its peers own together, and those without an owner that its peers owned last.
    user_objects: u32 = MAX_STATE_OWNED as u32, 1..=MAX_STATE_OBJECTS as u32;
    /// Most bytes of the shared state of one room, measured as its encoded snapshot. The last
    /// quarter is reserved for peers that may change the room's fields or moderate.
    room_state_bytes: u32 = MAX_STATE as u32, 32_768..=MAX_STATE as u32;
    /// Reliable messages that one room accepts per second on average, from all its peers and on
    /// both lanes together. The burst is twice as many.
    room_events_per_s: u32 = 1_000, 1..=1_000_000;
    /// Bytes of reliable messages that one room accepts per second on average. The burst is twice
    /// as many.
    room_event_bytes_per_s: u32 = 512 << 10, 4_096..=1_073_741_824;
    /// Deliveries of a room's reliable messages per second on average: each message counts once for
    /// each recipient. The burst is twice as many.
    room_deliveries_per_s: u32 = 100_000, 1_000..=100_000_000;
    /// Bytes of these deliveries per second on average. The burst is twice as many.
    room_delivery_bytes_per_s: u32 = 50 << 20, 1_048_576..=u32::MAX;
    /// Reliable events of one peer per second, on average. When a peer exceeds this or one of the
    /// next three rates, the server stops reading the peer's stream for a while and tells the peer
    /// so.
    peer_events_per_s: u32 = 200, 1..=100_000;
    /// Bytes of reliable events of one peer per second, on average.
    peer_event_bytes_per_s: u32 = 64 << 10, 1_024..=16_777_216;
    /// Bytes of the bulk lane of one peer per second, on average.
    peer_bulk_bytes_per_s: u32 = 64 << 10, 1_024..=16_777_216;
    /// Requests of one peer per second, on average: changes of the shared state, moderation,
    /// groups.
    peer_requests_per_s: u32 = 30, 1..=1_000;
    /// Realtime messages of one peer per second. Further messages are dropped.
    peer_messages_per_s: u32 = 1_000, 10..=100_000;
    /// How long a peer may be silent on both planes before the roster shows it as away. An idle
    /// client sends one keep-alive every 7.5 s, so it gets [`KEEP_ALIVE_GRACE`] in addition. After
    /// [`SESSION_IDLE`] of silence the session is lost.
    #[serde(deserialize_with = "text::duration")]
    away_after: Duration = ms(10_000), ms(10_000)..=ms(30_000);
    /// How long a participant stays in its room after its session was lost, which takes at most
    /// [`SESSION_IDLE`] of silence.
    #[serde(deserialize_with = "text::duration")]
    peer_ttl: Duration = ms(30_000), ms(1_000)..=ms(600_000);
    /// How long after a join a ticket admits its user to another instance of the room, with the
    /// role of that time: after a restart of the server an expired token must not end a meeting.
    #[serde(deserialize_with = "text::duration")]
    ticket_ttl: Duration = ms(43_200_000), ms(60_000)..=MAX_TICKET_TTL;
    /// How long a call rings.
    #[serde(deserialize_with = "text::duration")]
    ring_time: Duration = ms(30_000), ms(5_000)..=ms(300_000);
    /// Most calls at a time of one product of a tenant, including those that still ring.
    tenant_calls: u32 = 2_000, 1..=1_000_000;
    /// Most realtime bits per second to one recipient.
    egress_bits_per_s: u64 = 10_000_000, 64_000..=1_000_000_000;
}

// The shard: its turns, its mailboxes, and the datagrams of sessions.

/// Most realtime threads: a connection id names its shard in one byte, and no machine needs more.
pub const MAX_SHARDS: u16 = 64;

/// Bytes after which a shard stops flushing for this turn: one or two milliseconds of work. The
/// datagrams of the last recipient may exceed it. The flush of a room of 300 peers that all send
/// poses takes several turns; the shard drains its socket between them.
pub const FLUSH_BYTES_PER_TURN: usize = 512 << 10;
/// Most pairs of message and recipient that the flushes of one turn examine: a few milliseconds.
/// Bytes alone are no measure: a message to a single peer is examined for every recipient, but
/// produces bytes for one.
pub const FLUSH_CHECKS_PER_TURN: usize = 1 << 20;
/// How often a shard measures its load to choose its tick.
pub const LOAD_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time between two drains of the socket, whatever the tick. A stock receive buffer holds
/// 512 small datagrams, which is 8 ms at 60,000 a second.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(2);
/// Receive calls, of 64 datagrams each, in one turn of a shard. The bound keeps a flood from
/// starving the flush.
pub const DRAINS_PER_TURN: usize = 32;
/// Most commands that a shard takes in one turn. Also the most misdirected datagrams in one turn,
/// and the most datagrams of sessions.
pub const SHARD_MAIL_PER_TURN: usize = 256;
/// Most commands that wait for a shard: enough for a thousand joins at once. Senders wait when the
/// mailbox is full.
pub const SHARD_MAILBOX: usize = 4_096;
/// Most misdirected datagrams that wait for a shard: a few milliseconds of a busy shard whose
/// datagrams all arrive at other shards. Further datagrams are dropped and counted.
pub const MISDIRECTED: usize = 1_024;
/// Most datagrams from sessions that wait for a shard: a quarter of a second of five hundred
/// clients on the fallback. Further datagrams are dropped and counted.
pub const SHARD_SESSION_DATAGRAMS: usize = 4_096;
/// Most datagrams that wait for one session to pass them to QUIC: a tenth of a second of the
/// default [`Limits::egress_bits_per_s`].
pub const SESSION_DATAGRAMS: usize = 128;
/// How long a datagram may wait for its session to pass it to QUIC: the age limit of poses, because
/// most of these datagrams carry poses.
pub const SESSION_DATAGRAM_AGE: Duration = Duration::from_millis(100);
/// Most bytes of datagrams that QUIC may hold for a client on the fallback: what one tick sends in
/// a busy room. Kept small, because datagrams do not expire inside QUIC.
pub const SESSION_DATAGRAM_BYTES: usize = 8 << 10;
/// Most bytes of datagrams that QUIC has received from a client and the session has not read yet.
pub const SESSION_DATAGRAM_INBOX: usize = 64 << 10;
/// Time between two turns of a shard that shows that the process stood still: four times as long as
/// an idle shard waits.
pub const STOOD_STILL: Duration = Duration::from_secs(1);
/// How long messages without a time stamp of the kernel are dropped after the process stood still.
/// Enough to read what waits in the sockets: nobody knows how old that is. The capture time of a
/// message does not tell either, because it wraps after 65 s.
pub const BACKLOG_TIME: Duration = Duration::from_millis(500);
/// Times at which a link counts as idle are rounded up to multiples of this interval, so that
/// thousands of idle links share their wake-ups.
pub const SILENCE_GRID: Duration = Duration::from_millis(250);
/// A link counts as sending only keep-alives if its newest datagram arrived more than this time
/// after its newest message.
pub const ONLY_KEEP_ALIVES_AFTER: Duration = Duration::from_secs(2);
/// How much longer than [`Limits::away_after`] a link that sends only keep-alives may be silent
/// before its peer counts as away. A keep-alive comes every 7.5 s, and one of them may be lost.
pub const KEEP_ALIVE_GRACE: Duration = Duration::from_millis(7_500);
/// Divisor of the shortest time between two turns while a flush is under way. One piece of a flush
/// takes longer than the divided time, so the shard drains its socket between two pieces but does
/// not wait. With the undivided time, the flush of a room of 300 would take longer than its poses
/// stay useful.
pub const FLUSH_PAUSE: u32 = 8;
/// Shortest time between two reports of a session to the shard that its peer is active, because
/// messages arrive on its streams.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Most links of one shard: the slab index in a connection id has 24 bits, and each link takes two
/// ids.
pub const LINKS_PER_SHARD: usize = 1 << 20;
/// Ids of closed links that are not used again yet. A late datagram of a closed link thus rarely
/// has the slab index of a live link. If it does, the random bits of the two ids differ.
pub const RESTING_CONNECTION_IDS: usize = 1_024;

/// Most bytes of messages that a room gathers for one flush: 4,000 peers with a pose of 45 bytes
/// each. Further messages are dropped and counted.
pub const FRAME_TABLE_BYTES: usize = 256 << 10;
/// Rate of the bytes of realtime messages that one link may send. The average is a fifth of the
/// default [`Limits::egress_bits_per_s`].
pub const MESSAGE_BYTES_RATE: Rate = Rate { per_second: 256 << 10, burst: 16 << 10 };
/// Returns the rate of the realtime messages that one link may send. A burst is half a second of the
/// average, so that a client that was held up for a moment loses nothing.
pub fn message_rate(limits: &Limits) -> Rate {
    let per_second = u64::from(limits.peer_messages_per_s);
    Rate { per_second, burst: per_second / 2 }
}
/// Datagrams without messages that a client may send per second: five keep-alives of a new link or
/// after a change of plane, ten clock requests, twenty reports at the shortest interval, and five
/// answers to path challenges, with as many again to spare.
pub const CONTROL_DATAGRAMS_PER_S: u64 = 80;
/// Returns the rate of the datagrams that the server opens for one link: a datagram for each message
/// that the link may send, and those of its control frames. Opening a datagram costs the shard a
/// microsecond, whatever it holds.
///
/// It also bounds the forged datagrams that a key is tried on: with the default rate a flooded link
/// takes a year to reach the 2^36 that RFC 9001, section 6.6, allows for ChaCha20-Poly1305.
///
/// A link has this rate on each plane. On the realtime port it has the rate twice: for its active
/// path, and for all other addresses together, from where anybody who has seen the link's
/// connection id can send forged datagrams.
pub fn datagram_rate(limits: &Limits) -> Rate {
    let Rate { per_second, burst } = message_rate(limits);
    let control = CONTROL_DATAGRAMS_PER_S;
    Rate { per_second: per_second + control, burst: burst + control }
}
/// Least burst of the bytes to one recipient: two of the largest datagrams. A smaller burst would
/// withhold large messages for ever.
pub const EGRESS_BURST_LEAST: u64 = 2 * MAX_DATAGRAM as u64;
/// Returns the rate of the bytes to one recipient. A burst is a tenth of the bytes of a second, so
/// that a late flush can catch up.
pub fn egress_rate(limits: &Limits) -> Rate {
    let per_second = limits.egress_bits_per_s / 8;
    Rate { per_second, burst: (per_second / 10).max(EGRESS_BURST_LEAST) }
}
/// Interval of the clients' reports. The server's budget for a recipient is fixed today, so reports
/// that come more often would have no use, and a thousand listeners would send ten thousand.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Pause in its voice after which a peer is no speaker any more. Longer than the gaps of Opus's
/// discontinuous transmission (a packet every 400 ms, RFC 6716 and RFC 7587), shorter than the
/// pause between two sentences.
pub const SPEAKER_PAUSE: Duration = Duration::from_millis(500);

/// Returns the age after which a message is no longer relayed, counted from its arrival. A server
/// that was stopped for three seconds must not send old poses.
pub fn age_limit(kind: MessageKind) -> Duration {
    match kind {
        MessageKind::Pose | MessageKind::Pointer => Duration::from_millis(100),
        MessageKind::Voice | MessageKind::Unreliable => Duration::from_millis(200),
    }
}

// The tasks of rooms and lobbies, and the queues of a session in a room.

/// Most inputs that wait for a room's task. Sessions wait when the mailbox is full, so that QUIC's
/// flow control slows the sender.
pub const ROOM_MAILBOX: usize = 1_024;
/// Most inputs that wait for a lobby's task, or for the task of the users outside rooms. Senders
/// wait when the mailbox is full.
pub const LOBBY_MAILBOX: usize = ROOM_MAILBOX;
/// Most requests in a lobby's mailbox that joins and watchers have sent. The other half of the
/// mailbox is for messages of rooms.
pub const LOBBY_QUESTIONS: usize = LOBBY_MAILBOX / 2;
/// Most inputs that a task takes before it lets other tasks run.
pub const ROOM_INPUTS_PER_TURN: usize = 128;
/// Most outputs that a task carries out before it lets other tasks run: one event in a room of a
/// thousand has a thousand outputs, and each wakes the task of a session. Another room of the thread
/// then waits for 16 of these tasks and their connections, not for a thousand.
pub const OUTPUTS_PER_TURN: usize = 16;
/// How long roster changes are collected: a thousand joins then make ten updates per second.
pub const ROSTER_BATCH: Duration = Duration::from_millis(100);
/// Deadlines of acknowledgements of events are multiples of this interval, so that the participants
/// of a room share their wake-ups: one a second, whatever their number.
pub const EVENT_ACK_GRID: Duration = Duration::from_secs(1);
/// Control messages waiting for one session, each at most a full roster. A moderator's full burst
/// makes at most 72 replies and audits for the moderator; the rest is for other messages.
pub const CONTROL_QUEUE: usize = 128;
/// Most event messages that wait for one session.
pub const EVENT_QUEUE: usize = 4_096;
/// Most bytes of events that wait for one session. A recipient further behind is cut off and must
/// resume.
pub const EVENT_BACKLOG_BYTES: usize = 256 << 10;
/// Longest time that an event waits for a session that does not take it. Then the session is cut
/// off.
pub const EVENT_BACKLOG_AGE: Duration = Duration::from_secs(5);
/// Most bytes of a room's newest events kept for peers that resume, including the overhead of the
/// log. Half of a session's backlog, so that the events after a replay fit behind it.
pub const EVENT_LOG_BYTES: usize = EVENT_BACKLOG_BYTES / 2;
/// Most events of a room kept for peers that join later.
pub const HISTORY_EVENTS: usize = 256;
/// Most bytes of the events kept for peers that join later. A newcomer receives them before
/// anything else on the lane, so they must be few. Together with a full replay they must fit a
/// session's backlog.
pub const HISTORY_BYTES: usize = 64 << 10;
/// Most messages of the bulk lane that wait for one session.
pub const BULK_QUEUE: usize = 4_096;
/// Most bytes of the bulk lane that wait for one session: eight of the largest messages, from eight
/// senders at once.
pub const BULK_BACKLOG_BYTES: usize = 8 * MAX_BULK_MESSAGE;
/// Longest time that a bulk message waits for a session that does not take it. Longer than for
/// events: large messages are not urgent, and on a slow network they are sent after the events.
pub const BULK_BACKLOG_AGE: Duration = Duration::from_secs(15);
/// Most bytes of a room's newest bulk pieces kept for peers that resume. The bulk lane has its own
/// log, because in a common one two large messages would push out half a minute of events.
pub const BULK_LOG_BYTES: usize = BULK_BACKLOG_BYTES / 2;
/// Bulk pieces that a peer may send per second, on average; the server reads no faster. Small
/// messages belong on the events lane.
pub const BULK_PER_SECOND: u32 = 50;
/// Bulk pieces that a peer may send at once.
///
/// The server adjusts this and the other bursts of a peer's streams to the average rates: a burst
/// is at least one second's worth, and at most four seconds' worth.
pub const BULK_BURST: u32 = 100;
/// Bytes of bulk pieces that a peer may send at once: half of a recipient's backlog, as with
/// events.
pub const BULK_BYTES_BURST: u32 = (BULK_BACKLOG_BYTES / 2) as u32;
/// Events that a peer may send at once.
pub const EVENTS_BURST: u32 = 400;
/// Bytes of events that a peer may send at once: half of a recipient's backlog, so that one sender
/// alone cannot overflow the backlog of a recipient whose network carries the average rate.
pub const EVENT_BYTES_BURST: u32 = 128 << 10;
/// Requests that a peer may make at once. Their replies fill a quarter of a session's control
/// queue.
pub const STATE_REQUESTS_BURST: u32 = CONTROL_QUEUE as u32 / 4;
/// Bytes of a peer's requests per second, on average: half of the default
/// [`Limits::peer_event_bytes_per_s`], because everybody receives the changes in addition to
/// events.
pub const STATE_BYTES_PER_SECOND: u32 = 32 << 10;
/// Bytes of requests that a peer may send at once: eight full requests, for a peer that builds a
/// scene.
pub const STATE_BYTES_BURST: u32 = 8 * MAX_STATE_REQUEST as u32;
/// Most bytes of updates kept behind an encoded snapshot, for sessions that join at almost the same
/// time. Beyond this, encoding a new snapshot is cheaper.
pub const STATE_FEED_BYTES: usize = 64 << 10;
/// Most state messages that wait for one session.
pub const STATE_QUEUE: usize = 4_096;
/// Most bytes of state that wait for one session: a full snapshot, and the changes while it is
/// being sent. A recipient further behind is cut off and resumes from a new snapshot.
pub const STATE_BACKLOG_BYTES: usize = MAX_STATE + 2 * EVENT_BACKLOG_BYTES;
/// Size in bytes of the pieces in which a session passes state messages to QUIC.
pub const STATE_PIECE: usize = 16 << 10;
/// Longest time that a recipient may take for a piece of state. Then the recipient is cut off. The
/// age of waiting messages is not limited, because a snapshot in front of them takes long on a slow
/// network.
pub const STATE_PIECE_TIME: Duration = EVENT_BACKLOG_AGE;
/// Shortest time between two reports to a peer that it is throttled, for each kind of stream and
/// for its link.
pub const THROTTLED_INTERVAL: Duration = Duration::from_secs(1);
/// If a message is read within this time after a rate limit paused the reading, the message was
/// already waiting, so its sender counts as throttled.
pub const WAS_WAITING: Duration = Duration::from_millis(5);

// The lobby.

/// Most changes of a lobby kept for its watchers: twice as many as a slow watcher of a busy tenant
/// misses between two updates. A watcher further behind gets the whole list.
pub const LOBBY_LOG: usize = 4_096;
/// Shortest time between two updates to a watcher of a lobby. People read the list, so faster
/// updates would gain nothing.
pub const LOBBY_INTERVAL: Duration = Duration::from_millis(250);
/// Most rooms that one match tries. A room refuses a match only if it has changed a moment before.
pub const MATCH_TRIES: usize = 8;
/// Most tries of a join or an enter. A try fails if the room instance, or the task of users outside
/// rooms, is just ending.
pub const JOIN_TRIES: usize = 3;
/// Most lobbies that a join tries. A try fails if the lobby ends before it answers the join. A
/// lobby ends only after it has answered another request, so even thousands of joins for rooms that
/// do not exist need far fewer tries.
pub const LOBBY_TRIES: usize = 64;
/// Pause between two checks whether the closing rooms have ended.
pub const CLOSING_PAUSE: Duration = Duration::from_millis(5);

// Users outside rooms, and calls.

/// Most messages that wait for a session outside rooms.
pub const SOCIAL_QUEUE: usize = 256;
/// Most bytes of messages that wait for a session outside rooms: a full list of rooms and a full
/// list of users, both with the longest names. A session further behind is cut off.
pub const SOCIAL_BACKLOG_BYTES: usize = MAX_CONTROL_MESSAGE;
/// Longest time that a session outside rooms may take for a message. Then the session is cut off.
pub const SOCIAL_WRITE_TIME: Duration = EVENT_BACKLOG_AGE;
/// Rate of requests of a session outside rooms: more than a person makes. The server reads no
/// faster.
pub const SOCIAL_REQUESTS_RATE: Rate = Rate { per_second: 10, burst: 20 };
/// Number of requests that a request to watch users or rooms counts as. The server searches all
/// users or rooms, and the answer may fill half of the session's backlog.
pub const WATCH_COST: u64 = 10;
/// How long changes of users are collected: when a whole team comes online, its watchers then get
/// ten updates per second.
pub const WATCHERS_BATCH: Duration = Duration::from_millis(100);
/// Most updates per second to all watchers together. With more watchers, changes are collected for
/// longer: half a second for five thousand watchers. So a user who keeps changing status does not
/// cause more updates.
pub const WATCHERS_UPDATES_PER_SECOND: u32 = 10_000;
/// Most devices of one user outside rooms. When one more device enters, the server closes the
/// oldest, which has most likely lost its connection.
pub const DEVICES: usize = 16;
/// Rate at which a user may start calls or add users to calls. Each call rings at up to sixteen
/// users, makes them busy for others, and writes two log lines.
pub const STARTS_RATE: Rate = Rate { per_second: 1, burst: 20 };
/// How long a user without any session stays in an accepted call: long enough for a client to come
/// back after it lost its session.
pub const CALL_GRACE: Duration = Duration::from_secs(30);
/// How long a user without any session stays in a call that still rings. Shorter than
/// [`CALL_GRACE`], because somebody is waiting for the answer.
pub const RING_GRACE: Duration = Duration::from_secs(5);

/// Most members, and most called users, of a call that the history names: four times those at a time.
pub const CALL_HISTORY_USERS: usize = 4 * MAX_CALL_USERS;

// The relations between the limits.
const _: () = {
    // A session's backlog holds a full replay of the log and the same amount of newer messages.
    assert!(2 * EVENT_LOG_BYTES <= EVENT_BACKLOG_BYTES && 2 * BULK_LOG_BYTES <= BULK_BACKLOG_BYTES);
    // History and replay together leave space in the backlog for newer events.
    assert!(HISTORY_BYTES + EVENT_LOG_BYTES < EVENT_BACKLOG_BYTES);
    // The burst of one sender fills at most half of a backlog.
    assert!(2 * EVENT_BYTES_BURST as usize <= EVENT_BACKLOG_BYTES);
    assert!(2 * BULK_BYTES_BURST as usize <= BULK_BACKLOG_BYTES);
    // A session's state queue holds a full snapshot and all updates kept behind it.
    assert!(STATE_BACKLOG_BYTES >= MAX_STATE + STATE_FEED_BYTES);
    // A moderator's control queue holds the replies and audits of a full burst.
    assert!(CONTROL_QUEUE >= 2 * ACTS_RATE.burst as usize + STATE_REQUESTS_BURST as usize);
    // A client that keeps no more than its stream's window never waits for a late acknowledgement.
    assert!(2 * EVENT_ACK_BYTES <= STREAM_WINDOW as usize);
    // A new room waits longer than a join may take (the upper bound of `unjoined_timeout`).
    assert!(FOUNDING_TIME.as_secs() > 5);
    // One full frame table for one recipient fits one turn of flushing.
    assert!(FRAME_TABLE_BYTES <= FLUSH_BYTES_PER_TURN);
    // Every queue and burst admits the largest item.
    assert!(MESSAGE_BYTES_RATE.burst as usize >= MAX_BODY);
    assert!(SESSION_DATAGRAM_BYTES > MAX_DATAGRAM && SESSION_DATAGRAM_INBOX > MAX_DATAGRAM);
    assert!(EVENT_LOG_BYTES >= MAX_EVENT_MESSAGE && HISTORY_BYTES >= MAX_EVENT_MESSAGE);
    assert!(BULK_LOG_BYTES >= MAX_BULK_MESSAGE && STATE_FEED_BYTES >= MAX_EVENT_MESSAGE);
    assert!(SOCIAL_BACKLOG_BYTES >= MAX_ROOM_LIST_BYTES + MAX_USER_LIST_BYTES);
    assert!(SOCIAL_REQUESTS_RATE.burst >= WATCH_COST);
    assert!(STREAM_WINDOW as usize >= MAX_CLIENT_CONTROL_MESSAGE);
    assert!(STREAM_WINDOW as usize >= MAX_EVENT_MESSAGE);
    assert!(STREAM_WINDOW as usize >= MAX_SOCIAL_REQUEST);
    // The burst of one link fits the frame table.
    assert!(MESSAGE_BYTES_RATE.burst as usize <= FRAME_TABLE_BYTES);
    // Each link takes two of the slab indexes that a connection id can hold.
    assert!(2 * LINKS_PER_SHARD <= 1 << 24);
    // One byte of a connection id names the shard.
    assert!(MAX_SHARDS <= 256);
    // Targets above a room's slots have other meanings.
    assert!(SLOTS < TARGET_RESERVED);
    // The resting slots of one user leave at least as many to others.
    assert!(2 * RESTING_SLOTS_OF_USER < SLOTS);
};

#[cfg(test)]
mod tests {
    use nucleus_protocol::limits::{MAX_STATE_REQUEST, STATE_RESERVE};

    use super::*;
    use crate::stream_rates::StreamRates;

    /// Whatever an operator sets, no burst is too small for the largest item.
    #[test]
    fn every_least_setting_admits_the_largest_item() {
        let limits = Limits::least();
        limits.check().unwrap();
        for rates in [StreamRates::events, StreamRates::bulk, StreamRates::requests] {
            let StreamRates { messages, bytes, largest } = rates(&limits);
            assert!(messages.burst >= 1 && bytes.burst >= largest as u64);
        }
        assert!(message_rate(&limits).burst >= 1);
        assert!(egress_rate(&limits).burst >= MAX_DATAGRAM as u64);
        // Peers without the right to moderate may not use the reserved part.
        let state = limits.room_state_bytes as usize;
        assert!(state - state / STATE_RESERVE > MAX_STATE_REQUEST);
    }
}
