//! The errors of sessions, one enum for each operation. The error texts say what to do.

use std::net::SocketAddr;
use std::time::Duration;

use nucleus_protocol::codec::Truncated;
use nucleus_protocol::realtime::pose::PoseError;
use nucleus_protocol::session::{BadHeader, Code, InvalidArchive, Lane, Schema};

use crate::refusal;
use crate::roster::RosterFault;
use crate::state::StateFault;

/// The error of joining a room or opening a social session.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The server refused the join.
    #[error("{}", refused(*.code, *.number, .text, *.retry_after))]
    Refused {
        /// The reason; `None` if this version does not know the number.
        code: Option<Code>,
        /// The reason's number on the wire.
        number: u16,
        /// The server's explanation.
        text: String,
        /// The shortest pause before another attempt; `None` if the server named none.
        retry_after: Option<Duration>,
        /// Other servers to try, each as `host:port`.
        endpoints: Vec<String>,
    },
    /// An option is outside its limits. Nothing was sent.
    #[error("{0}")]
    Options(&'static str),
    /// The server's name has no address.
    #[error("{server:?} is not a reachable host:port: {reason}")]
    NoAddress {
        /// The server as `host:port`.
        server: String,
        /// The resolver's reason.
        reason: String,
    },
    /// This machine's network has no way to the server.
    #[error("{server} cannot be reached from this machine: {reason}")]
    Unreachable {
        /// The address.
        server: SocketAddr,
        /// The system's reason, for example that there is no route.
        reason: String,
    },
    /// The client cannot connect to the server's name or address. Holds the reason.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// TLS failed: the certificate is not trusted, or the other end is not a Nucleus server. Holds
    /// the reason.
    #[error(
        "the secure connection failed: {0}. If the server's certificate was renewed, get a new \
         token or pin. Without a pin in a valid token, the certificate must be of a public authority"
    )]
    Tls(String),
    /// The connection broke before the server answered. Holds the reason.
    #[error("the connection was lost while joining: {0}. Try again")]
    Connection(String),
    /// The server broke the protocol.
    #[error("the server's answer is invalid: {0}. Are client and server versions compatible?")]
    Protocol(#[from] ProtocolError),
    /// The server did not answer in time.
    #[error(
        "no answer from {server}: is the server running, and UDP port {} open on the way to it?",
        .server.port()
    )]
    TimedOut {
        /// The address that did not answer.
        server: SocketAddr,
    },
}

fn refused(code: Option<Code>, number: u16, text: &str, retry: Option<Duration>) -> String {
    let name = refusal::code_name(code, number);
    let text = if text.is_empty() { refusal::reason(code) } else { text };
    let advice = refusal::advice(code);
    let seconds = retry.unwrap_or_default().as_millis().div_ceil(1_000);
    let retry = if seconds > 0 { format!(" Try again in {seconds} s.") } else { String::new() };
    format!("the server refused ({name}): {text}.{advice}{retry}")
}

/// The way in which the other end broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A message's header is invalid or announces too many bytes.
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// A message's body does not match its schema.
    #[error(transparent)]
    Archive(#[from] InvalidArchive),
    /// A handshake message ends too early.
    #[error(transparent)]
    Handshake(#[from] Truncated),
    /// A message came on a stream, or at a time, where it is not allowed.
    #[error("a {0:?} message does not belong there")]
    Unexpected(Schema),
    /// The server chose a version that this client did not offer.
    #[error("version {0} of the session protocol was not offered")]
    Version(u8),
    /// A version of the roster is missing, or the roster is too large.
    #[error(transparent)]
    Roster(#[from] RosterFault),
    /// A list of a social session is far longer than a server may send. Holds what it lists.
    #[error("the list of {0} is too long")]
    ListTooLong(&'static str),
    /// A message about the room's state is invalid.
    #[error(transparent)]
    State(#[from] StateFault),
    /// The server's count of the events that it has taken goes backwards, or is ahead of the events
    /// that this client has sent. Counts wrap.
    #[error("the server took {taken} events ({lane:?}); possible are {least} to {most}")]
    EventCount {
        /// The lane.
        lane: Lane,
        /// The received count.
        taken: u32,
        /// The newest count before.
        least: u32,
        /// The number of events sent.
        most: u32,
    },
    /// The server opened a second state stream.
    #[error("a session has one state stream, this is a second")]
    SecondState,
    /// A stream ended although a message was expected.
    #[error("the stream ended in the middle of a message")]
    Ended,
}

/// The reason why the server's grant of a realtime link is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The server chose an AEAD suite that this client did not offer.
    #[error("the server chose AEAD suite {0}, which was not offered")]
    Suite(u8),
    /// The server named no usable realtime address.
    #[error("the server named no usable address of its realtime plane")]
    Endpoint,
    /// TLS could not export keying material, or there was no randomness.
    #[error("no key material for the realtime plane")]
    Keys,
}

/// The error of sending a message. No part of the message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The payload is too large.
    #[error("a payload of {len} bytes is over the limit of {limit}")]
    TooLarge {
        /// Size of the payload in bytes.
        len: usize,
        /// Largest allowed size in bytes.
        limit: usize,
    },
    /// The pose has numbers that the others cannot receive as they are.
    #[error(transparent)]
    Pose(#[from] PoseError),
    /// The level of a voice packet is not in -dBov.
    #[error("a voice level of {0} is over 127: levels are in -dBov, 0 is loudest")]
    VoiceLevel(u8),
    /// Reserved flags of a voice packet are set.
    #[error("the voice flags {0:#04x} are reserved")]
    VoiceFlags(u8),
    /// The channel is reserved for the protocol.
    #[error("channel {0} is reserved for the protocol; an application uses 0 to 239")]
    ReservedChannel(u8),
    /// The type of a typed event is not 1 to 64 bytes of text without control characters and
    /// invisible characters.
    #[error(
        "the type of an event has 1 to 64 bytes of text, without control characters and invisible \
         characters"
    )]
    EventType,
    /// The event names too many peers.
    #[error("the event names {count} peers; at most {limit} are allowed")]
    TooManyPeers {
        /// Number of named peers.
        count: usize,
        /// Largest allowed number.
        limit: usize,
    },
    /// [`To::OthersAndLater`](super::To::OthersAndLater) is not allowed for messages of the bulk
    /// lane.
    #[error(
        "messages of the bulk lane are not kept for peers that join later: put lasting data into \
         the shared state"
    )]
    NotKept,
    /// The server or this client lacks the feature.
    #[error("the server, or this client, does not offer {0}")]
    NotOffered(&'static str),
    /// A realtime message goes to the others, one peer, the host or a group.
    #[error("a realtime message goes to the others, one peer, the host or a group")]
    RealtimeTarget,
    /// There is no capacity now: the server or the network is slower than the application, or the
    /// session is lost. Try again later.
    #[error("too many messages wait to be sent; try again later")]
    WouldBlock,
    /// The recipient is not in the room.
    #[error("the recipient is not in the room")]
    UnknownPeer,
    /// The session is closed.
    #[error("the session is closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: Code, text: &str, retry_ms: u64) -> String {
        let retry_after = (retry_ms > 0).then_some(Duration::from_millis(retry_ms));
        let (text, endpoints) = (text.to_owned(), Vec::new());
        JoinError::Refused { code: Some(code), number: code as u16, text, retry_after, endpoints }
            .to_string()
    }

    #[test]
    fn a_refused_join_says_why_and_when_to_try_again() {
        let full = "the server refused (server_full): the server is full. \
                    Try again later or on another server. Try again in 2 s.";
        assert_eq!(text(Code::ServerFull, "", 1_001), full);
        let own = text(Code::RoomFull, "25 are in", 0);
        assert_eq!(own, "the server refused (room_full): 25 are in. Choose another room.");
        let unknown = refused(None, 999, "", None);
        assert_eq!(unknown, "the server refused (code 999): no reason given.");
    }
}
