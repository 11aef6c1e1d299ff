//! The session plane's messages (QUIC on UDP 5055).
//!
//! Every stream begins with a type byte ([`stream`]), followed by messages. Each message has a
//! frozen eight-byte [`MessageHeader`] in front. `Hello`, `Welcome` and `Refuse` are encoded field
//! by field and never change. Every other message is an `rkyv` archive; its reader checks the
//! schema and version in the header before it reads the body.

mod application;
mod archive;
mod code;
mod features;
mod handshake;
mod header;
mod messages;
mod messaging;
mod moderation;
mod renewal;
mod reserved;
mod rooms;
mod schema;
mod settings;
mod social;
mod state;

pub use application::*;
pub use archive::{InvalidArchive, access, encode, owned};
pub use code::Code;
pub use features::{Features, MAX_FEATURE_BYTES};
pub use handshake::{HAS_EXPORTER, Hello, NO_REALTIME_PORT, Ping, Refuse, Welcome};
pub use header::{BadHeader, MessageHeader, SESSION_HEADER_BYTES};
pub use messages::*;
pub use messaging::*;
pub use moderation::*;
pub use renewal::*;
pub use reserved::*;
pub use rooms::*;
pub use schema::{ArchivedMessage, Encoding, Schema};
pub use settings::{SessionSetting, SessionSettings};
pub use social::*;
pub use state::*;

/// The application protocol named in TLS. `Hello` and `Welcome` agree on its version.
pub const ALPN: &[u8] = b"nucleus";
/// The newest version of the session protocol that this code supports.
pub const VERSION: u8 = 1;
/// The oldest version of the session protocol that this code supports.
pub const OLDEST_VERSION: u8 = 1;
/// The label of the TLS exporter (RFC 5705) that is mixed into a link's root secret. The exporter's
/// context is the link id, a u32.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-nucleus-link";

/// The first byte of a stream, which names the stream's type.
pub mod stream {
    /// Opened by the client, bidirectional: handshake, join, roster, leave.
    pub const CONTROL: u8 = 1;
    /// Opened by either end, unidirectional: reliable ordered events.
    pub const EVENTS: u8 = 2;
    /// Opened by the server, unidirectional: a snapshot of the room's shared state, then each
    /// change.
    pub const STATE: u8 = 3;
    /// Opened by either end, unidirectional: reliable messages that never delay an event.
    pub const BULK: u8 = 4;
}
