//! A joined peer's session: its streams, its datagrams, its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{self, Code, Lane, Schema, stream, throttled};
use nucleus_protocol::time::Time;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::SessionContext;
use super::intake::Intake;
use super::lanes::{LaneStreams, broken, read_lanes};
use super::outgoing::{EventQueue, OutgoingQueues, StateQueue};
use super::queue::Receiver;
use super::wire::{ReadError, read_message};
use crate::directory::RoomHandle;
use crate::limits;
use crate::rate::Bucket;
use crate::room::Seat;
use crate::room::task::RoomInput;

/// A peer with a place in a room.
pub(super) struct PeerSession {
    pub(super) connection: Connection,
    pub(super) control: (SendStream, RecvStream),
    /// To be written in front of the first message, unless the client waited for it.
    pub(super) welcome: Option<Bytes>,
    pub(super) queues: OutgoingQueues,
    pub(super) room: RoomHandle,
    pub(super) seat: Seat,
}

/// How a session ends.
enum End {
    /// The room ended it.
    Room(Code),
    /// The client broke the rules.
    Fault(Code),
    /// The connection is gone.
    Connection(ConnectionError),
}

impl PeerSession {
    pub(super) async fn run(self, context: Arc<SessionContext>) {
        let Self { connection, control: (send, receive), welcome, queues, room, seat } = self;
        let (lanes, lanes_seen) = watch::channel(LaneStreams::default());
        // What wakes often is a task of its own: it would make all of the others below look too.
        let control = write_control(send, welcome, queues.control);
        let mut writing = tokio::spawn(write(
            connection.clone(),
            control,
            (queues.lanes, queues.state),
            context.clone(),
        ));
        let end = tokio::select! {
            // The writing is over as well when the room has ended the session.
            biased;
            code = ended(queues.end) => End::Room(code),
            code = read_control(receive, &room, seat, &context, lanes_seen) => End::Fault(code),
            code = read_lanes(&connection, &room, seat, &context, lanes) => End::Fault(code),
            code = &mut writing => End::Fault(code.unwrap_or(Code::Internal)),
            code = read_datagrams(&connection, &room, seat, &context) => End::Fault(code),
            code = write_datagrams(&connection, queues.datagrams) => End::Fault(code),
            error = connection.closed() => End::Connection(error),
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
                room.post(RoomInput::SessionLost(seat)).await;
                Code::SlowConsumer
            }
            End::Fault(code) => {
                room.post(RoomInput::Leave(seat, code)).await;
                code
            }
            End::Connection(ConnectionError::ApplicationClosed(close))
                if close.error_code == (Code::Leaving as u32).into() =>
            {
                room.post(RoomInput::Leave(seat, Code::Left)).await;
                Code::Left
            }
            End::Connection(_) => {
                room.post(RoomInput::SessionLost(seat)).await;
                Code::TimedOut
            }
        };
        connection.close((code as u32).into(), code.name().as_bytes());
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
    seat: Seat,
    context: &SessionContext,
    mut lanes: watch::Receiver<LaneStreams>,
) -> Code {
    let requests = (context.rates.requests, limits::STATE_REQUESTS_BURST);
    let bytes = (limits::STATE_BYTES_PER_SECOND, limits::STATE_BYTES_BURST);
    let (what, largest) = (throttled::REQUESTS, wire_limits::MAX_STATE_REQUEST);
    let mut intake = Intake::new(context.clock, what, requests, bytes, largest);
    loop {
        intake.ready().await;
        let (schema, body) = match read_message(&mut stream, wire_limits::MAX_STATE_REQUEST).await {
            Ok(message) => message,
            Err(ReadError::Header(_)) => return Code::Malformed,
            // A client may close its half and stay.
            Err(ReadError::Ended | ReadError::Broken(_)) => return broken().await,
        };
        // Most sessions wait above for good: what taking a message needs is on the heap while it lasts.
        let taken = Box::pin(async {
            if schema == Schema::Leave {
                return leave(room, seat, &mut lanes).await;
            }
            intake.took(body.len(), false, room, seat).await;
            let input = request(seat, schema, &body).ok_or(Code::Malformed)?;
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
fn request(from: Seat, schema: Schema, body: &[u8]) -> Option<RoomInput> {
    Some(match schema {
        Schema::StateRequest => RoomInput::State { from, request: session::owned(body).ok()? },
        Schema::Moderate => RoomInput::Moderate { from, asked: session::owned(body).ok()? },
        Schema::Subscribe => RoomInput::Subscribe { from, asked: session::owned(body).ok()? },
        _ => return None,
    })
}

/// What the peer said before it left still reaches the others.
async fn leave<T>(room: &RoomHandle, seat: Seat, lanes: &mut watch::Receiver<LaneStreams>) -> T {
    // A stream that is here already is seen by the other reader in between.
    tokio::task::yield_now().await;
    let said = async { lanes.wait_for(|lanes| !lanes.any_open()).await.map(drop) };
    let _in_time = timeout(limits::LEAVE_TIME, said).await;
    room.post(RoomInput::Leave(seat, Code::Left)).await;
    // The room answers by ending the session.
    broken().await
}

/// Takes the realtime datagrams of a client on the fallback to the room's shard.
async fn read_datagrams(
    connection: &Connection,
    room: &RoomHandle,
    seat: Seat,
    context: &SessionContext,
) -> Code {
    let now = || Time::from_micros(context.clock.now());
    let most = context.rates.messages.into();
    let mut rate = Bucket::new(now(), most, most);
    while let Ok(datagram) = connection.read_datagram().await {
        if rate.try_take(now()) {
            room.datagram(seat, datagram);
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
        // Too old by now, not supported by this client, or for the moment too large for its path: it
        // is lost, as any datagram may be. A connection that is gone says so itself.
        let _sent = Box::pin(timeout(left, connection.send_datagram_wait(datagram))).await;
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
        let mut messages = [welcome.take().unwrap_or_default(), message];
        if stream.write_all_chunks(&mut messages).await.is_err() {
            return broken().await;
        }
    }
    // Fails only for a stream that is over already.
    let _finished = stream.finish();
    let _had = stream.stopped().await;
    Code::Internal
}

/// Writes the session's streams. A large snapshot fills what QUIC takes at once, for all of them
/// together, and so does the bulk lane: whenever there is room again, what is never large is asked first.
async fn write(
    connection: Connection,
    control: impl Future<Output = Code>,
    ([events, bulk], state): ([EventQueue; 2], StateQueue),
    context: Arc<SessionContext>,
) -> Code {
    tokio::select! {
        biased;
        code = control => code,
        code = write_events(&connection, events, &context) => code,
        code = write_events(&connection, bulk, &context) => code,
        code = write_state(&connection, state, &context) => code,
    }
}

async fn write_events(
    connection: &Connection,
    mut queue: EventQueue,
    context: &SessionContext,
) -> Code {
    let lane = queue.lane;
    let (age, priority, written) = match lane {
        Lane::Events => (limits::EVENT_BACKLOG_AGE, 0, &context.counters.events_out),
        Lane::Bulk => (limits::BULK_BACKLOG_AGE, BULK_PRIORITY, &context.counters.bulk_out),
    };
    let mut stream: Option<SendStream> = None;
    while let Some((queued, message)) = queue.next().await {
        if Time::from_micros(context.clock.now()).since(queued) > age {
            return Code::SlowConsumer;
        }
        let len = message.len();
        let write = async {
            let stream = match &mut stream {
                Some(open) => open,
                None => {
                    let mut opened = connection.open_uni().await.ok()?;
                    opened.set_priority(priority).ok()?;
                    opened.write_all(&[lane.stream()]).await.ok()?;
                    stream.insert(opened)
                }
            };
            stream.write_chunk(message).await.ok()
        };
        // Most sessions wait above for good: what writing takes is on the heap while it lasts.
        match Box::pin(timeout(age, write)).await {
            Ok(Some(())) => queue.written(len),
            Ok(None) => return broken().await,
            Err(_) => return Code::SlowConsumer,
        }
        written.fetch_add(1, Ordering::Relaxed);
    }
    broken().await
}

async fn write_state(
    connection: &Connection,
    mut queue: StateQueue,
    context: &SessionContext,
) -> Code {
    let mut stream = None;
    while let Some(message) = queue.next().await {
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
    queue: &StateQueue,
) -> Written {
    for start in (0..message.len()).step_by(limits::STATE_PIECE) {
        let end = message.len().min(start + limits::STATE_PIECE);
        let write = write_piece(connection, stream, message.slice(start..end));
        match timeout(limits::STATE_PIECE_TIME, write).await {
            Ok(Some(())) => queue.written(end - start),
            Ok(None) => {
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
) -> Option<()> {
    let stream = match stream {
        Some(open) => open,
        None => {
            let mut opened = connection.open_uni().await.ok()?;
            opened.set_priority(STATE_PRIORITY).ok()?;
            opened.write_all(&[stream::STATE]).await.ok()?;
            stream.insert(opened)
        }
    };
    stream.write_chunk(piece).await.ok()
}

/// A client that does not know the stream refuses it and stays, without the state.
async fn pass_over(mut queue: StateQueue) -> Code {
    while let Some(message) = queue.next().await {
        queue.written(message.len());
    }
    broken().await
}

/// Control and events, at 0, go before it.
const BULK_PRIORITY: i32 = -1;
/// And before this goes all the rest.
const STATE_PRIORITY: i32 = -2;
