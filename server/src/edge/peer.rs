//! A session in a room: reads and writes its streams and datagrams, and reports its end to the
//! room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use nucleus_core::ids::SessionId;
use nucleus_core::limits;
use nucleus_core::room::RoomInput;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{self, Code, Features, Lane, Renew, Schema, stream};
use nucleus_protocol::time::Time;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::SessionContext;
use super::admission::renew;
use super::carrier::{
    Connection, ConnectionClosed, ConnectionEnd, RecvStream, SendStream, StreamError, WriteError,
};
use super::fallback::{read_datagrams, write_datagrams};
use super::fault::{SessionFault, unreadable};
use super::ingress_limits::{IngressLimits, LimitedStream};
use super::joined::JoinedSession;
use super::lanes::{LaneStreams, read_lanes, until_connection_ends};
use super::wire::{ReadError, WriteOutcome, read_message};
use crate::queue::QueueReceiver;
use crate::rooms::{LentBudgets, OutgoingQueues, QueuedMessage, RoomHandle};

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
    /// The features that client and server have in common.
    pub(super) features: Features,
    pub(super) budgets: Arc<LentBudgets>,
    /// Keeps the session among those with the full receive window. `None`: it has the small one.
    pub(super) full_window: Option<OwnedSemaphorePermit>,
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
    /// Runs the session until its end, which it reports to the room. `self` is on the heap until it
    /// is taken apart: the future of each call that passes it on would hold a copy.
    pub(super) async fn run(self: Box<Self>, context: Arc<SessionContext>) {
        let (connection, room, session) =
            (self.connection.clone(), self.room.clone(), self.session);
        let fault = match self.until_end(&context).await {
            SessionEnd::Room(code) => code.into(),
            SessionEnd::Fault(fault) if fault.is_loss => {
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

    /// Reads and writes the session's streams and datagrams until the session ends.
    async fn until_end(self: Box<Self>, context: &Arc<SessionContext>) -> SessionEnd {
        let Self {
            connection,
            send,
            mut receive,
            welcome,
            mut queues,
            room,
            session,
            features,
            budgets,
            full_window: _full_window,
        } = {
            // Frees the memory on the heap at once.
            let boxed = self;
            *boxed
        };
        // The client is polled first, so all that has arrived before `Joined` is sent is found.
        let joined = tokio::select! {
            biased;
            fault = sent_early(&connection, &mut receive) => return SessionEnd::Fault(fault),
            joined = queues.control.pop() => joined,
        };
        let (lanes, open_lanes) = watch::channel(LaneStreams::default());
        // The writer wakes often, so it is a task of its own. Inside `select!`, each of its
        // wake-ups would poll all futures.
        let control =
            ControlWriter { stream: send, first: [welcome, joined], queue: queues.control };
        let mut writing = tokio::spawn(write(
            connection.clone(),
            control,
            queues.lanes,
            queues.state,
            context.clone(),
        ));
        let (connection, room) = (&connection, &room);
        let joined = JoinedSession { id: session, connection, room, budgets: &budgets, context };
        let control = ControlReader { joined, features };
        let end = tokio::select! {
            // The room's code comes first, because the writer also ends when the room has ended the
            // session.
            biased;
            code = ended(queues.end) => SessionEnd::Room(code),
            fault = control.read_all(receive, open_lanes) => SessionEnd::Fault(fault),
            fault = read_lanes(joined, lanes) => SessionEnd::Fault(fault),
            fault = &mut writing => SessionEnd::Fault(fault.unwrap_or_else(|_| Code::Internal.into())),
            code = read_datagrams(joined) => SessionEnd::Fault(code.into()),
            code = write_datagrams(connection, queues.datagrams) => SessionEnd::Fault(code.into()),
            reason = connection.closed() => SessionEnd::Connection(reason),
        };
        if let SessionEnd::Room(Code::Kicked | Code::RoomEnded) = end {
            // A closed connection sends nothing more, so the last messages, such as the moderator's
            // act, must be written first.
            let _in_time = timeout(limits::LAST_ACT_TIME, &mut writing).await;
        }
        writing.abort();
        end
    }
}

/// Waits for anything that the client sends. Called before `Joined` is sent, when the client may
/// send nothing: whether its message was taken would be a matter of chance.
async fn sent_early(connection: &Connection, control: &mut RecvStream) -> SessionFault {
    let message = async {
        match control.read(&mut [0]).await {
            Ok(()) => {}
            Err(StreamError::ConnectionClosed) => until_connection_ends().await,
            Err(StreamError::Ended | StreamError::Reset) => {
                return SessionFault::stream_ended("control stream");
            }
        }
        SessionFault::malformed("the client has sent a message before it received Joined")
    };
    let stream = async {
        match connection.accept_uni().await {
            Ok(_) => {}
            Err(ConnectionClosed) => until_connection_ends().await,
        }
        SessionFault::malformed("the client has opened a stream before it received Joined")
    };
    tokio::select! {
        biased;
        fault = message => fault,
        fault = stream => fault,
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

/// Reads the control stream of a client in a room.
struct ControlReader<'a> {
    joined: JoinedSession<'a>,
    /// The features that client and server have in common.
    features: Features,
}

impl ControlReader<'_> {
    /// Hands the requests of the control stream to the room, within the session's rate. Returns the
    /// fault that ends the session.
    async fn read_all(
        &self,
        mut stream: RecvStream,
        mut lanes: watch::Receiver<LaneStreams>,
    ) -> SessionFault {
        let JoinedSession { id: session, room, budgets, context, .. } = self.joined;
        let mut ingress = IngressLimits::new(budgets, LimitedStream::Requests);
        loop {
            ingress.ready().await;
            let read = read_control(&mut stream, wire_limits::MAX_STATE_REQUEST).await;
            let (schema, body) = match read {
                Ok(message) => message,
                Err(fault) => return fault,
            };
            // The state of this future is on the heap. Otherwise every session would contain it,
            // although most sessions wait above most of the time.
            let handled = Box::pin(async {
                if schema == Schema::Leave {
                    return leave(room, session, &mut lanes).await;
                }
                let waited = ingress.take(body.len());
                // These wait for no room. An act of moderation may be what ends a flood, and acts
                // have a rate of their own.
                if matches!(schema, Schema::Ping | Schema::Renew | Schema::Moderate) {
                    ingress.report(waited, room, session).await;
                    if schema == Schema::Renew {
                        admit_renewal(budgets).await;
                    }
                    let input = match schema {
                        Schema::Ping => RoomInput::Ping(session),
                        _ => self.request(schema, &body)?,
                    };
                    room.post(input).await;
                    return Ok(());
                }
                // A request may change what all members see.
                let admitted = room.admit_message(budgets.user(), body.len(), None).await;
                ingress.report(waited || admitted.waited, room, session).await;
                let input = self.request(schema, &body)?;
                let state = matches!(input, RoomInput::State { .. });
                context.counters.state_in.fetch_add(state.into(), Ordering::Relaxed);
                room.post_admitted(input, admitted).await;
                Ok(())
            });
            if let Err(fault) = handled.await {
                return fault;
            }
        }
    }

    /// Makes the room's input of a request.
    ///
    /// # Errors
    ///
    /// The message is malformed, is no request, or belongs to a feature that the client or the
    /// server has not offered.
    fn request(&self, schema: Schema, body: &[u8]) -> Result<RoomInput, SessionFault> {
        if !self.features.contains(Features::needed_for(schema)) {
            let reason = format!("{schema:?} belongs to a feature that not both ends offer");
            return Err(SessionFault::malformed(reason));
        }
        let JoinedSession { id: from, room, context, .. } = self.joined;
        let bad = |_| unreadable(schema);
        Ok(match schema {
            Schema::StateRequest => {
                RoomInput::State { from, request: session::owned(body).map_err(bad)? }
            }
            Schema::Moderate => {
                RoomInput::Moderate { from, request: session::owned(body).map_err(bad)? }
            }
            Schema::Subscribe => {
                RoomInput::Subscribe { from, request: session::owned(body).map_err(bad)? }
            }
            Schema::Renew => {
                let Renew { token } = session::owned(body).map_err(bad)?;
                let renewal = renew(context, room.key(), &token);
                RoomInput::Renew { from, renewal }
            }
            _ => return Err(unreadable(schema)),
        })
    }
}

/// Waits until the user's rate allows another fresh token. The stream is not read meanwhile, so its
/// sender waits.
async fn admit_renewal(budgets: &LentBudgets) {
    sleep(budgets.with(|now, budgets| budgets.renewals.wait_for(now, 1))).await;
    budgets.with(|now, budgets| budgets.renewals.try_take(now));
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

/// Reads the next message of a control stream, whose body has at most `limit` bytes. Never returns
/// once the connection is closed.
///
/// # Errors
///
/// The fault that ends the session: the client has ended the stream, or the header is invalid or
/// announces a longer body.
pub(super) async fn read_control(
    stream: &mut RecvStream,
    limit: usize,
) -> Result<(Schema, Vec<u8>), SessionFault> {
    match read_message(stream, limit).await {
        Ok(message) => Ok(message),
        Err(ReadError::Header(error)) => Err(error.into()),
        Err(ReadError::Stream(StreamError::ConnectionClosed)) => until_connection_ends().await,
        Err(ReadError::Stream(StreamError::Ended | StreamError::Reset)) => {
            Err(SessionFault::stream_ended("control stream"))
        }
    }
}

/// Writes the control stream.
struct ControlWriter {
    stream: SendStream,
    /// `Welcome` and `Joined`. Writing them together saves a packet and its acknowledgement.
    first: [Option<Bytes>; 2],
    queue: QueueReceiver<Bytes>,
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
async fn write(
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
        let write = write_piece(connection, stream, message.slice(start..end));
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
) -> Result<(), WriteError> {
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

/// Discards all messages: a client that does not want the state refuses its stream and stays in the
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
