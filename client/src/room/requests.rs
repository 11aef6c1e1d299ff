//! Requests of a room that wait for the server's reply. Each request gets exactly one result: the
//! server's reply, or the error that no reply will come.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::{Code, Moderate, Operation, StateReply, StateRequest, Subscribe};
use tokio::sync::{Semaphore, oneshot};

use crate::session::{SendError, SessionSender};
use crate::state::BatchError;

/// Requests that may be pending at the same time; further ones wait. 16 requests of the largest
/// size (16 KiB) fill the send window of the session.
const MAX_PENDING: usize = 16;

/// The error of a request to a room: a change of the state, an act of moderation, or a
/// subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The batch violates a limit. Nothing was sent.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The server refused the request. No operation of the batch was applied.
    #[error("the server refused operation {operation}: {}", name(*.code, *.number))]
    Refused {
        /// The reason; `None` if this version does not know the number. The reason is
        /// [`Code::Conflict`] if the field or object is no longer as expected. Other reasons are
        /// [`Code::Forbidden`], [`Code::NoSuchEntity`], [`Code::BadState`], and the limits
        /// [`Code::StateFull`], [`Code::RoomObjects`], [`Code::PeerObjects`],
        /// [`Code::EntityFields`].
        code: Option<Code>,
        /// The reason's number on the wire.
        number: u16,
        /// Index of the refused operation in the batch, from 0.
        operation: usize,
        /// Version of the state on which the server decided. This client has already received that
        /// version, so the application can read the field again and retry.
        version: u64,
    },
    /// No reply was received. Either the session was lost, or the session was not read because the
    /// application was too far behind with its events. **It is unknown whether the change was
    /// applied.** If it was, the state contains the change after [`crate::RoomEvent::Resumed`].
    #[error("no reply came: it is unknown whether the change was applied")]
    Interrupted,
    /// The session is lost and the client is trying to resume it. Nothing was sent. Try again after
    /// [`crate::RoomEvent::Resumed`] or `Rejoined`.
    #[error("the session is lost and not resumed yet; nothing was sent")]
    NotConnected,
    /// The application is too far behind with its events, so a reply could not be read. Nothing was
    /// sent. Take the waiting events with [`crate::Room::next`] first.
    #[error("too many events wait for the application; nothing was sent")]
    Behind,
    /// The server, or this client, lacks the feature. Nothing was sent.
    #[error("the server, or this client, does not offer {0}")]
    NotOffered(&'static str),
    /// The room is closed. Nothing was sent.
    #[error("the room is closed")]
    Closed,
}

fn name(code: Option<Code>, number: u16) -> String {
    code.map_or_else(|| format!("code {number}"), |code| code.to_string())
}

type RequestResult = Result<u64, StateError>;

/// The requests of a room to its server.
pub(super) struct RoomRequests {
    pending: Mutex<PendingRequests>,
    permits: Semaphore,
}

#[derive(Default)]
struct PendingRequests {
    /// Sends on the current session; `None` while there is no session.
    sender: Option<SessionSender>,
    next_number: u32,
    /// Requests without a result, by number.
    requests: HashMap<u32, PendingRequest>,
    /// Whether the application is too far behind with its events; new requests are then refused.
    behind: bool,
    closed: bool,
}

struct PendingRequest {
    result: oneshot::Sender<RequestResult>,
    /// The server's reply, while the replica has not reached the version in it.
    reply: Option<StateReply>,
}

/// A request with a number, ready to be sent.
struct StartedRequest {
    sender: SessionSender,
    number: u32,
    result: oneshot::Receiver<RequestResult>,
}

/// Removes a pending request when its caller stops waiting.
struct PendingGuard<'a> {
    requests: &'a RoomRequests,
    number: u32,
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        self.requests.pending().requests.remove(&self.number);
    }
}

impl RoomRequests {
    pub(super) fn new() -> Self {
        Self { pending: Mutex::default(), permits: Semaphore::new(MAX_PENDING) }
    }

    /// Requests changes of the state. Waits until the replica has the version in the server's
    /// reply.
    pub(super) async fn change(&self, operations: Vec<Operation>) -> RequestResult {
        let send = async |sender: SessionSender, request| {
            sender.request_state(&StateRequest { request, operations }).await
        };
        self.request(send).await
    }

    /// Requests an act of moderation and waits for the reply.
    pub(super) async fn moderate(&self, act: u8, peer: u32, seconds: u32) -> RequestResult {
        let send = async |sender: SessionSender, request| {
            sender.moderate(&Moderate { request, act, peer, seconds }).await
        };
        self.request(send).await
    }

    /// Replaces the set of subscribed groups and waits for the reply.
    pub(super) async fn subscribe(&self, groups: GroupSet) -> RequestResult {
        let send = async |sender: SessionSender, request| {
            sender.subscribe(&Subscribe { request, groups: groups.0 }).await
        };
        self.request(send).await
    }

    /// Sends a request with `send`, which receives the request's number, and waits for the result.
    async fn request(
        &self,
        send: impl AsyncFnOnce(SessionSender, u32) -> Result<(), SendError>,
    ) -> RequestResult {
        let _permit = self.permits.acquire().await.map_err(|_| StateError::Closed)?;
        let StartedRequest { sender, number, result } = self.pending().start()?;
        let _guard = PendingGuard { requests: self, number };
        match send(sender, number).await {
            Ok(()) => {}
            Err(SendError::TooLarge { len, limit }) => {
                return Err(BatchError::TooLarge { len, limit }.into());
            }
            Err(SendError::NotOffered(what)) => return Err(StateError::NotOffered(what)),
            // The session has ended, and the room's task has not noticed yet.
            Err(_) => return Err(StateError::Interrupted),
        }
        // The result's sender is never dropped without a result. If it were, the outcome would be
        // unknown too.
        result.await.unwrap_or(Err(StateError::Interrupted))
    }

    /// Uses a new session for further requests.
    pub(super) fn attach(&self, sender: SessionSender) {
        self.pending().sender = Some(sender);
    }

    /// Handles a reply of the server. `version` is the replica's current version.
    pub(super) fn on_reply(&self, reply: StateReply, version: u64) {
        let mut pending = self.pending();
        // An unknown number belongs to a request whose caller has stopped waiting.
        if let Some(request) = pending.requests.get_mut(&reply.request) {
            request.reply = Some(reply);
        }
        pending.complete_up_to(version);
    }

    /// Completes the requests that waited for the replica to reach `version`.
    pub(super) fn on_version(&self, version: u64) {
        self.pending().complete_up_to(version);
    }

    /// Ends all pending requests because the session is lost.
    pub(super) fn interrupt(&self) {
        let mut pending = self.pending();
        pending.sender = None;
        pending.end_all();
    }

    /// Sets whether the application is too far behind with its events. The session is then not
    /// read, so replies do not arrive either.
    pub(super) fn set_behind(&self, behind: bool) {
        let mut pending = self.pending();
        if behind && !pending.behind {
            pending.end_all();
        }
        pending.behind = behind;
    }

    /// Ends all pending requests and refuses new ones.
    pub(super) fn close(&self) {
        self.permits.close();
        let mut pending = self.pending();
        pending.closed = true;
        pending.sender = None;
        pending.end_all();
    }

    fn pending(&self) -> MutexGuard<'_, PendingRequests> {
        // No code panics while it holds the lock, and each step leaves the data consistent.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingRequests {
    fn start(&mut self) -> Result<StartedRequest, StateError> {
        if self.closed {
            return Err(StateError::Closed);
        }
        let sender = self.sender.clone().ok_or(StateError::NotConnected)?;
        if self.behind {
            return Err(StateError::Behind);
        }
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let (sends_result, result) = oneshot::channel();
        self.requests.insert(number, PendingRequest { result: sends_result, reply: None });
        Ok(StartedRequest { sender, number, result })
    }

    /// Completes the requests whose reply names a version that the replica has reached.
    fn complete_up_to(&mut self, version: u64) {
        let is_reached = |_: &u32, request: &mut PendingRequest| {
            request.reply.as_ref().is_some_and(|reply| reply.version <= version)
        };
        for (_, request) in self.requests.extract_if(is_reached) {
            request.complete();
        }
    }

    fn end_all(&mut self) {
        for (_, request) in self.requests.drain() {
            request.complete();
        }
    }
}

impl PendingRequest {
    /// Hands the server's reply to the caller, or [`StateError::Interrupted`] if there is no reply.
    fn complete(self) {
        let result = match self.reply {
            None => Err(StateError::Interrupted),
            Some(StateReply { code: 0, version, .. }) => Ok(version),
            Some(StateReply { code: number, failed, version, .. }) => Err(StateError::Refused {
                code: Code::from_number(number.into()),
                number,
                operation: failed.into(),
                version,
            }),
        };
        // Fails only if the caller has stopped waiting.
        let _ = self.result.send(result);
    }
}
