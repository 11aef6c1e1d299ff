//! Session messages on a stream: reads one within a size limit, and says how writing one ended.

use nucleus_protocol::session::{BadHeader, MessageHeader, SESSION_HEADER_BYTES, Schema};

use super::carrier::{RecvStream, StreamError};

/// Why no message could be read from a stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The stream has ended, between two messages or within one.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The header is invalid.
    #[error(transparent)]
    Header(#[from] BadHeader),
}

/// How writing a message ended.
pub(super) enum WriteOutcome {
    /// QUIC has taken all of the message.
    Written,
    /// The client has refused the stream.
    Refused,
    /// The connection is closed.
    Closed,
    /// The client did not take the message in time.
    TooSlow,
}

/// Reads one message, whose body has at most `limit` bytes.
///
/// # Errors
///
/// The stream has ended, or the header is invalid or announces a longer body.
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
