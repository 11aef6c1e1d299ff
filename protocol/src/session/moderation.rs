//! The acts of moderators on a room and its peers. As with every archived message, **a released
//! struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

/// The acts of a [`Moderate`].
pub mod act {
    /// Removes `peer`. If `seconds` is not 0, also removes the other devices of its user and bans
    /// the user from the room for that time.
    pub const KICK: u8 = 1;
    /// Locks the room to newcomers other than moderators. Peers in the room stay, and can resume.
    pub const LOCK: u8 = 2;
    /// Ends a lock.
    pub const UNLOCK: u8 = 3;
    /// Hides the room from the lobby, which then neither lists nor matches it.
    pub const HIDE: u8 = 4;
    /// Ends [`HIDE`].
    pub const SHOW: u8 = 5;
    /// Mutes `peer` until [`UNMUTE`], also if its user joins again as a new peer.
    pub const MUTE: u8 = 6;
    /// Ends [`MUTE`] for `peer`.
    pub const UNMUTE: u8 = 7;
    /// Mutes every peer without the right to moderate until [`UNMUTE_ALL`], newcomers included.
    pub const MUTE_ALL: u8 = 8;
    /// Ends [`MUTE_ALL`] and every [`MUTE`].
    pub const UNMUTE_ALL: u8 = 9;
    /// Mutes the sender itself; needs no right.
    pub const MUTE_SELF: u8 = 10;
    /// Ends [`MUTE_SELF`]; needs no right.
    pub const UNMUTE_SELF: u8 = 11;
    /// Deletes all objects and the room's fields.
    pub const CLEAR: u8 = 12;
    /// Hands the right to moderate over to `peer`, and makes this peer the host.
    pub const HAND_OVER: u8 = 13;
    /// Ends the room, even one that is kept while empty.
    pub const END: u8 = 20;

    /// Returns whether an act is on one peer, which [`Moderate::peer`](super::Moderate::peer)
    /// names.
    pub fn has_target(act: u8) -> bool {
        matches!(act, KICK | MUTE | UNMUTE | HAND_OVER)
    }

    /// Returns an act's name for logs.
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

/// A client asks for an act of moderation. The server answers with a [`super::StateReply`] of the
/// same number.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Moderate {
    /// The client's number of this request, from the same sequence as its [`super::StateRequest`]s.
    pub request: u32,
    /// The act, one of [`act`].
    pub act: u8,
    /// The target of [`act::KICK`], [`act::MUTE`], [`act::UNMUTE`] and [`act::HAND_OVER`]; else 0.
    pub peer: u32,
    /// Duration of the user's ban in s, at most a day, for [`act::KICK`]; else 0.
    pub seconds: u32,
}

/// An act of moderation that was carried out. The server sends it to every peer in the room, the
/// target included.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The act, one of [`act`].
    pub act: u8,
    /// Number of the peer that acted.
    pub by: u32,
    /// Number of the target; 0 for an act without one.
    pub peer: u32,
    /// User id of the target.
    pub user: Vec<u8>,
    /// Duration of the user's ban in s, for [`act::KICK`]; else 0.
    pub seconds: u32,
    /// Time of the act on the server's clock, µs.
    pub time: u64,
}
