//! Limits on what a client holds for a server, each with its reason. A server that exceeds one is broken
//! or hostile: the client closes the session, or reads no further.
//!
//! Most are sixteen times what a server of today sends. So a later server may have larger rooms and
//! longer lists, but cannot fill the client's memory.

use nucleus_protocol::limits::{
    MAX_NAME, MAX_ROOM_LIST, MAX_ROOM_LIST_BYTES, MAX_ROOM_PEERS, MAX_USER_LIST,
    MAX_USER_LIST_BYTES,
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
/// The queue is full with one second of events in the largest rooms. It is overfull with the events of
/// one session, and the rosters and states of a few others: those do not make it full. The largest roster
/// and the largest state make 9 MiB of events when both are replaced.
pub(crate) const ROOM_EVENTS: QueueLimit =
    QueueLimit { full: 256 << 10, most: 64 << 10, most_bytes: 32 << 20, overhead: 64 };

/// The events of a social session that wait for the application: about a minute of changes of many watched
/// users. Two lists of the largest size fit.
pub(crate) const SOCIAL_EVENTS: QueueLimit =
    QueueLimit { full: 1 << 20, most: 2_048, most_bytes: 2 << 20, overhead: 1_024 };

const _: () = assert!(2 * MAX_USER_LIST_BYTES < SOCIAL_EVENTS.full);
