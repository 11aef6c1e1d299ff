//! A WebTransport client for tests and benchmarks. It sends HTTP/3's bytes itself, so it can also send
//! what no browser would.
//!
//! [`Browser`] is a connection, [`WebSession`] its session. What travels in the session is the
//! caller's: [`opening`] is the beginning of a session in a room, and [`read_message`] reads an answer.

mod messages;
mod session;

pub use messages::{MAX_ANSWER, opening, read_message};
pub use session::{Browser, WebControlStream, WebSession, client_config};

/// What stands in front of a bidirectional stream of session 0: the type of the stream, and the session.
pub const BIDIRECTIONAL: [u8; 3] = [0x40, 0x41, 0];
/// What stands in front of a unidirectional stream of session 0.
pub const UNIDIRECTIONAL: [u8; 3] = [0x40, 0x54, 0];
/// What stands in front of a datagram of session 0: a quarter of the session's id.
pub const DATAGRAM: u8 = 0;
/// The path of the server's sessions.
pub const PATH: &str = "/nucleus";

/// The error of a step of a [`Browser`].
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The certificate or the TLS configuration cannot be used. Holds the reason.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection was lost, or the server closed it.
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    /// A stream broke. Holds the reason.
    #[error("a stream broke: {0}")]
    Stream(String),
    /// The server refused the request for a session with this status of HTTP.
    #[error("the server refused the session with status {0}")]
    Refused(u16),
    /// The server's answer is not one of HTTP/3, WebTransport or the session's protocol. Holds the reason.
    #[error("the server's answer is invalid: {0}")]
    Answer(String),
}

impl WebError {
    fn stream(error: impl std::fmt::Display) -> Self {
        Self::Stream(error.to_string())
    }

    fn answer(error: impl std::fmt::Display) -> Self {
        Self::Answer(error.to_string())
    }
}
