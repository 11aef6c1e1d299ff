//! The errors of connecting.

use nucleus_client_core::session::{JoinError, LinkError};

/// The error of [`connect`](crate::connect) and [`enter`](crate::enter).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A local socket could not be opened.
    #[error("no local UDP socket: {0}")]
    Socket(#[from] std::io::Error),
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
