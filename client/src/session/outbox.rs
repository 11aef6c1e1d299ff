//! The queue of outgoing events. It keeps events until the server has certainly taken them. Events
//! that a lost session did not deliver are sent over the next session, exactly once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{Joined, Lane, NEW_PEER, PIECE_CONTINUES, PIECE_MORE};
use tokio::sync::Notify;

use super::{SendError, SessionSender, To};

/// Bytes of each lane that may wait to be written. Beyond the limit, [`EventOutbox::send`] waits.
const MAX_WAITING: usize = 64 << 10;
/// Bytes of written events that are kept for each lane. The server has taken all older events,
/// because fewer bytes can be on their way: QUIC's unacknowledged bytes (256 KiB), the bytes that
/// the server has not read (64 KiB), and one event.
const MAX_WRITTEN: usize = 512 << 10;
/// Bytes counted for an event in addition to its payload.
const OVERHEAD: usize = 64;
/// Longest time that a leave waits until the last events are written.
const FLUSH_TIME: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct QueuedEvent {
    to: To,
    channel: u8,
    /// Flags of a piece on the bulk lane, see [`nucleus_protocol::session::EventUp::piece`].
    piece: u8,
    payload: Arc<[u8]>,
}

impl QueuedEvent {
    fn cost(&self) -> usize {
        let listed = if let To::Peers(peers) = &self.to { 4 * peers.len() } else { 0 };
        self.payload.len() + listed + OVERHEAD
    }
}

/// The kept events of one lane: those already written, then those that wait.
#[derive(Default)]
struct LaneBacklog {
    events: VecDeque<QueuedEvent>,
    /// Number of the first event in `events`. Events are numbered as the server counts the events
    /// that it takes from this peer.
    first: u32,
    /// How many of `events` have been written to the current session.
    written: usize,
    waiting_bytes: usize,
    written_bytes: usize,
}

#[derive(Default)]
struct OutboxState {
    lanes: [LaneBacklog; 2],
    sender: Option<SessionSender>,
    /// Number of the current session. A writer task of an earlier session must not change the
    /// lanes.
    session: u32,
    max_event: usize,
    closed: bool,
}

/// The outgoing events of one participant over all of its sessions. Clones share the same queue.
#[derive(Clone, Default)]
pub struct EventOutbox(Arc<OutboxShared>);

#[derive(Default)]
struct OutboxShared {
    state: Mutex<OutboxState>,
    changed: Notify,
}

impl EventOutbox {
    /// Starts sending over a new session. Events that the server has not taken are sent first. Must
    /// be called inside a tokio runtime.
    ///
    /// `same_room` says that the room instance is the one of the session before. In another
    /// instance, peer ids mean other peers, so events for named peers are dropped. If the outbox is
    /// closed, the session is closed too.
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
            tokio::spawn(write_lane(self.clone(), lane, sender.clone(), session));
        }
    }

    /// Sends a reliable, ordered event. Waits while the server or the network is slower than the
    /// application, or while there is no session.
    ///
    /// After this method has returned, the event survives the loss of the session. But if the
    /// client joins again as a new peer, events that were already written are lost.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::TooManyPeers`] or [`SendError::Closed`].
    pub async fn send(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        to.check(payload.len(), self.largest_piece())?;
        let event = QueuedEvent { to, channel, piece: 0, payload: payload.into() };
        self.queue(Lane::Events, vec![event]).await
    }

    /// Sends a message of at most [`limits::MAX_BULK_MESSAGE`] bytes on the bulk lane, in pieces.
    ///
    /// The message is as reliable as an event, and bulk messages are in order among themselves. No
    /// event waits for a bulk message. Otherwise works like [`Self::send`].
    ///
    /// # Errors
    /// The same as for [`Self::send`], and [`SendError::NotKept`] for [`To::OthersAndLater`].
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

    /// Waits until the lane has capacity, then queues all events. If the future is dropped, no
    /// event is queued.
    async fn queue(&self, lane: Lane, events: Vec<QueuedEvent>) -> Result<(), SendError> {
        let mut events = Some(events);
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Register before checking the state, so that no change after the check is missed.
            changed.as_mut().enable();
            if self.state().offer(lane, &mut events)? {
                self.0.changed.notify_waiters();
                return Ok(());
            }
            changed.await;
        }
    }

    /// Writes the queued events, then leaves the room. Takes at most 2 s.
    pub async fn leave(&self) {
        let flushed = async {
            loop {
                let changed = self.0.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                {
                    let state = self.state();
                    let waiting = state.lanes.iter().any(|backlog| backlog.waiting_bytes > 0);
                    if !waiting || state.sender.is_none() {
                        return;
                    }
                }
                changed.await;
            }
        };
        // After the timeout the session is too slow or lost, and the remaining events are dropped.
        let _ = tokio::time::timeout(FLUSH_TIME, flushed).await;
        let sender = self.state().sender.take();
        self.close();
        if let Some(sender) = sender {
            sender.leave().await;
        }
    }

    /// Closes the outbox and the session at once. Events that are not written are dropped.
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

    /// Waits until the outbox is closed.
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
        // No code panics while it holds the lock, and each step leaves the data consistent.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboxState {
    fn attach(&mut self, sender: SessionSender, joined: &Joined, same_room: bool) {
        self.session = self.session.wrapping_add(1);
        self.max_event = limits::MAX_EVENT_PAYLOAD.min(joined.max_event as usize);
        let taken = [joined.events_taken, joined.bulk_taken];
        for (backlog, taken) in self.lanes.iter_mut().zip(taken) {
            backlog.attach(taken, joined.resumed == NEW_PEER, same_room);
        }
        self.sender = Some(sender);
    }

    /// Queues the events if the lane has capacity. Returns whether they were queued.
    fn offer(
        &mut self,
        lane: Lane,
        events: &mut Option<Vec<QueuedEvent>>,
    ) -> Result<bool, SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        let backlog = &mut self.lanes[lane.index()];
        if backlog.waiting_bytes >= MAX_WAITING {
            return Ok(false);
        }
        let events = events.take().unwrap_or_default();
        backlog.waiting_bytes += events.iter().map(QueuedEvent::cost).sum::<usize>();
        backlog.events.extend(events);
        Ok(true)
    }
}

impl LaneBacklog {
    /// Prepares the lane for a new session. Drops the events that the server has taken, or, for a
    /// new peer, the events that the earlier peer wrote. `taken` is the number of events that the
    /// server has taken from this peer.
    fn attach(&mut self, taken: u32, new_peer: bool, same_room: bool) {
        let dropped = if new_peer {
            // Events that the earlier peer wrote are lost, and so are the remaining pieces of a
            // message that it had started.
            let rest = self.events.iter().skip(self.written);
            let started = rest.take_while(|event| event.piece & PIECE_CONTINUES != 0).count();
            self.written + started
        } else {
            // If `taken` is less than `first`, drop no event.
            let taken = taken.wrapping_sub(self.first) as i32;
            usize::try_from(taken).unwrap_or(0)
        };
        self.events.drain(..dropped.min(self.events.len()));
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

    fn next_unwritten(&self) -> Option<QueuedEvent> {
        self.events.get(self.written).cloned()
    }

    /// Counts the next event as written, and drops the oldest written events beyond
    /// [`MAX_WRITTEN`].
    fn mark_written(&mut self) {
        let Some(event) = self.events.get(self.written) else { return };
        let cost = event.cost();
        self.waiting_bytes -= cost;
        self.written_bytes += cost;
        self.written += 1;
        while self.written_bytes > MAX_WRITTEN
            && let Some(oldest) = self.events.pop_front()
        {
            self.written_bytes -= oldest.cost();
            self.written -= 1;
            self.first = self.first.wrapping_add(1);
        }
    }
}

/// Cuts a message into at least one piece of at most `size` bytes. Returns each piece with its
/// flags.
fn pieces(payload: &[u8], size: usize) -> impl Iterator<Item = (u8, &[u8])> {
    let count = payload.len().div_ceil(size.max(1)).max(1);
    (0..count).map(move |n| {
        let continues = if n > 0 { PIECE_CONTINUES } else { 0 };
        let more = if n + 1 < count { PIECE_MORE } else { 0 };
        let end = payload.len().min((n + 1) * size);
        (continues | more, &payload[n * size..end])
    })
}

/// Writes the waiting events of a lane while `session` is the current session.
async fn write_lane(outbox: EventOutbox, lane: Lane, sender: SessionSender, session: u32) {
    loop {
        let changed = outbox.0.changed.notified();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        let next = {
            let state = outbox.state();
            if state.session != session || state.sender.is_none() {
                return;
            }
            state.lanes[lane.index()].next_unwritten()
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

    fn backlog(pieces: impl IntoIterator<Item = u8>) -> LaneBacklog {
        let events: VecDeque<QueuedEvent> =
            (0..).zip(pieces).map(|(n, piece)| event(n, piece)).collect();
        let waiting_bytes = events.iter().map(QueuedEvent::cost).sum();
        LaneBacklog { events, waiting_bytes, ..LaneBacklog::default() }
    }

    fn waiting(backlog: &LaneBacklog) -> Vec<u8> {
        backlog.events.iter().skip(backlog.written).map(|event| event.payload[0]).collect()
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
        let mut backlog = backlog([0; 6]);
        (0..4).for_each(|_| backlog.mark_written());
        backlog.attach(3, false, true);
        assert_eq!(waiting(&backlog), [3, 4, 5]);
        backlog.mark_written();
        backlog.attach(2, false, true);
        assert_eq!(waiting(&backlog), [3, 4, 5], "the count is behind the first event");
    }

    /// The remaining pieces are useless, because the first piece was sent as another peer.
    #[test]
    fn half_a_message_is_not_sent_by_somebody_new() {
        let more = PIECE_MORE | PIECE_CONTINUES;
        let mut backlog = backlog([PIECE_MORE, more, PIECE_CONTINUES, PIECE_MORE, PIECE_CONTINUES]);
        backlog.mark_written();
        backlog.attach(0, true, true);
        assert_eq!(waiting(&backlog), [3, 4]);
        backlog.attach(0, true, true);
        assert_eq!(waiting(&backlog), [3, 4], "a message that was not started may be sent");
    }
}
