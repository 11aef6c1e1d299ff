//! Writes archived messages with their header into one buffer, and validates archives before they
//! are read.

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::{Archive, Deserialize, Portable, Serialize};

use super::{ArchivedMessage, MessageHeader, SESSION_HEADER_BYTES};

/// The bytes are not a valid archive of the requested type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid archive")]
pub struct InvalidArchive;

/// Encodes a message with its header. The result has no spare capacity.
pub fn encode<T>(message: &T) -> Vec<u8>
where
    T: ArchivedMessage + for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, Error>>,
{
    let start = vec![0; SESSION_HEADER_BYTES];
    // Writing into memory fails only if an offset exceeds 32 bits, and every field is far smaller.
    // Should it fail, the message is empty, and its reader refuses it.
    let mut bytes = rkyv::api::high::to_bytes_in::<_, Error>(message, start)
        .unwrap_or_else(|_| vec![0; SESSION_HEADER_BYTES]);
    let header =
        MessageHeader { len: (bytes.len() - SESSION_HEADER_BYTES) as u32, schema: T::SCHEMA };
    bytes[..SESSION_HEADER_BYTES].copy_from_slice(&header.to_bytes());
    // Logs and queues keep the message and count its length; growing has doubled its capacity.
    bytes.shrink_to_fit();
    bytes
}

/// Returns a validated view of the message in `body`, the bytes behind the header. Validation makes
/// the view memory-safe; the caller still has to check ranges and meanings.
///
/// # Errors
/// [`InvalidArchive`] if `body` is not an archive of this type.
pub fn access<T>(body: &[u8]) -> Result<&T::Archived, InvalidArchive>
where
    T: Archive,
    T::Archived: Portable + for<'a> CheckBytes<HighValidator<'a, Error>>,
{
    rkyv::access::<T::Archived, Error>(body).map_err(|_| InvalidArchive)
}

/// Decodes the message in `body`, the bytes behind the header, into an owned value.
///
/// # Errors
/// [`InvalidArchive`] if `body` is not an archive of this type.
pub fn owned<T>(body: &[u8]) -> Result<T, InvalidArchive>
where
    T: Archive,
    T::Archived: Portable
        + for<'a> CheckBytes<HighValidator<'a, Error>>
        + Deserialize<T, HighDeserializer<Error>>,
{
    rkyv::deserialize::<T, Error>(access::<T>(body)?).map_err(|_| InvalidArchive)
}

#[cfg(test)]
mod tests {
    use super::super::EventDown;
    use super::*;

    #[test]
    fn a_message_takes_no_more_memory_than_its_bytes() {
        for len in [0, 100, 1_000, 16_000] {
            let event = EventDown {
                peer: 1,
                roster_version: 1,
                sequence: 1,
                channel: 1,
                piece: 0,
                payload: vec![7; len],
            };
            let message = encode(&event);
            assert_eq!(message.capacity(), message.len());
        }
    }
}
