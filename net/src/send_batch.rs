//! A batch to send: an arena of bytes, and entries that give a destination to ranges of the arena.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

/// Datagrams to send together. [`new`](Self::new) allocates all memory, so clear a batch and reuse
/// it.
pub struct SendBatch {
    bytes: Vec<u8>,
    entries: Vec<SendEntry>,
    max_bytes: usize,
    max_entries: usize,
}

/// The bytes for one peer: one datagram, or several of `segment` bytes, of which the last may be
/// shorter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendEntry {
    pub(crate) dest: SocketAddr,
    pub(crate) src: Option<IpAddr>,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Length in bytes of each datagram but the last, at least 1. For a single datagram its length,
    /// or 1 if the datagram is empty.
    pub(crate) segment: usize,
}

impl SendEntry {
    /// Returns the number of datagrams from `offset` in the arena on. An empty entry is one
    /// datagram.
    pub(crate) fn datagrams_from(&self, offset: usize) -> u64 {
        (self.end.saturating_sub(offset)).div_ceil(self.segment).max(1) as u64
    }
}

impl SendBatch {
    /// Allocates a batch for `max_entries` entries of `max_bytes` bytes together.
    pub fn new(max_bytes: usize, max_entries: usize) -> Self {
        let (bytes, entries) = (Vec::with_capacity(max_bytes), Vec::with_capacity(max_entries));
        SendBatch { bytes, entries, max_bytes, max_entries }
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Returns whether the batch has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of entries, not of datagrams.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the bytes that still fit; 0 if the batch has as many entries as it may.
    pub fn free_bytes(&self) -> usize {
        if self.entries.len() >= self.max_entries {
            return 0;
        }
        self.max_bytes.saturating_sub(self.bytes.len())
    }

    /// Returns the number of datagrams.
    pub fn datagrams(&self) -> u64 {
        self.entries.iter().map(|entry| entry.datagrams_from(entry.start)).sum()
    }

    /// Appends an entry with a copy of `bytes` for `dest`. `src` is the local address to send from;
    /// with `None` the kernel chooses one. The entry is sent as datagrams of `segment` bytes, of
    /// which the last may be shorter; as one datagram if `segment` is 0 or at least the length of
    /// `bytes`. Returns `false`, and changes nothing, if the entry does not fit.
    pub fn push(
        &mut self,
        dest: SocketAddr,
        src: Option<IpAddr>,
        segment: usize,
        bytes: &[u8],
    ) -> bool {
        let fits = self.entries.len() < self.max_entries
            && self.max_bytes.saturating_sub(self.bytes.len()) >= bytes.len();
        if !fits {
            return false;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.commit(dest, src, segment, start)
    }

    /// Returns the arena, to write an entry in place: note the arena's length as the start, append
    /// bytes, and call [`commit`](Self::commit). Bytes before the start belong to earlier entries.
    /// They may be changed but not removed.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes an entry of the bytes of [`buffer`](Self::buffer) from `start` to its end. The other
    /// parameters are those of [`push`](Self::push). Returns `false`, and cuts off the appended
    /// bytes, if the batch is over a limit or `start` lies beyond the end.
    pub fn commit(
        &mut self,
        dest: SocketAddr,
        src: Option<IpAddr>,
        segment: usize,
        start: usize,
    ) -> bool {
        let end = self.bytes.len();
        let full = self.entries.len() >= self.max_entries || end > self.max_bytes;
        if full || start > end {
            self.bytes.truncate(start);
            return false;
        }
        let whole = (end - start).max(1);
        let segment = if segment == 0 { whole } else { segment.min(whole) };
        self.entries.push(SendEntry { dest, src, start, end, segment });
        true
    }

    pub(crate) fn entries(&self) -> &[SendEntry] {
        &self.entries
    }

    /// Returns the bytes of `range`; empty if the caller has shortened the arena below it.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, bytes) = (self.entries.len(), self.bytes.len());
        f.debug_struct("SendBatch").field("entries", &entries).field("bytes", &bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEST: SocketAddr =
        SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1)), 5056);

    #[test]
    fn refuses_what_does_not_fit_and_keeps_the_rest() {
        let mut batch = SendBatch::new(10, 2);
        assert!(batch.push(DEST, None, 0, &[1; 8]));
        assert!(!batch.push(DEST, None, 0, &[2; 3]));
        assert!(batch.push(DEST, None, 0, &[3; 2]));
        assert!(!batch.push(DEST, None, 0, &[]), "two entries are all");
        assert_eq!((batch.len(), batch.free_bytes(), batch.buffer().len()), (2, 0, 10));
        batch.clear();
        assert!(batch.is_empty() && batch.free_bytes() == 10);
    }

    #[test]
    fn commit_cuts_off_what_it_refuses() {
        let mut batch = SendBatch::new(4, 4);
        batch.buffer().extend_from_slice(&[7; 3]);
        assert!(batch.commit(DEST, None, 0, 0));
        batch.buffer().extend_from_slice(&[8; 3]);
        assert!(!batch.commit(DEST, None, 0, 3));
        assert!(!batch.commit(DEST, None, 0, 9), "a start beyond the end");
        assert_eq!(batch.buffer().len(), 3);
    }

    #[test]
    fn counts_datagrams() {
        let mut batch = SendBatch::new(100, 9);
        for segment in [0, 4, 10, 11, usize::MAX] {
            assert!(batch.push(DEST, None, segment, &[0; 10]));
        }
        assert!(batch.push(DEST, None, 5, &[]));
        assert_eq!(batch.datagrams(), 1 + 3 + 1 + 1 + 1 + 1);
    }
}
