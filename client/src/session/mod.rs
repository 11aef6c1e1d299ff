//! The session plane alone: one QUIC connection that joins one room.
//!
//! [`Session::join`] does the handshake; what it returns is split into a [`SessionSender`] and a
//! [`SessionReceiver`]. The realtime plane is not here: [`Session::link_config`] says how to open
//! it, with whatever sockets the caller drives (the load generator has its own).

mod error;
mod join;
mod receiver;
mod sender;
mod stream;
mod tls;

pub use error::{ConnectError, JoinError, LinkError, ProtocolError, SendError};
pub use join::{Session, SessionOptions};
pub use receiver::{SessionEvent, SessionReceiver};
pub use sender::{SessionSender, To};
pub use tls::{Trust, client_config};
