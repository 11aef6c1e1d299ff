//! What one `recvmmsg` brought in: buffers, who sent each, and the split of what GRO had joined.

use std::{
    fmt, iter,
    net::{IpAddr, SocketAddr},
};

/// Messages one receive call takes at most. More saves nothing measurable, and a batch must stay short
/// enough that timers are looked at in between.
pub const RECV_MESSAGES: usize = 64;

/// Bytes for a datagram without GRO: beyond any datagram of ours (about 1,200 B) and any Ethernet
/// frame but a jumbo one. Longer ones are discarded.
pub const PLAIN_BUFFER: usize = 2048;

/// Bytes for a GRO super-datagram: the largest UDP can carry, and three cache lines more, so that the
/// first bytes of a batch's buffers do not all compete for the same few lines of the cache.
pub const GRO_BUFFER: usize = 65_536 + 192;

/// Room for one receive call's datagrams, filled by [`UdpSocket::recv`](crate::UdpSocket::recv) and
/// reused for the next.
pub struct RecvBatch {
    bytes: Vec<u8>,
    size: usize,
    metas: [Option<MessageMeta>; RECV_MESSAGES],
}

/// A datagram, borrowed from its batch; `data` may be decrypted in place.
#[derive(Debug)]
pub struct ReceivedDatagram<'a> {
    /// Sender, canonical: an IPv4 peer of a dual-stack socket is IPv4 here.
    pub remote: SocketAddr,
    /// The address of ours it was sent to (canonical): name it as source when answering. `None`
    /// where the system does not tell.
    pub local: Option<IpAddr>,
    /// Explicit congestion notification, 0-3 (RFC 3168); 0 where the system does not tell.
    pub ecn: u8,
    /// When it arrived, µs on [`Clock`](crate::Clock)'s scale; never after the receive call.
    pub received: u64,
    /// Payload, possibly empty.
    pub data: &'a mut [u8],
}

/// One message of the kernel's: a datagram, or several of equal size joined by GRO.
#[derive(Clone, Copy)]
pub(crate) struct MessageMeta {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<IpAddr>,
    pub(crate) ecn: u8,
    pub(crate) received: u64,
    pub(crate) len: usize,
    /// Bytes of each joined datagram but the last; 0 when there is only one.
    pub(crate) segment: usize,
}

impl MessageMeta {
    fn datagrams(&self) -> usize {
        if self.segment == 0 { 1 } else { self.len.div_ceil(self.segment).max(1) }
    }
}

impl RecvBatch {
    /// Room for [`RECV_MESSAGES`] messages: 128 KiB, or 4 MiB (touched only as used) with `gro`, which
    /// a socket bound with [`BindOptions::gro`](crate::BindOptions::gro) needs.
    pub fn new(gro: bool) -> Self {
        let size = if gro { GRO_BUFFER } else { PLAIN_BUFFER };
        RecvBatch { bytes: vec![0; size * RECV_MESSAGES], size, metas: [None; RECV_MESSAGES] }
    }

    /// Whether it has room for what GRO joins.
    pub fn gro(&self) -> bool {
        self.size >= GRO_BUFFER
    }

    /// Datagrams in the batch.
    pub fn len(&self) -> usize {
        self.metas.iter().flatten().map(MessageMeta::datagrams).sum()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.metas.iter().all(Option::is_none)
    }

    /// Whether the call took as much as one can, so that more may wait.
    pub fn is_full(&self) -> bool {
        self.metas[RECV_MESSAGES - 1].is_some()
    }

    /// The datagrams in the order of arrival.
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

    /// SendCall `f` with each datagram in the order of arrival.
    pub fn for_each(&mut self, f: impl FnMut(ReceivedDatagram<'_>)) {
        self.iter_mut().for_each(f);
    }

    pub(crate) fn clear(&mut self) {
        self.metas = [None; RECV_MESSAGES];
    }

    /// One buffer for each message, all of the same size.
    pub(crate) fn buffers(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.bytes.chunks_exact_mut(self.size)
    }

    /// Records what buffer `slot` holds. A length beyond the buffer is cut to it.
    pub(crate) fn set(&mut self, slot: usize, mut meta: MessageMeta) {
        meta.len = meta.len.min(self.size);
        if let Some(place) = self.metas.get_mut(slot) {
            *place = Some(meta);
        }
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch").field("gro", &self.gro()).field("len", &self.len()).finish()
    }
}

/// Pieces of `segment` bytes and a last of what is left. An empty message is one empty piece: it is a
/// datagram too, and a caller who waits for "some" must see it.
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
        split(&mut vec![0; len], segment).map(|piece| piece.len()).collect()
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
