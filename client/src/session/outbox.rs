//! Events on their way out, kept until the server must have them: what a lost session did not
//! deliver goes out over the next one, once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{Joined, Lane, NEW_PEER, PIECE_CONTINUES, PIECE_MORE};
use tokio::sync::Notify;

use super::{SendError, SessionSender, To};

/// Bytes of each lane that may wait for a session to write them; a sender waits beyond it.
const WAITING: usize = 64 << 10;
/// Bytes of written events that are kept, of each lane. Written but not taken by the server are at most QUIC's
/// unacknowledged bytes (256 KiB), what the server has not read (64 KiB) and one event.
const KEPT: usize = 512 << 10;
/// What an event costs beside its payload.
const OVERHEAD: usize = 64;
/// How long a leave waits for the last events to be written.
const FLUSH_TIME: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct QueuedEvent {
    to: To,
    channel: u8,
    /// Of the bulk lane, see [`nucleus_protocol::session::EventUp::piece`].
    piece: u8,
    payload: Arc<[u8]>,
}

impl QueuedEvent {
    fn cost(&self) -> usize {
        let listed = if let To::Peers(peers) = &self.to { 4 * peers.len() } else { 0 };
        self.payload.len() + listed + OVERHEAD
    }
}

/// What goes out on one lane.
#[derive(Default)]
struct LaneBacklog {
    /// From `first` on, in order; numbered as the server counts what it takes from this peer.
    events: VecDeque<QueuedEvent>,
    first: u32,
    /// How many of `events` have been written to the session in use.
    written: usize,
    waiting_bytes: usize,
    written_bytes: usize,
}

#[derive(Default)]
struct OutboxState {
    lanes: [LaneBacklog; 2],
    sender: Option<SessionSender>,
    /// Counts sessions: a writer of an earlier one must not touch the lanes.
    session: u32,
    max_event: usize,
    closed: bool,
}

/// The events of one peer over all of its sessions; see the module. Clones share it.
#[derive(Clone, Default)]
pub struct EventOutbox(Arc<OutboxShared>);

#[derive(Default)]
struct OutboxShared {
    state: Mutex<OutboxState>,
    changed: Notify,
}

impl EventOutbox {
    /// Begins or goes on with a session: what the server has not taken goes out first. Must run
    /// inside tokio.
    ///
    /// `same_room`: the room instance is the one of the session before. In another one events for
    /// named peers are dropped, because their numbers mean somebody else there. An outbox that has
    /// been closed closes the session.
    pub fn attach(&self, sender: SessionSender, joined: &Joined, same_room: bool) {
        let session = {
            let mut state = self.state();
            if state.closed {
                drop(state);
                return sender.close();
            }
            state.attach(sender.clone(), joined, same_room);
            state.session
        };
        self.0.changed.notify_waiters();
        for lane in Lane::ALL {
            tokio::spawn(write(self.clone(), lane, sender.clone(), session));
        }
    }

    /// Sends a reliable, ordered event; waits while the server or the network is slower than the
    /// application, or gone for a moment. Once it returns, the event survives the loss of the
    /// session, but not of the peer's place.
    pub async fn send(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        to.check(payload.len(), self.largest_piece())?;
        let event = QueuedEvent { to, channel, piece: 0, payload: payload.into() };
        self.queue(Lane::Events, vec![event]).await
    }

    /// Sends a message of at most [`limits::MAX_BULK_MESSAGE`] bytes on the bulk lane, in pieces: it is as
    /// reliable as an event and in order with others of its kind, and no event waits for it. Else as
    /// [`Self::send`].
    pub async fn send_bulk(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        to.check(payload.len(), limits::MAX_BULK_MESSAGE)?;
        if to == To::OthersAndLater {
            return Err(SendError::NotKept);
        }
        let pieces = pieces(payload, self.largest_piece());
        let event = |(piece, payload): (u8, &[u8])| {
            let (to, payload) = (to.clone(), payload.into());
            QueuedEvent { to, channel, piece, payload }
        };
        self.queue(Lane::Bulk, pieces.map(event).collect()).await
    }

    fn largest_piece(&self) -> usize {
        match self.state().max_event {
            0 => limits::MAX_EVENT_PAYLOAD,
            limit => limit,
        }
    }

    /// Waits until there is room, and takes all of them or, when the future is dropped, none.
    async fn queue(&self, lane: Lane, events: Vec<QueuedEvent>) -> Result<(), SendError> {
        let mut events = Some(events);
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Before looking, so that a change after the look is not missed.
            changed.as_mut().enable();
            if self.state().offer(lane, &mut events)? {
                self.0.changed.notify_waiters();
                return Ok(());
            }
            changed.await;
        }
    }

    /// Leaves the room when everything sent so far is written; at most 2 s.
    pub async fn leave(&self) {
        let flushed = async {
            loop {
                let changed = self.0.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                {
                    let state = self.state();
                    let waiting =
                        state.lanes.iter().any(|lane_backlog| lane_backlog.waiting_bytes > 0);
                    if !waiting || state.sender.is_none() {
                        return;
                    }
                }
                changed.await;
            }
        };
        // What is not written by then stays behind: the session is not what it was.
        let _ = tokio::time::timeout(FLUSH_TIME, flushed).await;
        let sender = self.state().sender.take();
        self.close();
        if let Some(sender) = sender {
            sender.leave().await;
        }
    }

    /// Ends it: nothing more is sent, and the session is closed at once.
    pub fn close(&self) {
        let sender = {
            let mut state = self.state();
            state.closed = true;
            state.lanes.iter_mut().for_each(LaneBacklog::clear);
            state.sender.take()
        };
        self.0.changed.notify_waiters();
        if let Some(sender) = sender {
            sender.close();
        }
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(&self) {
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.state().closed {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, OutboxState> {
        // Nobody panics while holding it, and the lanes are whole at every step.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboxState {
    fn attach(&mut self, sender: SessionSender, joined: &Joined, same_room: bool) {
        self.session = self.session.wrapping_add(1);
        self.max_event = limits::MAX_EVENT_PAYLOAD.min(joined.max_event as usize);
        let taken = [joined.events_taken, joined.bulk_taken];
        for (lane_backlog, taken) in self.lanes.iter_mut().zip(taken) {
            lane_backlog.attach(taken, joined.resumed == NEW_PEER, same_room);
        }
        self.sender = Some(sender);
    }

    /// Takes the events when there is room for them; whether there was.
    fn offer(
        &mut self,
        lane: Lane,
        events: &mut Option<Vec<QueuedEvent>>,
    ) -> Result<bool, SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        let lane_backlog = &mut self.lanes[lane.index()];
        if lane_backlog.waiting_bytes >= WAITING {
            return Ok(false);
        }
        let events = events.take().unwrap_or_default();
        lane_backlog.waiting_bytes += events.iter().map(QueuedEvent::cost).sum::<usize>();
        lane_backlog.events.extend(events);
        Ok(true)
    }
}

impl LaneBacklog {
    /// Goes on at what the server has `taken`, or begins anew as somebody else.
    fn attach(&mut self, taken: u32, new_peer: bool, same_room: bool) {
        let gone = if new_peer {
            // What went to the place that is lost is lost with it, and so is the rest of a message of
            // which a part went there.
            let rest = self.events.iter().skip(self.written);
            let begun = rest.take_while(|event| event.piece & PIECE_CONTINUES != 0).count();
            self.written + begun
        } else {
            // A server that claims to have had less than nothing has had nothing.
            let taken = taken.wrapping_sub(self.first) as i32;
            usize::try_from(taken).unwrap_or(0)
        };
        self.events.drain(..gone.min(self.events.len()));
        if !same_room {
            self.events.retain(|event| !matches!(event.to, To::Peers(_)));
        }
        self.first = taken;
        self.written = 0;
        self.written_bytes = 0;
        self.waiting_bytes = self.events.iter().map(QueuedEvent::cost).sum();
    }

    fn clear(&mut self) {
        self.events.clear();
        (self.written, self.written_bytes, self.waiting_bytes) = (0, 0, 0);
    }

    fn next(&self) -> Option<QueuedEvent> {
        self.events.get(self.written).cloned()
    }

    /// The event behind the written ones has been written; the oldest are forgotten.
    fn mark_written(&mut self) {
        let Some(event) = self.events.get(self.written) else { return };
        let cost = event.cost();
        self.waiting_bytes -= cost;
        self.written_bytes += cost;
        self.written += 1;
        while self.written_bytes > KEPT
            && let Some(oldest) = self.events.pop_front()
        {
            self.written_bytes -= oldest.cost();
            self.written -= 1;
            self.first = self.first.wrapping_add(1);
        }
    }
}

/// A message in parts of at most `size` bytes, at least one, each with what it says of the others.
fn pieces(payload: &[u8], size: usize) -> impl Iterator<Item = (u8, &[u8])> {
    let count = payload.len().div_ceil(size.max(1)).max(1);
    (0..count).map(move |n| {
        let continues = if n > 0 { PIECE_CONTINUES } else { 0 };
        let more = if n + 1 < count { PIECE_MORE } else { 0 };
        let end = payload.len().min((n + 1) * size);
        (continues | more, &payload[n * size..end])
    })
}

/// Writes what waits, for as long as `session` is the one in use.
async fn write(outbox: EventOutbox, lane: Lane, sender: SessionSender, session: u32) {
    loop {
        let changed = outbox.0.changed.notified();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        let next = {
            let state = outbox.state();
            if state.session != session || state.sender.is_none() {
                return;
            }
            state.lanes[lane.index()].next()
        };
        let Some(QueuedEvent { to, channel, piece, payload }) = next else {
            tokio::select! {
                () = changed => continue,
                () = sender.closed() => return,
            }
        };
        if sender.send_piece(lane, to, channel, piece, &payload).await.is_err() {
            return;
        }
        {
            let mut state = outbox.state();
            if state.session != session || state.closed {
                return;
            }
            state.lanes[lane.index()].mark_written();
        }
        outbox.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u8, piece: u8) -> QueuedEvent {
        QueuedEvent { to: To::All, channel: 0, piece, payload: [n].into() }
    }

    fn lane_backlog(pieces: impl IntoIterator<Item = u8>) -> LaneBacklog {
        let events: VecDeque<QueuedEvent> =
            (0..).zip(pieces).map(|(n, piece)| event(n, piece)).collect();
        let waiting_bytes = events.iter().map(QueuedEvent::cost).sum();
        LaneBacklog { events, waiting_bytes, ..LaneBacklog::default() }
    }

    fn waiting(lane_backlog: &LaneBacklog) -> Vec<u8> {
        lane_backlog
            .events
            .iter()
            .skip(lane_backlog.written)
            .map(|event| event.payload[0])
            .collect()
    }

    #[test]
    fn a_message_is_cut_into_pieces_that_know_their_place() {
        let cut = |len, size| {
            let payload: Vec<u8> = (0..len).collect();
            let cut: Vec<(u8, Vec<u8>)> =
                pieces(&payload, size).map(|(piece, bytes)| (piece, bytes.to_vec())).collect();
            assert_eq!(
                cut.iter().flat_map(|(_, bytes)| bytes).copied().collect::<Vec<_>>(),
                payload
            );
            cut.into_iter().map(|(piece, bytes)| (piece, bytes.len())).collect::<Vec<_>>()
        };
        assert_eq!(cut(0, 4), [(0, 0)]);
        assert_eq!(cut(4, 4), [(0, 4)]);
        assert_eq!(
            cut(9, 4),
            [(PIECE_MORE, 4), (PIECE_MORE | PIECE_CONTINUES, 4), (PIECE_CONTINUES, 1)]
        );
    }

    #[test]
    fn a_resume_goes_on_behind_what_was_taken() {
        let mut lane_backlog = lane_backlog([0; 6]);
        (0..4).for_each(|_| lane_backlog.mark_written());
        lane_backlog.attach(3, false, true);
        assert_eq!(waiting(&lane_backlog), [3, 4, 5]);
        lane_backlog.mark_written();
        lane_backlog.attach(2, false, true);
        assert_eq!(waiting(&lane_backlog), [3, 4, 5], "less than nothing was taken");
    }

    /// The end of a message whose beginning went to another place means nothing to anybody.
    #[test]
    fn half_a_message_is_not_sent_by_somebody_new() {
        let more = PIECE_MORE | PIECE_CONTINUES;
        let mut lane_backlog =
            lane_backlog([PIECE_MORE, more, PIECE_CONTINUES, PIECE_MORE, PIECE_CONTINUES]);
        lane_backlog.mark_written();
        lane_backlog.attach(0, true, true);
        assert_eq!(waiting(&lane_backlog), [3, 4]);
        lane_backlog.attach(0, true, true);
        assert_eq!(waiting(&lane_backlog), [3, 4], "what has not begun may be sent");
    }
}
