//! [`ConnectionIo`]: reads and writes the streams of a QUIC connection for a client.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use nucleus_client_core::session::{
    ConnectionEnd, DrivenClient, SessionInput, StreamAction, StreamSource, StreamTarget,
};
use nucleus_protocol::session::{Code, Lane};
use nucleus_protocol::time::Time;
use quinn::{Connection, RecvStream, SendStream, VarInt, WriteError};
use tokio::io::ReadBuf;

/// Bytes to ask for in one read, so that a read returns several small messages.
const READ_AHEAD: usize = 16 << 10;
/// Priority of the bulk stream, below events and requests, which have priority 0.
const BULK_PRIORITY: i32 = -1;
/// Streams that the server may have open at the same time are few, and so are their ranks.
const RANKS: u8 = 4;

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A stream on which the client writes.
enum WriteState {
    New,
    /// The stream is being opened for these bytes.
    Opening(Waiting<Result<SendStream, quinn::ConnectionError>>, Bytes),
    Idle(SendStream),
    Writing(SendStream, Bytes),
    /// The stream was ended. The future waits until the server has everything.
    Ending(Waiting<()>),
    Ended,
}

/// The streams of a connection.
pub(super) struct ConnectionIo {
    pub(super) connection: Connection,
    pub(super) endpoint: quinn::Endpoint,
    readers: Vec<(StreamSource, RecvStream)>,
    /// By [`index`].
    writers: [WriteState; 3],
    /// Number of the next stream that the server opens.
    next_stream: u64,
    /// How the connection has ended. The streams may still have bytes.
    pub(super) end: Option<ConnectionEnd>,
}

fn index(target: StreamTarget) -> usize {
    match target {
        StreamTarget::Control => 0,
        StreamTarget::Lane(lane) => 1 + lane.index(),
    }
}

const TARGETS: [StreamTarget; 3] =
    [StreamTarget::Control, StreamTarget::Lane(Lane::Events), StreamTarget::Lane(Lane::Bulk)];

impl ConnectionIo {
    pub(super) fn new(
        endpoint: quinn::Endpoint,
        connection: Connection,
        (send, recv): (SendStream, RecvStream),
    ) -> Self {
        Self {
            connection,
            endpoint,
            readers: vec![(StreamSource::Control, recv)],
            writers: [WriteState::Idle(send), WriteState::New, WriteState::New],
            next_stream: 0,
            end: None,
        }
    }

    /// Adds a stream that the server has opened, and returns its number.
    pub(super) fn accept(&mut self, stream: RecvStream) -> u64 {
        let number = self.next_stream;
        self.next_stream += 1;
        self.readers.push((StreamSource::Opened(number), stream));
        number
    }

    /// Stops a stream that the server has opened, so that the server knows that it is not read.
    pub(super) fn refuse(&mut self, number: u64) {
        let is_refused =
            |(source, _): &mut (StreamSource, _)| *source == StreamSource::Opened(number);
        for (_, mut stream) in self.readers.extract_if(.., is_refused) {
            // Fails only on a stream that has already ended.
            let _ = stream.stop(VarInt::from_u32(Code::Malformed as u32));
        }
    }

    /// Begins an action of the client. [`Self::poll`] completes it.
    pub(super) fn begin(&mut self, target: StreamTarget, action: StreamAction) {
        let writer = &mut self.writers[index(target)];
        *writer = match (std::mem::replace(writer, WriteState::Ended), action) {
            (WriteState::New, StreamAction::Write(bytes)) => {
                let connection = self.connection.clone();
                let opening = async move {
                    let stream = connection.open_uni().await?;
                    if target == StreamTarget::Lane(Lane::Bulk) {
                        // Fails only for a stream that has ended; the write then fails too.
                        let _ = stream.set_priority(BULK_PRIORITY);
                    }
                    Ok(stream)
                };
                WriteState::Opening(Box::pin(opening), bytes)
            }
            (WriteState::Idle(stream), StreamAction::Write(bytes)) => {
                WriteState::Writing(stream, bytes)
            }
            (WriteState::Idle(mut stream), StreamAction::Finish) => {
                // Each step fails only if the stream has ended or broken.
                let _ = stream.finish();
                let stopped = stream.stopped();
                WriteState::Ending(Box::pin(async move { drop(stopped.await) }))
            }
            (other, _) => other,
        };
    }

    /// Reads and writes until one input has been passed to the client.
    pub(super) fn poll<C: DrivenClient>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        client: &mut C,
    ) -> Poll<()> {
        for target in TARGETS {
            match poll_write(&mut self.writers[index(target)], target, cx) {
                Poll::Pending => {}
                Poll::Ready(input) => {
                    client.handle(now, input);
                    return Poll::Ready(());
                }
            }
        }
        for rank in 0..RANKS {
            for at in 0..self.readers.len() {
                let (source, stream) = &mut self.readers[at];
                let source = *source;
                if client.session().rank(source) != rank || !client.session().wants(source) {
                    continue;
                }
                let mut memory = [MaybeUninit::uninit(); READ_AHEAD];
                let mut buffer = ReadBuf::uninit(&mut memory);
                let Poll::Ready(read) = stream.poll_read_buf(cx, &mut buffer) else { continue };
                if read.is_ok() && !buffer.filled().is_empty() {
                    client.handle(now, SessionInput::Bytes(source, buffer.filled()));
                } else {
                    self.readers.remove(at);
                    let is_broken = read.is_err();
                    client.handle(now, SessionInput::StreamEnded { source, is_broken });
                }
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

/// Continues to write. Ready when the action is complete.
fn poll_write(
    writer: &mut WriteState,
    target: StreamTarget,
    cx: &mut Context<'_>,
) -> Poll<SessionInput<'static>> {
    loop {
        match writer {
            WriteState::New | WriteState::Idle(_) | WriteState::Ended => return Poll::Pending,
            WriteState::Opening(opening, bytes) => {
                let opened = ready!(opening.as_mut().poll(cx));
                *writer = match opened {
                    Ok(stream) => WriteState::Writing(stream, std::mem::take(bytes)),
                    // The connection's end says why.
                    Err(_) => WriteState::Ended,
                };
            }
            WriteState::Writing(stream, bytes) => {
                match ready!(Pin::new(stream).poll_write(cx, bytes)) {
                    Ok(len) => bytes.advance(len),
                    Err(error) => {
                        *writer = WriteState::Ended;
                        if let WriteError::Stopped(_) = error {
                            return Poll::Ready(SessionInput::Stopped(target));
                        }
                        continue;
                    }
                }
                if bytes.is_empty()
                    && let WriteState::Writing(stream, _) =
                        std::mem::replace(writer, WriteState::Ended)
                {
                    *writer = WriteState::Idle(stream);
                    return Poll::Ready(SessionInput::Written(target));
                }
            }
            WriteState::Ending(stopped) => {
                ready!(stopped.as_mut().poll(cx));
                *writer = WriteState::Ended;
                return Poll::Ready(SessionInput::Finished(target));
            }
        }
    }
}
