//! Requests for changes of the state that are under way: each ends exactly once, with the server's
//! answer or with the word that there will be none.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::{Code, Moderate, Operation, StateReply, StateRequest, Subscribe};
use tokio::sync::{Semaphore, oneshot};

use crate::session::{SendError, SessionSender};
use crate::state::BatchError;

/// Requests under way: of the largest (16 KiB) as many as QUIC keeps unacknowledged for a client.
/// Further ones wait for their turn.
const UNDER_WAY: usize = 16;

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

type Outcome = Result<u64, StateError>;

/// See the module.
pub(super) struct Requests {
    books: Mutex<Books>,
    places: Semaphore,
}

#[derive(Default)]
struct Books {
    /// Of the session in use.
    sender: Option<SessionSender>,
    next: u32,
    under_way: HashMap<u32, UnderWay>,
    /// What stands in the way of new ones.
    behind: bool,
    closed: bool,
}

struct UnderWay {
    done: oneshot::Sender<Outcome>,
    /// The answer, where the replica has not come as far.
    reply: Option<StateReply>,
}

/// Forgets a request whose caller does not wait any more.
struct Forget<'a>(&'a Requests, u32);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.books().under_way.remove(&self.1);
    }
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { books: Mutex::default(), places: Semaphore::new(UNDER_WAY) }
    }

    /// Asks for it and waits until the replica shows what the answer speaks of.
    pub(super) async fn ask(&self, operations: Vec<Operation>) -> Outcome {
        let send = async |sender: SessionSender, request| {
            sender.request_state(&StateRequest { request, operations }).await
        };
        self.answer_to(send).await
    }

    /// Acts as a moderator, and waits for the answer.
    pub(super) async fn moderate(&self, act: u8, peer: u32, seconds: u32) -> Outcome {
        let send = async |sender: SessionSender, request| {
            sender.moderate(&Moderate { request, act, peer, seconds }).await
        };
        self.answer_to(send).await
    }

    /// Says which groups are heard from now on, and waits for the answer.
    pub(super) async fn subscribe(&self, groups: GroupSet) -> Outcome {
        let send = async |sender: SessionSender, request| {
            sender.subscribe(&Subscribe { request, groups: groups.0 }).await
        };
        self.answer_to(send).await
    }

    async fn answer_to(
        &self,
        send: impl AsyncFnOnce(SessionSender, u32) -> Result<(), SendError>,
    ) -> Outcome {
        let _place = self.places.acquire().await.map_err(|_| StateError::Closed)?;
        let (sender, request, outcome) = self.books().begin()?;
        let _forget = Forget(self, request);
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
        self.books().sender = Some(sender);
    }

    /// The server has answered; `version` is the replica's.
    pub(super) fn answered(&self, reply: StateReply, version: u64) {
        let mut books = self.books();
        // One that is not under way was given up by its caller.
        if let Some(under_way) = books.under_way.get_mut(&reply.request) {
            under_way.reply = Some(reply);
        }
        books.settle(version);
    }

    /// The replica has come to `version`.
    pub(super) fn reached(&self, version: u64) {
        self.books().settle(version);
    }

    /// The session is lost.
    pub(super) fn interrupt(&self) {
        let mut books = self.books();
        books.sender = None;
        books.end();
    }

    /// Whether answers cannot be heard because the application does not take its events.
    pub(super) fn set_behind(&self, behind: bool) {
        let mut books = self.books();
        if behind && !books.behind {
            books.end();
        }
        books.behind = behind;
    }

    /// Nothing more will come of it.
    pub(super) fn close(&self) {
        self.places.close();
        let mut books = self.books();
        books.closed = true;
        books.sender = None;
        books.end();
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Nobody panics while holding it, and the books are whole at every step.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn begin(&mut self) -> Result<(SessionSender, u32, oneshot::Receiver<Outcome>), StateError> {
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
        self.under_way.insert(request, UnderWay { done, reply: None });
        Ok((sender, request, outcome))
    }

    /// Ends those whose answer speaks of a version that is there.
    fn settle(&mut self, version: u64) {
        let there = |_: &u32, under_way: &mut UnderWay| {
            under_way.reply.as_ref().is_some_and(|reply| reply.version <= version)
        };
        for (_, under_way) in self.under_way.extract_if(there) {
            under_way.end();
        }
    }

    fn end(&mut self) {
        for (_, under_way) in self.under_way.drain() {
            under_way.end();
        }
    }
}

impl UnderWay {
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
