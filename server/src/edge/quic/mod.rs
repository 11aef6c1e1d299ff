//! QUIC, which carries sessions: endpoints, connections and their streams. The rest of the edge knows
//! these types alone, so that sessions may come by another carrier one day.

mod canonical;
mod connection;
mod endpoint;
mod runtime;

pub(super) use connection::{Connection, Ended, Gone, RecvStream, SendStream, StreamError};
pub use endpoint::{Endpoint, Incoming, server_config};
pub use quinn::ServerConfig;
pub use runtime::{Handshakes, sessions};
