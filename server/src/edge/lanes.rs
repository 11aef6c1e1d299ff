//! Reads the streams of a client's two lanes, events and bulk: one stream for each.

use std::sync::atomic::Ordering;

use nucleus_core::ids::PeerId;
use nucleus_core::limits;
use nucleus_core::room::{Event, EventTarget, RoomInput};
use nucleus_protocol::groups::Group;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{
    self, Code, EventUp, Lane, PIECE_CONTINUES, PIECE_MORE, Schema, TO_ALL, TO_GROUP, TO_HOST,
    TO_LATER, TO_LISTED, TO_OTHERS,
};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::carrier::{Connection, RecvStream};
use super::fault::{SessionFault, unreadable};
use super::ingress_limits::{IngressLimits, LimitedStream};
use super::joined::JoinedSession;
use super::wire::{ReadError, read_message};

/// Whether each of the client's lanes is open, by [`Lane::index`]. A lane is open while its stream
/// has begun and not ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LaneStreams([bool; 2]);

impl LaneStreams {
    /// Whether at least one lane is open.
    pub(super) fn any_open(self) -> bool {
        self.0 != [false; 2]
    }
}

/// Never returns. A reader or writer whose stream has broken waits here: [`Connection::closed`]
/// gives the reason and ends the session.
pub(super) async fn until_connection_ends<T>() -> T {
    std::future::pending().await
}

/// Refuses all streams until the connection is closed.
pub(super) async fn refuse_streams(connection: &Connection) {
    while let Ok(mut stream) = connection.accept_uni().await {
        stream.refuse(Code::Malformed);
    }
}

/// Reads both lanes and posts their events to the room. Returns the code to end the session with.
pub(super) async fn read_lanes(
    session: JoinedSession<'_>,
    open: watch::Sender<LaneStreams>,
) -> SessionFault {
    let Ok(first) = session.connection.accept_uni().await else {
        return until_connection_ends().await;
    };
    // The state of reading is on the heap, and exists from the first stream on. Many sessions never
    // open a stream.
    Box::pin(read_from(first, session, open)).await
}

async fn read_from(
    first: RecvStream,
    session: JoinedSession<'_>,
    open: watch::Sender<LaneStreams>,
) -> SessionFault {
    let ((events, take_events), (bulk, take_bulk)) = (oneshot::channel(), oneshot::channel());
    tokio::select! {
        fault = relay(Lane::Events, take_events, session, &open) => fault,
        fault = relay(Lane::Bulk, take_bulk, session, &open) => fault,
        () = accept(first, session.connection, [Some(events), Some(bulk)], &open) => until_connection_ends().await,
    }
}

/// Hands the first stream of each lane to its reader and refuses all others, until the connection
/// is closed. A stream of a type that a later version may define is refused, too, and does not end
/// the session.
async fn accept(
    first: RecvStream,
    connection: &Connection,
    mut readers: [Option<oneshot::Sender<RecvStream>>; 2],
    open: &watch::Sender<LaneStreams>,
) {
    let mut next = Some(first);
    loop {
        let stream = match next.take() {
            Some(first) => Ok(first),
            None => connection.accept_uni().await,
        };
        let Ok(mut stream) = stream else { return };
        let mut kind = [0];
        let read = timeout(limits::STREAM_TYPE_TIME, stream.read(&mut kind)).await;
        let lane = matches!(read, Ok(Ok(()))).then(|| Lane::of_stream(kind[0])).flatten();
        let reader = lane.and_then(|lane| Some((lane, readers[lane.index()].take()?)));
        let Some((lane, reader)) = reader else {
            stream.refuse(Code::Malformed);
            continue;
        };
        open.send_modify(|open| open.0[lane.index()] = true);
        // The reader exists as long as this loop runs.
        let _received = reader.send(stream);
    }
}

/// Waits for the stream of a lane and relays its events.
async fn relay(
    lane: Lane,
    stream: oneshot::Receiver<RecvStream>,
    session: JoinedSession<'_>,
    open: &watch::Sender<LaneStreams>,
) -> SessionFault {
    let Ok(stream) = stream.await else { return until_connection_ends().await };
    match relay_all(lane, stream, session).await {
        Some(fault) => fault,
        None => {
            open.send_modify(|open| open.0[lane.index()] = false);
            until_connection_ends().await
        }
    }
}

/// Posts the events of a stream to the room, within the rates of peer and room. Returns the code to
/// end the session with; `None` if the stream has ended.
async fn relay_all(
    lane: Lane,
    mut stream: RecvStream,
    session: JoinedSession<'_>,
) -> Option<SessionFault> {
    let JoinedSession { id: from, room, budgets, context, .. } = session;
    let received = match lane {
        Lane::Events => &context.counters.events_in,
        Lane::Bulk => &context.counters.bulk_in,
    };
    let mut ingress = IngressLimits::new(budgets, LimitedStream::Lane(lane));
    loop {
        ingress.ready().await;
        let (schema, body) = match read_message(&mut stream, wire_limits::MAX_EVENT_MESSAGE).await {
            Ok(message) => message,
            Err(ReadError::Header(session::BadHeader::TooLong { .. })) => {
                return Some(Code::EventTooLarge.into());
            }
            Err(ReadError::Header(error)) => return Some(error.into()),
            Err(ReadError::Stream(_)) => return None,
        };
        if schema != Schema::EventUp {
            return Some(unreadable(schema));
        }
        let event = match event(lane, &body) {
            Ok(event) => event,
            Err(reason) => return Some(SessionFault::malformed(reason)),
        };
        let waited = ingress.take(body.len());
        let recipients = most_recipients(&event);
        let admitted = room.admit_message(budgets.user(), body.len(), recipients).await;
        ingress.report(waited || admitted.waited, room, from).await;
        received.fetch_add(1, Ordering::Relaxed);
        room.post_admitted(RoomInput::Event { from, event }, admitted).await;
    }
}

/// Returns the most recipients that an event may have; `None`: all members of the room.
fn most_recipients(event: &Event) -> Option<usize> {
    match &event.target {
        EventTarget::Listed(peers) => Some(peers.len()),
        EventTarget::Host => Some(1),
        EventTarget::All
        | EventTarget::Others
        | EventTarget::OthersAndLater
        | EventTarget::Group(_) => None,
    }
}

/// Parses an event.
///
/// # Errors
///
/// The reason why the event is malformed.
fn event(lane: Lane, body: &[u8]) -> Result<Event, &'static str> {
    let event = session::access::<EventUp>(body).map_err(|_| "EventUp is not a valid archive")?;
    let pieces = if lane == Lane::Bulk { PIECE_MORE | PIECE_CONTINUES } else { 0 };
    if event.piece & !pieces != 0 {
        return Err("the field piece of EventUp has bits that this lane does not allow");
    }
    let target = match event.target {
        TO_ALL => EventTarget::All,
        TO_OTHERS => EventTarget::Others,
        TO_LISTED => {
            EventTarget::Listed(event.peers.iter().map(|p| PeerId(p.to_native())).collect())
        }
        TO_HOST => EventTarget::Host,
        TO_LATER if lane == Lane::Events => EventTarget::OthersAndLater,
        TO_GROUP => {
            let group = match &event.peers[..] {
                [number] => u8::try_from(number.to_native()).ok().and_then(Group::new),
                _ => None,
            };
            EventTarget::Group(group.ok_or("an event to a group must name one group, 0 to 239")?)
        }
        _ => return Err("the target of EventUp is unknown, or not allowed on this lane"),
    };
    let payload = event.payload.to_vec();
    Ok(Event { lane, target, channel: event.channel, piece: event.piece, payload })
}
