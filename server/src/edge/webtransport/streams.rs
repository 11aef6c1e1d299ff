//! What a client opens and says beside its session's own streams: HTTP/3's streams, streams of other
//! sessions, and the end of the session.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use nucleus_core::limits;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use web_transport_proto::{Capsule, Http3CapsuleReader, StreamUni, VarInt};

use super::super::quic::{QuicConnection, QuicRecvStream};
use super::{DATAGRAM_PREFIX, SESSION_ID, code};

/// Most bytes of the client's side of the request's stream. A client sends one capsule of at most 1 KiB
/// there, at the end; the rest is for what later versions of HTTP/3 may send.
const REQUEST_BYTES: u64 = 16 << 10;

/// The datagram that wakes a page. Its payload is too short for a datagram of a link. It is not empty,
/// because Chromium delivers no datagram after an empty one.
const WAKE: [u8; 2] = [DATAGRAM_PREFIX, 0];

/// How a session ends.
#[derive(Default)]
pub(super) struct SessionEnd {
    /// The client's code, if it has closed the session with one.
    pub(super) by_client: OnceLock<u32>,
    /// Whether the server tells the client that the session ends. It closes the connection later.
    pub(super) is_told: AtomicBool,
}

/// Watches a connection until it ends: hands on the session's streams, keeps HTTP/3's own ones, wakes
/// the page, and closes the connection when the client closes the session.
pub(super) async fn watch(
    connection: QuicConnection,
    control: QuicRecvStream,
    request: QuicRecvStream,
    opened: mpsc::Sender<QuicRecvStream>,
    end: Arc<SessionEnd>,
) {
    // Keeps the client's streams of HTTP/3, also while the session ends: a client whose stream is
    // refused closes the connection at once, and shows the page no code.
    let mut handing_on = pin!(hand_on_streams(&connection, opened));
    let code = tokio::select! {
        () = &mut handing_on => None,
        () = wake_page(&connection) => None,
        code = read_end(request) => code,
    };
    if let Some(code) = code {
        // Set only here, once.
        let _first = end.by_client.set(code);
    }
    // A client that the server has told of the end ends its side, too, and then closes the connection.
    if !end.is_told.load(Ordering::Relaxed) {
        connection.close_raw(code::NO_ERROR, "");
    }
    connection.closed().await;
    drop(control);
}

/// Wakes a page now and then, which may be hidden, so that it can do what is due. Never returns.
async fn wake_page(connection: &QuicConnection) {
    loop {
        sleep(limits::PAGE_WAKE).await;
        connection.send_datagram(Bytes::from_static(&WAKE)).await;
    }
}

/// Hands on the streams of the session, until the connection is closed.
///
/// The type of a stream has no time limit, and no stream waits for another one's. The two streams of a
/// browser's compression of headers exist from its first later stream on, but stay silent until the
/// browser compresses something, which may be never. And a client whose stream of this kind is refused
/// closes the connection. QUIC's limit bounds how many streams there are.
async fn hand_on_streams(connection: &QuicConnection, opened: mpsc::Sender<QuicRecvStream>) {
    let mut compression: [Option<QuicRecvStream>; 2] = [None, None];
    let mut untyped = JoinSet::new();
    loop {
        let (mut stream, kind) = tokio::select! {
            accepted = connection.accept_uni() => {
                let Ok(mut stream) = accepted else { return };
                untyped.spawn(async move {
                    let kind = read_kind(&mut stream).await;
                    (stream, kind)
                });
                continue;
            }
            Some(Ok(typed)) = untyped.join_next() => typed,
        };
        match kind {
            Some((StreamUni::WEBTRANSPORT, Some(SESSION_ID))) => {
                // The session reads no more streams: it is ending.
                if opened.send(stream).await.is_err() {
                    return;
                }
            }
            Some((StreamUni::WEBTRANSPORT, _)) => stream.refuse_raw(code::UNKNOWN_SESSION),
            Some((kind @ (StreamUni::QPACK_ENCODER | StreamUni::QPACK_DECODER), _)) => {
                let kept = &mut compression[usize::from(kind == StreamUni::QPACK_DECODER)];
                if kept.replace(stream).is_some() {
                    return connection.close_raw(code::STREAM_CREATION, "");
                }
            }
            _ => stream.refuse_raw(code::STREAM_CREATION),
        }
    }
}

/// Reads the type of a stream, and the session if it belongs to one.
async fn read_kind(stream: &mut QuicRecvStream) -> Option<(StreamUni, Option<VarInt>)> {
    let kind = StreamUni(VarInt::read(stream).await.ok()?);
    let session = match kind {
        StreamUni::WEBTRANSPORT => Some(VarInt::read(stream).await.ok()?),
        _ => None,
    };
    Some((kind, session))
}

/// Waits until the client ends the session, and returns its code. `None`: it gave none, or broke the
/// protocol.
async fn read_end(request: QuicRecvStream) -> Option<u32> {
    let mut capsules = Http3CapsuleReader::new(request.take(REQUEST_BYTES));
    loop {
        match capsules.read().await {
            Ok(Some(Capsule::CloseWebTransportSession { code, .. })) => return Some(code),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}
