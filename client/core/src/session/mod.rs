//! A client's sessions: which server it tries and when, what it can do, and which events it keeps
//! until the server has them.

pub mod backlog;
mod capabilities;
mod error;
mod race;
mod reconnect;
pub mod servers;
mod to;

pub use capabilities::Capabilities;
pub use error::{JoinError, LinkError, ProtocolError, SendError};
pub use race::{AddressRace, MAX_ADDRESSES};
pub use reconnect::{Backoff, LONGEST_PATIENCE, may_reconnect};
pub use to::{To, encode_event};
