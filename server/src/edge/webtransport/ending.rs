//! How a WebTransport session ends: the client ends it, the page falls silent, the connection is lost,
//! or the server closes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use nucleus_core::limits;
use nucleus_protocol::session::Code;
use tokio::io::{AsyncReadExt, copy, sink};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use web_transport_proto::{Capsule, CapsuleError, Frame, VarInt};

use super::super::quic::{ConnectionEnd, QuicConnection, QuicRecvStream};
use super::{DATAGRAM_PREFIX, code};

/// Most bytes of the client's side of the request's stream. A client sends one capsule of at most 1 KiB
/// there, at the end; the rest is for what later versions of HTTP/3 may send.
const REQUEST_BYTES: u64 = 16 << 10;

/// The datagram that wakes a page. Its payload is too short for a datagram of a link. It is not empty,
/// because Chromium delivers no datagram after an empty one.
const WAKE: [u8; 2] = [DATAGRAM_PREFIX, 0];

/// The sessions of browsers that the server is closing.
#[derive(Clone, Default)]
pub struct ClosingPages(Arc<AtomicUsize>);

impl ClosingPages {
    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one until the result is dropped.
    pub(super) fn begin(&self) -> ClosingPage {
        self.0.fetch_add(1, Ordering::Relaxed);
        ClosingPage(self.clone())
    }
}

/// One of the [`ClosingPages`].
pub(super) struct ClosingPage(ClosingPages);

impl Drop for ClosingPage {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until a connection is closed, and sends to `end` how its session ended. Closes the connection if
/// the client ends the session, or if the page falls silent. Until then, wakes the page now and then.
pub(super) async fn watch_end(
    connection: QuicConnection,
    request: QuicRecvStream,
    is_told: Arc<AtomicBool>,
    end: watch::Sender<Option<ConnectionEnd>>,
) {
    let found = tokio::select! {
        // A code that has arrived counts, also if the connection is closed already.
        biased;
        code = read_code(request) => {
            // A client that the server has told of the end ends its side, too, and then closes the
            // connection. Chromium shows the page no code if it finds the connection closed before.
            if !is_told.load(Ordering::Relaxed) {
                connection.close_raw(code::NO_ERROR, "");
            }
            code.map_or(ConnectionEnd::Lost, |code| ConnectionEnd::ByClient(u64::from(code)))
        }
        () = falls_silent(&connection) => {
            connection.close_raw(code::NO_ERROR, "");
            ConnectionEnd::Silent
        }
    };
    let closed = connection.closed().await;
    // Without a code of the session, the end of its connection says why. A browser closes it with the page.
    let found = if found == ConnectionEnd::Lost { closed } else { found };
    // Fails only if nobody waits for the end any more.
    let _told = end.send(Some(found));
}

/// Wakes a page now and then, which may be hidden, so that it can do what is due. Returns when the page
/// has sent nothing for as long as a program may. QUIC's own idle timeout is of no use here: the
/// browser acknowledges packets for a page that stands still.
async fn falls_silent(connection: &QuicConnection) {
    let (mut heard, mut heard_at) = (connection.frames_received(), Instant::now());
    while heard_at.elapsed() < limits::SESSION_IDLE {
        sleep(limits::PAGE_WAKE).await;
        connection.send_datagram(Bytes::from_static(&WAKE)).await;
        let now = connection.frames_received();
        if now != heard {
            (heard, heard_at) = (now, Instant::now());
        }
    }
}

/// Waits until the client ends the session, and returns its code. `None`: it gave none, or broke the
/// protocol. Never holds more bytes than have arrived, whatever lengths the client announces.
async fn read_code(request: QuicRecvStream) -> Option<u32> {
    let mut request = request.take(REQUEST_BYTES);
    let mut capsules = Vec::new();
    loop {
        let kind = Frame(VarInt::read(&mut request).await.ok()?);
        let length = VarInt::read(&mut request).await.ok()?.into_inner();
        if kind != Frame::DATA {
            copy(&mut (&mut request).take(length), &mut sink()).await.ok()?;
            continue;
        }
        (&mut request).take(length).read_to_end(&mut capsules).await.ok()?;
        loop {
            let mut rest = &capsules[..];
            match Capsule::decode(&mut rest) {
                Ok(Capsule::CloseWebTransportSession { code, .. }) => return Some(code),
                Ok(_) => drop(capsules.drain(..capsules.len() - rest.len())),
                // The rest of the capsule follows in the next frame.
                Err(CapsuleError::UnexpectedEnd | CapsuleError::VarInt(_)) => break,
                Err(_) => return None,
            }
        }
    }
}

/// Makes the bytes that close a session, in their frame.
pub(super) fn close_capsule(code: Code, text: &str) -> Bytes {
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
