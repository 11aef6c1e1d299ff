//! The session plane alone: one QUIC connection that joins one room.
//!
//! [`Session::join`] does the handshake; what it returns is split into a [`SessionSender`] and a
//! [`SessionReceiver`]. The realtime plane is not here: [`Session::link_config`] says how to open
//! it, with whatever sockets the caller drives (the load generator has its own). A session that was
//! lost is taken up again by a join with its ticket ([`ResumeFrom`]) at the pace of [`Backoff`];
//! an [`EventOutbox`] keeps what it had not delivered. A [`SocialSession`] is one outside rooms.

mod enter;
mod error;
mod join;
mod outbox;
mod receiver;
mod reconnect;
mod sender;
mod stream;
mod tls;

pub use enter::{SocialMessage, SocialReceiver, SocialSender, SocialSession, SocialSessionOptions};
pub use error::{ConnectError, JoinError, LinkError, ProtocolError, SendError};
pub use join::{ResumeFrom, Session, SessionOptions};
pub use outbox::EventOutbox;
pub use receiver::{SessionEvent, SessionReceiver};
pub use reconnect::{Backoff, may_reconnect};
pub use sender::{SessionSender, To};
pub use tls::{Trust, client_config};
