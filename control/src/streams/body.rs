//! The body of a stream: what one task writes and the connection sends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::places::StreamPlace;

/// Most parts that wait for the connection. The stream's task waits then: events that its client has not
/// taken yet stay in the ring, which all streams share, and figures are replaced by newer ones.
const PARTS: usize = 1;

/// The task's end of a stream. Dropping it ends the stream at once: parts that wait are not sent any more.
pub(crate) struct StreamSender {
    parts: mpsc::Sender<Bytes>,
    ended: Arc<AtomicBool>,
}

/// The connection's end of a stream.
pub(crate) struct StreamBody {
    parts: mpsc::Receiver<Bytes>,
    ended: Arc<AtomicBool>,
    /// Free when the connection has dropped the body.
    _place: StreamPlace,
}

/// Makes both ends of a stream.
pub(crate) fn stream_body(place: StreamPlace) -> (StreamSender, StreamBody) {
    let (sender, parts) = mpsc::channel(PARTS);
    let ended = Arc::<AtomicBool>::default();
    (
        StreamSender { parts: sender, ended: ended.clone() },
        StreamBody { parts, ended, _place: place },
    )
}

impl StreamSender {
    /// Sends a part; waits while the client does not take the parts before. Returns false if the client
    /// has gone.
    pub(crate) async fn send(&self, part: impl Into<Bytes>) -> bool {
        self.parts.send(part.into()).await.is_ok()
    }

    /// Waits until the client has gone.
    pub(crate) async fn closed(&self) {
        self.parts.closed().await;
    }
}

impl Drop for StreamSender {
    fn drop(&mut self) {
        // Before the channel is closed, which wakes the connection.
        self.ended.store(true, Ordering::Release);
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        let part = ready!(self.parts.poll_recv(cx));
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }
}
