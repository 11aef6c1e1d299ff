//! A client's connection and its streams.

use std::net::SocketAddr;

use bytes::Bytes;
use nucleus_protocol::session::Code;
use zeroize::Zeroizing;

/// A stream or a connection that is over. Why, the connection says: see [`Connection::ended`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client closed it with this code.
    ByClient(u64),
    /// Anything else.
    Lost,
}

/// Why a stream gave no more bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The peer ended it, in front of the bytes that were asked for.
    #[error("the stream ended")]
    Ended,
    /// The peer ended it within them, or the connection is gone.
    #[error("the stream broke: {0}")]
    Broken(quinn::ReadExactError),
}

/// A connection whose TLS handshake is done.
#[derive(Clone)]
pub(crate) struct Connection(pub(super) quinn::Connection);

/// The server's end of a stream that it writes.
pub(crate) struct SendStream(quinn::SendStream);

/// The server's end of a stream that it reads.
pub(crate) struct RecvStream(quinn::RecvStream);

impl Connection {
    /// The next stream that the client opens for both ways.
    pub(crate) async fn accept_both_ways(&self) -> Result<(SendStream, RecvStream), Gone> {
        let (send, receive) = self.0.accept_bi().await.map_err(|_| Gone)?;
        Ok((SendStream(send), RecvStream(receive)))
    }

    /// The next stream that the client opens for its own way.
    pub(crate) async fn accept(&self) -> Result<RecvStream, Gone> {
        self.0.accept_uni().await.map(RecvStream).map_err(|_| Gone)
    }

    /// Opens a stream. What has a higher priority is sent first; the control stream has 0.
    pub(crate) async fn open(&self, priority: i32) -> Result<SendStream, Gone> {
        let stream = self.0.open_uni().await.map_err(|_| Gone)?;
        stream.set_priority(priority).map_err(|_| Gone)?;
        Ok(SendStream(stream))
    }

    /// The next datagram.
    pub(crate) async fn read_datagram(&self) -> Result<Bytes, Gone> {
        self.0.read_datagram().await.map_err(|_| Gone)
    }

    /// Waits until there is room for a datagram. It may be lost all the same: the client may not support
    /// it, or its path be too small for it.
    pub(crate) async fn send_datagram(&self, datagram: Bytes) {
        // A connection that is gone says so itself.
        let _sent = self.0.send_datagram_wait(datagram).await;
    }

    /// Waits until the connection is over.
    pub(crate) async fn ended(&self) -> Ended {
        match self.0.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                Ended::ByClient(close.error_code.into_inner())
            }
            _ => Ended::Lost,
        }
    }

    /// Closes it with a code and a text.
    pub(crate) fn close(&self, code: Code, text: &str) {
        self.0.close((code as u32).into(), text.as_bytes());
    }

    /// Key material that only the two ends of this very connection have (RFC 8446, 7.5).
    pub(crate) fn export_key(&self, label: &[u8], context: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let mut key = Zeroizing::new([0; 32]);
        self.0.export_keying_material(&mut *key, label, context).ok()?;
        Some(key)
    }

    /// Where the client is.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.0.remote_address()
    }
}

impl SendStream {
    /// Writes all of it.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.0.write_chunk(bytes).await.map_err(|_| Gone)
    }

    /// Writes all of both, one behind the other.
    pub(crate) async fn write_both(&mut self, first: Bytes, second: Bytes) -> Result<(), Gone> {
        self.0.write_all_chunks(&mut [first, second]).await.map_err(|_| Gone)
    }

    /// Ends the stream, and waits until the client has all of it or takes no more.
    pub(crate) async fn finish(&mut self) {
        // Fails only for a stream that is over already.
        let _finished = self.0.finish();
        let _had = self.0.stopped().await;
    }
}

impl RecvStream {
    /// Fills `bytes`.
    pub(crate) async fn read(&mut self, bytes: &mut [u8]) -> Result<(), StreamError> {
        self.0.read_exact(bytes).await.map_err(|error| match error {
            quinn::ReadExactError::FinishedEarly(0) => StreamError::Ended,
            error => StreamError::Broken(error),
        })
    }

    /// Takes no more of it.
    pub(crate) fn refuse(&mut self, code: Code) {
        // Fails only for a stream that has ended by itself.
        let _stopped = self.0.stop((code as u32).into());
    }
}
