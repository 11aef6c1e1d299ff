//! What can go wrong, one small enum per operation; the texts say what to do about it.

use std::net::SocketAddr;
use std::time::Duration;

use nucleus_protocol::codec::Truncated;
use nucleus_protocol::session::{BadHeader, Code, InvalidArchive, Schema};

use crate::state::StateFault;

/// Connecting failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server's name has no address.
    #[error("{server:?} is not a reachable host:port: {source}")]
    Resolve {
        /// As it was given.
        server: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// A local socket could not be opened.
    #[error("no local UDP socket: {0}")]
    Socket(#[from] std::io::Error),
    /// Nothing says which certificate to trust.
    #[error(
        "nothing says which server certificate to trust: use a token that carries a pin \
         (`nucleus token` of a development server makes one), a pin or a CA file"
    )]
    NoTrust,
    /// The trust that was given is unusable.
    #[error("the trusted certificates are unusable: {0}")]
    Trust(String),
    /// The server was not reached, or said no.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The grant in the server's answer is unusable.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server understood and said no.
    #[error("{}", refusal(*.code, *.number, .text, *.retry_after))]
    Refused {
        /// Why, when this version knows the number.
        code: Option<Code>,
        /// The code's number.
        number: u16,
        /// The server's own words.
        text: String,
        /// Try again after this; `None`: trying again does not help.
        retry_after: Option<Duration>,
    },
    /// An option is outside its limits; nothing was sent.
    #[error("{0}")]
    Options(&'static str),
    /// The server's name or address cannot be connected to.
    #[error("cannot connect: {0}")]
    Connect(#[from] quinn::ConnectError),
    /// TLS failed: the certificate is not the trusted one, or this is not a Nucleus server.
    #[error(
        "the secure connection failed: {0}. If the server's certificate was renewed, get a new \
         token or pin"
    )]
    Tls(quinn::ConnectionError),
    /// The connection broke before the server had answered.
    #[error("the connection was lost while joining: {0}. Try again")]
    Connection(quinn::ConnectionError),
    /// The server broke the protocol.
    #[error("the server's answer is not understood: {0}. Do client and server versions fit?")]
    Protocol(#[from] ProtocolError),
    /// No answer.
    #[error(
        "no answer from {server}: is the server running, and UDP port {} open on the way to it?",
        .server.port()
    )]
    TimedOut {
        /// Where the client knocked.
        server: SocketAddr,
    },
}

impl JoinError {
    /// A connection that ended during the join, seen from there.
    pub(super) fn lost(error: quinn::ConnectionError, server: SocketAddr) -> Self {
        match error {
            quinn::ConnectionError::TransportError(ref local) if is_tls(local.code) => {
                Self::Tls(error)
            }
            quinn::ConnectionError::TimedOut => Self::TimedOut { server },
            quinn::ConnectionError::ApplicationClosed(close) => {
                let number = close.error_code.into_inner();
                Self::Refused {
                    code: Code::from_number(number),
                    number: u16::try_from(number).unwrap_or(u16::MAX),
                    text: String::from_utf8_lossy(&close.reason).into_owned(),
                    retry_after: None,
                }
            }
            other => Self::Connection(other),
        }
    }
}

/// RFC 9001, section 4.8: a TLS alert travels as 0x100 and its number.
fn is_tls(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

fn refusal(code: Option<Code>, number: u16, text: &str, retry: Option<Duration>) -> String {
    let name = code.map_or_else(|| format!("code {number}"), |code| code.to_string());
    let text = if text.is_empty() { "no reason given" } else { text };
    let advice = code.map_or("", advice);
    let retry = retry.map_or_else(String::new, |d| format!(" Try again in {} ms.", d.as_millis()));
    format!("the server refused ({name}): {text}.{advice}{retry}")
}

fn advice(code: Code) -> &'static str {
    match code {
        Code::Version => " Update the older of client and server.",
        Code::TokenMalformed => " Give the token whole, as `nucleus token` printed it.",
        Code::TokenExpired => " Get a new token.",
        Code::TokenNotYetValid => " Check the clocks of both machines.",
        Code::TokenAlgorithm | Code::TokenSignature | Code::TokenAudience => {
            " Get a token that was made for this server."
        }
        Code::RoomNotAllowed => " Get a token for this room, or join the token's own.",
        Code::RoomFull => " Choose another room.",
        Code::RoomExists => " Choose another name, or join it.",
        Code::NoSuchRoom => " Make one, or look for less.",
        Code::Incompatible => " Update the older of the applications.",
        Code::WrongPassword => " Ask whoever made the room.",
        Code::NotInvited => " Ask to be invited.",
        Code::AlreadyJoined => " Leave with the other device first.",
        Code::ServerFull | Code::ShuttingDown => " Try again later or on another server.",
        _ => "",
    }
}

/// The other end broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A message's header is none, or announces too much.
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// A message's body is not what its header says.
    #[error(transparent)]
    Archive(#[from] InvalidArchive),
    /// A hand-laid message ends too soon.
    #[error(transparent)]
    Handshake(#[from] Truncated),
    /// A message in the wrong place.
    #[error("a {0:?} message does not belong there")]
    Unexpected(Schema),
    /// A version was chosen that was not offered.
    #[error("version {0} of the session protocol was not offered")]
    Version(u8),
    /// The roster's versions have a gap.
    #[error("roster version {found} came where {expected} was due")]
    RosterVersion {
        /// One more than the version before.
        expected: u32,
        /// As received.
        found: u32,
    },
    /// The room's state makes no sense.
    #[error(transparent)]
    State(#[from] StateFault),
    /// A second state stream in one session.
    #[error("a session has one state stream, this is a second")]
    SecondState,
    /// A stream ended where a message was due.
    #[error("the stream ended in the middle")]
    Ended,
}

/// A grant cannot be made into a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The AEAD suite was not offered.
    #[error("the server chose AEAD suite {0}, which was not offered")]
    Suite(u8),
    /// There is no usable realtime address.
    #[error("the server named no usable address of its realtime plane")]
    Endpoint,
    /// TLS could not export keying material, or there was no randomness.
    #[error("no key material for the realtime plane")]
    Keys,
}

/// Sending failed; nothing of the message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The payload is too large.
    #[error("a payload of {len} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes of the payload.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The event names too many peers.
    #[error("{count} peers are more than the {limit} one event may name")]
    TooManyPeers {
        /// Peers named.
        count: usize,
        /// Peers allowed.
        limit: usize,
    },
    /// A message of the bulk lane is not kept for whoever comes later.
    #[error(
        "a large message is not kept for whoever comes later: put what is to last into the state"
    )]
    NotKept,
    /// The target is not in the room.
    #[error("the addressed peer is not in the room")]
    UnknownPeer,
    /// The session is over.
    #[error("the session is over")]
    Closed,
}
