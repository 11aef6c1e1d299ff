//! The server's fixed limits, each with its reason. What an operator may set is in `config`.

use std::time::Duration;

use nucleus_protocol::limits::{MAX_BULK_MESSAGE, MAX_STATE, MAX_STATE_REQUEST};
use nucleus_protocol::realtime::Kind;

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
pub const COMMANDS_PER_TURN: usize = 256;
/// Commands waiting for a shard: a thousand joins at once and room to spare. Senders wait.
pub const SHARD_MAILBOX: usize = 4_096;
/// Datagrams that another shard received, waiting for the one they belong to: a few milliseconds of a
/// busy shard that gets everything by mistake. More are dropped and counted.
pub const STRAYS: usize = 1_024;
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
const _: () = assert!(HISTORY_BYTES + EVENT_LOG_BYTES < EVENT_BACKLOG_BYTES);
/// A link's silence is noticed at multiples of this: thousands of idle links share their wake-ups.
pub const SILENCE_GRID: Duration = Duration::from_millis(250);
/// A peer is idle whose last word came so long after its last message ...
pub const IDLE_AFTER: Duration = Duration::from_secs(2);
/// ... and may be silent for so much longer than one that talks: it speaks every 7.5 s, and one of its
/// words may be lost.
pub const IDLE_GRACE: Duration = Duration::from_millis(7_500);
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
pub const TABLE_BYTES: usize = 256 << 10;
/// Bytes of messages a link may send a second, on average: a fifth of what one recipient gets ...
pub const MESSAGE_BYTES_PER_SECOND: u32 = 256 << 10;
/// ... and at once.
pub const MESSAGE_BYTES_BURST: u32 = 16 << 10;

/// Nothing older than this since its arrival is relayed: a server that was stopped for three
/// seconds must not pour out old poses.
pub fn age_limit(kind: Kind) -> Duration {
    match kind {
        Kind::Pose | Kind::Pointer => Duration::from_millis(100),
        Kind::Voice | Kind::Unreliable => Duration::from_millis(200),
    }
}

/// Inputs waiting for a room's task. Sessions wait, so QUIC's flow control reaches the sender.
pub const ROOM_MAILBOX: usize = 1_024;
/// Inputs a room takes before it lets other tasks run.
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
/// How long a seat is held for a user who is expected: to read a message and put on a headset.
pub const HOLD_TIME: Duration = Duration::from_secs(60);
/// Seats of a room that one user may hold at a time: a table of friends.
pub const HOLDS_OF_USER: usize = 16;
/// A room of at most so many may be held but for one seat, a larger one but for half of them.
pub const SMALL_ROOM: usize = 16;
/// Users on a room's list of guests: 128 KiB with the longest names.
pub const GUESTS: usize = 1_024;
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
pub const HALL_QUEUE: usize = 256;
/// ... and their bytes: two full views of people with the longest names. One further behind is cut.
pub const HALL_BACKLOG_BYTES: usize = 1 << 20;
/// A session outside rooms that does not take a message in this time is cut.
pub const HALL_WRITE_TIME: Duration = EVENT_BACKLOG_AGE;
/// Requests that a session outside rooms may make a second, on average; reading waits beyond it. A
/// person's hand is slower.
pub const HALL_REQUESTS_PER_SECOND: u32 = 10;
/// ... and at once.
pub const HALL_REQUESTS_BURST: u32 = 20;
/// A new view of people counts for so many: it is looked for among everybody, and may fill half of the
/// session's backlog.
pub const WATCH_COST: u64 = 10;
/// Changes of people are collected for this long: a shift that begins makes ten updates a second.
pub const PEOPLE_BATCH: Duration = Duration::from_millis(100);
/// Where so many watch that each batch would be more updates a second than this, batches are longer: half
/// a second for five thousand. One who keeps changing his status costs no more than that.
pub const PEOPLE_UPDATES_PER_SECOND: u32 = 10_000;
/// Devices of one user in a hall; with one more the oldest goes, which is most likely a lost one.
pub const DEVICES: usize = 16;
/// Calls that a user may start, or add somebody to, a second, on average: each rings at up to sixteen people's, makes them busy to
/// all others, and is two lines of the log ...
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
/// Tries of a join that meets a room instance which is just closing.
pub const JOIN_TRIES: usize = 3;
/// Pause between two looks at rooms that are closing.
pub const CLOSING_PAUSE: Duration = Duration::from_millis(5);
/// How long the session of a peer that a moderator puts out stays, until the peer has the `Audit` that says
/// so: a slow round trip.
pub const LAST_ACT_TIME: Duration = Duration::from_millis(500);
/// How long ending sessions may take to say their code before the endpoints close.
pub const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a drain waits for closing connections.
pub const DRAIN_TIME: Duration = Duration::from_secs(3);
