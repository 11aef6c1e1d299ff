//! What the mailboxes of the tasks take.

use nucleus_core::ids::{DeviceId, RoomId, SessionId};
use nucleus_core::lobby::{Find, Found, ListingChanges, LobbyInput};
use nucleus_core::room::{JoinRequest, RoomInput};
use nucleus_core::social::{EnterRequest, SocialInput};
use nucleus_protocol::session::Code;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::outgoing::Outgoing;
use super::social_outgoing::SocialOutgoing;

/// For a room.
pub(super) enum RoomMail {
    /// A session wants in. What follows the answer comes by the session's queues.
    Join(Box<JoinRequest>, Outgoing, oneshot::Sender<Result<SessionId, Code>>),
    /// Let a user in from now on, or no more.
    Invite { user: String, invited: bool, reply: oneshot::Sender<Result<(), Code>> },
    /// An input as it is.
    Input(RoomInput),
}

/// Who waits for an answer of a lobby.
pub(super) struct Asker<T> {
    pub(super) reply: oneshot::Sender<T>,
    /// Among the questions in the lobby's mailbox; given back when the lobby takes this one.
    pub(super) place: OwnedSemaphorePermit,
}

/// For a lobby.
pub(super) enum LobbyMail {
    /// A join looks for a room.
    Find(Find, Asker<Result<FoundRoom, Code>>),
    /// A watcher who has seen the changes up to this number wants the news.
    News(Option<u64>, Asker<ListingChanges>),
    /// An input as it is.
    Input(LobbyInput),
}

/// A room that a join is on its way to.
pub(super) struct FoundRoom {
    pub(super) found: Found,
    pub(super) under_way: UnderWay,
}

/// Seats that a join is on its way to. The lobby counts them until this is dropped.
pub(super) struct UnderWay {
    pub(super) lobby: mpsc::Sender<LobbyMail>,
    pub(super) room: RoomId,
    pub(super) seats: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let arrived = LobbyMail::Input(LobbyInput::Arrived(self.room, self.seats));
        if let Err(mpsc::error::TrySendError::Full(arrived)) = self.lobby.try_send(arrived) {
            // No more than there are unjoined sessions.
            let lobby = self.lobby.clone();
            tokio::spawn(async move { lobby.send(arrived).await });
        }
    }
}

/// For the users outside rooms.
pub(super) enum SocialMail {
    /// A session wants in. What follows the answer comes by its queue.
    Enter(EnterRequest, SocialOutgoing, oneshot::Sender<Result<DeviceId, Code>>),
    /// An input as it is.
    Input(SocialInput),
}
