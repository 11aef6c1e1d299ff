//! Reads messages from a QUIC stream and writes messages to one. A dropped future loses no bytes.

use bytes::{Bytes, BytesMut};
use nucleus_protocol::session::{MessageHeader, SESSION_HEADER_BYTES, Schema};
use quinn::{RecvStream, SendStream};

use super::ProtocolError;

/// Bytes to ask for in one read, so that a read returns several small messages.
const READ_AHEAD: usize = 16 << 10;

/// The reason why a message could not be read.
#[derive(Debug)]
pub(super) enum ReadFailure {
    /// The stream or its connection broke.
    Gone(quinn::ReadError),
    /// The received bytes are not a valid message.
    Protocol(ProtocolError),
}

impl<E: Into<ProtocolError>> From<E> for ReadFailure {
    fn from(error: E) -> Self {
        ReadFailure::Protocol(error.into())
    }
}

/// Reads messages from a stream. Buffers at most one message and one read of [`READ_AHEAD`] bytes.
///
/// [`Self::kind`] and [`Self::next`] are cancel-safe: received bytes stay in the buffer.
pub(super) struct MessageReader {
    stream: RecvStream,
    buffer: BytesMut,
}

impl MessageReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Reads the type byte at the start of a stream. Returns `None` if the stream ends without it.
    pub(super) async fn kind(&mut self) -> Result<Option<u8>, ReadFailure> {
        Ok(if self.fill(1).await? { Some(self.buffer.split_to(1)[0]) } else { None })
    }

    /// Reads the next message, whose body may have at most `limit` bytes. Returns `None` at the end
    /// of the stream.
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
        let message_len = SESSION_HEADER_BYTES + header.len as usize;
        if !self.fill(message_len).await? {
            return Err(ProtocolError::Ended.into());
        }
        let message = self.buffer.split_to(message_len).freeze();
        Ok(Some((header.schema, message.slice(SESSION_HEADER_BYTES..))))
    }

    /// Reads until the buffer has `len` bytes. Returns false if the stream ends before.
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

    /// Stops the stream, so that the sender knows that it is not read.
    pub(super) fn refuse(mut self, code: quinn::VarInt) {
        // Fails only on a stream that has already ended.
        let _ = self.stream.stop(code);
    }
}

/// Writes messages to a stream. The first message opens the stream.
///
/// If the future of [`MessageWriter::write`] is dropped half-way, the rest of that message is
/// written before the next one, so a stream never carries a partial message.
pub(super) struct MessageWriter {
    kind: u8,
    priority: i32,
    stream: Option<SendStream>,
    unsent: Bytes,
}

impl MessageWriter {
    /// Creates a writer whose stream is not opened yet. `kind` is the type byte of the stream,
    /// `priority` its priority among the streams of the connection.
    pub(super) fn new(kind: u8, priority: i32) -> Self {
        Self { kind, priority, stream: None, unsent: Bytes::new() }
    }

    /// Creates a writer for an open stream whose type byte is already written.
    pub(super) fn for_open_stream(kind: u8, stream: SendStream) -> Self {
        Self { kind, priority: 0, stream: Some(stream), unsent: Bytes::new() }
    }

    pub(super) async fn write(
        &mut self,
        connection: &quinn::Connection,
        message: Vec<u8>,
    ) -> Result<(), quinn::WriteError> {
        self.write_with(connection, || message).await
    }

    /// Writes the message that the closure `message` returns. The closure is called after all
    /// earlier messages are written.
    ///
    /// After that call, the message is written even if the future is dropped. So the side effects
    /// of the closure take place in the order of the stream.
    pub(super) async fn write_with(
        &mut self,
        connection: &quinn::Connection,
        message: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), quinn::WriteError> {
        if self.stream.is_none() {
            let stream = self.stream.insert(connection.open_uni().await?);
            // Fails only for a stream that has ended; the write then fails too.
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

    /// Writes the rest of the last message, ends the stream, and waits until the other end has
    /// received everything.
    pub(super) async fn finish(&mut self) -> Result<(), quinn::WriteError> {
        self.flush().await?;
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let _ = stream.finish();
        let _ = stream.stopped().await;
        Ok(())
    }
}
