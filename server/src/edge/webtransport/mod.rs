//! WebTransport, which carries the sessions of browsers: HTTP/3 by ALPN `h3`, on the QUIC connections
//! of the same endpoints. The byte layouts are those of the library `web-transport-proto`.
//!
//! Each connection carries one WebTransport session. Its id is that of its first stream, which is 0.

mod connection;
mod ending;
mod opening;
mod streams;

use web_transport_proto::VarInt;

pub(super) use connection::{WebConnection, stream_code};
pub use ending::ClosingPages;
pub use opening::ALPN;
pub(super) use opening::{NoSession, open};

/// The id of a connection's only session: that of its first stream.
const SESSION_ID: VarInt = VarInt::from_u32(0);

/// What stands in front of the payload of a datagram of session 0: a quarter of the session's id.
const DATAGRAM_PREFIX: u8 = 0;

/// The codes with which HTTP/3 closes connections and streams (RFC 9114, 8.1).
mod code {
    /// All is well: the connection is no longer needed.
    pub(super) const NO_ERROR: u64 = 0x100;
    /// A second stream of a type of which a client has only one.
    pub(super) const STREAM_CREATION: u64 = 0x103;
    /// The request was not looked at.
    pub(super) const REQUEST_REJECTED: u64 = 0x10b;
    /// A stream of a WebTransport session that does not exist.
    pub(super) const UNKNOWN_SESSION: u64 = 0x3994_bd84;
}
