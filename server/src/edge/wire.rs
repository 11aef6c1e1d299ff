//! Reading session messages from streams, bounded.

use nucleus_protocol::session::{BadHeader, MessageHeader, SESSION_HEADER_BYTES, Schema};

use super::quic::{self, RecvStream};

/// Why a stream gave no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The stream is over: between two messages, or within one.
    #[error(transparent)]
    Stream(#[from] quic::StreamError),
    /// The header is not one of ours.
    #[error(transparent)]
    Header(#[from] BadHeader),
}

/// Reads one message whose body has at most `limit` bytes.
pub(super) async fn read_message(
    stream: &mut RecvStream,
    limit: usize,
) -> Result<(Schema, Vec<u8>), ReadError> {
    let mut header = [0; SESSION_HEADER_BYTES];
    stream.read(&mut header).await?;
    let header = MessageHeader::parse(header, limit)?;
    let mut body = vec![0; header.len as usize];
    stream.read(&mut body).await?;
    Ok((header.schema, body))
}
