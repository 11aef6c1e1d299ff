//! The messages that the mailboxes of the tasks take.

use std::sync::Arc;

use nucleus_core::control::{CallSummary, ControlError, RoomAct, RoomContent, RoomProperty};
use nucleus_core::ids::{DeviceId, RoomId, SessionId};
use nucleus_core::lobby::{Find, Found, ListingChanges, LobbyInput};
use nucleus_core::room::{JoinRequest, RoomInput};
use nucleus_core::room_rate::DeliveryCost;
use nucleus_core::social::{EnterRequest, SocialInput};
use nucleus_protocol::session::Code;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::budgets::LentBudgets;
use super::outgoing::Outgoing;
use super::session_probe::ProbedRoom;
use super::social_outgoing::SocialOutgoing;
use super::tenants::SessionCount;

/// A message for a room's task.
pub(super) enum RoomMail {
    /// A session asks to join. The reply comes by the channel, all later messages by the session's
    /// queues.
    Join(RoomJoin, oneshot::Sender<Result<JoinedRoom, Code>>),
    /// Invites a user, or withdraws the invitation.
    Invite { user: String, invited: bool, reply: oneshot::Sender<Result<(), Code>> },
    /// Show what is in the room.
    Inspect(oneshot::Sender<Box<RoomContent>>),
    /// Show what is in the room, with what is known of its sessions.
    Probe(oneshot::Sender<ProbedRoom>),
    /// Show the room's fields in the shared state.
    Fields(oneshot::Sender<Vec<RoomProperty>>),
    /// Carry out an act of an operator, for which so many deliveries are reserved from the room's rate.
    Operate(RoomAct, DeliveryCost, oneshot::Sender<Result<(), ControlError>>),
    /// An input for the machine, unchanged.
    Input(RoomInput),
    /// An input for which the sender has reserved deliveries from the room's rate.
    Reserved(RoomInput, DeliveryCost),
}

/// A request to join a room.
pub(super) struct RoomJoin {
    pub(super) request: Box<JoinRequest>,
    pub(super) outgoing: Outgoing,
    /// What a newcomer brings. `None`: a participant resumes.
    pub(super) newcomer: Option<NewcomerSeats>,
}

/// What a newcomer brings to a room.
pub(super) struct NewcomerSeats {
    pub(super) place: Arc<Place>,
    /// Its seats, which the lobby counts as under way.
    pub(super) arrival: PendingArrival,
}

/// The place of a participant in the counts of the server, its tenant and its user. It is free again
/// when this is dropped. A participant whose session is lost keeps its place.
pub struct Place {
    /// Keeps the participant in the count of the server.
    pub permit: OwnedSemaphorePermit,
    /// Keeps the participant in the counts of its tenant and user.
    pub counted: SessionCount,
    /// The budgets of its streams.
    pub budgets: Arc<LentBudgets>,
}

/// A session that has joined a room.
pub struct JoinedRoom {
    /// The session.
    pub session: SessionId,
    /// The budgets of its participant.
    pub budgets: Arc<LentBudgets>,
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

/// The seats of a join that has not been admitted to its room yet. The lobby counts them as taken
/// until the room has admitted the join, or this is dropped.
pub(super) struct PendingArrival {
    pub(super) lobby: mpsc::Sender<LobbyMail>,
    pub(super) room: RoomId,
    /// 0 once the lobby has been told.
    pub(super) seats: usize,
}

impl PendingArrival {
    /// Returns the seats. The caller tells the lobby what has become of them.
    pub(super) fn take_seats(mut self) -> usize {
        std::mem::take(&mut self.seats)
    }
}

impl Drop for PendingArrival {
    fn drop(&mut self) {
        if self.seats == 0 {
            return;
        }
        let ended = LobbyMail::Input(LobbyInput::NotAdmitted(self.room, self.seats));
        if let Err(mpsc::error::TrySendError::Full(ended)) = self.lobby.try_send(ended) {
            // There are at most as many of these tasks as unjoined sessions.
            let lobby = self.lobby.clone();
            tokio::spawn(async move { lobby.send(ended).await });
        }
    }
}

/// A message for the task of the users outside rooms.
pub(super) enum SocialMail {
    /// A session asks to enter. The reply comes by the channel, all later messages by the session's
    /// queue.
    Enter(EnterRequest, SocialOutgoing, oneshot::Sender<Result<DeviceId, Code>>),
    /// Tell which calls there are.
    Calls(oneshot::Sender<Vec<CallSummary>>),
    /// End a call. The reply has the call, or none if there is no such call.
    EndCall(u64, oneshot::Sender<Vec<CallSummary>>),
    /// An input for the machine, unchanged.
    Input(SocialInput),
}
