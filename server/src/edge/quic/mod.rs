//! QUIC, which carries sessions: endpoints, connections and their streams. Only this module names
//! quinn, so that sessions can use another transport later.

mod connection;
mod endpoint;
mod runtime;
mod socket;

pub(super) use connection::{
    ConnectionClosed, ConnectionEnd, QuicConnection, QuicRecvStream, SendStream, StreamError,
    WriteError,
};
pub use endpoint::{Endpoint, Incoming, server_config};
pub use quinn::ServerConfig;
pub use runtime::{Handshakes, sessions};
