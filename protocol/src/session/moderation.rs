//! What a moderator does to a room and its peers. Bound like every archived message: **a released
//! struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

/// What a [`Moderate`] does.
pub mod act {
    /// Removes `peer`, and with it its user's other devices where `seconds` is not 0: so long the user
    /// does not get in again.
    pub const KICK: u8 = 1;
    /// Lets nobody new in but moderators; who is in stays, and comes back when its session is lost.
    pub const LOCK: u8 = 2;
    /// Lets everybody in again.
    pub const UNLOCK: u8 = 3;
    /// Takes the room out of the lobby: it is neither listed nor matched.
    pub const HIDE: u8 = 4;
    /// Puts it there again.
    pub const SHOW: u8 = 5;
    /// Drops the voice of `peer`, also when its user comes back as a new peer, until [`UNMUTE`].
    pub const MUTE: u8 = 6;
    /// Lets `peer` be heard again.
    pub const UNMUTE: u8 = 7;
    /// Drops the voice of everybody who may not moderate, newcomers too, until [`UNMUTE_ALL`].
    pub const MUTE_ALL: u8 = 8;
    /// Lets everybody be heard again whom a moderator has muted.
    pub const UNMUTE_ALL: u8 = 9;
    /// Drops the sender's own voice; needs no right.
    pub const MUTE_SELF: u8 = 10;
    /// Lets the sender be heard again; needs no right.
    pub const UNMUTE_SELF: u8 = 11;
    /// Deletes all objects and the room's fields.
    pub const CLEAR: u8 = 12;
    /// Hands the right to moderate over to `peer`, and makes it the host.
    pub const HAND_OVER: u8 = 13;
    /// Ends the room for everybody, also one that is kept.
    pub const END: u8 = 20;

    /// What an act is called, as in a log.
    pub fn name(act: u8) -> &'static str {
        match act {
            KICK => "kick",
            LOCK => "lock",
            UNLOCK => "unlock",
            HIDE => "hide",
            SHOW => "show",
            MUTE => "mute",
            UNMUTE => "unmute",
            MUTE_ALL => "mute_all",
            UNMUTE_ALL => "unmute_all",
            MUTE_SELF => "mute_self",
            UNMUTE_SELF => "unmute_self",
            CLEAR => "clear",
            HAND_OVER => "hand_over",
            END => "end",
            _ => "unknown",
        }
    }
}

/// A client acts as a moderator; answered by a [`super::StateReply`] of the same number.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Moderate {
    /// The client's number for it, of the same count as its requests for changes of the state.
    pub request: u32,
    /// One of [`act`].
    pub act: u8,
    /// For [`act::KICK`], [`act::MUTE`], [`act::UNMUTE`] and [`act::HAND_OVER`]; else 0.
    pub peer: u32,
    /// For [`act::KICK`]: how long its user is banned, s, at most a day; else 0.
    pub seconds: u32,
}

/// An act of moderation has been done: told to everybody in the room, whom it hits included.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// One of [`act`].
    pub act: u8,
    /// Who did it.
    pub by: u32,
    /// To whom; 0 = to nobody in particular.
    pub peer: u32,
    /// Its user id.
    pub user: Vec<u8>,
    /// For [`act::KICK`]: how long its user is banned, s.
    pub seconds: u32,
    /// When, the server's clock in us.
    pub time: u64,
}
