//! Who is in which room: peers are numbered through, and so many in a row share a room.

use std::ops::Range;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rooms {
    /// Peers in all.
    pub(crate) peers: u32,
    /// Peers of one room; the last room may have fewer.
    pub(crate) size: u32,
}

impl Rooms {
    /// How many there are.
    pub(crate) fn count(self) -> u32 {
        self.peers.div_ceil(self.size)
    }

    /// The room of a peer.
    pub(crate) fn of(self, peer: u32) -> u32 {
        peer / self.size
    }

    /// The number of a peer inside its room.
    pub(crate) fn slot(self, peer: u32) -> u16 {
        (peer % self.size) as u16
    }

    /// The peers of a room.
    pub(crate) fn members(self, room: u32) -> Range<u32> {
        let first = room * self.size;
        first..(first + self.size).min(self.peers)
    }
}
