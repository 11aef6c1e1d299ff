//! What the control plane shows of a room in a list. The room's task writes it when the room's listing
//! changes, so that a list of ten thousand rooms asks none of them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nucleus_core::room::Listing;
use nucleus_protocol::time::Time;

/// The figures of a room.
pub(super) struct RoomFigures {
    pub(super) capacity: u16,
    /// When the room was opened.
    pub(super) opened: Time,
    peers: AtomicU32,
    locked: AtomicBool,
    hidden: AtomicBool,
}

impl RoomFigures {
    /// Makes the figures of an empty room.
    pub(super) fn new(capacity: u16, opened: Time) -> Self {
        Self {
            capacity,
            opened,
            peers: AtomicU32::new(0),
            locked: AtomicBool::new(false),
            hidden: AtomicBool::new(false),
        }
    }

    /// Takes over the figures of a listing.
    pub(super) fn set(&self, listing: &Listing) {
        self.peers.store(listing.peers.into(), Ordering::Relaxed);
        self.locked.store(listing.locked, Ordering::Relaxed);
        self.hidden.store(listing.hidden, Ordering::Relaxed);
    }

    /// The number of participants, up to 50 ms late.
    pub(super) fn peers(&self) -> u32 {
        self.peers.load(Ordering::Relaxed)
    }

    /// Whether nobody else may join.
    pub(super) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    /// Whether lobbies leave the room out.
    pub(super) fn is_hidden(&self) -> bool {
        self.hidden.load(Ordering::Relaxed)
    }
}
