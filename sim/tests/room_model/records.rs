//! The records of the model: participants, tickets, events, acts and replies.

use nucleus_core::ids::{PeerId, SessionId};
use nucleus_protocol::session::{AWAY, MODERATOR, MUTED, SELF_MUTED};

use crate::ModelTarget;

/// A ticket of a session.
#[derive(Clone, Copy)]
pub(crate) struct ModelTicket {
    pub(crate) session: SessionId,
    pub(crate) user: u8,
}

/// An act of a moderator. `target` is 0 for an act without a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Act {
    pub(crate) act: u8,
    pub(crate) by: u32,
    pub(crate) target: u32,
}

/// A reply to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// Index of the operation that failed.
    pub(crate) failed: u16,
    /// Version of the state.
    pub(crate) version: u64,
}

/// How a session started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SessionStart {
    /// As `Joined::resumed`.
    pub(crate) resumed: u8,
    /// Number of the peer's events that the room had taken, by lane.
    pub(crate) taken: [u32; 2],
}

/// An event that is kept for peers that join later.
pub(crate) struct HistoryEvent {
    pub(crate) sequence: u64,
    pub(crate) from: u32,
}

/// A participant of the room.
#[derive(Clone)]
pub(crate) struct ModelParticipant {
    pub(crate) peer: u32,
    pub(crate) session: u32,
    pub(crate) user: u8,
    pub(crate) role: usize,
    /// Whether the participant may moderate, by its role or because another peer handed the right
    /// over.
    pub(crate) moderates: bool,
    pub(crate) muted: bool,
    pub(crate) self_muted: bool,
    /// The newest session whose ticket was used.
    pub(crate) redeemed: u32,
    /// The newest event that the client has, by lane.
    pub(crate) last: [u64; 2],
    /// Number of the participant's events that the room has taken, by lane.
    pub(crate) taken: [u32; 2],
    pub(crate) groups: Vec<u8>,
    /// The target of the bulk message whose last piece the participant has not sent yet.
    pub(crate) pieces_to: Option<ModelTarget>,
    /// Whether anything has arrived from the client.
    pub(crate) arrived: bool,
    pub(crate) away: bool,
    pub(crate) lost_at: Option<u64>,
}

impl ModelParticipant {
    /// Returns the presence flags in the roster.
    pub(crate) fn presence(&self) -> u8 {
        let flags = [
            (self.away, AWAY),
            (self.muted, MUTED),
            (self.self_muted, SELF_MUTED),
            (self.moderates, MODERATOR),
        ];
        flags.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum()
    }

    pub(crate) fn session_id(&self) -> SessionId {
        SessionId { peer: PeerId(self.peer), session: self.session }
    }
}

/// An event in the log of the room.
pub(crate) struct LoggedEvent {
    /// When the event was sent, in ms.
    pub(crate) at: u64,
    pub(crate) sequence: u64,
    pub(crate) lane: usize,
    /// The peers that get the event.
    pub(crate) to: Vec<u32>,
}
