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
    /// Too many tokens wait for a reply.
    #[error("too many tokens wait for the server's reply")]
    TooMany,
    /// The server takes no fresh tokens in mid-session.
    #[error("the server takes no fresh tokens in mid-session")]
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
    closed: bool,
}

impl TokenRenewal {
    /// Hands in a token and waits for the reply.
    pub(super) async fn renew(&self, token: String) -> Result<(), RenewError> {
        let (sends_result, result) = oneshot::channel();
        let sender = {
            let mut state = self.state();
            if state.closed {
                return Err(RenewError::Closed);
            }
            let Some(sender) = state.sender.clone() else {
                state.newest = Some(token);
                return Err(RenewError::Interrupted);
            };
            if state.waiting.len() >= MAX_WAITING {
                return Err(RenewError::TooMany);
            }
            state.waiting.push_back(WaitingToken { token: token.clone(), result: sends_result });
            sender
        };
        match sender.renew(&token).await {
            Ok(()) => {}
            Err(SendError::NotOffered(_)) => {
                self.state().waiting.retain(|waiting| waiting.token != token);
                return Err(RenewError::NotOffered);
            }
            // The session has ended. The room's task ends the waiting requests.
            Err(_) => {}
        }
        result.await.unwrap_or(Err(RenewError::Closed))
    }

    /// Uses a new session for further tokens.
    pub(super) fn attach(&self, sender: SessionSender) {
        self.state().sender = Some(sender);
    }

    /// Takes the reply to the oldest token. Returns the new ticket if the server took the token.
    pub(super) fn on_reply(&self, reply: Renewed) -> Option<Vec<u8>> {
        let mut state = self.state();
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
        outcome.is_ok().then_some(reply.ticket)
    }

    /// Ends the waiting requests because the session is lost. The newest of their tokens is used
    /// for the next join.
    pub(super) fn interrupt(&self) {
        let mut state = self.state();
        state.sender = None;
        while let Some(WaitingToken { token, result }) = state.waiting.pop_front() {
            state.newest = Some(token);
            let _ = result.send(Err(RenewError::Interrupted));
        }
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
