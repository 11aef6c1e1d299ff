//! A client's sessions: which server it tries and when, what it can do, and which events it keeps
//! until the server has them.

pub mod backlog;
mod buffer;
mod capabilities;
mod client_session;
mod driven;
mod end;
mod error;
mod incoming;
pub(crate) mod join_token;
mod opening;
mod options;
mod outgoing;
mod race;
mod reconnect;
pub mod servers;
mod step;
mod ticket;
mod to;
mod tries;

pub use capabilities::Capabilities;
pub use client_session::ClientSession;
pub use driven::{ClientOutput, DrivenClient};
pub use end::ConnectionEnd;
pub use error::{JoinError, LinkError, ProtocolError, SendError};
pub use incoming::{ReceivedItem, StreamSource};
pub use opening::check_opening;
pub(crate) use opening::may_be_token;
pub use options::ClientOptions;
pub use outgoing::{StreamAction, StreamTarget};
pub use race::{AddressRace, MAX_ADDRESSES};
pub use reconnect::{Backoff, LONGEST_PATIENCE, may_reconnect};
pub use step::{ConnectionFacts, SessionInput, SessionOutput, SessionPurpose, SessionStep};
pub use ticket::ReturnTicket;
pub use to::{To, encode_event};
