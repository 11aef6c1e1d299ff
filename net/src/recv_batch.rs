//! The datagrams of one `recvmmsg`: buffers, senders, and the splitting of datagrams that GRO
//! joined.

use std::{
    fmt, iter,
    net::{IpAddr, SocketAddr},
};

/// Most messages of one receive call. More messages save nothing measurable, and the caller must
/// check its timers between two batches.
pub const RECV_MESSAGES: usize = 64;

/// Size in bytes of a buffer without GRO: larger than the protocol's datagrams (1,200 bytes) and
/// than any Ethernet frame except jumbo frames. Longer datagrams are discarded.
pub const PLAIN_BUFFER: usize = 2048;

/// Size in bytes of a buffer with GRO: the largest UDP payload and three cache lines. The extra
/// lines keep the first bytes of the buffers from competing for the same lines of the cache.
pub const GRO_BUFFER: usize = 65_536 + 192;

/// Buffers for the datagrams of one receive call, which
/// [`UdpSocket::recv`](crate::UdpSocket::recv) fills. Reuse a batch for the next call.
pub struct RecvBatch {
    bytes: Vec<u8>,
    size: usize,
    metas: [Option<MessageMeta>; RECV_MESSAGES],
}

/// A received datagram, borrowed from its batch. `data` may be decrypted in place.
#[derive(Debug)]
pub struct ReceivedDatagram<'a> {
    /// The sender's canonical address: the address of an IPv4 peer of a dual-stack socket is IPv4.
    pub remote: SocketAddr,
    /// The canonical local address to which the datagram was sent. Use it as the source of an
    /// answer. `None` if the system does not report it.
    pub local: Option<IpAddr>,
    /// The ECN bits, 0-3 (RFC 3168); 0 if the system does not report them.
    pub ecn: u8,
    /// Arrival time in µs on the scale of [`Clock`](crate::Clock), never later than the receive
    /// call.
    pub received: u64,
    /// Payload, possibly empty.
    pub data: &'a mut [u8],
}

/// The metadata of one message from the kernel. A message is one datagram, or several of equal size
/// that GRO joined.
#[derive(Clone, Copy)]
pub(crate) struct MessageMeta {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<IpAddr>,
    pub(crate) ecn: u8,
    pub(crate) received: u64,
    pub(crate) len: usize,
    /// Length of each joined datagram except the last, which may be shorter; 0 for a single
    /// datagram.
    pub(crate) segment: usize,
}

impl MessageMeta {
    fn datagrams(&self) -> usize {
        if self.segment == 0 { 1 } else { self.len.div_ceil(self.segment).max(1) }
    }
}

impl RecvBatch {
    /// Creates buffers for [`RECV_MESSAGES`] messages: 128 KiB, or with `gro` 4 MiB, which the
    /// system commits only as they are used. A socket with
    /// [`BindOptions::gro`](crate::BindOptions::gro) needs a batch with `gro`.
    pub fn new(gro: bool) -> Self {
        let size = if gro { GRO_BUFFER } else { PLAIN_BUFFER };
        RecvBatch { bytes: vec![0; size * RECV_MESSAGES], size, metas: [None; RECV_MESSAGES] }
    }

    /// Returns whether the buffers can hold datagrams that GRO joined.
    pub fn gro(&self) -> bool {
        self.size >= GRO_BUFFER
    }

    /// Returns the number of datagrams.
    pub fn len(&self) -> usize {
        self.metas.iter().flatten().map(MessageMeta::datagrams).sum()
    }

    /// Returns whether the batch has no datagram.
    pub fn is_empty(&self) -> bool {
        self.metas.iter().all(Option::is_none)
    }

    /// Returns whether the receive call filled all buffers, so that more datagrams may wait.
    pub fn is_full(&self) -> bool {
        self.metas[RECV_MESSAGES - 1].is_some()
    }

    /// Returns an iterator over the datagrams in the order of arrival.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = ReceivedDatagram<'_>> {
        let messages = self.bytes.chunks_exact_mut(self.size).zip(&self.metas);
        messages.filter_map(|(bytes, meta)| Some((bytes, meta.as_ref()?))).flat_map(
            |(bytes, meta)| {
                split(&mut bytes[..meta.len], meta.segment).map(|data| ReceivedDatagram {
                    remote: meta.remote,
                    local: meta.local,
                    ecn: meta.ecn,
                    received: meta.received,
                    data,
                })
            },
        )
    }

    /// Calls `f` with each datagram in the order of arrival.
    pub fn for_each(&mut self, f: impl FnMut(ReceivedDatagram<'_>)) {
        self.iter_mut().for_each(f);
    }

    pub(crate) fn clear(&mut self) {
        self.metas = [None; RECV_MESSAGES];
    }

    /// Returns an iterator over the buffers, one for each message, all of the same size.
    pub(crate) fn buffers(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.bytes.chunks_exact_mut(self.size)
    }

    /// Records the message in buffer `index`. Limits the message's length to that of the buffer.
    pub(crate) fn set(&mut self, index: usize, mut meta: MessageMeta) {
        meta.len = meta.len.min(self.size);
        if let Some(entry) = self.metas.get_mut(index) {
            *entry = Some(meta);
        }
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch").field("gro", &self.gro()).field("len", &self.len()).finish()
    }
}

/// Splits a message into datagrams of `segment` bytes; the last may be shorter. An empty message is
/// one empty datagram.
fn split(bytes: &mut [u8], segment: usize) -> impl Iterator<Item = &mut [u8]> {
    let mut rest = Some(bytes);
    iter::from_fn(move || {
        let bytes = rest.take()?;
        if segment == 0 || bytes.len() <= segment {
            return Some(bytes);
        }
        let (head, tail) = bytes.split_at_mut(segment);
        rest = Some(tail);
        Some(head)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(len: usize, segment: usize) -> Vec<usize> {
        split(&mut vec![0; len], segment).map(|datagram| datagram.len()).collect()
    }

    #[test]
    fn splits_into_equal_pieces_and_a_rest() {
        assert_eq!(sizes(0, 0), [0]);
        assert_eq!(sizes(0, 10), [0]);
        assert_eq!(sizes(5, 0), [5]);
        assert_eq!(sizes(10, 10), [10]);
        assert_eq!(sizes(20, 10), [10, 10]);
        assert_eq!(sizes(21, 10), [10, 10, 1]);
    }

    #[test]
    fn counts_what_it_hands_out() {
        for (len, segment) in [(0, 0), (0, 9), (1, 0), (18, 9), (19, 9), (8, 9), (9000, 0)] {
            let mut batch = RecvBatch::new(false);
            let remote = SocketAddr::from(([127, 0, 0, 1], 1));
            let meta = MessageMeta { remote, local: None, ecn: 0, received: 0, len, segment };
            batch.set(1, meta);
            batch.set(RECV_MESSAGES, meta);
            assert_eq!(batch.len(), batch.iter_mut().count(), "{len} by {segment}");
        }
    }
}
