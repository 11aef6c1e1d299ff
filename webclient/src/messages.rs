//! The messages by which a session begins.

use nucleus_protocol::session::{
    self, Hello, Join, MessageHeader, NO_REALTIME_PORT, SESSION_HEADER_BYTES, Schema, stream,
};
use quinn::RecvStream;

use crate::WebError;

/// The largest message that [`read_message`] reads, in bytes: a full roster.
pub const MAX_ANSWER: usize = 2 << 20;

/// Returns the beginning of a control stream: its type, `Hello` and this `Join`. A browser has no realtime
/// port. `features` are the bits of `Hello`.
pub fn opening(join: &Join, features: Vec<u8>) -> Vec<u8> {
    let flags = NO_REALTIME_PORT;
    let hello = Hello { oldest: 1, newest: 1, flags, agent: b"web".to_vec(), features };
    [&[stream::CONTROL][..], &hello.encode(), &session::encode(join)].concat()
}

/// Reads the next message of a stream.
///
/// # Errors
///
/// The stream broke, or the message is larger than [`MAX_ANSWER`].
pub async fn read_message(receive: &mut RecvStream) -> Result<(Schema, Vec<u8>), WebError> {
    let mut header = [0; SESSION_HEADER_BYTES];
    receive.read_exact(&mut header).await.map_err(WebError::stream)?;
    let header = MessageHeader::parse(header, MAX_ANSWER).map_err(WebError::answer)?;
    let mut body = vec![0; header.len as usize];
    receive.read_exact(&mut body).await.map_err(WebError::stream)?;
    Ok((header.schema, body))
}
