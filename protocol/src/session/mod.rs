//! The session plane's messages (QUIC on UDP 5055).
//!
//! Every stream opens with a type byte ([`stream`]), then carries messages, each behind the frozen
//! eight-byte [`MessageHeader`]. `Hello`, `Welcome` and `Refuse` are laid out by hand and never
//! change; everything else is an `rkyv` archive whose schema id and version stand in the header and
//! are checked before a byte of it is believed.

mod archive;
mod code;
mod handshake;
mod header;
mod messages;
mod messaging;
mod moderation;
mod rooms;
mod schema;
mod social;
mod state;

pub use archive::{InvalidArchive, access, encode, owned};
pub use code::Code;
pub use handshake::{Hello, Refuse, Welcome};
pub use header::{BadHeader, MessageHeader, SESSION_HEADER_BYTES};
pub use messages::*;
pub use messaging::*;
pub use moderation::*;
pub use rooms::*;
pub use schema::{ArchivedMessage, Encoding, Schema};
pub use social::*;
pub use state::*;

/// The application protocol in TLS; versions are agreed in `Hello` and `Welcome`.
pub const ALPN: &[u8] = b"nucleus";
/// The newest version of the session protocol that this code speaks.
pub const VERSION: u8 = 1;
/// The oldest one.
pub const OLDEST_VERSION: u8 = 1;
/// Label of the TLS exporter (RFC 5705) mixed into a link's root; the context is the link id, u32.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-nucleus-link";

/// First byte of a stream: what travels on it.
pub mod stream {
    /// Client opens, both directions: handshake, join, roster, leave.
    pub const CONTROL: u8 = 1;
    /// One direction, either end opens: reliable ordered events.
    pub const EVENTS: u8 = 2;
    /// Server opens, one direction: the room's shared state, whole, and then each change.
    pub const STATE: u8 = 3;
    /// One direction, either end opens: reliable messages that no event waits for.
    pub const BULK: u8 = 4;
}
