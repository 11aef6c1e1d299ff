//! The frozen header in front of every session message.

use super::Schema;

/// Length of a [`MessageHeader`] in bytes.
pub const SESSION_HEADER_BYTES: usize = 8;

/// The header of a session message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// Length of the body in bytes.
    pub len: u32,
    /// The schema of the body.
    pub schema: Schema,
}

/// The version that every schema has today.
const SCHEMA_VERSION: u8 = 1;

/// The reason why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// The schema is unknown, or not known in this version or encoding.
    #[error("unknown schema {schema}, version {version}, encoding {encoding}")]
    Unknown {
        /// The schema's number.
        schema: u16,
        /// The schema's version.
        version: u8,
        /// The schema's encoding.
        encoding: u8,
    },
    /// The body is longer than the reader allows.
    #[error("a message of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Length of the body that the header announces, in bytes.
        len: u32,
        /// Largest length that the reader allows, in bytes.
        limit: usize,
    },
}

impl MessageHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// [`BadHeader::Unknown`] if schema, version and encoding do not match a known schema, and
    /// [`BadHeader::TooLong`] if the body is longer than `limit` bytes.
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

    /// Returns the header's bytes.
    pub fn to_bytes(self) -> [u8; SESSION_HEADER_BYTES] {
        let [l0, l1, l2, l3] = self.len.to_le_bytes();
        let [s0, s1] = (self.schema as u16).to_le_bytes();
        [l0, l1, l2, l3, self.schema.encoding() as u8, s0, s1, SCHEMA_VERSION]
    }
}
