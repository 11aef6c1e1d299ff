//! The requests of a room: changes of the state and acts of moderation.

use nucleus_protocol::session::{Code, StateReply};

use super::explain::{RefusedAction, RequestedAction};
use crate::requests::Requests;
use crate::state::BatchError;

/// Requests that may be pending at the same time. 16 requests of the largest size (16 KiB) fill the
/// send window of the session.
const MAX_PENDING: usize = 16;

/// The error of a request to a room: a change of the state, an act of moderation, or a
/// subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The batch violates a limit. Nothing was sent.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The server refused the request. No operation of the batch was applied.
    #[error("{}", .action.explain(*.code, *.number))]
    Refused {
        /// The reason; `None` if this version does not know the number. The reason is
        /// [`Code::Conflict`] if the field or object is no longer as expected. Other reasons are
        /// [`Code::Forbidden`], [`Code::NoSuchEntity`], [`Code::BadState`], and the limits
        /// [`Code::StateFull`], [`Code::RoomObjects`], [`Code::PeerObjects`],
        /// [`Code::EntityFields`].
        code: Option<Code>,
        /// The reason's number on the wire.
        number: u16,
        /// What the server refused.
        action: RefusedAction,
        /// Index of the refused operation in the batch, from 0.
        operation: usize,
        /// Version of the state on which the server decided. This client has already received that
        /// version, so the application can read the field again and retry.
        version: u64,
    },
    /// No reply was received. Either the session was lost, or the session was not read because the
    /// application was too far behind with its events. **It is unknown whether the change was
    /// applied.** If it was, the state contains the change after `RoomEvent::Resumed`.
    #[error("no reply came: it is unknown whether the change was applied")]
    Interrupted,
    /// The session is lost and the client is trying to resume it. Nothing was sent. Try again after
    /// `RoomEvent::Resumed` or `Rejoined`.
    #[error("the session is lost and not resumed yet; nothing was sent")]
    NotConnected,
    /// The application is too far behind with its events, so a reply could not be read. Nothing was
    /// sent. Take the waiting events first.
    #[error("too many events wait for the application; nothing was sent")]
    Behind,
    /// 16 requests wait for their replies, or their results for the caller. Nothing was sent.
    #[error("too many requests wait for the server; nothing was sent")]
    TooMany,
    /// The server, or this client, lacks the feature. Nothing was sent.
    #[error("the server, or this client, does not offer {0}")]
    NotOffered(&'static str),
    /// The room is closed. Nothing was sent.
    #[error("the room is closed")]
    Closed,
}

/// The version of the state in which the change is, or why there is none.
pub type RequestResult = Result<u64, StateError>;

/// A request without a result.
struct PendingRequest {
    action: RequestedAction,
    /// The server's reply, while the replica has not reached the version in it.
    reply: Option<StateReply>,
}

/// The requests of a room to its server.
pub(super) struct RoomRequests(Requests<PendingRequest, RequestResult>);

impl RoomRequests {
    pub(super) fn new() -> Self {
        Self(Requests::new(MAX_PENDING))
    }

    pub(super) fn has_capacity(&self) -> bool {
        self.0.has_capacity()
    }

    /// Adds a request and returns its number.
    pub(super) fn start(&mut self, action: RequestedAction) -> u32 {
        self.0.start(PendingRequest { action, reply: None })
    }

    /// Handles a reply of the server. `version` is the replica's current version.
    pub(super) fn on_reply(&mut self, reply: StateReply, version: u64) {
        // An unknown number belongs to a request whose caller has stopped waiting.
        if let Some(request) = self.0.get_mut(reply.request) {
            request.reply = Some(reply);
        }
        self.on_version(version);
    }

    /// Completes the requests that waited for the replica to reach `version`.
    pub(super) fn on_version(&mut self, version: u64) {
        let is_reached = |request: &PendingRequest| {
            request.reply.as_ref().is_some_and(|reply| reply.version <= version)
        };
        let done = self.0.finish_if(is_reached);
        self.keep_all(done);
    }

    /// Ends all pending requests: those without a reply are interrupted.
    pub(super) fn end_all(&mut self) {
        let done = self.0.finish_if(|_| true);
        self.keep_all(done);
    }

    fn keep_all(&mut self, done: Vec<(u32, PendingRequest)>) {
        for (number, request) in done {
            self.0.keep(number, result(request));
        }
    }

    pub(super) fn take(&mut self, number: u32) -> Option<RequestResult> {
        self.0.take(number)
    }

    /// Forgets a request for whose result nobody waits.
    pub(super) fn forget(&mut self, number: u32) {
        self.0.remove(number);
        self.0.forget_result(number);
    }
}

/// Returns the server's reply as a result, or [`StateError::Interrupted`] if there is no reply.
fn result(request: PendingRequest) -> RequestResult {
    match request.reply {
        None => Err(StateError::Interrupted),
        Some(StateReply { code: 0, version, .. }) => Ok(version),
        Some(StateReply { code: number, failed, version, .. }) => Err(StateError::Refused {
            code: Code::from_number(number.into()),
            number,
            action: request.action.refused(failed.into()),
            operation: failed.into(),
            version,
        }),
    }
}
