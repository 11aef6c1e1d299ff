//! Messages out of a QUIC stream, and into one, so that a dropped future loses nothing.

use bytes::{Bytes, BytesMut};
use nucleus_protocol::session::{MessageHeader, SESSION_HEADER_BYTES, Schema};
use quinn::{RecvStream, SendStream};

use super::ProtocolError;

/// Bytes asked for at once: small messages come several to a read.
const READ_AHEAD: usize = 16 << 10;

/// Why no message was read.
#[derive(Debug)]
pub(super) enum ReadFailure {
    /// The stream or its connection is gone.
    Gone(quinn::ReadError),
    /// What came is not a message.
    Protocol(ProtocolError),
}

impl<E: Into<ProtocolError>> From<E> for ReadFailure {
    fn from(error: E) -> Self {
        ReadFailure::Protocol(error.into())
    }
}

/// Cuts a stream into messages. Holds at most one message and one read of [`READ_AHEAD`] bytes.
///
/// Both reading methods are cancel-safe: received bytes stay in the buffer.
pub(super) struct MessageReader {
    stream: RecvStream,
    buffer: BytesMut,
}

impl MessageReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The byte that opens a stream; `None` when the stream ended without it.
    pub(super) async fn kind(&mut self) -> Result<Option<u8>, ReadFailure> {
        Ok(if self.fill(1).await? { Some(self.buffer.split_to(1)[0]) } else { None })
    }

    /// The next message with a body of at most `limit` bytes; `None` at the end of the stream.
    pub(super) async fn next(
        &mut self,
        limit: usize,
    ) -> Result<Option<(Schema, Bytes)>, ReadFailure> {
        if !self.fill(SESSION_HEADER_BYTES).await? {
            return if self.buffer.is_empty() {
                Ok(None)
            } else {
                Err(ProtocolError::Ended.into())
            };
        }
        let bytes = self.buffer.first_chunk().copied().unwrap_or_default();
        let header = MessageHeader::parse(bytes, limit)?;
        let whole = SESSION_HEADER_BYTES + header.len as usize;
        if !self.fill(whole).await? {
            return Err(ProtocolError::Ended.into());
        }
        let message = self.buffer.split_to(whole).freeze();
        Ok(Some((header.schema, message.slice(SESSION_HEADER_BYTES..))))
    }

    /// Reads until `len` bytes are there; false when the stream ends before.
    async fn fill(&mut self, len: usize) -> Result<bool, ReadFailure> {
        while self.buffer.len() < len {
            let most = READ_AHEAD.max(len - self.buffer.len());
            match self.stream.read_chunk(most, true).await.map_err(ReadFailure::Gone)? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Tells the sender that nobody listens.
    pub(super) fn refuse(mut self, code: quinn::VarInt) {
        // Fails only on a stream that is over already.
        let _ = self.stream.stop(code);
    }
}

/// Messages into a stream that is opened with the first of them.
///
/// When the future of [`MessageWriter::write`] is dropped half-way, the rest of that message stays
/// here and goes out before the next one: a stream never carries half a message.
pub(super) struct MessageWriter {
    kind: u8,
    priority: i32,
    stream: Option<SendStream>,
    unsent: Bytes,
}

impl MessageWriter {
    /// Nothing is opened yet; `kind` is the byte that will open the stream, `priority` what it has of
    /// the connection beside others.
    pub(super) fn new(kind: u8, priority: i32) -> Self {
        Self { kind, priority, stream: None, unsent: Bytes::new() }
    }

    /// For a stream that is open already and has said what it is.
    pub(super) fn over(kind: u8, stream: SendStream) -> Self {
        Self { kind, priority: 0, stream: Some(stream), unsent: Bytes::new() }
    }

    pub(super) async fn write(
        &mut self,
        connection: &quinn::Connection,
        message: Vec<u8>,
    ) -> Result<(), quinn::WriteError> {
        self.write_with(connection, || message).await
    }

    /// Writes what `message` gives. It is called once all before it is out, and what it gives goes out
    /// then, also when the future is dropped: what it notes down is so in the order of the stream.
    pub(super) async fn write_with(
        &mut self,
        connection: &quinn::Connection,
        message: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), quinn::WriteError> {
        if self.stream.is_none() {
            let stream = self.stream.insert(connection.open_uni().await?);
            // Fails only for a stream that is over; the write says so.
            let _ = stream.set_priority(self.priority);
            self.unsent = Bytes::copy_from_slice(&[self.kind]);
        }
        self.flush().await?;
        self.unsent = message().into();
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), quinn::WriteError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while !self.unsent.is_empty() {
            let sent = stream.write(&self.unsent).await?;
            let _ = self.unsent.split_to(sent);
        }
        Ok(())
    }

    /// Sends what is left, ends the stream and waits until the other end has it all.
    pub(super) async fn finish(&mut self) -> Result<(), quinn::WriteError> {
        self.flush().await?;
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let _ = stream.finish();
        let _ = stream.stopped().await;
        Ok(())
    }
}
