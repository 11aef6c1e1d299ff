//! The 13-byte header of every realtime datagram. The AEAD authenticates the header as associated
//! data.

use std::fmt;

use crate::limits;

/// Byte 0 with the phase bits clear: the datagram's form and version. RFC 7983 and RFC 9443 leave
/// the values 8-15 free, so that such datagrams can share a socket with QUIC, STUN, TURN and RTP.
pub const FORM: u8 = 0b0000_1000;
const FORM_MASK: u8 = 0b1111_1100;
const PHASE_MASK: u8 = 0b0000_0011;

/// The server's name for a link, **opaque to clients**.
///
/// The server puts the shard into byte 0, which the kernel's steering program reads. The next three
/// bytes are an index in that shard's slab. The last four are random, so that the server can reject
/// a guessed id without decryption.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub [u8; 8]);

impl ConnectionId {
    /// Creates the id of slab entry `index` (below 2^24) on `shard`.
    pub fn new(shard: u8, index: u32, random: u32) -> Self {
        let index = index.to_le_bytes();
        let r = random.to_le_bytes();
        Self([shard, index[0], index[1], index[2], r[0], r[1], r[2], r[3]])
    }

    /// Returns the shard that created the id.
    pub fn shard(self) -> u8 {
        self.0[0]
    }

    /// Returns the index in the shard's slab.
    pub fn index(self) -> u32 {
        u32::from_le_bytes([self.0[1], self.0[2], self.0[3], 0])
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The header of a realtime datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Key phase modulo 4.
    pub phase: u8,
    /// The link's connection id.
    pub connection_id: ConnectionId,
    /// Packet number, not truncated.
    pub number: u32,
}

impl Header {
    /// Reads a datagram's header. Returns `None` if the datagram's length or form is not that of a
    /// realtime datagram; such a datagram is never answered.
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

    /// Returns the header's bytes.
    pub fn to_bytes(self) -> [u8; limits::HEADER] {
        let mut bytes = [0; limits::HEADER];
        bytes[0] = FORM | (self.phase & PHASE_MASK);
        bytes[1..9].copy_from_slice(&self.connection_id.0);
        bytes[9..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }
}
