//! Reading and writing session messages on QUIC streams, bounded.

use nucleus_protocol::session::{BadHeader, MESSAGE_HEADER, MessageHeader, Schema};
use quinn::{ReadExactError, RecvStream};

/// Why a stream gave no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The peer ended the stream between two messages.
    #[error("the stream ended")]
    Ended,
    /// The peer ended it within a message, or the connection is gone.
    #[error("the stream broke: {0}")]
    Broken(#[from] ReadExactError),
    /// The header is not one of ours.
    #[error(transparent)]
    Header(#[from] BadHeader),
}

/// Reads one message whose body has at most `limit` bytes.
pub(super) async fn read_message(
    stream: &mut RecvStream,
    limit: usize,
) -> Result<(Schema, Vec<u8>), ReadError> {
    let mut header = [0; MESSAGE_HEADER];
    match stream.read_exact(&mut header).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Err(ReadError::Ended),
        Err(error) => return Err(error.into()),
    }
    let header = MessageHeader::parse(header, limit)?;
    let mut body = vec![0; header.len as usize];
    stream.read_exact(&mut body).await?;
    Ok((header.schema, body))
}
