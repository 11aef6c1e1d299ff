//! The 13 bytes in front of every realtime datagram; they are the associated data of its seal.

use std::fmt;

use crate::limits;

/// Form and version of byte 0, with the phase bits clear. The values 8-15 are free in RFC 7983 and
/// RFC 9443, so that this can share a socket with QUIC, STUN, TURN and RTP.
pub const FORM: u8 = 0b0000_1000;
const FORM_MASK: u8 = 0b1111_1100;
const PHASE_MASK: u8 = 0b0000_0011;

/// Names a link to its server; **opaque to clients**.
///
/// For the server: shard (byte 0, which the kernel's steering program reads), index in that shard's
/// slab (3 bytes), 32 random bits that make a guess a cheap reject.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub [u8; 8]);

impl ConnectionId {
    /// The id of slab entry `index` (below 2^24) on `shard`.
    pub fn new(shard: u8, index: u32, random: u32) -> Self {
        let index = index.to_le_bytes();
        let r = random.to_le_bytes();
        Self([shard, index[0], index[1], index[2], r[0], r[1], r[2], r[3]])
    }

    /// The shard that made it.
    pub fn shard(self) -> u8 {
        self.0[0]
    }

    /// Index in the shard's slab.
    pub fn index(self) -> u32 {
        u32::from_le_bytes([self.0[1], self.0[2], self.0[3], 0])
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A datagram's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Key phase modulo 4.
    pub phase: u8,
    /// The link.
    pub connection_id: ConnectionId,
    /// Packet number, whole.
    pub number: u32,
}

impl Header {
    /// Reads the header of a datagram whose length and form are plausible; `None` for anything else,
    /// to which the answer is silence.
    pub fn parse(datagram: &[u8]) -> Option<Header> {
        let plausible = (limits::MIN_DATAGRAM..=limits::MAX_DATAGRAM).contains(&datagram.len());
        let bytes = datagram.first_chunk::<{ limits::HEADER }>().filter(|_| plausible)?;
        let [form, id @ .., n0, n1, n2, n3] = *bytes;
        (form & FORM_MASK == FORM).then_some(Header {
            phase: form & PHASE_MASK,
            connection_id: ConnectionId(id),
            number: u32::from_le_bytes([n0, n1, n2, n3]),
        })
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; limits::HEADER] {
        let mut bytes = [0; limits::HEADER];
        bytes[0] = FORM | (self.phase & PHASE_MASK);
        bytes[1..9].copy_from_slice(&self.connection_id.0);
        bytes[9..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }
}
