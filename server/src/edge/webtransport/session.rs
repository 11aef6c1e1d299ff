//! A WebTransport session. It has the methods of a QUIC connection, so that a carrier is either.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use nucleus_core::limits;
use nucleus_protocol::session::Code;
use tokio::sync::mpsc;
use tokio::time::timeout;
use web_transport_proto::{Capsule, Frame, StreamUni, VarInt, error_to_http3};

use super::super::quic::{
    ConnectionClosed, ConnectionEnd, QuicConnection, QuicRecvStream, SendStream,
};
use super::streams::{self, SessionEnd};
use super::{DATAGRAM_PREFIX, SESSION_ID, code};

/// Streams of the client that wait for the session. Further ones wait in QUIC, within its limit.
const WAITING_STREAMS: usize = 1;

/// A WebTransport session on a connection of its own.
#[derive(Clone)]
pub(crate) struct Session(Arc<SessionParts>);

struct SessionParts {
    connection: QuicConnection,
    /// The origin of the page; `None` if the client is no browser.
    origin: Option<String>,
    /// The client's unidirectional streams, behind their prefix.
    streams: tokio::sync::Mutex<mpsc::Receiver<QuicRecvStream>>,
    /// The server's side of the request's stream. `None`: the session is closed.
    request: Mutex<Option<SendStream>>,
    end: Arc<SessionEnd>,
    /// The server's HTTP/3 control stream, which must stay open.
    _settings: SendStream,
}

impl Session {
    /// Takes a connection whose request for a session was granted.
    pub(super) fn new(
        connection: QuicConnection,
        origin: Option<String>,
        settings: SendStream,
        client_settings: QuicRecvStream,
        (send, receive): (SendStream, QuicRecvStream),
    ) -> Self {
        let (opened, streams) = mpsc::channel(WAITING_STREAMS);
        let end = Arc::new(SessionEnd::default());
        let watching =
            streams::watch(connection.clone(), client_settings, receive, opened, end.clone());
        tokio::spawn(watching);
        Self(Arc::new(SessionParts {
            connection,
            origin,
            streams: tokio::sync::Mutex::new(streams),
            request: Mutex::new(Some(send)),
            end,
            _settings: settings,
        }))
    }

    /// Returns the origin of the page that holds the session; `None` if the client is no browser.
    pub(crate) fn origin(&self) -> Option<&str> {
        self.0.origin.as_deref()
    }

    /// Returns the connection that carries the session.
    pub(crate) fn connection(&self) -> &QuicConnection {
        &self.0.connection
    }

    /// Waits for the next bidirectional stream of the session that the client opens. Refuses
    /// requests for further sessions.
    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, QuicRecvStream), ConnectionClosed> {
        loop {
            let (mut send, mut receive) = self.0.connection.accept_bi().await?;
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
        self.0.streams.lock().await.recv().await.ok_or(ConnectionClosed)
    }

    /// Opens a stream. Streams of a higher priority are sent first; the control stream has 0.
    pub(crate) async fn open(&self, priority: i32) -> Result<SendStream, ConnectionClosed> {
        let mut stream = self.0.connection.open(priority).await?;
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
            let datagram = self.0.connection.read_datagram().await?;
            if datagram.first() == Some(&DATAGRAM_PREFIX) {
                return Ok(datagram.slice(1..));
            }
        }
    }

    /// Returns the size in bytes of the largest datagram that the client takes and its path carries
    /// now. `None`: the client takes no datagrams.
    pub(crate) fn max_datagram_size(&self) -> Option<usize> {
        self.0.connection.max_datagram_size().map(|most| most.saturating_sub(1))
    }

    /// Sends a datagram; waits while QUIC's buffer is full.
    pub(crate) async fn send_datagram(&self, datagram: Bytes) {
        let mut prefixed = BytesMut::with_capacity(1 + datagram.len());
        prefixed.put_u8(DATAGRAM_PREFIX);
        prefixed.put(datagram);
        self.0.connection.send_datagram(prefixed.freeze()).await;
    }

    /// Waits until the session is closed.
    pub(crate) async fn closed(&self) -> ConnectionEnd {
        // The codes of a closed connection are HTTP/3's.
        self.0.connection.closed().await;
        match self.0.end.by_client.get() {
            Some(code) => ConnectionEnd::ByClient(u64::from(*code)),
            None => ConnectionEnd::Lost,
        }
    }

    /// Closes the session with a code and a text, and then its connection. A page sees the code only
    /// if it arrives before the connection is closed.
    pub(crate) fn close(&self, code: Code, text: &str) {
        let request = self.0.request.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut request) = request else { return };
        self.0.end.is_told.store(true, Ordering::Relaxed);
        let bytes = close_capsule(code, text);
        // HTTP/3's own streams must stay open until the connection is closed.
        let session = self.clone();
        tokio::spawn(async move {
            let told = async {
                if request.write(bytes).await.is_ok() {
                    request.finish().await;
                }
                // The client closes the connection of a session that has ended.
                session.0.connection.closed().await;
            };
            let _in_time = timeout(limits::REFUSAL_TIME, told).await;
            session.0.connection.close_raw(code::NO_ERROR, "");
        });
    }

    /// Waits until the connection of a session that was closed is closed, too.
    pub(crate) async fn drained(&self) {
        self.0.connection.closed().await;
    }
}

/// Returns the code by which HTTP/3 carries a code of the session on a stream.
pub(crate) fn stream_code(code: Code) -> u64 {
    error_to_http3(u32::from(code as u16))
}

/// Makes the bytes that close a session, in their frame.
fn close_capsule(code: Code, text: &str) -> Bytes {
    /// The longest text that WebTransport allows.
    const MAX_TEXT: usize = 1_024;
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let reason = text[..end.unwrap_or(0)].to_owned();
    let mut capsule = BytesMut::new();
    Capsule::CloseWebTransportSession { code: u32::from(code as u16), reason }.encode(&mut capsule);
    let mut frame = BytesMut::new();
    Frame::DATA.encode(&mut frame);
    // The text bounds the length.
    VarInt::from_u32(capsule.len() as u32).encode(&mut frame);
    frame.put(capsule);
    frame.freeze()
}
