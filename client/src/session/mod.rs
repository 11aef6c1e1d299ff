//! The session plane without the realtime plane, as load generators use it: it names types of quinn.
//! Applications need only [`connect`](crate::connect) and [`enter`](crate::enter).
//!
//! [`RoomSession::join`] joins a room and keeps the session. [`RoomSession::link_config`] returns the
//! configuration of the realtime link, which the caller drives with its own sockets.

mod dial;
mod driver;
mod end;
mod error;
mod handle;
mod io;
mod reachable;
mod room_session;
mod suites;
mod tls;

pub use crate::address::ResolvedServer;
pub(crate) use dial::CurrentEndpoint;
pub use dial::{LastLookup, Lookup, ServerNames, SessionSockets};
pub use driver::{DriverStep, SessionDriver, SessionNetwork};
pub use error::ConnectError;
pub use handle::ClientHandle;
pub use nucleus_client_core::room::{RoomClient, RoomJoin, RoomOutput};
pub use nucleus_client_core::session::{
    Backoff, Capabilities, ClientOptions, DrivenClient, JoinError, LONGEST_PATIENCE, LinkError,
    ProtocolError, ReturnTicket, SendError, To, may_reconnect,
};
pub(crate) use reachable::unspecified;
pub use room_session::{RoomSession, RoomSessionStep, link_config};
pub use suites::offered_suites;
pub use tls::{Trust, TrustConfig, client_config};
