//! Fresh tokens in mid-session: those that wait for the server's reply, and the newest one.

use std::collections::{BTreeMap, VecDeque};

use nucleus_protocol::session::{Code, Renewed};

use crate::refusal;

/// Fresh tokens that may wait for a reply, or whose results may wait for the caller. A token is
/// good for an hour, so more are a mistake.
const MAX_WAITING: usize = 8;

/// The error of `Room::renew`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// The server refused the token. The room goes on with the token before.
    #[error(
        "the server refused the token ({}): {}.{}",
        refusal::code_name(*.code, *.number), refusal::reason(*.code), refusal::advice(*.code)
    )]
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
    /// The text cannot be a token; why not, and what to do, as [`token::problem`](crate::token::problem)
    /// says it. Nothing was sent.
    #[error("{0}")]
    Invalid(&'static str),
    /// The server takes no fresh tokens in mid-session. The token is used for the next join.
    #[error("the server takes no fresh tokens in mid-session; this one is used at the next join")]
    NotOffered,
    /// The room is closed.
    #[error("the room is closed")]
    Closed,
}

/// Names a token that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RenewalNumber(u32);

/// A token that waits for the server's reply.
struct WaitingToken {
    number: RenewalNumber,
    token: String,
    /// Whether the caller waits for the result.
    is_wanted: bool,
}

/// The fresh tokens of a room.
#[derive(Default)]
pub(super) struct TokenRenewal {
    handed_in: u32,
    /// In the order of the requests, which is the order of the replies.
    waiting: VecDeque<WaitingToken>,
    results: BTreeMap<RenewalNumber, Result<(), RenewError>>,
    /// The token for the next join, if it is newer than the one of the last join.
    newest: Option<String>,
    /// Replies that will come to requests that have been ended.
    unwanted: usize,
}

impl TokenRenewal {
    pub(super) fn has_capacity(&self) -> bool {
        self.waiting.len() + self.results.len() < MAX_WAITING
    }

    /// Adds a token that is sent now.
    pub(super) fn start(&mut self, token: String) -> RenewalNumber {
        let number = RenewalNumber(self.handed_in);
        self.handed_in = self.handed_in.wrapping_add(1);
        self.waiting.push_back(WaitingToken { number, token, is_wanted: true });
        number
    }

    /// Keeps a token that cannot be sent for the next join.
    pub(super) fn keep(&mut self, token: String) {
        self.newest = Some(token);
    }

    /// Notes that there is a new session, which owes no replies.
    pub(super) fn attach(&mut self) {
        self.unwanted = 0;
    }

    /// Takes the reply to the oldest token. Returns the reply if the server took the token.
    pub(super) fn on_reply(&mut self, reply: Renewed) -> Option<Renewed> {
        if self.unwanted > 0 {
            self.unwanted -= 1;
            return (reply.code == 0).then_some(reply);
        }
        let WaitingToken { number, token, is_wanted } = self.waiting.pop_front()?;
        let outcome = match reply.code {
            0 => Ok(()),
            number => Err(RenewError::Refused { code: Code::from_number(number.into()), number }),
        };
        if outcome.is_ok() {
            self.newest = Some(token);
        }
        self.keep_result(number, outcome, is_wanted);
        outcome.is_ok().then_some(reply)
    }

    /// Ends all waiting requests. The newest of their tokens is used for the next join.
    pub(super) fn end_all(&mut self, reason: RenewError) {
        self.unwanted += self.waiting.len();
        while let Some(WaitingToken { number, token, is_wanted }) = self.waiting.pop_front() {
            self.newest = Some(token);
            self.keep_result(number, Err(reason), is_wanted);
        }
    }

    fn keep_result(
        &mut self,
        number: RenewalNumber,
        outcome: Result<(), RenewError>,
        is_wanted: bool,
    ) {
        if is_wanted {
            self.results.insert(number, outcome);
        }
    }

    pub(super) fn take(&mut self, number: RenewalNumber) -> Option<Result<(), RenewError>> {
        self.results.remove(&number)
    }

    pub(super) fn newest(&self) -> Option<&str> {
        self.newest.as_deref()
    }

    /// Takes the token for the next join; `None` if the last join's is the newest.
    pub(super) fn take_newest(&mut self) -> Option<String> {
        self.newest.take()
    }

    /// Forgets a token for whose result nobody waits. Its reply is still due.
    pub(super) fn forget(&mut self, number: RenewalNumber) {
        self.results.remove(&number);
        if let Some(token) = self.waiting.iter_mut().find(|token| token.number == number) {
            token.is_wanted = false;
        }
    }
}
