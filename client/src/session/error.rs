//! The errors of connecting, and of QUIC while joining.

use std::net::SocketAddr;

use nucleus_client_core::session::{JoinError, LinkError};
use nucleus_protocol::session::Code;

/// The error of [`connect`](crate::connect) and [`enter`](crate::enter).
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server's name has no address.
    #[error("{server:?} is not a reachable host:port: {source}")]
    Resolve {
        /// The server's address as the application gave it.
        server: String,
        /// The error of the resolver.
        source: std::io::Error,
    },
    /// A local socket could not be opened.
    #[error("no local UDP socket: {0}")]
    Socket(#[from] std::io::Error),
    /// Neither the options nor the token say which certificate to trust.
    #[error(
        "no server certificate is trusted: use a token that contains a pin \
         (`nucleus token` of a development server creates one), a pin or a CA file"
    )]
    NoTrust,
    /// The given [`Trust`](crate::Trust) is unusable.
    #[error("the trusted certificates are unusable: {0}")]
    Trust(String),
    /// The server was not reached, or refused the join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The server's parameters for the realtime plane are unusable.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Converts the error of a connection that ended during the join to `server`.
pub(super) fn lost(error: quinn::ConnectionError, server: SocketAddr) -> JoinError {
    use quinn::ConnectionError::{ApplicationClosed, ConnectionClosed, TimedOut, TransportError};
    match error {
        TransportError(ref local) if is_tls(local.code) => JoinError::Tls(error.to_string()),
        TimedOut => JoinError::TimedOut { server },
        ApplicationClosed(close) => closed(close.error_code.into_inner(), &close.reason),
        // Before the QUIC handshake is complete, a server can close with this code alone (RFC 9000,
        // section 10.2.3). It does so when its time for a join is over.
        ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::APPLICATION_ERROR =>
        {
            closed(Code::JoinTimeout as u64, &close.reason)
        }
        other => JoinError::Connection(other.to_string()),
    }
}

/// Returns the error of a connection that the server closed with a code of its own.
fn closed(number: u64, reason: &[u8]) -> JoinError {
    JoinError::Refused {
        code: Code::from_number(number),
        number: u16::try_from(number).unwrap_or(u16::MAX),
        text: String::from_utf8_lossy(reason).into_owned(),
        retry_after: None,
        endpoints: Vec::new(),
    }
}

/// Returns whether the code is a TLS alert: 0x100 plus the alert's number (RFC 9001, section 4.8).
fn is_tls(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}
