//! What the control plane may learn of a joined session without asking the session itself.

use std::sync::{Arc, Weak};

use nucleus_core::control::RoomContent;
use nucleus_core::ids::PeerId;
use nucleus_core::room_stats::LivePathStats;

/// The connection of a session, as far as its figures go.
pub trait SessionPath: Send + Sync {
    /// Returns what QUIC measures. May wait for a lock that a connection holds for microseconds.
    fn figures(&self) -> LivePathStats;
}

/// What a room knows of the client of a session.
#[derive(Clone)]
pub struct SessionProbe {
    /// Name and version of the client's software, as the client says.
    pub agent: Option<Arc<str>>,
    /// The connection. A room keeps no connection open.
    pub path: Weak<dyn SessionPath>,
}

/// A room's answer to a question for its figures.
pub(super) struct ProbedRoom {
    pub(super) content: Box<RoomContent>,
    /// The newest session of each peer that has one. They are read outside the room's task.
    pub(super) sessions: Vec<(PeerId, SessionProbe)>,
}
