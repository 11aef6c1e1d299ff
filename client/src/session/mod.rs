//! The session plane without the realtime plane: one QUIC connection that joins one room.
//!
//! [`Session::join`] does the handshake. The session is then split into a [`SessionSender`] and a
//! [`SessionReceiver`]. [`Session::link_config`] returns the configuration of the realtime link,
//! which the caller drives with its own sockets, as the load generator does.
//!
//! A lost session is resumed by a join with its ticket ([`ResumeFrom`]), at the pace of
//! [`Backoff`]. An [`EventOutbox`] keeps the events that the lost session did not deliver.
//!
//! A [`SocialSession`] is a session outside rooms.

mod dial;
mod enter;
mod error;
mod grant;
mod join;
mod outbox;
mod receiver;
mod sender;
mod stream;
mod tls;

pub(crate) use dial::{CurrentEndpoint, unspecified};
pub use dial::{ResolvedServer, SessionSockets};
pub use enter::{SocialMessage, SocialReceiver, SocialSender, SocialSession, SocialSessionOptions};
pub use error::ConnectError;
pub(crate) use join::endpoints;
pub use join::{ResumeFrom, Session, SessionOptions};
pub use nucleus_client_core::session::{
    Backoff, Capabilities, JoinError, LONGEST_PATIENCE, LinkError, ProtocolError, SendError, To,
    may_reconnect,
};
pub use outbox::EventOutbox;
pub use receiver::{SessionEvent, SessionReceiver};
pub use sender::SessionSender;
pub use tls::{Trust, client_config};
