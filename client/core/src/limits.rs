//! Limits on what a client holds for a server, each with its reason. A server that exceeds one is broken
//! or hostile: the client closes the session, or reads no further.
//!
//! Most are sixteen times what a server of today sends. So a later server may have larger rooms and
//! longer lists, but cannot fill the client's memory.

use nucleus_protocol::limits::{
    MAX_NAME, MAX_ROOM_LIST, MAX_ROOM_LIST_BYTES, MAX_ROOM_PEERS, MAX_STATE_FIELDS, MAX_STATE_KEY,
    MAX_STATE_OBJECTS, MAX_USER_LIST, MAX_USER_LIST_BYTES,
};

use crate::sized::{ListLimit, QueueLimit};

/// How much larger lists may be than those of a server of today.
const SPARE: usize = 16;

/// Bytes of one peer's user id, name and role. Copies of them wait in events, and the user ids of callers
/// are kept for a while.
pub(crate) const MAX_PEER_TEXT: usize = SPARE * 3 * MAX_NAME;

/// The peers of a room: nearly as many as there are slots, with texts as if all had the longest of today.
pub(crate) const ROSTER: ListLimit = ListLimit {
    entries: SPARE * MAX_ROOM_PEERS as usize,
    bytes: SPARE * MAX_ROOM_PEERS as usize * 3 * MAX_NAME,
};

/// The watched users.
pub(crate) const USERS: ListLimit =
    ListLimit { entries: SPARE * MAX_USER_LIST, bytes: SPARE * MAX_USER_LIST_BYTES };

/// The watched rooms, with the fields that they list.
pub(crate) const ROOMS: ListLimit =
    ListLimit { entries: SPARE * MAX_ROOM_LIST, bytes: SPARE * MAX_ROOM_LIST_BYTES };

/// The events of a room that wait for the application.
///
/// The queue is full with all events of one act upon the largest room, such as muting everybody, and
/// then the client reads no further. So one act never fills an empty queue. It is also three seconds of
/// the events of the largest rooms.
///
/// One session of a lawful server never makes the queue overfull: before its last message the queue was
/// not full, and no message brings as many events as fill it. The other two limits also hold the rosters
/// and states of several sessions, which do not make the queue full. The largest roster and the largest
/// state make 9 MiB of events when both are replaced. Small events would take more memory than their
/// bytes say, so their number has a limit too.
///
/// Whether the queue is overfull is asked when a session is lost. So a hostile server can exceed the two
/// limits once: by what one session brings, of which [`ROSTER`] and the size of a state are limits.
pub(crate) const ROOM_EVENTS: QueueLimit =
    QueueLimit { full: 2 << 20, most: 128 << 10, most_bytes: 32 << 20, overhead: 64 };

/// The largest acts that the server reports by one message: muting everybody, and clearing the room.
const MUTE_ALL_BYTES: usize = MAX_ROOM_PEERS as usize * (ROOM_EVENTS.overhead + 3 * MAX_NAME);
const CLEAR_BYTES: usize = MAX_STATE_OBJECTS * ROOM_EVENTS.overhead
    + MAX_STATE_FIELDS * (ROOM_EVENTS.overhead + MAX_STATE_KEY);
/// Events of a roster and a state that are replaced.
const REPLACED_BYTES: usize = 9 << 20;

const _: () = assert!(MUTE_ALL_BYTES < ROOM_EVENTS.full && CLEAR_BYTES < ROOM_EVENTS.full);
const _: () = assert!(2 * ROOM_EVENTS.full + 3 * REPLACED_BYTES < ROOM_EVENTS.most_bytes);
const _: () = assert!(2 * ROOM_EVENTS.full / ROOM_EVENTS.overhead <= ROOM_EVENTS.most / 2);

/// The events of a social session that wait for the application: about a minute of changes of many watched
/// users. Two lists of the largest size fit.
pub(crate) const SOCIAL_EVENTS: QueueLimit =
    QueueLimit { full: 1 << 20, most: 2_048, most_bytes: 2 << 20, overhead: 1_024 };

const _: () = assert!(2 * MAX_USER_LIST_BYTES < SOCIAL_EVENTS.full);
