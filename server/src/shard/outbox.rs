//! Datagrams to be sent, one after another in one buffer that is reused.

use nucleus_protocol::link::Path;

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

/// See the module.
#[derive(Default)]
pub struct Outbox {
    /// The datagrams.
    pub bytes: Vec<u8>,
    /// What they are.
    pub transmits: Vec<Transmit>,
    counted: usize,
}

impl Outbox {
    /// Makes what stands behind `start` a transmit.
    pub fn commit(&mut self, path: Path, start: usize, segment: usize) {
        let end = self.bytes.len();
        self.transmits.push(Transmit { path, start, end, segment });
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.transmits.clear();
        self.counted = 0;
    }

    /// Each datagram with its path.
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
