//! The messages that the mailboxes of the tasks take.

use nucleus_core::ids::{DeviceId, RoomId, SessionId};
use nucleus_core::lobby::{Find, Found, ListingChanges, LobbyInput};
use nucleus_core::room::{JoinRequest, RoomInput};
use nucleus_core::social::{EnterRequest, SocialInput};
use nucleus_protocol::session::Code;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::outgoing::Outgoing;
use super::social_outgoing::SocialOutgoing;

/// A message for a room's task.
pub(super) enum RoomMail {
    /// A session asks to join. The reply comes by the channel, all later messages by the session's
    /// queues.
    Join(Box<JoinRequest>, Outgoing, oneshot::Sender<Result<SessionId, Code>>),
    /// Invites a user, or withdraws the invitation.
    Invite { user: String, invited: bool, reply: oneshot::Sender<Result<(), Code>> },
    /// An input for the machine, unchanged.
    Input(RoomInput),
}

/// The return address of a request to a lobby.
pub(super) struct ReplyTo<T> {
    pub(super) reply: oneshot::Sender<T>,
    /// Counts the request among those in the lobby's mailbox, until the lobby takes the request.
    pub(super) permit: OwnedSemaphorePermit,
}

/// A message for a lobby's task.
pub(super) enum LobbyMail {
    /// Find a room for a join.
    Find(Find, ReplyTo<Result<JoinTarget, Code>>),
    /// Tell a watcher the changes after this number; `None`: the watcher has seen none.
    Changes(Option<u64>, ReplyTo<ListingChanges>),
    /// An input for the machine, unchanged.
    Input(LobbyInput),
}

/// The room that a lobby has found for a join.
pub(super) struct JoinTarget {
    pub(super) found: Found,
    pub(super) arrival: PendingArrival,
}

/// The seats of a join that has not arrived at its room yet. The lobby counts them as taken until
/// this is dropped.
pub(super) struct PendingArrival {
    pub(super) lobby: mpsc::Sender<LobbyMail>,
    pub(super) room: RoomId,
    pub(super) seats: usize,
}

impl Drop for PendingArrival {
    fn drop(&mut self) {
        let arrived = LobbyMail::Input(LobbyInput::Arrived(self.room, self.seats));
        if let Err(mpsc::error::TrySendError::Full(arrived)) = self.lobby.try_send(arrived) {
            // There are at most as many of these tasks as unjoined sessions.
            let lobby = self.lobby.clone();
            tokio::spawn(async move { lobby.send(arrived).await });
        }
    }
}

/// A message for the task of the users outside rooms.
pub(super) enum SocialMail {
    /// A session asks to enter. The reply comes by the channel, all later messages by the session's
    /// queue.
    Enter(EnterRequest, SocialOutgoing, oneshot::Sender<Result<DeviceId, Code>>),
    /// An input for the machine, unchanged.
    Input(SocialInput),
}
