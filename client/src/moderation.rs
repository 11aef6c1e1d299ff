//! What moderators do, as everybody in the room hears of it.

use std::time::Duration;

use nucleus_protocol::session::{self, act};
use nucleus_protocol::time::Time;

use crate::roster::PeerId;

/// An act of moderation that has been done. It stands in the server's log as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// What.
    pub act: ModerationAct,
    /// Who did it.
    pub by: PeerId,
    /// To whom, where it was to one.
    pub peer: Option<PeerId>,
    /// The user id of that peer; empty without one.
    pub user: String,
    /// How long the user is banned, in whole seconds; zero where it is not.
    pub ban: Duration,
    /// When, on the server's clock.
    pub at: Time,
}

/// What a moderator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModerationAct {
    /// [`crate::Room::kick`]
    Kick,
    /// [`crate::Room::lock`]
    Lock,
    /// The same, undone.
    Unlock,
    /// [`crate::Room::hide`]
    Hide,
    /// The same, undone.
    Show,
    /// [`crate::Room::mute`]
    Mute,
    /// [`crate::Room::unmute`]
    Unmute,
    /// [`crate::Room::mute_all`]
    MuteAll,
    /// The same, undone.
    UnmuteAll,
    /// [`crate::Room::clear`]
    Clear,
    /// [`crate::Room::hand_over`]
    HandOver,
    /// [`crate::Room::end`]
    End,
    /// One that this version does not know, by its number.
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
