//! The tasks of rooms, lobbies and users outside rooms, the directories that find them, and the
//! counts of each tenant.
//!
//! Each task drives one machine of [`nucleus_core`]. All tasks run the same loop (`task`). A task
//! takes requests from its mailbox (`mail`). The outputs of the machines are carried out in `room`,
//! `lobby` and `social`.

mod budgets;
mod directory;
mod lobby;
mod lobby_address;
mod lobby_watcher;
mod mail;
mod outgoing;
mod registry;
mod room;
mod room_figures;
mod room_handle;
mod room_lookup;
mod room_reports;
mod room_stats;
mod session_probe;
mod shared_rate;
mod social;
mod social_directory;
mod social_outgoing;
mod task;
mod tenants;
mod ticket;

pub use budgets::{BudgetStore, LentBudgets};
pub use directory::RoomDirectory;
pub use lobby_watcher::LobbyWatcher;
pub use mail::{JoinedRoom, Place};
pub use outgoing::{Outgoing, OutgoingQueues, QueuedMessage, outgoing};
pub use registry::{RoomRegistry, RoomTemplate};
pub use room_handle::RoomHandle;
pub use session_probe::{SessionPath, SessionProbe};
pub use social_directory::{SocialDirectory, SocialHandle};
pub use social_outgoing::{SocialOutgoing, SocialQueue, social_outgoing};
pub use tenants::{SessionCount, Tenants};
pub use ticket::{Ticket, TicketKey};
