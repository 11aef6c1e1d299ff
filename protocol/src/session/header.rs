//! The frozen header in front of every session message.

use super::Schema;

/// Bytes of a [`MessageHeader`].
pub const SESSION_HEADER_BYTES: usize = 8;

/// Length of the body in bytes and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// Bytes of the body.
    pub len: u32,
    /// What the body is.
    pub schema: Schema,
}

/// The version of every schema of today.
const SCHEMA_VERSION: u8 = 1;

/// Why a header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// No such schema, not in that version, or not so encoded.
    #[error("unknown schema {schema}, version {version}, encoding {encoding}")]
    Unknown {
        /// The schema's number.
        schema: u16,
        /// Its version.
        version: u8,
        /// Its encoding.
        encoding: u8,
    },
    /// Longer than the reader takes.
    #[error("a message of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes announced.
        len: u32,
        /// Bytes allowed.
        limit: usize,
    },
}

impl MessageHeader {
    /// Reads a header, refusing bodies of more than `limit` bytes.
    pub fn parse(bytes: [u8; SESSION_HEADER_BYTES], limit: usize) -> Result<Self, BadHeader> {
        let [l0, l1, l2, l3, encoding, s0, s1, version] = bytes;
        let number = u16::from_le_bytes([s0, s1]);
        let known = Schema::ALL.iter().copied().find(|s| *s as u16 == number);
        let schema = known
            .filter(|s| version == SCHEMA_VERSION && s.encoding() as u8 == encoding)
            .ok_or(BadHeader::Unknown { schema: number, version, encoding })?;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        if len as usize > limit {
            return Err(BadHeader::TooLong { len, limit });
        }
        Ok(Self { len, schema })
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; SESSION_HEADER_BYTES] {
        let [l0, l1, l2, l3] = self.len.to_le_bytes();
        let [s0, s1] = (self.schema as u16).to_le_bytes();
        [l0, l1, l2, l3, self.schema.encoding() as u8, s0, s1, SCHEMA_VERSION]
    }
}
