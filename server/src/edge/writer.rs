//! Writes the streams of a session in a room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use nucleus_core::limits;
use nucleus_protocol::session::{Code, Lane, stream};
use nucleus_protocol::time::Time;
use tokio::time::timeout;

use super::SessionContext;
use super::carrier::{Connection, SendStream, WriteError};
use super::fault::SessionFault;
use super::lanes::until_connection_ends;
use super::wire::WriteOutcome;
use crate::queue::QueueReceiver;
use crate::rooms::QueuedMessage;

/// Priority of the bulk stream: below control and events, which have 0.
const BULK_PRIORITY: i32 = -1;
/// Priority of the state stream: below all others.
const STATE_PRIORITY: i32 = -2;

/// Writes the control stream.
pub(super) struct ControlWriter {
    pub(super) stream: SendStream,
    /// `Welcome` and `Joined`. Writing them together saves a packet and its acknowledgement.
    pub(super) first: [Option<Bytes>; 2],
    pub(super) queue: QueueReceiver<Bytes>,
}

impl ControlWriter {
    /// Writes the first messages, and then those of the queue. Returns when the room has dropped the
    /// queue and the client has received all messages.
    async fn write_all(self) -> SessionFault {
        let Self { mut stream, first, mut queue } = self;
        // The state of the futures that write is on the heap for the same reason as in
        // `write_events`.
        let mut written = Box::pin(async {
            let [welcome, joined] = first.map(Option::unwrap_or_default);
            stream.write_both(welcome, joined).await
        })
        .await;
        while written.is_ok() {
            let Some(message) = queue.pop().await else {
                Box::pin(stream.finish()).await;
                return Code::Internal.into();
            };
            written = Box::pin(stream.write(message)).await;
        }
        refused(written, "control stream").await
    }
}

/// Returns the fault of a client that refuses a stream on which the session depends. Waits if the
/// connection is closed.
async fn refused(written: Result<(), WriteError>, stream: &str) -> SessionFault {
    match written {
        Err(WriteError::Refused) => SessionFault::stream_ended(stream),
        _ => until_connection_ends().await,
    }
}

/// Writes the session's streams, in this order of precedence: control, events, bulk, state.
///
/// QUIC limits the unsent bytes of all streams together. A snapshot or the bulk lane can use up
/// this limit, so when bytes may be sent again, the streams with small messages are polled first.
pub(super) async fn write(
    connection: Connection,
    control: ControlWriter,
    lanes: [QueueReceiver<QueuedMessage>; 2],
    state: QueueReceiver<Bytes>,
    context: Arc<SessionContext>,
) -> SessionFault {
    let [events, bulk] = lanes;
    tokio::select! {
        biased;
        fault = control.write_all() => fault,
        fault = write_events(&connection, Lane::Events, events, &context) => fault,
        fault = write_events(&connection, Lane::Bulk, bulk, &context) => fault,
        code = write_state(&connection, state, &context) => code.into(),
    }
}

/// Writes the stream of a lane, which it opens for the first message. Returns `SlowConsumer` if a
/// message is older than the lane's limit before it is written, and a fault if the client refuses
/// the stream: reliable messages must arrive.
async fn write_events(
    connection: &Connection,
    lane: Lane,
    mut queue: QueueReceiver<QueuedMessage>,
    context: &SessionContext,
) -> SessionFault {
    let (max_age, priority, written) = match lane {
        Lane::Events => (limits::EVENT_BACKLOG_AGE, 0, &context.counters.events_out),
        Lane::Bulk => (limits::BULK_BACKLOG_AGE, BULK_PRIORITY, &context.counters.bulk_out),
    };
    let mut stream: Option<SendStream> = None;
    while let Some(QueuedMessage { queued, bytes }) = queue.pop().await {
        if Time::from_micros(context.clock.now()).since(queued) > max_age {
            return Code::SlowConsumer.into();
        }
        let len = bytes.len();
        let write = async {
            let stream: &mut SendStream = match &mut stream {
                Some(open) => open,
                None => {
                    let mut opened = connection.open_stream(priority).await?;
                    opened.write(Bytes::copy_from_slice(&[lane.stream()])).await?;
                    stream.insert(opened)
                }
            };
            stream.write(bytes).await
        };
        // The state of this future is on the heap. Otherwise every session would contain it,
        // although most sessions wait above most of the time.
        match Box::pin(timeout(max_age, write)).await {
            Ok(Ok(())) => queue.written(len),
            Ok(error) => return refused(error, "stream of events or of the bulk lane").await,
            Err(_) => return Code::SlowConsumer.into(),
        }
        written.fetch_add(1, Ordering::Relaxed);
    }
    until_connection_ends().await
}

/// Writes the state stream, which it opens for the first message.
async fn write_state(
    connection: &Connection,
    mut queue: QueueReceiver<Bytes>,
    context: &SessionContext,
) -> Code {
    let mut stream = None;
    while let Some(message) = queue.pop().await {
        // The state of this future is on the heap for the same reason as in `write_events`.
        match Box::pin(write_message(connection, &mut stream, &message, &queue)).await {
            WriteOutcome::Written => {}
            WriteOutcome::Refused | WriteOutcome::Closed => return discard_state(queue).await,
            WriteOutcome::TooSlow => return Code::SlowConsumer,
        }
        context.counters.state_out.fetch_add(1, Ordering::Relaxed);
    }
    until_connection_ends().await
}

/// Writes a message in pieces. Each piece has its own time limit, because a large snapshot takes
/// long on a slow network.
async fn write_message(
    connection: &Connection,
    stream: &mut Option<SendStream>,
    message: &Bytes,
    queue: &QueueReceiver<Bytes>,
) -> WriteOutcome {
    for start in (0..message.len()).step_by(limits::STATE_PIECE) {
        let end = message.len().min(start + limits::STATE_PIECE);
        let is_last = end == message.len();
        let write = write_piece(connection, stream, message.slice(start..end), is_last);
        match timeout(limits::STATE_PIECE_TIME, write).await {
            Ok(Ok(())) => queue.written(end - start),
            Ok(Err(error)) => {
                queue.written(message.len() - start);
                return match error {
                    WriteError::Refused => WriteOutcome::Refused,
                    WriteError::ConnectionClosed => WriteOutcome::Closed,
                };
            }
            Err(_) => return WriteOutcome::TooSlow,
        }
    }
    WriteOutcome::Written
}

async fn write_piece(
    connection: &Connection,
    stream: &mut Option<SendStream>,
    piece: Bytes,
    is_last: bool,
) -> Result<(), WriteError> {
    let stream = match stream {
        Some(open) => open,
        None => {
            let mut opened = connection.open_stream(STATE_PRIORITY).await?;
            opened.write(Bytes::from_static(&[stream::STATE])).await?;
            stream.insert(opened)
        }
    };
    stream.write_piece(Bytes::new(), piece, is_last).await
}

/// Discards all messages: a client that does not want the state refuses its stream and stays in the
/// room.
async fn discard_state(mut queue: QueueReceiver<Bytes>) -> Code {
    while let Some(message) = queue.pop().await {
        queue.written(message.len());
    }
    until_connection_ends().await
}
