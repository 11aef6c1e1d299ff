//! A connection with a WebTransport session. It has the methods of a QUIC connection, so that a carrier
//! is either.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use nucleus_core::limits;
use nucleus_protocol::session::Code;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use web_transport_proto::{Frame, StreamUni, VarInt, error_to_http3};

use super::super::quic::{
    ConnectionClosed, ConnectionEnd, QuicConnection, QuicRecvStream, SendStream,
};
use super::ending::{ClosingPages, close_capsule, watch_end};
use super::streams::ClientStreams;
use super::{DATAGRAM_PREFIX, SESSION_ID, code};

/// A connection of a browser, with its only session.
#[derive(Clone)]
pub(crate) struct WebConnection(Arc<ConnectionParts>);

struct ConnectionParts {
    quic: QuicConnection,
    /// The origin of the page; `None` if the client is no browser.
    origin: Option<String>,
    /// The client's unidirectional streams.
    streams: tokio::sync::Mutex<ClientStreams>,
    /// The server's side of the request's stream. `None`: the session is closed.
    request: Mutex<Option<SendStream>>,
    /// Whether the server has begun to close the session. The connection is closed a moment later.
    is_told: Arc<AtomicBool>,
    /// How the session ended. `None` while the connection is open.
    end: watch::Receiver<Option<ConnectionEnd>>,
    closing: ClosingPages,
    /// The server's HTTP/3 control stream, which must stay open.
    _settings: SendStream,
}

impl WebConnection {
    /// Takes a connection whose request for a session was granted. `settings` is the server's control
    /// stream, `request` the stream of the request.
    pub(super) fn new(
        quic: QuicConnection,
        origin: Option<String>,
        settings: SendStream,
        streams: ClientStreams,
        (send, receive): (SendStream, QuicRecvStream),
        closing: ClosingPages,
    ) -> Self {
        let (ended, end) = watch::channel(None);
        let is_told = Arc::new(AtomicBool::new(false));
        tokio::spawn(watch_end(quic.clone(), receive, is_told.clone(), ended));
        Self(Arc::new(ConnectionParts {
            quic,
            origin,
            streams: tokio::sync::Mutex::new(streams),
            request: Mutex::new(Some(send)),
            is_told,
            end,
            closing,
            _settings: settings,
        }))
    }

    /// Returns the origin of the page that holds the session; `None` if the client is no browser.
    pub(crate) fn origin(&self) -> Option<&str> {
        self.0.origin.as_deref()
    }

    /// Returns the connection of QUIC.
    pub(crate) fn quic(&self) -> &QuicConnection {
        &self.0.quic
    }

    /// Waits for the next bidirectional stream of the session that the client opens. Refuses
    /// requests for further sessions.
    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, QuicRecvStream), ConnectionClosed> {
        loop {
            let (mut send, mut receive) = self.0.quic.accept_bi().await?;
            let kind = VarInt::read(&mut receive).await.map(Frame);
            if kind == Ok(Frame::WEBTRANSPORT) && VarInt::read(&mut receive).await == Ok(SESSION_ID)
            {
                return Ok((send, receive));
            }
            receive.refuse_raw(code::REQUEST_REJECTED);
            send.reset_raw(code::REQUEST_REJECTED);
        }
    }

    /// Waits for the next unidirectional stream of the session that the client opens.
    pub(crate) async fn accept_uni(&self) -> Result<QuicRecvStream, ConnectionClosed> {
        self.0.streams.lock().await.next(&self.0.quic).await
    }

    /// Opens a stream. Streams of a higher priority are sent first; the control stream has 0.
    pub(crate) async fn open(&self, priority: i32) -> Result<SendStream, ConnectionClosed> {
        let mut stream = self.0.quic.open(priority).await?;
        let mut prefix = BytesMut::new();
        StreamUni::WEBTRANSPORT.encode(&mut prefix);
        SESSION_ID.encode(&mut prefix);
        // A stream that the client refuses is found refused by the first write of the session.
        let _written = stream.write(prefix.freeze()).await;
        Ok(stream)
    }

    /// Waits for the next datagram of the session, and ignores others.
    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionClosed> {
        loop {
            let datagram = self.0.quic.read_datagram().await?;
            if datagram.first() == Some(&DATAGRAM_PREFIX) {
                return Ok(datagram.slice(1..));
            }
        }
    }

    /// Returns the size in bytes of the largest datagram that the client takes and its path carries
    /// now. `None`: the client takes no datagrams.
    pub(crate) fn max_datagram_size(&self) -> Option<usize> {
        self.0.quic.max_datagram_size().map(|most| most.saturating_sub(1))
    }

    /// Sends a datagram; waits while QUIC's buffer is full.
    pub(crate) async fn send_datagram(&self, datagram: Bytes) {
        let mut prefixed = BytesMut::with_capacity(1 + datagram.len());
        prefixed.put_u8(DATAGRAM_PREFIX);
        prefixed.put(datagram);
        self.0.quic.send_datagram(prefixed.freeze()).await;
    }

    /// Waits until the connection is closed.
    pub(crate) async fn closed(&self) -> ConnectionEnd {
        let mut end = self.0.end.clone();
        // The task that watches the connection is gone only if the runtime is ending.
        end.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(ConnectionEnd::Lost)
    }

    /// Closes the session with a code and a text, and then the connection. A page sees the code only
    /// if it arrives before the connection is closed.
    pub(crate) fn close(&self, code: Code, text: &str) {
        let request = self.0.request.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut request) = request else { return };
        self.0.is_told.store(true, Ordering::Relaxed);
        let closing = self.0.closing.begin();
        let bytes = close_capsule(code, text);
        // HTTP/3's own streams must stay open until the connection is closed.
        let connection = self.clone();
        tokio::spawn(async move {
            let quic = &connection.0.quic;
            let told = async {
                // The session's streams have just ended. On a slow path the code still needs its time.
                sleep(quic.rtt().min(limits::REFUSAL_TIME / 4) + limits::PAGE_READS).await;
                if request.write(bytes).await.is_ok() {
                    request.finish().await;
                }
                // The client closes the connection of a session that has ended.
                quic.closed().await;
            };
            tokio::select! {
                _in_time = timeout(limits::REFUSAL_TIME, told) => {}
                // What nobody reads would wait in memory.
                () = quic.drop_datagrams() => {}
            }
            quic.close_raw(code::NO_ERROR, "");
            drop(closing);
        });
    }

    /// Waits until the connection is gone, after [`close`](Self::close).
    pub(crate) async fn drained(&self) {
        self.0.quic.closed().await;
    }
}

/// Returns the code by which HTTP/3 carries a code of the session on a stream.
pub(crate) fn stream_code(code: Code) -> u64 {
    error_to_http3(u32::from(code as u16))
}
