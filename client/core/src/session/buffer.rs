//! Cuts the bytes of a stream into messages.

use bytes::{Bytes, BytesMut};
use nucleus_protocol::session::{MessageHeader, SESSION_HEADER_BYTES, Schema};

use super::ProtocolError;

/// The bytes of a stream that are not handled yet: at most a message and one read of the caller, if
/// the caller reads only while the stream is wanted.
#[derive(Default)]
pub(super) struct MessageBuffer {
    bytes: BytesMut,
    has_ended: bool,
}

/// The next item in a [`MessageBuffer`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextMessage {
    /// A message: schema and body.
    Message(Schema, Bytes),
    /// More bytes are needed.
    Incomplete,
    /// The stream has ended.
    Ended,
}

impl MessageBuffer {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Notes the end of the stream. A broken stream may end in the middle of a message.
    pub(super) fn end(&mut self, is_broken: bool) {
        self.has_ended = true;
        if is_broken {
            let whole = self.whole_messages();
            self.bytes.truncate(whole);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Removes the type byte at the start of a stream, if it has come.
    pub(super) fn take_kind(&mut self) -> Option<u8> {
        (!self.bytes.is_empty()).then(|| self.bytes.split_to(1)[0])
    }

    /// Removes the next message, whose body may have at most `limit` bytes.
    ///
    /// # Errors
    /// If the header is invalid, or the stream has ended in the middle of the message.
    pub(super) fn next(&mut self, limit: usize) -> Result<NextMessage, ProtocolError> {
        let header = self.bytes.first_chunk().map(|bytes| MessageHeader::parse(*bytes, limit));
        if let Some(header) = header.transpose()? {
            let len = SESSION_HEADER_BYTES + header.len as usize;
            if self.bytes.len() >= len {
                let body = self.bytes.split_to(len).freeze().slice(SESSION_HEADER_BYTES..);
                return Ok(NextMessage::Message(header.schema, body));
            }
        }
        match (self.has_ended, self.bytes.is_empty()) {
            (false, _) => Ok(NextMessage::Incomplete),
            (true, true) => Ok(NextMessage::Ended),
            (true, false) => Err(ProtocolError::Ended),
        }
    }

    /// Returns the length of the whole messages at the start of the buffer.
    fn whole_messages(&self) -> usize {
        let mut whole = 0;
        while let Some(bytes) = self.bytes[whole..].first_chunk()
            && let Ok(header) = MessageHeader::parse(*bytes, usize::MAX)
            && let end = whole + SESSION_HEADER_BYTES + header.len as usize
            && end <= self.bytes.len()
        {
            whole = end;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use nucleus_protocol::session::{Leave, encode};

    use super::*;

    fn message(code: u16) -> Vec<u8> {
        encode(&Leave { code })
    }

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let bytes = [message(1), message(2)].concat();
        for cut in 0..bytes.len() {
            let mut buffer = MessageBuffer::default();
            let mut found = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                buffer.push(part);
                while let NextMessage::Message(schema, body) = buffer.next(100).unwrap() {
                    assert_eq!(schema, Schema::Leave);
                    found.push(body);
                }
            }
            assert_eq!(found, [&message(1)[8..], &message(2)[8..]]);
            buffer.end(false);
            assert_eq!(buffer.next(100), Ok(NextMessage::Ended));
        }
    }

    #[test]
    fn an_end_inside_a_message_is_an_error_unless_the_stream_broke() {
        let bytes = [message(1), message(2)[..9].to_vec()].concat();
        for is_broken in [false, true] {
            let mut buffer = MessageBuffer::default();
            buffer.push(&bytes);
            buffer.end(is_broken);
            assert!(matches!(buffer.next(100), Ok(NextMessage::Message(..))));
            let expected =
                if is_broken { Ok(NextMessage::Ended) } else { Err(ProtocolError::Ended) };
            assert_eq!(buffer.next(100), expected);
        }
    }

    #[test]
    fn a_message_over_the_limit_is_an_error_before_it_has_come() {
        let mut buffer = MessageBuffer::default();
        buffer.push(&message(1)[..8]);
        assert!(matches!(buffer.next(1), Err(ProtocolError::Header(_))));
    }
}
