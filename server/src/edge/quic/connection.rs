//! A client's connection and its streams.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use nucleus_core::room_stats::{LivePathStats, share_ppm};
use nucleus_protocol::session::Code;
use quinn::VarInt;
use quinn::crypto::rustls::HandshakeData;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

/// The error of an operation whose stream or connection is closed. [`QuicConnection::closed`] has the
/// reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionClosed;

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The client closed it with this code.
    ByClient(u64),
    /// Nothing came from the client for the idle time.
    Silent,
    /// The connection was lost in another way, or the server closed it.
    Lost,
}

/// Why no more bytes could be read from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamError {
    /// The client ended the stream, between two messages or within one.
    #[error("the stream ended")]
    Ended,
    /// The client reset the stream.
    #[error("the stream was reset")]
    Reset,
    /// The connection is closed.
    #[error("the connection is closed")]
    ConnectionClosed,
}

/// Why bytes could not be written to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The client refused the stream (`STOP_SENDING`).
    Refused,
    /// The connection is closed.
    ConnectionClosed,
}

impl From<ConnectionClosed> for WriteError {
    fn from(_: ConnectionClosed) -> Self {
        Self::ConnectionClosed
    }
}

impl From<quinn::WriteError> for WriteError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(_) => Self::Refused,
            _ => Self::ConnectionClosed,
        }
    }
}

/// A connection that has completed its TLS handshake.
#[derive(Clone)]
pub(crate) struct QuicConnection(pub(super) quinn::Connection);

/// A stream that the server writes. Dropping it ends it, behind a whole message. Within a message it is
/// reset: the client must not take the part for a message of a faulty server.
pub(crate) struct SendStream {
    stream: quinn::SendStream,
    /// Whether a message has begun and is not written to its end.
    within_message: bool,
}

/// A stream that the server reads.
pub(crate) struct QuicRecvStream(quinn::RecvStream);

impl QuicConnection {
    /// Waits for the next bidirectional stream that the client opens.
    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, QuicRecvStream), ConnectionClosed> {
        let (send, receive) = self.0.accept_bi().await.map_err(|_| ConnectionClosed)?;
        Ok((SendStream::new(send), QuicRecvStream(receive)))
    }

    /// Waits for the next unidirectional stream that the client opens.
    pub(crate) async fn accept_uni(&self) -> Result<QuicRecvStream, ConnectionClosed> {
        self.0.accept_uni().await.map(QuicRecvStream).map_err(|_| ConnectionClosed)
    }

    /// Opens a stream. Streams of a higher priority are sent first; the control stream has 0.
    pub(crate) async fn open(&self, priority: i32) -> Result<SendStream, ConnectionClosed> {
        let stream = self.0.open_uni().await.map_err(|_| ConnectionClosed)?;
        stream.set_priority(priority).map_err(|_| ConnectionClosed)?;
        Ok(SendStream::new(stream))
    }

    /// Sets how many bytes the client may have in flight on all streams together.
    pub(crate) fn set_receive_window(&self, bytes: u32) {
        self.0.set_receive_window(bytes.into());
    }

    /// Drops all datagrams as long as this is polled. Never returns.
    pub(crate) async fn drop_datagrams<T>(&self) -> T {
        while self.read_datagram().await.is_ok() {}
        std::future::pending().await
    }

    /// Waits for the next datagram.
    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionClosed> {
        self.0.read_datagram().await.map_err(|_| ConnectionClosed)
    }

    /// Returns the size in bytes of the largest datagram that the client takes and its path carries
    /// now. `None`: the client takes no datagrams.
    pub(crate) fn max_datagram_size(&self) -> Option<usize> {
        self.0.max_datagram_size()
    }

    /// Sends a datagram; waits while QUIC's buffer is full. The datagram is lost if the client does
    /// not support datagrams or if its path does not take one of this size.
    pub(crate) async fn send_datagram(&self, datagram: Bytes) {
        // A closed connection needs no error here, because [`Self::closed`] reports it.
        let _sent = self.0.send_datagram_wait(datagram).await;
    }

    /// Waits until the connection is closed.
    pub(crate) async fn closed(&self) -> ConnectionEnd {
        match self.0.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                ConnectionEnd::ByClient(close.error_code.into_inner())
            }
            quinn::ConnectionError::TimedOut => ConnectionEnd::Silent,
            _ => ConnectionEnd::Lost,
        }
    }

    /// Closes the connection with a code and a text.
    pub(crate) fn close(&self, code: Code, text: &str) {
        self.close_raw(u64::from(code as u16), text);
    }

    /// Closes the connection with a text and any code, for example one of HTTP/3.
    pub(crate) fn close_raw(&self, code: u64, text: &str) {
        self.0.close(varint(code), text.as_bytes());
    }

    /// Returns the protocol that client and server have agreed on (ALPN).
    pub(crate) fn protocol(&self) -> Option<Vec<u8>> {
        self.0.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
    }

    /// Returns how many frames of streams and datagrams the client has sent. Acknowledgements are none
    /// of them.
    pub(crate) fn frames_received(&self) -> u64 {
        let frames = self.0.stats().frame_rx;
        frames.stream + frames.datagram
    }

    /// Sets how many streams of each direction the client may have open at a time.
    pub(crate) fn set_streams(&self, bidirectional: u32, unidirectional: u32) {
        self.0.set_max_concurrent_bi_streams(bidirectional.into());
        self.0.set_max_concurrent_uni_streams(unidirectional.into());
    }

    /// Derives key material that only the two ends of this connection can derive (RFC 8446, 7.5).
    pub(crate) fn export_key(&self, label: &[u8], context: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let mut key = Zeroizing::new([0; 32]);
        self.0.export_keying_material(&mut *key, label, context).ok()?;
        Some(key)
    }

    /// Returns what QUIC measures on the path, and how many packets to the client were lost on it.
    pub(crate) fn figures(&self) -> LivePathStats {
        let path = self.0.stats().path;
        let loss_ppm = share_ppm(path.lost_packets, path.sent_packets);
        LivePathStats { rtt: Some(path.rtt), loss_ppm }
    }

    /// Returns the round-trip time of the path.
    pub(crate) fn rtt(&self) -> Duration {
        self.0.rtt()
    }

    /// Returns the client's address.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.0.remote_address()
    }
}

impl SendStream {
    fn new(stream: quinn::SendStream) -> Self {
        Self { stream, within_message: false }
    }

    /// Writes `bytes` completely. A message ends with them.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        self.write_both(bytes, Bytes::new()).await
    }

    /// Writes `first` and then `second` completely. A message ends with them.
    pub(crate) async fn write_both(
        &mut self,
        first: Bytes,
        second: Bytes,
    ) -> Result<(), WriteError> {
        self.write_piece(first, second, true).await
    }

    /// Writes `first` and then `second` completely. A message ends with them if `is_last`.
    pub(crate) async fn write_piece(
        &mut self,
        first: Bytes,
        second: Bytes,
        is_last: bool,
    ) -> Result<(), WriteError> {
        self.within_message = true;
        self.stream.write_all_chunks(&mut [first, second]).await?;
        self.within_message = !is_last;
        Ok(())
    }

    /// Abandons what is not sent yet, and tells the client so with a code of the protocol that the
    /// connection carries.
    pub(crate) fn reset_raw(&mut self, code: u64) {
        // Fails only for a stream that has already ended.
        let _reset = self.stream.reset(varint(code));
    }

    /// Ends the stream. Waits until the client has received all of it or has refused it.
    pub(crate) async fn finish(&mut self) {
        // Fails only for a stream that has already ended.
        let _finished = self.stream.finish();
        let _received = self.stream.stopped().await;
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if self.within_message {
            // The code of the session follows. Fails only for a stream that has already ended.
            let _reset = self.stream.reset(VarInt::from_u32(0));
        }
    }
}

impl QuicRecvStream {
    /// Reads until `bytes` is full.
    pub(crate) async fn read(&mut self, bytes: &mut [u8]) -> Result<(), StreamError> {
        self.0.read_exact(bytes).await.map_err(|error| match error {
            quinn::ReadExactError::FinishedEarly(_) => StreamError::Ended,
            quinn::ReadExactError::ReadError(quinn::ReadError::Reset(_)) => StreamError::Reset,
            quinn::ReadExactError::ReadError(_) => StreamError::ConnectionClosed,
        })
    }

    /// Asks the client to send no more on this stream.
    pub(crate) fn refuse(&mut self, code: Code) {
        self.refuse_raw(u64::from(code as u16));
    }

    /// Asks the client to send no more on this stream, with a code of the protocol that the
    /// connection carries.
    pub(crate) fn refuse_raw(&mut self, code: u64) {
        // Fails only for a stream that has already ended.
        let _stopped = self.0.stop(varint(code));
    }
}

/// Converts a code to QUIC's form, which has 62 bits.
fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

impl AsyncRead for QuicRecvStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.0), cx, buf)
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.stream), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.stream), cx)
    }
}
