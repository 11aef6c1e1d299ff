//! A joined peer's session: its streams, its silence, its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{
    self, Code, EventUp, Schema, TO_ALL, TO_LISTED, TO_OTHERS, stream,
};
use nucleus_protocol::time::Time;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout};

use super::SessionContext;
use super::endpoint::IDLE_TIMEOUT;
use super::outgoing::{EventQueue, OutgoingQueues};
use super::wire::{ReadError, read_message};
use crate::directory::RoomHandle;
use crate::limits;
use crate::rate::Bucket;
use crate::room::EventTarget;
use crate::room::task::RoomInput;
use crate::shard::PeerId;

/// A peer with a place in a room.
pub(super) struct PeerSession {
    pub(super) connection: Connection,
    pub(super) control: (SendStream, RecvStream),
    pub(super) queues: OutgoingQueues,
    pub(super) room: RoomHandle,
    pub(super) peer: PeerId,
    pub(super) _permit: OwnedSemaphorePermit,
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
        let Self { connection, control: (send, receive), queues, room, peer, _permit } = self;
        let end = tokio::select! {
            code = ended(queues.end) => End::Room(code),
            code = read_control(receive, &room, peer) => End::Fault(code),
            code = read_events(&connection, &room, peer, &context) => End::Fault(code),
            code = write_control(send, queues.control) => End::Fault(code),
            code = write_events(&connection, queues.events, &context) => End::Fault(code),
            () = watch_silence(&connection, &room, peer, context.away_after) => {
                End::Fault(Code::Internal)
            }
            error = connection.closed() => End::Connection(error),
        };
        let code = match end {
            End::Room(code) => code,
            End::Fault(code) => {
                room.post(RoomInput::Leave(peer, code)).await;
                code
            }
            End::Connection(ConnectionError::ApplicationClosed(_)) => {
                room.post(RoomInput::Leave(peer, Code::Left)).await;
                Code::Left
            }
            End::Connection(error) => {
                let timed_out = error == ConnectionError::TimedOut;
                let silence = if timed_out { IDLE_TIMEOUT } else { Duration::ZERO };
                room.post(RoomInput::SessionLost(peer, silence)).await;
                Code::TimedOut
            }
        };
        connection.close((code as u32).into(), code.name().as_bytes());
        context.counters.ended(code);
    }
}

async fn ended(mut end: watch::Receiver<Option<Code>>) -> Code {
    match end.wait_for(Option::is_some).await {
        Ok(code) => code.unwrap_or(Code::Internal),
        // The room dropped the queues without a word: it is gone.
        Err(_) => Code::Internal,
    }
}

/// Waits for the connection to say itself why a stream broke.
async fn broken() -> Code {
    std::future::pending().await
}

async fn read_control(mut stream: RecvStream, room: &RoomHandle, peer: PeerId) -> Code {
    match read_message(&mut stream, wire_limits::MAX_CLIENT_CONTROL_MESSAGE).await {
        Ok((Schema::Leave, _)) => {
            room.post(RoomInput::Leave(peer, Code::Left)).await;
            // The room answers by ending the session.
            broken().await
        }
        Ok(_) | Err(ReadError::Header(_)) => Code::Malformed,
        // A client may close its half and stay.
        Err(ReadError::Ended | ReadError::Broken(_)) => broken().await,
    }
}

async fn read_events(
    connection: &Connection,
    room: &RoomHandle,
    peer: PeerId,
    context: &SessionContext,
) -> Code {
    let mut events = None;
    while events.is_none() {
        let Ok(mut stream) = connection.accept_uni().await else { return broken().await };
        let mut kind = [0];
        match stream.read_exact(&mut kind).await {
            Ok(()) if kind == [stream::EVENTS] => events = Some(stream),
            // A type of a later version: refused, and the session goes on without it.
            _ => drop(stream.stop((Code::Malformed as u32).into())),
        }
    }
    let Some(mut stream) = events else { return Code::Internal };
    let now = || Time::from_micros(context.clock.now());
    let (average, burst) = (limits::EVENTS_PER_SECOND, limits::EVENTS_BURST);
    let mut rate = Bucket::new(now(), average.into(), burst.into());
    loop {
        while !rate.try_take(now()) {
            // Not reading is what tells the sender, by QUIC's flow control.
            sleep(rate.wait(now())).await;
        }
        let input = match read_message(&mut stream, wire_limits::MAX_EVENT_MESSAGE).await {
            Ok((Schema::EventUp, body)) => match event(peer, &body) {
                Some(input) => input,
                None => return Code::Malformed,
            },
            Ok(_) => return Code::Malformed,
            Err(ReadError::Header(session::BadHeader::TooLong { .. })) => {
                return Code::EventTooLarge;
            }
            Err(ReadError::Header(_)) => return Code::Malformed,
            Err(ReadError::Ended | ReadError::Broken(_)) => return broken().await,
        };
        context.counters.events_in.fetch_add(1, Ordering::Relaxed);
        room.post(input).await;
    }
}

fn event(from: PeerId, body: &[u8]) -> Option<RoomInput> {
    let event = session::access::<EventUp>(body).ok()?;
    let target = match event.target {
        TO_ALL => EventTarget::All,
        TO_OTHERS => EventTarget::Others,
        TO_LISTED => {
            EventTarget::Listed(event.peers.iter().map(|p| PeerId(p.to_native())).collect())
        }
        _ => return None,
    };
    let payload = event.payload.to_vec();
    Some(RoomInput::Event { from, target, channel: event.channel, payload })
}

async fn write_control(mut stream: SendStream, mut queue: mpsc::Receiver<bytes::Bytes>) -> Code {
    while let Some(message) = queue.recv().await {
        if stream.write_chunk(message).await.is_err() {
            return broken().await;
        }
    }
    broken().await
}

async fn write_events(
    connection: &Connection,
    mut queue: EventQueue,
    context: &SessionContext,
) -> Code {
    let mut stream: Option<SendStream> = None;
    while let Some((queued, message)) = queue.next().await {
        if Time::from_micros(context.clock.now()).since(queued) > limits::EVENT_BACKLOG_AGE {
            return Code::SlowConsumer;
        }
        let len = message.len();
        let write = async {
            let stream = match &mut stream {
                Some(open) => open,
                None => {
                    let mut opened = connection.open_uni().await.ok()?;
                    opened.write_all(&[stream::EVENTS]).await.ok()?;
                    stream.insert(opened)
                }
            };
            stream.write_chunk(message).await.ok()
        };
        match timeout(limits::EVENT_BACKLOG_AGE, write).await {
            Ok(Some(())) => queue.written(len),
            Ok(None) => return broken().await,
            Err(_) => return Code::SlowConsumer,
        }
        context.counters.events_out.fetch_add(1, Ordering::Relaxed);
    }
    broken().await
}

/// Tells the room when nothing authentic came over QUIC for `away_after`, and when it does again.
async fn watch_silence(
    connection: &Connection,
    room: &RoomHandle,
    peer: PeerId,
    away_after: Duration,
) {
    let heard = || {
        let frames = connection.stats().frame_rx;
        frames.acks + frames.ping + frames.stream
    };
    let mut ticks = interval(limits::SESSION_CHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut count, mut last, mut quiet) = (heard(), Instant::now(), false);
    loop {
        ticks.tick().await;
        let newest = heard();
        if newest != count {
            (count, last) = (newest, Instant::now());
        }
        if quiet != (last.elapsed() >= away_after) {
            quiet = !quiet;
            room.post(RoomInput::SessionQuiet(peer, quiet)).await;
        }
    }
}
