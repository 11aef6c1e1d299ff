//! Finding and making rooms: what a join may ask for, and the lobby's list. Bound like every archived
//! message: **a released struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

use super::Value;

/// What a [`super::Join`] does where the room is there or is not.
pub mod join_mode {
    /// Joins the room, and makes it if there is none.
    pub const JOIN_OR_CREATE: u8 = 0;
    /// Makes the room; one that is there already is refused.
    pub const CREATE: u8 = 1;
    /// Joins the room; where there is none, it is refused.
    pub const JOIN: u8 = 2;
    /// Joins any room that fits.
    pub const MATCH: u8 = 3;
    /// Joins any room that fits, and makes one if none does.
    pub const MATCH_OR_CREATE: u8 = 4;
}

/// Bits of [`RoomOptions::flags`].
pub mod room_flag {
    /// Neither listed nor matched.
    pub const HIDDEN: u8 = 1;
    /// Locked from the start; needs the right to moderate.
    pub const LOCKED: u8 = 2;
    /// Does not end because it is empty; needs the right to moderate.
    pub const KEPT: u8 = 4;
    /// Lets in whom it has invited: its maker and the users expected with it.
    pub const BY_INVITATION: u8 = 8;
}

/// What a room is made with, where a join makes it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomOptions {
    /// Peers that it takes; 0 = the server's default, and never more than that.
    pub capacity: u16,
    /// Of [`room_flag`]; others are reserved.
    pub flags: u8,
    /// It outlives its last peer for so long, ms, at most the server's maximum.
    pub empty_ttl_ms: u32,
    /// Keys of the room's fields that the lobby shows and matching asks for, at most 8.
    pub listed: Vec<Vec<u8>>,
    /// The room's fields at first, at most 16.
    pub fields: Vec<RoomField>,
}

/// A field of a room's.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RoomField {
    /// UTF-8, 1 to 64 bytes.
    pub key: Vec<u8>,
    /// Never [`super::value::NONE`].
    pub value: Value,
}

/// What a [`Filter`] asks of a listed field.
pub mod filter {
    /// It has one of 1 to 16 values: the same type, the same bits and bytes.
    pub const ONE_OF: u8 = 1;
    /// It is a number between the two values, both included; one of no type is open.
    pub const RANGE: u8 = 2;
}

/// A condition on a listed field. A room without the field does not fulfil it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// UTF-8, 1 to 64 bytes.
    pub key: Vec<u8>,
    /// One of [`filter`].
    pub kind: u8,
    /// As the kind says.
    pub values: Vec<Value>,
}

/// A client wants to be told of the lobby's rooms from now on, in place of what it asked for before.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WatchRooms {
    /// The client's number for it.
    pub request: u32,
    /// The version of the application whose rooms are shown.
    pub version: Vec<u8>,
    /// All of them must hold, at most 8.
    pub filters: Vec<Filter>,
}

/// The lobby's rooms, or what has changed of them since the list before.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomList {
    /// The number of the [`WatchRooms`] that it answers.
    pub request: u32,
    /// Rooms that fit, also those beyond the list's 500 oldest.
    pub total: u32,
    /// 1: these are all; 0: these are new or have changed.
    pub whole: u8,
    /// Oldest first.
    pub rooms: Vec<RoomInfo>,
    /// Names of rooms that are in the list no more; they come before `rooms`.
    pub gone: Vec<Vec<u8>>,
}

/// A room as the lobby shows it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// Its name.
    pub room: Vec<u8>,
    /// Places taken.
    pub peers: u16,
    /// Peers it takes.
    pub capacity: u16,
    /// [`ROOM_LOCKED`] and [`ROOM_PASSWORD`].
    pub flags: u8,
    /// Its fields under listed keys, but for texts and byte strings over 256 bytes.
    pub fields: Vec<RoomField>,
}

/// In [`RoomInfo::flags`]: a moderator has locked it.
pub const ROOM_LOCKED: u8 = 1;
/// In [`RoomInfo::flags`]: it has a password.
pub const ROOM_PASSWORD: u8 = 2;
