//! Datagrams to be sent, one after another in one buffer that is reused.

use nucleus_protocol::link::{Path, Route};

use crate::ids::{PeerId, RoomId};

/// One or several datagrams to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to, and from which local address.
    pub path: Path,
    /// First byte in [`Outbox::bytes`].
    pub start: usize,
    /// One behind the last.
    pub end: usize,
    /// Bytes of each datagram but the last; 0 = there is only one.
    pub segment: usize,
}

/// A datagram that travels inside a peer's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTransmit {
    /// The peer's room.
    pub room: RoomId,
    /// The peer.
    pub peer: PeerId,
    /// First byte in [`Outbox::bytes`].
    pub start: usize,
    /// One behind the last.
    pub end: usize,
}

/// The datagrams of some flushes, for the shell to send.
#[derive(Default)]
pub struct Outbox {
    /// The datagrams.
    pub bytes: Vec<u8>,
    /// Those for the realtime port.
    pub transmits: Vec<Transmit>,
    /// Those for sessions.
    pub session_transmits: Vec<SessionTransmit>,
    counted: usize,
}

impl Outbox {
    /// Makes what stands behind `start` a transmit.
    pub fn commit(&mut self, path: Path, start: usize, segment: usize) {
        let end = self.bytes.len();
        self.transmits.push(Transmit { path, start, end, segment });
    }

    /// Makes the one datagram behind `start` a transmit along `route`.
    pub(super) fn commit_one(
        &mut self,
        (room, peer): (RoomId, PeerId),
        route: Route,
        start: usize,
    ) {
        match route {
            Route::Realtime(path) => self.commit(path, start, 0),
            Route::Session => {
                let end = self.bytes.len();
                let start = end - route.wire(&self.bytes[start..]).len();
                self.session_transmits.push(SessionTransmit { room, peer, start, end });
            }
        }
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.transmits.clear();
        self.session_transmits.clear();
        self.counted = 0;
    }

    /// Each datagram for the realtime port with its path.
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.transmits.iter().flat_map(|t| {
            let size = if t.segment == 0 { t.end - t.start } else { t.segment };
            self.bytes[t.start..t.end].chunks(size.max(1)).map(|bytes| (t.path, bytes))
        })
    }

    pub(super) fn take_new_bytes(&mut self) -> u64 {
        let new = self.bytes.len() - self.counted;
        self.counted = self.bytes.len();
        new as u64
    }
}
