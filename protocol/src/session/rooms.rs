//! Finding and creating rooms: the options and filters of a join, and the lobby's list. As with
//! every archived message, **a released struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

use super::Value;

/// How a [`super::Join`] selects its room.
pub mod join_mode {
    /// Joins the named room, or creates it if it does not exist.
    pub const JOIN_OR_CREATE: u8 = 0;
    /// Creates the named room; refused if it exists.
    pub const CREATE: u8 = 1;
    /// Joins the named room; refused if it does not exist.
    pub const JOIN: u8 = 2;
    /// Joins any matching room; refused if none matches.
    pub const MATCH: u8 = 3;
    /// Joins any matching room, or creates one if none matches.
    pub const MATCH_OR_CREATE: u8 = 4;
}

/// Bits of [`RoomOptions::flags`].
pub mod room_flag {
    /// The lobby neither lists nor matches the room.
    pub const HIDDEN: u8 = 1;
    /// The room is locked from the start; needs the right to moderate.
    pub const LOCKED: u8 = 2;
    /// The room is kept while it is empty; needs the right to moderate.
    pub const KEPT: u8 = 4;
    /// The room admits only invited users: its creator and the users that the join expects.
    pub const BY_INVITATION: u8 = 8;
}

/// The options of a room that a join creates.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomOptions {
    /// Largest number of peers; 0 for the server's default, which is also the maximum.
    pub capacity: u16,
    /// Bits of [`room_flag`]; others are reserved.
    pub flags: u8,
    /// How long the room outlives its last peer, ms, at most the server's maximum.
    pub empty_ttl_ms: u32,
    /// Keys of the room's fields that the lobby shows and that filters may name, at most 8.
    pub listed: Vec<Vec<u8>>,
    /// The room's initial fields, at most 16.
    pub fields: Vec<RoomField>,
}

/// A field of a room.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RoomField {
    /// The field's key, UTF-8, 1 to 64 bytes.
    pub key: Vec<u8>,
    /// The field's value, never [`super::value::NONE`].
    pub value: Value,
}

/// The kinds of a [`Filter`].
pub mod filter {
    /// The field equals one of 1 to 16 values in type, bits and bytes.
    pub const ONE_OF: u8 = 1;
    /// The field is a number between two values, both included. A value without a type leaves its
    /// end of the range open.
    pub const RANGE: u8 = 2;
}

/// A condition on a listed field. A room without the field does not fulfil the condition.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The field's key, UTF-8, 1 to 64 bytes.
    pub key: Vec<u8>,
    /// The kind of the condition, one of [`filter`].
    pub kind: u8,
    /// The values that `kind` takes.
    pub values: Vec<Value>,
}

/// A client subscribes to the lobby's rooms. This replaces its earlier subscription to rooms.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WatchRooms {
    /// The client's number of this request.
    pub request: u32,
    /// The application's version; the list shows only rooms of this version.
    pub version: Vec<u8>,
    /// Conditions that a listed room fulfils, all of them; at most 8.
    pub filters: Vec<Filter>,
}

/// The lobby's rooms, or the changes since the previous list.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomList {
    /// The number of the [`WatchRooms`] that this list answers.
    pub request: u32,
    /// Number of matching rooms, including those beyond the 500 oldest, which the list leaves out.
    pub total: u32,
    /// 1 if `rooms` is the complete list; 0 if it holds the new and changed rooms.
    pub whole: u8,
    /// The rooms, oldest first.
    pub rooms: Vec<RoomInfo>,
    /// Names of rooms that are no longer in the list. To be applied before `rooms`.
    pub gone: Vec<Vec<u8>>,
}

/// A room as the lobby shows it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// The room's name.
    pub room: Vec<u8>,
    /// Number of peers, including those whose session was lost.
    pub peers: u16,
    /// Largest number of peers.
    pub capacity: u16,
    /// The bits [`ROOM_LOCKED`] and [`ROOM_PASSWORD`].
    pub flags: u8,
    /// The room's fields with listed keys, except texts and byte strings over 256 bytes.
    pub fields: Vec<RoomField>,
}

/// In [`RoomInfo::flags`]: the room is locked.
pub const ROOM_LOCKED: u8 = 1;
/// In [`RoomInfo::flags`]: the room has a password.
pub const ROOM_PASSWORD: u8 = 2;
