//! RoomRequests for changes of the state that are under way: each ends exactly once, with the server's
//! answer or with the word that there will be none.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::{Code, Moderate, Operation, StateReply, StateRequest, Subscribe};
use tokio::sync::{Semaphore, oneshot};

use crate::session::{SendError, SessionSender};
use crate::state::BatchError;

/// RoomRequests under way: of the largest (16 KiB) as many as QUIC keeps unacknowledged for a client.
/// Further ones wait for their turn.
const MAX_PENDING: usize = 16;

/// A change of the room's state did not take place, or it is not known whether it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The batch breaks a limit; nothing was sent.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The server refused it; nothing of the batch took place.
    #[error("the server refused operation {operation}: {}", name(*.code, *.number))]
    Refused {
        /// Why, when this version knows the number: [`Code::Conflict`], where the field or the
        /// object is not as expected any more, [`Code::Forbidden`], [`Code::NoSuchEntity`],
        /// [`Code::BadState`], or a limit: [`Code::StateFull`], [`Code::RoomObjects`],
        /// [`Code::PeerObjects`], [`Code::EntityFields`].
        code: Option<Code>,
        /// The code's number.
        number: u16,
        /// The operation of the batch that was refused, from 0.
        operation: usize,
        /// The state's version that it was judged by. The room shows it already: reading the field
        /// again and trying once more is sound.
        version: u64,
    },
    /// No answer came: the session was lost with the request under way, or the application was too
    /// far behind with its events for the answer to be heard. **It is not known whether the change
    /// took place**; after [`crate::RoomEvent::Resumed`] the state itself will tell.
    #[error("no answer came: it is not known whether the change took place")]
    Interrupted,
    /// The session is lost and being taken up again; nothing was sent. Try again after
    /// [`crate::RoomEvent::Resumed`] or `Rejoined`.
    #[error("the session is being taken up again; nothing was sent")]
    NotConnected,
    /// The application is too far behind with its events for an answer to be heard; nothing was
    /// sent. Take them ([`crate::Room::next`]) first.
    #[error("too many events wait to be taken; nothing was sent")]
    Behind,
    /// The room is closed; nothing was sent.
    #[error("the room is closed")]
    Closed,
}

fn name(code: Option<Code>, number: u16) -> String {
    code.map_or_else(|| format!("code {number}"), |code| code.to_string())
}

type RequestResult = Result<u64, StateError>;

/// See the module.
pub(super) struct RoomRequests {
    pending: Mutex<PendingRequests>,
    permits: Semaphore,
}

#[derive(Default)]
struct PendingRequests {
    /// Of the session in use.
    sender: Option<SessionSender>,
    next: u32,
    requests: HashMap<u32, PendingRequest>,
    /// What stands in the way of new ones.
    behind: bool,
    closed: bool,
}

struct PendingRequest {
    done: oneshot::Sender<RequestResult>,
    /// The answer, where the replica has not come as far.
    reply: Option<StateReply>,
}

/// Forgets a request whose caller does not wait any more.
struct PendingGuard<'a>(&'a RoomRequests, u32);

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        self.0.pending().requests.remove(&self.1);
    }
}

impl RoomRequests {
    pub(super) fn new() -> Self {
        Self { pending: Mutex::default(), permits: Semaphore::new(MAX_PENDING) }
    }

    /// Asks for it and waits until the replica shows what the answer speaks of.
    pub(super) async fn ask(&self, operations: Vec<Operation>) -> RequestResult {
        let send = async |sender: SessionSender, request| {
            sender.request_state(&StateRequest { request, operations }).await
        };
        self.request(send).await
    }

    /// Acts as a moderator, and waits for the answer.
    pub(super) async fn moderate(&self, act: u8, peer: u32, seconds: u32) -> RequestResult {
        let send = async |sender: SessionSender, request| {
            sender.moderate(&Moderate { request, act, peer, seconds }).await
        };
        self.request(send).await
    }

    /// Says which groups are heard from now on, and waits for the answer.
    pub(super) async fn subscribe(&self, groups: GroupSet) -> RequestResult {
        let send = async |sender: SessionSender, request| {
            sender.subscribe(&Subscribe { request, groups: groups.0 }).await
        };
        self.request(send).await
    }

    async fn request(
        &self,
        send: impl AsyncFnOnce(SessionSender, u32) -> Result<(), SendError>,
    ) -> RequestResult {
        let _permit = self.permits.acquire().await.map_err(|_| StateError::Closed)?;
        let (sender, request, outcome) = self.pending().begin()?;
        let _forget = PendingGuard(self, request);
        match send(sender, request).await {
            Ok(()) => {}
            Err(SendError::TooLarge { len, limit }) => {
                return Err(BatchError::TooLarge { len, limit }.into());
            }
            // The session's end is known here before the room's task has seen it.
            Err(_) => return Err(StateError::Interrupted),
        }
        // A sender that is dropped without a word would be a fault of ours; this is what it means.
        outcome.await.unwrap_or(Err(StateError::Interrupted))
    }

    /// A session is there.
    pub(super) fn attach(&self, sender: SessionSender) {
        self.pending().sender = Some(sender);
    }

    /// The server has answered; `version` is the replica's.
    pub(super) fn on_reply(&self, reply: StateReply, version: u64) {
        let mut pending = self.pending();
        // One that is not under way was given up by its caller.
        if let Some(requests) = pending.requests.get_mut(&reply.request) {
            requests.reply = Some(reply);
        }
        pending.settle(version);
    }

    /// The replica has come to `version`.
    pub(super) fn on_version(&self, version: u64) {
        self.pending().settle(version);
    }

    /// The session is lost.
    pub(super) fn interrupt(&self) {
        let mut pending = self.pending();
        pending.sender = None;
        pending.end();
    }

    /// Whether answers cannot be heard because the application does not take its events.
    pub(super) fn set_behind(&self, behind: bool) {
        let mut pending = self.pending();
        if behind && !pending.behind {
            pending.end();
        }
        pending.behind = behind;
    }

    /// Nothing more will come of it.
    pub(super) fn close(&self) {
        self.permits.close();
        let mut pending = self.pending();
        pending.closed = true;
        pending.sender = None;
        pending.end();
    }

    fn pending(&self) -> MutexGuard<'_, PendingRequests> {
        // Nobody panics while holding it, and the pending are whole at every step.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingRequests {
    fn begin(
        &mut self,
    ) -> Result<(SessionSender, u32, oneshot::Receiver<RequestResult>), StateError> {
        if self.closed {
            return Err(StateError::Closed);
        }
        let sender = self.sender.clone().ok_or(StateError::NotConnected)?;
        if self.behind {
            return Err(StateError::Behind);
        }
        let request = self.next;
        self.next = self.next.wrapping_add(1);
        let (done, outcome) = oneshot::channel();
        self.requests.insert(request, PendingRequest { done, reply: None });
        Ok((sender, request, outcome))
    }

    /// Ends those whose answer speaks of a version that is there.
    fn settle(&mut self, version: u64) {
        let there = |_: &u32, requests: &mut PendingRequest| {
            requests.reply.as_ref().is_some_and(|reply| reply.version <= version)
        };
        for (_, requests) in self.requests.extract_if(there) {
            requests.end();
        }
    }

    fn end(&mut self) {
        for (_, requests) in self.requests.drain() {
            requests.end();
        }
    }
}

impl PendingRequest {
    fn end(self) {
        let outcome = match self.reply {
            None => Err(StateError::Interrupted),
            Some(StateReply { code: 0, version, .. }) => Ok(version),
            Some(StateReply { code: number, failed, version, .. }) => Err(StateError::Refused {
                code: Code::from_number(number.into()),
                number,
                operation: failed.into(),
                version,
            }),
        };
        // Whoever does not wait any more does not want to know.
        let _ = self.done.send(outcome);
    }
}
