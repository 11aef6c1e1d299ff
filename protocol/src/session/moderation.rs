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
    /// Ends the room for everybody, also one that is kept.
    pub const END: u8 = 20;
}

/// A client acts as a moderator; answered by a [`super::StateReply`] of the same number.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Moderate {
    /// The client's number for it, of the same count as its requests for changes of the state.
    pub request: u32,
    /// One of [`act`].
    pub act: u8,
    /// For [`act::KICK`]; else 0.
    pub peer: u32,
    /// For [`act::KICK`]: how long its user is banned, s, at most a day; else 0.
    pub seconds: u32,
}
