//! The errors of RPC: those of the caller, and those of the callee.

use nucleus_protocol::limits::MAX_RPC_TEXT;
use nucleus_protocol::session::{rpc_code, rpc_text};

use crate::session::SendError;

/// A failure that a callee reports to its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcFault {
    /// The application's code, from 256 on. Codes below are the protocol's; see [`rpc_code`].
    pub code: u16,
    /// A text for a person, at most 1,024 bytes. A longer one is cut when it is sent.
    pub text: String,
}

impl RpcFault {
    /// A failure of the application. `code` is 256 or more.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The callee has no such method.
    pub fn no_such_method() -> Self {
        Self::new(rpc_code::NO_SUCH_METHOD, "")
    }

    /// The callee has too much to do.
    pub fn busy() -> Self {
        Self::new(rpc_code::BUSY, "")
    }

    /// Returns the text as it is sent.
    pub(crate) fn sent_text(&self) -> &[u8] {
        let most = self.text.len().min(MAX_RPC_TEXT);
        let end = (0..=most).rev().find(|at| self.text.is_char_boundary(*at));
        &self.text.as_bytes()[..end.unwrap_or(0)]
    }
}

/// The error of `Room::rpc`.
///
/// A request that ended with [`RpcError::TimedOut`], [`RpcError::PeerLeft`],
/// [`RpcError::Interrupted`] or [`RpcError::Closed`] may have been carried out. After every other
/// error it was refused, by the callee or before it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The callee's application reports a failure; or a code of a later version, below 256.
    #[error("the peer reports failure {}: {}", .0.code, if .0.text.is_empty() { "no reason given" } else { &.0.text })]
    Fault(RpcFault),
    /// The callee has no such method.
    #[error("the peer has no such method")]
    NoSuchMethod,
    /// Too many requests wait at the callee. Try again later.
    #[error("too many requests wait at the peer; try again later")]
    Busy,
    /// No answer came within the timeout.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The callee left the room before its answer arrived.
    #[error("the peer has left the room")]
    PeerLeft,
    /// The callee is not in the room.
    #[error("the peer is not in the room")]
    UnknownPeer,
    /// A client does not ask itself: call the function instead.
    #[error("a client does not send a request to itself")]
    ToSelf,
    /// This client has joined the room again as a new peer (`RoomEvent::Rejoined`), so no answer can
    /// come.
    #[error("this client is a new peer, so no answer can come")]
    Interrupted,
    /// The method is not 1 to 64 bytes of text without control characters and invisible characters.
    #[error(
        "a method has 1 to 64 bytes of text, without control characters and invisible characters"
    )]
    Method,
    /// The timeout is not 1 ms to 60 s.
    #[error("the timeout must be 1 ms to 60 s")]
    Timeout,
    /// 64 requests of this client wait for their answers, or their results for the caller.
    #[error("too many requests of this client wait for their answers")]
    TooMany,
    /// The request cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The room is closed.
    #[error("the room is closed")]
    Closed,
}

impl RpcError {
    /// Returns the error that an answer with this code and payload reports.
    pub(super) fn from_answer(code: u16, payload: &[u8]) -> Self {
        match code {
            rpc_code::NO_SUCH_METHOD => RpcError::NoSuchMethod,
            rpc_code::BUSY => RpcError::Busy,
            code => RpcError::Fault(RpcFault { code, text: rpc_text(payload).into_owned() }),
        }
    }
}

/// The error of `Room::answer_rpc`. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The request does not wait for an answer. It was answered before, its timeout has passed, its
    /// caller has left, or this client has become a new peer.
    #[error("the request no longer waits for an answer")]
    NotWaiting,
    /// The code of the fault is reserved for the protocol. An application uses 256 and more.
    #[error("code {0} is reserved for the protocol; an application uses 256 to 65535")]
    ReservedCode(u16),
    /// The answer cannot be sent now. The request still waits: answer it later, or with less.
    #[error(transparent)]
    Send(#[from] SendError),
}
