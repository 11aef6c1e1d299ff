//! Acts of moderation as they are reported to all peers of the room.

use std::time::Duration;

use nucleus_protocol::session::{self, act};
use nucleus_protocol::time::Time;

use crate::roster::PeerId;

/// A completed act of moderation. The server also writes it to its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The act.
    pub act: ModerationAct,
    /// The moderator.
    pub by: PeerId,
    /// The affected peer, if the act affects a single peer.
    pub peer: Option<PeerId>,
    /// The user id of the affected peer; empty if there is none.
    pub user: String,
    /// How long the user is banned, in whole seconds; zero without a ban.
    pub ban: Duration,
    /// Time of the act on the server's clock.
    pub at: Time,
}

/// An act of moderation, named after the method of `Room` that requests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModerationAct {
    /// Removes a peer from the room (`Room::kick`).
    Kick,
    /// Locks the room (`Room::lock`).
    Lock,
    /// Unlocks the room.
    Unlock,
    /// Removes the room from the lobby's list (`Room::hide`).
    Hide,
    /// Puts the room back into the lobby's list.
    Show,
    /// Mutes a peer (`Room::mute`).
    Mute,
    /// Unmutes a peer (`Room::unmute`).
    Unmute,
    /// Mutes all peers that may not moderate (`Room::mute_all`).
    MuteAll,
    /// Unmutes all peers.
    UnmuteAll,
    /// Deletes all objects and the room's fields (`Room::clear`).
    Clear,
    /// Hands the right to moderate to another peer (`Room::hand_over`).
    HandOver,
    /// Ends the room (`Room::end`).
    End,
    /// An act that this version does not know, by its number on the wire.
    Other(u8),
}

impl From<u8> for ModerationAct {
    fn from(number: u8) -> Self {
        match number {
            act::KICK => ModerationAct::Kick,
            act::LOCK => ModerationAct::Lock,
            act::UNLOCK => ModerationAct::Unlock,
            act::HIDE => ModerationAct::Hide,
            act::SHOW => ModerationAct::Show,
            act::MUTE => ModerationAct::Mute,
            act::UNMUTE => ModerationAct::Unmute,
            act::MUTE_ALL => ModerationAct::MuteAll,
            act::UNMUTE_ALL => ModerationAct::UnmuteAll,
            act::CLEAR => ModerationAct::Clear,
            act::HAND_OVER => ModerationAct::HandOver,
            act::END => ModerationAct::End,
            other => ModerationAct::Other(other),
        }
    }
}

impl From<session::Audit> for Audit {
    fn from(audit: session::Audit) -> Self {
        let session::Audit { act, by, peer, user, seconds, time } = audit;
        Self {
            act: act.into(),
            by: PeerId(by),
            peer: (peer != 0).then_some(PeerId(peer)),
            user: String::from_utf8_lossy(&user).into_owned(),
            ban: Duration::from_secs(seconds.into()),
            at: Time::from_micros(time),
        }
    }
}
