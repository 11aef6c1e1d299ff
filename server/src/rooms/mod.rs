//! The tasks of rooms, lobbies and users outside rooms, how they are found, and what a tenant has.
//!
//! Each task drives one machine of [`nucleus_core`] by the same loop (`task`). Requests for a task come
//! by its mailbox (`mail`); what a machine wants done is carried out in `room`, `lobby` and `social`.

mod directory;
mod lobby;
mod lobby_address;
mod lobby_watcher;
mod mail;
mod outgoing;
mod registry;
mod room;
mod room_handle;
mod social;
mod social_outgoing;
mod socials;
mod task;
mod tenants;
mod ticket;

pub use directory::Directory;
pub use lobby_watcher::LobbyWatcher;
pub use outgoing::{Outgoing, OutgoingQueues, outgoing};
pub use registry::{Registry, RoomTemplate};
pub use room_handle::RoomHandle;
pub use social_outgoing::{SocialOutgoing, SocialQueue, social_outgoing};
pub use socials::{SocialHandle, Socials};
pub use tenants::{SessionCount, Tenants};
pub use ticket::{Ticket, TicketKey};
