//! The inputs, outputs and steps of a [`ClientSession`](super::ClientSession).

use std::net::SocketAddr;

use bytes::Bytes;
use nucleus_protocol::session::{Code, Features, Lane};

use super::JoinError;
use super::end::ConnectionEnd;
use super::incoming::{ReceivedItem, StreamSource};
use super::outgoing::{StreamAction, StreamTarget};

/// What a client joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPurpose {
    /// A room, by `Join` and `Joined`.
    Room,
    /// The users outside rooms, by `Enter` and `Entered`.
    Social,
}

/// What the session must know of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The server's address.
    pub server: SocketAddr,
    /// Most bytes of a QUIC datagram; `None` if the connection carries none.
    pub datagram: Option<usize>,
}

/// An input of a [`ClientSession`](super::ClientSession). Without `Debug`: the bytes have secrets.
pub enum SessionInput<'a> {
    /// The server's name has addresses, which are tried one after the other.
    Resolved {
        /// The first address.
        first: SocketAddr,
        /// The number of addresses that are tried.
        count: usize,
    },
    /// The connection that [`SessionOutput::Connect`] asked for stands.
    Connected(ConnectionFacts),
    /// There is no connection.
    NotConnected(JoinError),
    /// The server has opened a stream. The number is the caller's choice.
    StreamOpened(u64),
    /// Bytes of a stream have come.
    Bytes(StreamSource, &'a [u8]),
    /// A stream of the server has ended.
    StreamEnded {
        /// The stream.
        source: StreamSource,
        /// Whether the stream broke, so that bytes may be missing.
        is_broken: bool,
    },
    /// The newest bytes for this stream are written.
    Written(StreamTarget),
    /// The server has everything on a stream that was ended.
    Finished(StreamTarget),
    /// The server reads a stream no longer. The close that says why should follow.
    Stopped(StreamTarget),
    /// The connection has ended, but the caller can still read what has arrived. The caller goes on
    /// to read what is wanted; [`SessionInput::Closed`] follows when that is read.
    Ending {
        /// Whether the client does not come back, see [`ConnectionEnd::may_reconnect`]. Then all of
        /// it is wanted, also for an application that is behind: it is at most QUIC's window.
        is_final: bool,
    },
    /// The connection has ended. No further input of this connection may follow.
    Closed(ConnectionEnd),
}

/// An output of a [`ClientSession`](super::ClientSession).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOutput {
    /// Drop the connection, if there is one, or the try to connect. Look up the name of this
    /// server, `host:port`, and connect. Open the control stream then.
    Connect(String),
    /// Write to a stream, or end it. No further action for the stream follows before
    /// [`SessionInput::Written`] or [`SessionInput::Finished`].
    Stream(StreamTarget, StreamAction),
    /// Stop a stream that the server has opened, with [`Code::Malformed`].
    Refuse(u64),
    /// Close the connection, if there is one.
    Close {
        /// The reason for the server.
        code: Code,
        /// The reason as text for a person.
        text: String,
    },
}

/// What the owner of a [`ClientSession`](super::ClientSession) applies to what it knows. Without
/// `Debug`: an answer has secrets.
pub enum SessionStep {
    /// A connection stands: call [`ClientSession::open`](super::ClientSession::open).
    Open {
        /// The connection.
        facts: ConnectionFacts,
        /// Whether an attempt that was abandoned may have created the room.
        may_have_created: bool,
    },
    /// The server's answer to the join: call [`ClientSession::begin`](super::ClientSession::begin) or [`ClientSession::fail`](super::ClientSession::fail).
    Answered {
        /// The features that the server offers.
        features: Features,
        /// The body of `Joined` or `Entered`.
        body: Bytes,
    },
    /// A join has failed: call [`ClientSession::join_failed`](super::ClientSession::join_failed) or [`ClientSession::join_again`](super::ClientSession::join_again).
    NotJoined(JoinError),
    /// A message has come.
    Received(ReceivedItem),
    /// The bytes for a lane are written.
    Written(Lane),
    /// The session is lost, and the client comes back.
    Lost {
        /// The reason that the server gave.
        code: Option<Code>,
        /// The reason as text for a person.
        text: String,
    },
    /// The first join has failed for good.
    Failed(JoinError),
    /// The session is closed for good. This is the last step.
    Closed {
        /// The reason that the server or this client gave.
        code: Option<Code>,
        /// The reason as text for a person.
        text: String,
    },
}
