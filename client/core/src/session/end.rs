//! The end of a connection: its meaning for a session, and for a join.

use std::net::SocketAddr;

use nucleus_protocol::session::Code;

use super::{JoinError, may_reconnect};

/// How a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The server closed the connection with a number of its own, see [`Code`].
    ByServer {
        /// The number.
        number: u64,
        /// The reason as text for a person.
        text: String,
    },
    /// The server closed the connection before the handshake of QUIC was complete. It cannot name
    /// a number then (RFC 9000, section 10.2.3), and does so when its time for a join is over.
    BeforeHandshake {
        /// The reason as text for a person.
        text: String,
    },
    /// This client closed the connection.
    ByClient,
    /// Nothing came from the server for too long.
    TimedOut,
    /// TLS failed. Holds the reason.
    Tls(String),
    /// Another reason.
    Other(String),
}

impl ConnectionEnd {
    /// Returns whether a client comes back after this end.
    pub fn may_reconnect(&self) -> bool {
        match self {
            ConnectionEnd::ByServer { number, .. } => may_reconnect(Code::from_number(*number)),
            ConnectionEnd::ByClient => false,
            _ => true,
        }
    }

    /// Returns what the end means for a session: a code, if there is one, and a text for a person.
    pub fn reason(self) -> (Option<Code>, String) {
        match self {
            ConnectionEnd::ByServer { number, text } => (Code::from_number(number), text),
            ConnectionEnd::ByClient => (Some(Code::Left), "closed by this client".to_owned()),
            ConnectionEnd::TimedOut => (None, "timed out".to_owned()),
            ConnectionEnd::BeforeHandshake { text }
            | ConnectionEnd::Tls(text)
            | ConnectionEnd::Other(text) => (None, text),
        }
    }

    /// Returns the error of a join at `server` that the end has ended.
    pub fn into_join_error(self, server: SocketAddr) -> JoinError {
        let refused = |number: u64, text| JoinError::Refused {
            code: Code::from_number(number),
            number: u16::try_from(number).unwrap_or(u16::MAX),
            text,
            retry_after: None,
            endpoints: Vec::new(),
        };
        match self {
            ConnectionEnd::ByServer { number, text } => refused(number, text),
            ConnectionEnd::BeforeHandshake { text } => refused(Code::JoinTimeout as u64, text),
            ConnectionEnd::TimedOut => JoinError::TimedOut { server },
            ConnectionEnd::Tls(text) => JoinError::Tls(text),
            ConnectionEnd::ByClient => JoinError::Connection("closed by this client".to_owned()),
            ConnectionEnd::Other(text) => JoinError::Connection(text),
        }
    }
}
