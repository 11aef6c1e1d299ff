//! A joined peer's session: its streams, its datagrams, its end.

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
use tokio::time::{Instant, timeout};

use super::SessionContext;
use super::ingress_limits::{IngressLimits, rate};
use super::lanes::{LaneStreams, broken, read_lanes};
use super::quic::{Connection, Ended, Gone, RecvStream, SendStream};
use super::wire::{ReadError, read_message};
use crate::queue::Receiver;
use crate::rooms::{OutgoingQueues, RoomHandle};

/// A peer with a place in a room.
pub(super) struct PeerSession {
    pub(super) connection: Connection,
    pub(super) control: (SendStream, RecvStream),
    /// To be written in front of the first message, unless the client waited for it.
    pub(super) welcome: Option<Bytes>,
    pub(super) queues: OutgoingQueues,
    pub(super) room: RoomHandle,
    pub(super) session: SessionId,
}

/// How a session ends.
enum End {
    /// The room ended it.
    Room(Code),
    /// The client broke the rules.
    Fault(Code),
    /// The connection is gone.
    Connection(Ended),
}

impl PeerSession {
    pub(super) async fn run(self, context: Arc<SessionContext>) {
        let Self { connection, control: (send, receive), welcome, queues, room, session } = self;
        let (lanes, lanes_seen) = watch::channel(LaneStreams::default());
        // What wakes often is a task of its own: it would make all of the others below look too.
        let control = write_control(send, welcome, queues.control);
        let mut writing = tokio::spawn(write(
            connection.clone(),
            control,
            queues.lanes,
            queues.state,
            context.clone(),
        ));
        let end = tokio::select! {
            // The writing is over as well when the room has ended the session.
            biased;
            code = ended(queues.end) => End::Room(code),
            code = read_control(receive, &room, session, &context, lanes_seen) => End::Fault(code),
            code = read_lanes(&connection, &room, session, &context, lanes) => End::Fault(code),
            code = &mut writing => End::Fault(code.unwrap_or(Code::Internal)),
            code = read_datagrams(&connection, &room, session, &context) => End::Fault(code),
            code = write_datagrams(&connection, queues.datagrams) => End::Fault(code),
            why = connection.ended() => End::Connection(why),
        };
        if let End::Room(Code::Kicked | Code::RoomEnded) = end {
            // A connection that is closed sends nothing more: whom a moderator puts out hears of it first.
            let _in_time = timeout(limits::LAST_ACT_TIME, &mut writing).await;
        }
        writing.abort();
        let code = match end {
            End::Room(code) => code,
            // It is cut off, and has what it missed when it comes back.
            End::Fault(Code::SlowConsumer) => {
                room.post(RoomInput::SessionLost(session)).await;
                Code::SlowConsumer
            }
            End::Fault(code) => {
                room.post(RoomInput::Leave(session, code)).await;
                code
            }
            End::Connection(Ended::ByClient(code)) if code == Code::Leaving as u64 => {
                room.post(RoomInput::Leave(session, Code::Left)).await;
                Code::Left
            }
            End::Connection(_) => {
                room.post(RoomInput::SessionLost(session)).await;
                Code::TimedOut
            }
        };
        connection.close(code, code.name());
        context.counters.ended(code);
    }
}

pub(super) async fn ended(mut end: watch::Receiver<Option<Code>>) -> Code {
    match end.wait_for(Option::is_some).await {
        Ok(code) => code.unwrap_or(Code::Internal),
        // The room dropped the queues without a word: it is gone.
        Err(_) => Code::Internal,
    }
}

async fn read_control(
    mut stream: RecvStream,
    room: &RoomHandle,
    session: SessionId,
    context: &SessionContext,
    mut lanes: watch::Receiver<LaneStreams>,
) -> Code {
    let requests = rate(context.limits.peer_requests_per_s, limits::STATE_REQUESTS_BURST);
    let bytes = rate(limits::STATE_BYTES_PER_SECOND, limits::STATE_BYTES_BURST);
    let (what, largest) = (throttled::REQUESTS, wire_limits::MAX_STATE_REQUEST);
    let mut ingress = IngressLimits::new(context.clock, what, requests, bytes, largest);
    loop {
        ingress.ready().await;
        let (schema, body) = match read_message(&mut stream, wire_limits::MAX_STATE_REQUEST).await {
            Ok(message) => message,
            Err(ReadError::Header(_)) => return Code::Malformed,
            // A client may close its half and stay.
            Err(ReadError::Stream(_)) => return broken().await,
        };
        // Most sessions wait above for good: what taking a message needs is on the heap while it lasts.
        let taken = Box::pin(async {
            if schema == Schema::Leave {
                return leave(room, session, &mut lanes).await;
            }
            ingress.took(body.len(), false, room, session).await;
            let input = request(session, schema, &body).ok_or(Code::Malformed)?;
            let state = matches!(input, RoomInput::State { .. });
            context.counters.state_in.fetch_add(state.into(), Ordering::Relaxed);
            room.post(input).await;
            Ok(())
        });
        if let Err(code) = taken.await {
            return code;
        }
    }
}

/// What a message asks of the room; `None` for one that is no request.
fn request(from: SessionId, schema: Schema, body: &[u8]) -> Option<RoomInput> {
    Some(match schema {
        Schema::StateRequest => RoomInput::State { from, request: session::owned(body).ok()? },
        Schema::Moderate => RoomInput::Moderate { from, asked: session::owned(body).ok()? },
        Schema::Subscribe => RoomInput::Subscribe { from, asked: session::owned(body).ok()? },
        _ => return None,
    })
}

/// What the peer said before it left still reaches the others.
async fn leave<T>(
    room: &RoomHandle,
    session: SessionId,
    lanes: &mut watch::Receiver<LaneStreams>,
) -> T {
    // A stream that is here already is seen by the other reader in between.
    tokio::task::yield_now().await;
    let said = async { lanes.wait_for(|lanes| !lanes.any_open()).await.map(drop) };
    let _in_time = timeout(limits::LEAVE_TIME, said).await;
    room.post(RoomInput::Leave(session, Code::Left)).await;
    // The room answers by ending the session.
    broken().await
}

/// Takes the realtime datagrams of a client on the fallback to the room's shard.
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
    broken().await
}

/// Puts the shard's datagrams for a client on the fallback into QUIC.
///
/// QUIC holds few of them itself; what waits for it longer than a datagram is worth is dropped, so
/// that a path which is slow or dark for a while does not deliver a backlog.
async fn write_datagrams(connection: &Connection, mut queue: Receiver<(Instant, Bytes)>) -> Code {
    while let Some((queued, datagram)) = queue.pop().await {
        let left = limits::SESSION_DATAGRAM_AGE.saturating_sub(queued.elapsed());
        if left.is_zero() {
            continue;
        }
        // Too old by now: it is lost, as any datagram may be.
        let _sent = Box::pin(timeout(left, connection.send_datagram(datagram))).await;
    }
    broken().await
}

/// `Welcome` waits for the first message, which is `Joined`: a datagram and its acknowledgement less.
/// Returns when the room has said its last and the client has it.
async fn write_control(
    mut stream: SendStream,
    mut welcome: Option<Bytes>,
    mut queue: Receiver<Bytes>,
) -> Code {
    while let Some(message) = queue.pop().await {
        let welcome = welcome.take().unwrap_or_default();
        if stream.write_both(welcome, message).await.is_err() {
            return broken().await;
        }
    }
    stream.finish().await;
    Code::Internal
}

/// Writes the session's streams. A large snapshot fills what QUIC takes at once, for all of them
/// together, and so does the bulk lane: whenever there is room again, what is never large is asked first.
async fn write(
    connection: Connection,
    control: impl Future<Output = Code>,
    lanes: [Receiver<(Time, Bytes)>; 2],
    state: Receiver<Bytes>,
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

async fn write_events(
    connection: &Connection,
    lane: Lane,
    mut queue: Receiver<(Time, Bytes)>,
    context: &SessionContext,
) -> Code {
    let (age, priority, written) = match lane {
        Lane::Events => (limits::EVENT_BACKLOG_AGE, 0, &context.counters.events_out),
        Lane::Bulk => (limits::BULK_BACKLOG_AGE, BULK_PRIORITY, &context.counters.bulk_out),
    };
    let mut stream: Option<SendStream> = None;
    while let Some((queued, message)) = queue.pop().await {
        if Time::from_micros(context.clock.now()).since(queued) > age {
            return Code::SlowConsumer;
        }
        let len = message.len();
        let write = async {
            let stream = match &mut stream {
                Some(open) => open,
                None => {
                    let mut opened = connection.open(priority).await?;
                    opened.write(Bytes::copy_from_slice(&[lane.stream()])).await?;
                    stream.insert(opened)
                }
            };
            stream.write(message).await
        };
        // Most sessions wait above for good: what writing takes is on the heap while it lasts.
        match Box::pin(timeout(age, write)).await {
            Ok(Ok(())) => queue.written(len),
            Ok(Err(Gone)) => return broken().await,
            Err(_) => return Code::SlowConsumer,
        }
        written.fetch_add(1, Ordering::Relaxed);
    }
    broken().await
}

async fn write_state(
    connection: &Connection,
    mut queue: Receiver<Bytes>,
    context: &SessionContext,
) -> Code {
    let mut stream = None;
    while let Some(message) = queue.pop().await {
        // As above.
        match Box::pin(write_message(connection, &mut stream, &message, &queue)).await {
            Written::All => {}
            Written::Refused => return pass_over(queue).await,
            Written::TooSlow => return Code::SlowConsumer,
        }
        context.counters.state_out.fetch_add(1, Ordering::Relaxed);
    }
    broken().await
}

/// How far a message of the state came.
enum Written {
    All,
    /// The stream, or the connection, takes no more.
    Refused,
    TooSlow,
}

async fn write_message(
    connection: &Connection,
    stream: &mut Option<SendStream>,
    message: &Bytes,
    queue: &Receiver<Bytes>,
) -> Written {
    for start in (0..message.len()).step_by(limits::STATE_PIECE) {
        let end = message.len().min(start + limits::STATE_PIECE);
        let write = write_piece(connection, stream, message.slice(start..end));
        match timeout(limits::STATE_PIECE_TIME, write).await {
            Ok(Ok(())) => queue.written(end - start),
            Ok(Err(Gone)) => {
                queue.written(message.len() - start);
                return Written::Refused;
            }
            Err(_) => return Written::TooSlow,
        }
    }
    Written::All
}

async fn write_piece(
    connection: &Connection,
    stream: &mut Option<SendStream>,
    piece: Bytes,
) -> Result<(), Gone> {
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

/// A client that does not know the stream refuses it and stays, without the state.
async fn pass_over(mut queue: Receiver<Bytes>) -> Code {
    while let Some(message) = queue.pop().await {
        queue.written(message.len());
    }
    broken().await
}

/// Control and events, at 0, go before it.
const BULK_PRIORITY: i32 = -1;
/// And before this goes all the rest.
const STATE_PRIORITY: i32 = -2;
