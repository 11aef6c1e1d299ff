//! Fresh tokens in mid-session: requests that wait for the server's reply, and the newest token.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nucleus_protocol::session::{Code, Renewed};
use tokio::sync::oneshot;

use crate::session::{SendError, SessionSender};

/// Fresh tokens that may wait for a reply. A token is good for an hour, so more are a mistake.
const MAX_WAITING: usize = 8;

/// The error of [`Room::renew`](super::Room::renew).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// The server refused the token. The room goes on with the token before.
    #[error("the server refused the token: {}", .code.map_or("unknown reason", Code::name))]
    Refused {
        /// The reason; `None` if this version does not know the number.
        code: Option<Code>,
        /// The reason's number on the wire.
        number: u16,
    },
    /// The session was lost before the reply. The token is used for the next join.
    #[error("the session was lost; the token is used when the client joins again")]
    Interrupted,
    /// The application is too far behind with its events, so a reply could not be read. The token
    /// is used when the client joins again.
    #[error("too many events wait for the application; the token is used when it joins again")]
    Behind,
    /// Too many tokens wait for a reply.
    #[error("too many tokens wait for the server's reply")]
    TooMany,
    /// The server takes no fresh tokens in mid-session. The token is used for the next join.
    #[error("the server takes no fresh tokens in mid-session; this one is used at the next join")]
    NotOffered,
    /// The room is closed.
    #[error("the room is closed")]
    Closed,
}

/// A token that waits for the server's reply.
struct WaitingToken {
    token: String,
    result: oneshot::Sender<Result<(), RenewError>>,
}

/// The fresh tokens of a room.
#[derive(Default)]
pub(super) struct TokenRenewal(Mutex<RenewalState>);

#[derive(Default)]
struct RenewalState {
    /// Sends on the current session; `None` while there is no session.
    sender: Option<SessionSender>,
    /// In the order of the requests, which is the order of the replies.
    waiting: VecDeque<WaitingToken>,
    /// The token for the next join, if it is newer than the one of the last join.
    newest: Option<String>,
    /// Replies that will come to requests that have been ended.
    unwanted: usize,
    /// Whether the application is too far behind with its events.
    behind: bool,
    closed: bool,
}

impl RenewalState {
    /// Returns the sender for a token. If the token cannot be sent, keeps it for the next join.
    fn start(&mut self, token: &str) -> Result<SessionSender, RenewError> {
        if self.closed {
            return Err(RenewError::Closed);
        }
        let problem = if self.behind { RenewError::Behind } else { RenewError::Interrupted };
        let sender = self.sender.clone().filter(|_| !self.behind);
        sender.ok_or_else(|| {
            self.newest = Some(token.to_owned());
            problem
        })
    }

    /// Ends all waiting requests. The newest of their tokens is used for the next join.
    fn end_all(&mut self, reason: RenewError) {
        self.unwanted += self.waiting.len();
        while let Some(WaitingToken { token, result }) = self.waiting.pop_front() {
            self.newest = Some(token);
            // Fails only if the caller has stopped waiting.
            let _ = result.send(Err(reason));
        }
    }
}

impl TokenRenewal {
    /// Hands in a token and waits for the reply. If that is not possible, keeps the token for the
    /// next join.
    pub(super) async fn renew(&self, token: String) -> Result<(), RenewError> {
        let sender = self.state().start(&token)?;
        let (sends_result, result) = oneshot::channel();
        let waiting = WaitingToken { token: token.clone(), result: sends_result };
        // Queued in the moment in which the token is sent, so that the replies find their tokens.
        let queue = || {
            let mut state = self.state();
            (state.waiting.len() < MAX_WAITING).then(|| {
                let token = waiting.token.clone();
                state.waiting.push_back(waiting);
                token
            })
        };
        match sender.renew_with(queue).await {
            Ok(()) => {}
            Err(SendError::NotOffered(_)) => {
                self.state().newest = Some(token);
                return Err(RenewError::NotOffered);
            }
            Err(_) => {
                self.state().newest = Some(token);
                return Err(RenewError::Interrupted);
            }
        }
        // Dropped without a result: the queue was full, or the room is closed.
        result.await.unwrap_or_else(|_| {
            Err(if self.state().closed { RenewError::Closed } else { RenewError::TooMany })
        })
    }

    /// Uses a new session for further tokens.
    pub(super) fn attach(&self, sender: SessionSender) {
        let mut state = self.state();
        state.sender = Some(sender);
        state.unwanted = 0;
    }

    /// Takes the reply to the oldest token. Returns the reply if the server took the token.
    pub(super) fn on_reply(&self, reply: Renewed) -> Option<Renewed> {
        let mut state = self.state();
        if state.unwanted > 0 {
            state.unwanted -= 1;
            return (reply.code == 0).then_some(reply);
        }
        let WaitingToken { token, result } = state.waiting.pop_front()?;
        let outcome = match reply.code {
            0 => Ok(()),
            number => Err(RenewError::Refused { code: Code::from_number(number.into()), number }),
        };
        if outcome.is_ok() {
            state.newest = Some(token);
        }
        // Fails only if the caller has stopped waiting.
        let _ = result.send(outcome);
        outcome.is_ok().then_some(reply)
    }

    /// Ends the waiting requests because the session is lost. The newest of their tokens is used
    /// for the next join.
    pub(super) fn interrupt(&self) {
        let mut state = self.state();
        state.sender = None;
        state.end_all(RenewError::Interrupted);
    }

    /// Sets whether the application is too far behind with its events. The session is then not
    /// read, so replies do not arrive either.
    pub(super) fn set_behind(&self, behind: bool) {
        let mut state = self.state();
        if behind && !state.behind {
            state.end_all(RenewError::Behind);
        }
        state.behind = behind;
    }

    /// Takes the token for the next join; `None` if the last join's is the newest.
    pub(super) fn take_newest(&self) -> Option<String> {
        self.state().newest.take()
    }

    /// Ends the waiting requests and refuses new ones.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.sender = None;
        state.waiting.clear();
    }

    fn state(&self) -> MutexGuard<'_, RenewalState> {
        // No code panics while it holds the lock, and each step leaves the data consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
