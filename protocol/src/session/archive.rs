//! Archives behind their header: written in one buffer, validated before they are read.

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::{Archive, Deserialize, Portable, Serialize};

use super::{ArchivedMessage, MessageHeader, SESSION_HEADER_BYTES};

/// The bytes are not an archive of the type asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid archive")]
pub struct InvalidArchive;

/// The whole message with its header.
pub fn encode<T>(message: &T) -> Vec<u8>
where
    T: ArchivedMessage + for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, Error>>,
{
    let start = vec![0; SESSION_HEADER_BYTES];
    // Writing into memory fails only beyond 32-bit offsets, and every field is bounded far below;
    // an empty message is refused by its reader.
    let mut bytes = rkyv::api::high::to_bytes_in::<_, Error>(message, start)
        .unwrap_or_else(|_| vec![0; SESSION_HEADER_BYTES]);
    let header =
        MessageHeader { len: (bytes.len() - SESSION_HEADER_BYTES) as u32, schema: T::SCHEMA };
    bytes[..SESSION_HEADER_BYTES].copy_from_slice(&header.to_bytes());
    bytes
}

/// The message in place in `body` (the bytes behind the header), validated. Ranges and meanings
/// are the caller's to check: this is memory safety, not sense.
pub fn access<T>(body: &[u8]) -> Result<&T::Archived, InvalidArchive>
where
    T: Archive,
    T::Archived: Portable + for<'a> CheckBytes<HighValidator<'a, Error>>,
{
    rkyv::access::<T::Archived, Error>(body).map_err(|_| InvalidArchive)
}

/// The message as a value of its own.
pub fn owned<T>(body: &[u8]) -> Result<T, InvalidArchive>
where
    T: Archive,
    T::Archived: Portable
        + for<'a> CheckBytes<HighValidator<'a, Error>>
        + Deserialize<T, HighDeserializer<Error>>,
{
    rkyv::deserialize::<T, Error>(access::<T>(body)?).map_err(|_| InvalidArchive)
}
