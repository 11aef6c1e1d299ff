//! The carrier of a session: the connection and the streams that the rest of the edge uses. Programs
//! come by QUIC, browsers by WebTransport on the same endpoints.

use std::net::SocketAddr;

use bytes::Bytes;
use nucleus_core::origins::Origins;
use nucleus_core::room_stats::LivePathStats;
use nucleus_protocol::session::Code;
use zeroize::Zeroizing;

use super::quic;
pub(super) use super::quic::{
    ConnectionClosed, ConnectionEnd, Incoming, SendStream, StreamError, WriteError,
};
pub(super) use super::webtransport::NoSession;
use super::webtransport::{self, ClosingPages, WebConnection, stream_code};
use crate::rooms::SessionPath;

/// A connection that may hold a session.
#[derive(Clone)]
pub(super) enum Connection {
    /// QUIC with ALPN `nucleus`.
    Quic(quic::QuicConnection),
    /// WebTransport over HTTP/3.
    Web(WebConnection),
}

/// A stream that the server reads.
pub(super) enum RecvStream {
    /// A stream of a QUIC connection.
    Quic(quic::QuicRecvStream),
    /// A stream of a WebTransport session, behind its prefix.
    Web(quic::QuicRecvStream),
}

impl Connection {
    /// Takes a connection that has completed its TLS handshake, and opens the WebTransport session of
    /// a browser. `origins` are the pages that may hold sessions; `closing` counts those that are told of
    /// their end.
    ///
    /// # Errors
    ///
    /// The client asked for a WebTransport session and got none.
    pub(super) async fn open(
        connection: quic::QuicConnection,
        origins: &Origins,
        closing: &ClosingPages,
    ) -> Result<Self, NoSession> {
        match connection.protocol().as_deref() {
            Some(webtransport::ALPN) => {
                let admits = |origin: &str| origins.admits_for_somebody(origin);
                webtransport::open(connection, closing.clone(), admits).await.map(Self::Web)
            }
            _ => Ok(Self::Quic(connection)),
        }
    }

    /// Returns the QUIC connection that carries the session.
    fn quic(&self) -> &quic::QuicConnection {
        match self {
            Self::Quic(connection) => connection,
            Self::Web(connection) => connection.quic(),
        }
    }

    /// Returns the origin of the page that holds the session; `None` if the client is no browser.
    pub(super) fn origin(&self) -> Option<&str> {
        match self {
            Self::Quic(_) => None,
            Self::Web(connection) => connection.origin(),
        }
    }

    /// Waits for the next bidirectional stream that the client opens.
    pub(super) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionClosed> {
        match self {
            Self::Quic(connection) => {
                let (send, receive) = connection.accept_bi().await?;
                Ok((send, RecvStream::Quic(receive)))
            }
            Self::Web(connection) => {
                let (send, receive) = connection.accept_bi().await?;
                Ok((send, RecvStream::Web(receive)))
            }
        }
    }

    /// Waits for the next unidirectional stream that the client opens.
    pub(super) async fn accept_uni(&self) -> Result<RecvStream, ConnectionClosed> {
        match self {
            Self::Quic(connection) => connection.accept_uni().await.map(RecvStream::Quic),
            Self::Web(connection) => connection.accept_uni().await.map(RecvStream::Web),
        }
    }

    /// Opens a stream. Streams of a higher priority are sent first; the control stream has 0.
    pub(super) async fn open_stream(&self, priority: i32) -> Result<SendStream, ConnectionClosed> {
        match self {
            Self::Quic(connection) => connection.open(priority).await,
            Self::Web(connection) => connection.open(priority).await,
        }
    }

    /// Sets how many bytes the client may have in flight on all streams together.
    pub(super) fn set_receive_window(&self, bytes: u32) {
        self.quic().set_receive_window(bytes);
    }

    /// Drops all datagrams as long as this is polled. Never returns.
    pub(super) async fn drop_datagrams<T>(&self) -> T {
        self.quic().drop_datagrams().await
    }

    /// Waits for the next datagram.
    pub(super) async fn read_datagram(&self) -> Result<Bytes, ConnectionClosed> {
        match self {
            Self::Quic(connection) => connection.read_datagram().await,
            Self::Web(connection) => connection.read_datagram().await,
        }
    }

    /// Returns the size in bytes of the largest datagram that the client takes and its path carries
    /// now. `None`: the client takes no datagrams.
    pub(super) fn max_datagram_size(&self) -> Option<usize> {
        match self {
            Self::Quic(connection) => connection.max_datagram_size(),
            Self::Web(connection) => connection.max_datagram_size(),
        }
    }

    /// Sends a datagram; waits while QUIC's buffer is full. The datagram is lost if the client does
    /// not support datagrams or if its path does not take one of this size.
    pub(super) async fn send_datagram(&self, datagram: Bytes) {
        match self {
            Self::Quic(connection) => connection.send_datagram(datagram).await,
            Self::Web(connection) => connection.send_datagram(datagram).await,
        }
    }

    /// Waits until the connection is closed.
    pub(super) async fn closed(&self) -> ConnectionEnd {
        match self {
            Self::Quic(connection) => connection.closed().await,
            Self::Web(connection) => connection.closed().await,
        }
    }

    /// Closes the connection with a code and a text.
    pub(super) fn close(&self, code: Code, text: &str) {
        match self {
            Self::Quic(connection) => connection.close(code, text),
            Self::Web(connection) => connection.close(code, text),
        }
    }

    /// Waits until the connection is gone, after [`close`](Self::close). One of QUIC is gone at once. A
    /// browser is told first, for a limited time.
    pub(super) async fn drained(&self) {
        if let Self::Web(connection) = self {
            connection.drained().await;
        }
    }

    /// Derives key material that only the two ends of this connection can derive (RFC 8446, 7.5).
    /// `None`: the client cannot, as in a browser.
    pub(super) fn export_key(&self, label: &[u8], context: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        match self {
            Self::Quic(connection) => connection.export_key(label, context),
            Self::Web(_) => None,
        }
    }

    /// Returns the client's address.
    pub(super) fn remote(&self) -> SocketAddr {
        self.quic().remote()
    }
}

impl SessionPath for Connection {
    fn figures(&self) -> LivePathStats {
        self.quic().figures()
    }
}

impl RecvStream {
    /// Reads until `bytes` is full.
    pub(super) async fn read(&mut self, bytes: &mut [u8]) -> Result<(), StreamError> {
        match self {
            Self::Quic(stream) | Self::Web(stream) => stream.read(bytes).await,
        }
    }

    /// Asks the client to send no more on this stream.
    pub(super) fn refuse(&mut self, code: Code) {
        match self {
            Self::Quic(stream) => stream.refuse(code),
            Self::Web(stream) => stream.refuse_raw(stream_code(code)),
        }
    }
}
