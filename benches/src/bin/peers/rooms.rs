//! Assigns peers to rooms: peers with consecutive numbers share a room.

use std::ops::Range;

/// The assignment of peers to rooms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rooms {
    /// Number of peers.
    pub(crate) peers: u32,
    /// Peers in a room; the last room may have fewer.
    pub(crate) size: u32,
}

impl Rooms {
    /// Returns the number of rooms.
    pub(crate) fn count(self) -> u32 {
        self.peers.div_ceil(self.size)
    }

    /// Returns the room of a peer.
    pub(crate) fn of(self, peer: u32) -> u32 {
        peer / self.size
    }

    /// Returns the number of a peer inside its room.
    pub(crate) fn slot(self, peer: u32) -> u16 {
        (peer % self.size) as u16
    }

    /// Returns the peers of a room.
    pub(crate) fn members(self, room: u32) -> Range<u32> {
        let first = room * self.size;
        first..(first + self.size).min(self.peers)
    }
}
