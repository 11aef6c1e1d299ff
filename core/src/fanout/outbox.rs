//! The datagrams to be sent, one after another in one reused buffer.

use nucleus_protocol::link::{Path, Route};
use nucleus_protocol::time::Time;

use crate::ids::{PeerId, RoomId};

/// One or more datagrams to one peer on the realtime port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The peer's address, and the local address to send from.
    pub path: Path,
    /// Index of the first byte in [`Outbox::bytes`].
    pub start: usize,
    /// Index after the last byte.
    pub end: usize,
    /// Bytes of each datagram but the last; 0 if there is only one.
    pub segment: usize,
}

/// A datagram that travels inside a peer's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTransmit {
    /// The peer's room.
    pub room: RoomId,
    /// The peer.
    pub peer: PeerId,
    /// Index of the first byte in [`Outbox::bytes`].
    pub start: usize,
    /// Index after the last byte.
    pub end: usize,
}

/// The destination of datagrams: a peer, and the route to this peer.
#[derive(Clone, Copy)]
pub(super) struct Destination {
    pub(super) room: RoomId,
    pub(super) peer: PeerId,
    pub(super) route: Route,
}

/// The datagrams of one or more flushes, for the shell to send.
#[derive(Default)]
pub struct Outbox {
    /// The bytes of all datagrams, one after another.
    pub bytes: Vec<u8>,
    /// The datagrams for the realtime port.
    pub transmits: Vec<Transmit>,
    /// The datagrams that travel inside sessions.
    pub session_transmits: Vec<SessionTransmit>,
    /// When each message arrived whose last recipient's datagram is among these.
    pub(super) relayed: Vec<Time>,
    /// Number of bytes that [`Self::take_new_bytes`] has already counted.
    counted: usize,
}

impl Outbox {
    /// Adds a transmit along `path`, which consists of the bytes from `start` to the end of
    /// [`Self::bytes`]. `segment` is its [`Transmit::segment`].
    pub fn commit(&mut self, path: Path, start: usize, segment: usize) {
        let end = self.bytes.len();
        self.transmits.push(Transmit { path, start, end, segment });
    }

    /// Adds one datagram, which consists of the bytes from `start` to the end, for the realtime
    /// port or for a session.
    pub(super) fn commit_one(&mut self, to: Destination, start: usize) {
        let Destination { room, peer, route } = to;
        match route {
            Route::Realtime(path) => self.commit(path, start, 0),
            Route::Session => {
                let end = self.bytes.len();
                let start = end - route.wire(&self.bytes[start..]).len();
                self.session_transmits.push(SessionTransmit { room, peer, start, end });
            }
        }
    }

    /// Removes all datagrams and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.transmits.clear();
        self.session_transmits.clear();
        self.relayed.clear();
        self.counted = 0;
    }

    /// Returns true if messages were relayed to their last recipients.
    pub fn has_relayed(&self) -> bool {
        !self.relayed.is_empty()
    }

    /// Returns each datagram for the realtime port with its path.
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.transmits.iter().flat_map(|t| {
            let size = if t.segment == 0 { t.end - t.start } else { t.segment };
            self.bytes[t.start..t.end].chunks(size.max(1)).map(|bytes| (t.path, bytes))
        })
    }

    /// Returns how many bytes were added since the last call.
    pub(super) fn take_new_bytes(&mut self) -> u64 {
        let new = self.bytes.len() - self.counted;
        self.counted = self.bytes.len();
        new as u64
    }
}
