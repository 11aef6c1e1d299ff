//! The unidirectional streams that a browser opens: HTTP/3's own ones, and those of its session.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use web_transport_proto::{StreamUni, VarInt};

use super::super::quic::{ConnectionClosed, QuicConnection, QuicRecvStream};
use super::{SESSION_ID, code};

/// A stream, its type, and the session if it belongs to one. `None`: the client has broken the stream.
type TypedStream = (QuicRecvStream, Option<(StreamUni, Option<VarInt>)>);

/// The client's unidirectional streams. Everything is found in the poll in which its bytes are there.
///
/// The type of a stream has no time limit, and no stream waits for another one's. The two streams of a
/// browser's compression of headers exist from its first later stream on, but stay silent until the
/// browser compresses something, which may be never. HTTP/3's streams must not be dropped before the
/// connection is closed: a client whose stream of this kind is refused closes the connection at once.
/// QUIC's limit bounds how many streams there are.
#[derive(Default)]
pub(super) struct ClientStreams {
    /// Streams whose type has not arrived.
    untyped: Vec<Pin<Box<dyn Future<Output = TypedStream> + Send>>>,
    /// HTTP/3's streams of the client: control, encoder, decoder.
    kept: [Option<QuicRecvStream>; 3],
    /// Streams of the session that came before the client's control stream.
    waiting: VecDeque<QuicRecvStream>,
}

impl ClientStreams {
    /// Waits for HTTP/3's control stream, and returns it behind its type. It must be given back to
    /// [`keep_control`](Self::keep_control).
    pub(super) async fn control(
        &mut self,
        connection: &QuicConnection,
    ) -> Result<QuicRecvStream, ConnectionClosed> {
        loop {
            if let Some(control) = self.kept[0].take() {
                return Ok(control);
            }
            let stream = self.next_typed(connection).await?;
            self.waiting.extend(stream);
        }
    }

    /// Keeps HTTP/3's control stream.
    pub(super) fn keep_control(&mut self, control: QuicRecvStream) {
        self.kept[0] = Some(control);
    }

    /// Waits for the next stream of the session, and returns it behind its prefix. May be dropped and
    /// called again.
    pub(super) async fn next(
        &mut self,
        connection: &QuicConnection,
    ) -> Result<QuicRecvStream, ConnectionClosed> {
        loop {
            if let Some(stream) = self.waiting.pop_front() {
                return Ok(stream);
            }
            let stream = self.next_typed(connection).await?;
            self.waiting.extend(stream);
        }
    }

    /// Waits until a stream has its type, and keeps or refuses it. Returns a stream of the session.
    async fn next_typed(
        &mut self,
        connection: &QuicConnection,
    ) -> Result<Option<QuicRecvStream>, ConnectionClosed> {
        let (mut stream, kind) = self.typed(connection).await?;
        match kind {
            Some((StreamUni::WEBTRANSPORT, Some(SESSION_ID))) => return Ok(Some(stream)),
            Some((StreamUni::WEBTRANSPORT, _)) => stream.refuse_raw(code::UNKNOWN_SESSION),
            Some((kind, _)) => match kept_index(kind) {
                Some(index) if self.kept[index].is_none() => self.kept[index] = Some(stream),
                Some(_) => connection.close_raw(code::STREAM_CREATION, ""),
                None => stream.refuse_raw(code::STREAM_CREATION),
            },
            None => {}
        }
        Ok(None)
    }

    async fn typed(
        &mut self,
        connection: &QuicConnection,
    ) -> Result<TypedStream, ConnectionClosed> {
        loop {
            let mut accepting = pin!(connection.accept_uni());
            let untyped = &mut self.untyped;
            let accepted = poll_fn(|cx| {
                for at in 0..untyped.len() {
                    if let Poll::Ready(typed) = untyped[at].as_mut().poll(cx) {
                        drop(untyped.swap_remove(at));
                        return Poll::Ready(Ok(Err(typed)));
                    }
                }
                accepting.as_mut().poll(cx).map_ok(Ok)
            });
            match accepted.await? {
                Ok(stream) => self.untyped.push(Box::pin(read_type(stream))),
                Err(typed) => return Ok(typed),
            }
        }
    }
}

/// Returns where a stream of HTTP/3 is kept. `None`: it is of another type.
fn kept_index(kind: StreamUni) -> Option<usize> {
    [StreamUni::CONTROL, StreamUni::QPACK_ENCODER, StreamUni::QPACK_DECODER]
        .iter()
        .position(|kept| *kept == kind)
}

async fn read_type(mut stream: QuicRecvStream) -> TypedStream {
    let kind = async {
        let kind = StreamUni(VarInt::read(&mut stream).await.ok()?);
        let session = match kind {
            StreamUni::WEBTRANSPORT => Some(VarInt::read(&mut stream).await.ok()?),
            _ => None,
        };
        Some((kind, session))
    };
    let kind = kind.await;
    (stream, kind)
}
