//! The inputs of a room.

use nucleus_protocol::session::{Code, Moderate, StateRequest, Subscribe};

use super::events::Event;
use super::join::{JoinRequest, RenewedToken};
use crate::control::RoomAct;
use crate::fanout::LinkEvent;
use crate::ids::{RequestId, SessionId};
use crate::moments::LossCause;

/// An input of a room. The room ignores inputs from a session that has been replaced by a resume.
pub enum RoomInput {
    /// Time has passed, and nothing else has happened.
    Timeout,
    /// Requests to join. The reply is [`RoomOutput::JoinReply`](super::RoomOutput::JoinReply).
    Join {
        /// The id for the reply.
        request: RequestId,
        /// The newcomer, or the participant that resumes.
        join: Box<JoinRequest>,
    },
    /// Reports an event of the session's link.
    Link(SessionId, LinkEvent),
    /// Removes the participant: the client leaves, or broke the rules.
    Leave(SessionId, Code),
    /// Reports that the session's connection ended without a leave, and why. Of several reports of one
    /// loss, the first counts; a later one may say why.
    SessionLost(SessionId, LossCause),
    /// Carries an event, or a piece of a larger message.
    Event {
        /// The sender.
        from: SessionId,
        /// The event with its target.
        event: Event,
    },
    /// Requests changes of the shared state.
    State {
        /// The requester.
        from: SessionId,
        /// The operations.
        request: StateRequest,
    },
    /// Reports a `Ping` of the client, which shows that the client has received `Joined`.
    Ping(SessionId),
    /// Sets the groups whose messages a peer receives.
    Subscribe {
        /// The peer's session.
        from: SessionId,
        /// All groups of the peer from now on.
        request: Subscribe,
    },
    /// Hands in a fresh token.
    Renew {
        /// The participant's session.
        from: SessionId,
        /// What the token says, or the code for which it is refused.
        renewal: Result<RenewedToken, Code>,
    },
    /// Requests an act of moderation.
    Moderate {
        /// The requester.
        from: SessionId,
        /// The act and its target.
        request: Moderate,
    },
    /// Invites a user into a room by invitation, with a reserved seat if one is left. If `invited`
    /// is false, withdraws the invitation and the reserved seat; a user who has joined stays. The
    /// reply is [`RoomOutput::InvitationReply`](super::RoomOutput::InvitationReply).
    Invite {
        /// The id for the reply.
        request: RequestId,
        /// The user id.
        user: String,
        /// Whether the user is invited. False: the invitation is withdrawn.
        invited: bool,
    },
    /// Asks what is in the room. The reply is [`RoomOutput::Content`](super::RoomOutput::Content).
    Inspect(RequestId),
    /// Asks for the room's fields in the shared state. The reply is
    /// [`RoomOutput::Fields`](super::RoomOutput::Fields).
    Fields(RequestId),
    /// Carries out an act of an operator. The reply is
    /// [`RoomOutput::Operated`](super::RoomOutput::Operated).
    Operate(RequestId, RoomAct),
    /// Ends the room if nobody is in it: it may not outlive its last participant any longer.
    EndEmpty,
    /// Ends the room and disconnects everybody with this code.
    Shutdown(Code),
}
