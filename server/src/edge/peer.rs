//! A session in a room: reads and writes its streams and datagrams, and reports its end to the
//! room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use nucleus_core::ids::SessionId;
use nucleus_core::limits;
use nucleus_core::rate::{Bucket, Rate};
use nucleus_core::room::RoomInput;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{self, Code, Lane, Schema, stream, throttled};
use nucleus_protocol::time::Time;
use tokio::sync::watch;
use tokio::time::timeout;

use super::SessionContext;
use super::carrier::{Connection, ConnectionClosed, ConnectionEnd, RecvStream, SendStream};
use super::fault::{SessionFault, unreadable};
use super::ingress_limits::{IngressLimits, rate};
use super::lanes::{LaneStreams, read_lanes, until_connection_ends};
use super::wire::{ReadError, WriteOutcome, read_message};
use crate::queue::QueueReceiver;
use crate::rooms::{OutgoingQueues, QueuedMessage, RoomHandle};
use crate::shard::QueuedDatagram;

/// A session that has joined a room.
pub(super) struct PeerSession {
    pub(super) connection: Connection,
    /// The halves of the control stream.
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    /// `Welcome`, unless it has been written. It is written in front of the first message.
    pub(super) welcome: Option<Bytes>,
    pub(super) queues: OutgoingQueues,
    pub(super) room: RoomHandle,
    pub(super) session: SessionId,
}

/// Why a session ends.
enum SessionEnd {
    /// The room has ended the session.
    Room(Code),
    /// The client has broken a rule, or is too slow.
    Fault(SessionFault),
    /// The connection has ended.
    Connection(ConnectionEnd),
}

impl PeerSession {
    /// Runs the session until its end, which it reports to the room.
    pub(super) async fn run(self, context: Arc<SessionContext>) {
        let Self { connection, send, receive, welcome, queues, room, session } = self;
        let (lanes, open_lanes) = watch::channel(LaneStreams::default());
        // The writer wakes often, so it is a task of its own. Inside `select!`, each of its
        // wake-ups would poll all futures.
        let control = write_control(send, welcome, queues.control);
        let mut writing = tokio::spawn(write(
            connection.clone(),
            control,
            queues.lanes,
            queues.state,
            context.clone(),
        ));
        let end = tokio::select! {
            // The room's code comes first, because the writer also ends when the room has ended the
            // session.
            biased;
            code = ended(queues.end) => SessionEnd::Room(code),
            fault = read_control(receive, &room, session, &context, open_lanes) => SessionEnd::Fault(fault),
            fault = read_lanes(&connection, &room, session, &context, lanes) => SessionEnd::Fault(fault),
            code = &mut writing => SessionEnd::Fault(code.unwrap_or(Code::Internal).into()),
            code = read_datagrams(&connection, &room, session, &context) => SessionEnd::Fault(code.into()),
            code = write_datagrams(&connection, queues.datagrams) => SessionEnd::Fault(code.into()),
            reason = connection.closed() => SessionEnd::Connection(reason),
        };
        if let SessionEnd::Room(Code::Kicked | Code::RoomEnded) = end {
            // A closed connection sends nothing more, so the last messages, such as the moderator's
            // act, must be written first.
            let _in_time = timeout(limits::LAST_ACT_TIME, &mut writing).await;
        }
        writing.abort();
        let fault = match end {
            SessionEnd::Room(code) => code.into(),
            // The session counts as lost, so that the client can resume and gets the messages that
            // it missed.
            SessionEnd::Fault(fault) if fault.code == Code::SlowConsumer => {
                room.post(RoomInput::SessionLost(session)).await;
                fault
            }
            SessionEnd::Fault(fault) => {
                room.post(RoomInput::Leave(session, fault.code)).await;
                fault
            }
            SessionEnd::Connection(ConnectionEnd::ByClient(code))
                if code == Code::Leaving as u64 =>
            {
                room.post(RoomInput::Leave(session, Code::Left)).await;
                Code::Left.into()
            }
            SessionEnd::Connection(_) => {
                room.post(RoomInput::SessionLost(session)).await;
                Code::TimedOut.into()
            }
        };
        fault.close(&connection);
        context.counters.count_end(fault.code);
    }
}

/// Waits until the session must end, and returns the code.
pub(super) async fn ended(mut end: watch::Receiver<Option<Code>>) -> Code {
    match end.wait_for(Option::is_some).await {
        Ok(code) => code.unwrap_or(Code::Internal),
        // The room's task ended without a code for this session.
        Err(_) => Code::Internal,
    }
}

/// Hands the requests of the control stream to the room, within the session's rate. Returns the
/// code to end the session with.
async fn read_control(
    mut stream: RecvStream,
    room: &RoomHandle,
    session: SessionId,
    context: &SessionContext,
    mut lanes: watch::Receiver<LaneStreams>,
) -> SessionFault {
    let requests = rate(context.limits.peer_requests_per_s, limits::STATE_REQUESTS_BURST);
    let bytes = rate(limits::STATE_BYTES_PER_SECOND, limits::STATE_BYTES_BURST);
    let (kind, largest) = (throttled::REQUESTS, wire_limits::MAX_STATE_REQUEST);
    let mut ingress = IngressLimits::new(context.clock, kind, requests, bytes, largest);
    loop {
        ingress.ready().await;
        let (schema, body) = match read_message(&mut stream, wire_limits::MAX_STATE_REQUEST).await {
            Ok(message) => message,
            Err(ReadError::Header(error)) => return error.into(),
            // A client may end its half of the control stream and stay in the room.
            Err(ReadError::Stream(_)) => return until_connection_ends().await,
        };
        // The state of this future is on the heap. Otherwise every session would contain it,
        // although most sessions wait above most of the time.
        let handled = Box::pin(async {
            if schema == Schema::Leave {
                return leave(room, session, &mut lanes).await;
            }
            ingress.take(body.len(), false, room, session).await;
            let input = request(session, schema, &body).ok_or_else(|| unreadable(schema))?;
            let state = matches!(input, RoomInput::State { .. });
            context.counters.state_in.fetch_add(state.into(), Ordering::Relaxed);
            room.post(input).await;
            Ok(())
        });
        if let Err(fault) = handled.await {
            return fault;
        }
    }
}

/// Makes the room's input of a request. `None`: the message is malformed or not a request.
fn request(from: SessionId, schema: Schema, body: &[u8]) -> Option<RoomInput> {
    Some(match schema {
        Schema::StateRequest => RoomInput::State { from, request: session::owned(body).ok()? },
        Schema::Moderate => RoomInput::Moderate { from, request: session::owned(body).ok()? },
        Schema::Subscribe => RoomInput::Subscribe { from, request: session::owned(body).ok()? },
        _ => return None,
    })
}

/// Leaves the room, once the messages that the client sent before `Leave` have been read.
async fn leave<T>(
    room: &RoomHandle,
    session: SessionId,
    lanes: &mut watch::Receiver<LaneStreams>,
) -> T {
    // Lets the reader of the lanes take a stream that has already arrived.
    tokio::task::yield_now().await;
    let all_read = async { lanes.wait_for(|lanes| !lanes.any_open()).await.map(drop) };
    let _in_time = timeout(limits::LEAVE_TIME, all_read).await;
    room.post(RoomInput::Leave(session, Code::Left)).await;
    // The room replies by ending the session.
    until_connection_ends().await
}

/// Hands the realtime datagrams of a client on the fallback to the room's shard, within the peer's
/// rate.
async fn read_datagrams(
    connection: &Connection,
    room: &RoomHandle,
    session: SessionId,
    context: &SessionContext,
) -> Code {
    let now = || Time::from_micros(context.clock.now());
    let per_second = context.limits.peer_messages_per_s.into();
    let mut rate = Bucket::new(now(), Rate { per_second, burst: per_second });
    while let Ok(datagram) = connection.read_datagram().await {
        if rate.try_take(now()) {
            room.datagram(session, datagram);
        }
    }
    until_connection_ends().await
}

/// Sends the shard's datagrams to a client on the fallback, as QUIC datagrams.
///
/// Drops a datagram that has waited longer than [`limits::SESSION_DATAGRAM_AGE`], so that a path
/// that was slow or dark for a while does not deliver a backlog. QUIC itself buffers only a few.
async fn write_datagrams(
    connection: &Connection,
    mut queue: QueueReceiver<QueuedDatagram>,
) -> Code {
    while let Some(QueuedDatagram { queued, bytes }) = queue.pop().await {
        let left = limits::SESSION_DATAGRAM_AGE.saturating_sub(queued.elapsed());
        if left.is_zero() {
            continue;
        }
        // A datagram that becomes too old while it waits for QUIC is dropped, as any datagram may
        // be lost.
        let _in_time = Box::pin(timeout(left, connection.send_datagram(bytes))).await;
    }
    until_connection_ends().await
}

/// Writes the control stream. Returns when the room has dropped the queue and the client has
/// received all messages.
///
/// Writes `Welcome` together with the first message, `Joined`, which saves a packet and its
/// acknowledgement.
async fn write_control(
    mut stream: SendStream,
    mut welcome: Option<Bytes>,
    mut queue: QueueReceiver<Bytes>,
) -> Code {
    while let Some(message) = queue.pop().await {
        let welcome = welcome.take().unwrap_or_default();
        if stream.write_both(welcome, message).await.is_err() {
            return until_connection_ends().await;
        }
    }
    stream.finish().await;
    Code::Internal
}

/// Writes the session's streams, in this order of precedence: control, events, bulk, state.
///
/// QUIC limits the unsent bytes of all streams together. A snapshot or the bulk lane can use up
/// this limit, so when bytes may be sent again, the streams with small messages are polled first.
async fn write(
    connection: Connection,
    control: impl Future<Output = Code>,
    lanes: [QueueReceiver<QueuedMessage>; 2],
    state: QueueReceiver<Bytes>,
    context: Arc<SessionContext>,
) -> Code {
    let [events, bulk] = lanes;
    tokio::select! {
        biased;
        code = control => code,
        code = write_events(&connection, Lane::Events, events, &context) => code,
        code = write_events(&connection, Lane::Bulk, bulk, &context) => code,
        code = write_state(&connection, state, &context) => code,
    }
}

/// Writes the stream of a lane, which it opens for the first message. Returns `SlowConsumer` if a
/// message is older than the lane's limit before it is written.
async fn write_events(
    connection: &Connection,
    lane: Lane,
    mut queue: QueueReceiver<QueuedMessage>,
    context: &SessionContext,
) -> Code {
    let (max_age, priority, written) = match lane {
        Lane::Events => (limits::EVENT_BACKLOG_AGE, 0, &context.counters.events_out),
        Lane::Bulk => (limits::BULK_BACKLOG_AGE, BULK_PRIORITY, &context.counters.bulk_out),
    };
    let mut stream: Option<SendStream> = None;
    while let Some(QueuedMessage { queued, bytes }) = queue.pop().await {
        if Time::from_micros(context.clock.now()).since(queued) > max_age {
            return Code::SlowConsumer;
        }
        let len = bytes.len();
        let write = async {
            let stream = match &mut stream {
                Some(open) => open,
                None => {
                    let mut opened = connection.open(priority).await?;
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
            Ok(Err(ConnectionClosed)) => return until_connection_ends().await,
            Err(_) => return Code::SlowConsumer,
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
            WriteOutcome::Closed => return discard_state(queue).await,
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
        let write = write_piece(connection, stream, message.slice(start..end));
        match timeout(limits::STATE_PIECE_TIME, write).await {
            Ok(Ok(())) => queue.written(end - start),
            Ok(Err(ConnectionClosed)) => {
                queue.written(message.len() - start);
                return WriteOutcome::Closed;
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
) -> Result<(), ConnectionClosed> {
    let stream = match stream {
        Some(open) => open,
        None => {
            let mut opened = connection.open(STATE_PRIORITY).await?;
            opened.write(Bytes::from_static(&[stream::STATE])).await?;
            stream.insert(opened)
        }
    };
    stream.write(piece).await
}

/// Discards all messages: a client that does not know the state stream refuses it and stays in the
/// room.
async fn discard_state(mut queue: QueueReceiver<Bytes>) -> Code {
    while let Some(message) = queue.pop().await {
        queue.written(message.len());
    }
    until_connection_ends().await
}

/// Priority of the bulk stream: below control and events, which have 0.
const BULK_PRIORITY: i32 = -1;
/// Priority of the state stream: below all others.
const STATE_PRIORITY: i32 = -2;
