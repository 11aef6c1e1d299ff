//! The events that an outbox keeps, and which of them are written, written again or forgotten. Does
//! no I/O.

use std::collections::VecDeque;
use std::sync::Arc;

use nucleus_protocol::limits::{
    EVENT_ACK_BYTES, EVENT_ACK_COUNT, MAX_EVENT_PAYLOAD, MAX_EVENT_TARGETS,
};
use nucleus_protocol::session::{EventAck, Lane, PIECE_CONTINUES, PIECE_MORE, RPC_CHANNEL};

use super::{ProtocolError, To};

/// Bytes of each lane that may wait to be written. Beyond the limit, a sender waits.
const MAX_WAITING: usize = 64 << 10;
/// Bytes of each lane that may be written and not acknowledged. Beyond the limit, events wait to be
/// written. The limit is more than the sum of a stream's bytes in flight (64 KiB) and the bytes that
/// the server may leave unacknowledged. So it applies only if no acknowledgements come; otherwise
/// the network and the server's rates slow a sender first.
const MAX_UNACKNOWLEDGED: usize = 512 << 10;
/// Bytes counted for an event in addition to its payload.
const OVERHEAD: usize = 64;

// What the server may leave unacknowledged for 15 s never stops a lane, even if each event is of
// the costliest kind.
const _: () = assert!(
    EVENT_ACK_COUNT as usize * (OVERHEAD + 4 * MAX_EVENT_TARGETS)
        + EVENT_ACK_BYTES
        + MAX_EVENT_PAYLOAD
        < MAX_UNACKNOWLEDGED
);

/// An event, or a piece of a larger message, that waits or is not acknowledged.
#[derive(Clone, Debug)]
pub struct QueuedEvent {
    /// The recipients.
    pub to: To,
    /// The application's channel, or one of the protocol's on the events lane.
    pub channel: u8,
    /// Flags of a piece on the bulk lane, see [`nucleus_protocol::session::EventUp::piece`].
    pub piece: u8,
    /// The application's data.
    pub payload: Arc<[u8]>,
}

impl QueuedEvent {
    fn cost(&self) -> usize {
        let listed = if let To::Peers(peers) = &self.to { 4 * peers.len() } else { 0 };
        self.payload.len() + listed + OVERHEAD
    }
}

/// The kept events of a participant, over all of its sessions.
#[derive(Default)]
pub struct EventBacklog {
    lanes: [LaneBacklog; 2],
    /// Whether there has been a session.
    attached: bool,
}

impl EventBacklog {
    /// Continues with a new session, behind the events that the server has `taken`. Starts again if
    /// the client is a new peer, or if this is the first session.
    ///
    /// # Errors
    /// [`ProtocolError::EventCount`]. Nothing is changed then.
    pub fn attach(
        &mut self,
        taken: [u32; 2],
        new_peer: bool,
        same_room: bool,
    ) -> Result<(), ProtocolError> {
        let new_peer = new_peer || !self.attached;
        if !new_peer {
            self.check(taken)?;
        }
        for (backlog, taken) in self.lanes.iter_mut().zip(taken) {
            backlog.attach(taken, new_peer, same_room);
        }
        self.attached = true;
        Ok(())
    }

    /// Forgets the events that the server acknowledges. Returns whether there were any.
    ///
    /// # Errors
    /// [`ProtocolError::EventCount`]. Nothing is forgotten then.
    pub fn acknowledge(&mut self, ack: &EventAck) -> Result<bool, ProtocolError> {
        let taken = [ack.events_taken, ack.bulk_taken];
        self.check(taken)?;
        let lanes = self.lanes.iter_mut().zip(taken);
        Ok(lanes.fold(false, |any, (backlog, taken)| backlog.forget(taken) > 0 || any))
    }

    /// Checks that no lane's count goes backwards or is ahead of what was sent. Such a server would
    /// make the client lose events without a word, or send events twice.
    fn check(&self, taken: [u32; 2]) -> Result<(), ProtocolError> {
        for ((lane, backlog), taken) in Lane::ALL.into_iter().zip(&self.lanes).zip(taken) {
            let (least, sent) = (backlog.first, backlog.sent());
            // A count behind `least` is far ahead of it, because counts wrap.
            if taken.wrapping_sub(least) as usize > sent {
                let most = least.wrapping_add(sent as u32);
                return Err(ProtocolError::EventCount { lane, taken, least, most });
            }
        }
        Ok(())
    }

    /// Returns whether the lane takes further events.
    pub fn has_capacity(&self, lane: Lane) -> bool {
        self.lanes[lane.index()].waiting_bytes < MAX_WAITING
    }

    /// Queues the events of one message. [`Self::has_capacity`] says whether the lane takes one.
    pub fn queue(&mut self, lane: Lane, events: Vec<QueuedEvent>) {
        let backlog = &mut self.lanes[lane.index()];
        backlog.waiting_bytes += events.iter().map(QueuedEvent::cost).sum::<usize>();
        backlog.events.extend(events);
    }

    /// Returns the next event to write on a lane. From now on the server may have it.
    /// [`Self::mark_written`] must follow before the next call.
    pub fn begin_write(&mut self, lane: Lane) -> Option<QueuedEvent> {
        self.lanes[lane.index()].begin_write()
    }

    /// Counts the event of [`Self::begin_write`] as written.
    pub fn mark_written(&mut self, lane: Lane) {
        self.lanes[lane.index()].mark_written();
    }

    /// Drops the event of [`Self::begin_write`], because the server takes none of this size.
    pub fn drop_unwritten(&mut self, lane: Lane) {
        self.lanes[lane.index()].drop_unwritten();
    }

    /// Returns whether events wait to be written.
    pub fn has_waiting(&self) -> bool {
        self.lanes.iter().any(|backlog| backlog.waiting_bytes > 0)
    }

    /// Returns how many events are kept.
    pub fn kept(&self) -> usize {
        self.lanes.iter().map(|backlog| backlog.events.len()).sum()
    }

    /// Drops all events.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The kept events of one lane: those already written, then those that wait.
#[derive(Default)]
struct LaneBacklog {
    events: VecDeque<QueuedEvent>,
    /// Number of the first event in `events`. Events are numbered as the server counts the events
    /// that it takes from this peer. So this is also the newest count of the server.
    first: u32,
    /// How many of `events` have been written to the current session.
    written: usize,
    /// Whether the event behind those is being written.
    writing: bool,
    waiting_bytes: usize,
    written_bytes: usize,
}

impl LaneBacklog {
    /// Returns how many events the server may have taken since `first`.
    fn sent(&self) -> usize {
        self.written + usize::from(self.writing)
    }

    /// Continues behind the events that the server has `taken`, or starts again as a new peer.
    fn attach(&mut self, taken: u32, new_peer: bool, same_room: bool) {
        if new_peer {
            // Events that the earlier peer wrote are lost, and so are the remaining pieces of a
            // message that it had started. The server may have had the one that was being written,
            // too: sent again, it would arrive twice.
            let rest = self.events.iter().skip(self.sent());
            let started = rest.take_while(|event| event.piece & PIECE_CONTINUES != 0).count();
            self.events.drain(..self.sent() + started);
            self.first = taken;
            // A new peer gets no answers to its requests, and owes none.
            self.events.retain(|event| event.channel != RPC_CHANNEL);
        } else {
            self.forget(taken);
        }
        if !same_room {
            // In another instance of the room, the numbers mean other peers.
            self.events.retain(|event| !matches!(event.to, To::Peer(_) | To::Peers(_)));
        }
        (self.written, self.writing, self.written_bytes) = (0, false, 0);
        self.waiting_bytes = self.events.iter().map(QueuedEvent::cost).sum();
    }

    /// Forgets the events up to the server's count, which the caller has checked. Returns how many.
    fn forget(&mut self, taken: u32) -> usize {
        let count = (taken.wrapping_sub(self.first) as usize).min(self.sent());
        for event in self.events.drain(..count) {
            if self.written > 0 {
                self.written -= 1;
                self.written_bytes -= event.cost();
            } else {
                self.writing = false;
                self.waiting_bytes -= event.cost();
            }
        }
        self.first = taken;
        count
    }

    fn begin_write(&mut self) -> Option<QueuedEvent> {
        if self.written_bytes >= MAX_UNACKNOWLEDGED {
            return None;
        }
        let event = self.events.get(self.written).cloned()?;
        self.writing = true;
        Some(event)
    }

    fn drop_unwritten(&mut self) {
        if std::mem::take(&mut self.writing)
            && let Some(event) = self.events.remove(self.written)
        {
            self.waiting_bytes -= event.cost();
        }
    }

    fn mark_written(&mut self) {
        // The server may have been faster and acknowledged the event.
        if !std::mem::take(&mut self.writing) {
            return;
        }
        let Some(event) = self.events.get(self.written) else { return };
        let cost = event.cost();
        self.waiting_bytes -= cost;
        self.written_bytes += cost;
        self.written += 1;
    }
}

/// Cuts a message into at least one piece of at most `size` bytes. Returns each piece with its
/// flags.
pub fn pieces(payload: &[u8], size: usize) -> impl Iterator<Item = (u8, &[u8])> {
    let count = payload.len().div_ceil(size.max(1)).max(1);
    (0..count).map(move |n| {
        let continues = if n > 0 { PIECE_CONTINUES } else { 0 };
        let more = if n + 1 < count { PIECE_MORE } else { 0 };
        let end = payload.len().min((n + 1) * size);
        (continues | more, &payload[n * size..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::PeerId;

    fn event(n: u8, piece: u8) -> QueuedEvent {
        QueuedEvent { to: To::All, channel: 0, piece, payload: [n].into() }
    }

    /// A lane whose first event has the number `first`.
    fn lane(first: u32, pieces: impl IntoIterator<Item = u8>) -> LaneBacklog {
        let events: VecDeque<QueuedEvent> =
            (0..).zip(pieces).map(|(n, piece)| event(n, piece)).collect();
        let waiting_bytes = events.iter().map(QueuedEvent::cost).sum();
        LaneBacklog { events, first, waiting_bytes, ..LaneBacklog::default() }
    }

    /// A backlog with six events of which four are written, and two pieces of which one is.
    fn backlog(first: [u32; 2]) -> EventBacklog {
        let lanes = [lane(first[0], [0; 6]), lane(first[1], [0; 2])];
        let mut backlog = EventBacklog { lanes, attached: true };
        (0..4).for_each(|_| write(&mut backlog.lanes[0]));
        write(&mut backlog.lanes[1]);
        backlog
    }

    fn write(lane: &mut LaneBacklog) {
        assert!(lane.begin_write().is_some());
        lane.mark_written();
    }

    fn waiting(lane: &LaneBacklog) -> Vec<u8> {
        lane.events.iter().skip(lane.written).map(|event| event.payload[0]).collect()
    }

    fn ack(events_taken: u32, bulk_taken: u32) -> EventAck {
        EventAck { events_taken, bulk_taken }
    }

    /// The numbers of kept and of written events on each lane.
    fn kept(backlog: &EventBacklog) -> [(usize, usize); 2] {
        [0, 1].map(|lane| (backlog.lanes[lane].events.len(), backlog.lanes[lane].written))
    }

    /// Checks the byte counts against the events.
    fn check_bytes(backlog: &EventBacklog) {
        for lane in &backlog.lanes {
            let cost = |events: &mut dyn Iterator<Item = &QueuedEvent>| -> usize {
                events.map(QueuedEvent::cost).sum()
            };
            assert_eq!(lane.written_bytes, cost(&mut lane.events.iter().take(lane.written)));
            assert_eq!(lane.waiting_bytes, cost(&mut lane.events.iter().skip(lane.written)));
        }
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
    fn acknowledged_events_are_forgotten_and_no_others() {
        let mut backlog = backlog([0; 2]);
        assert_eq!(backlog.acknowledge(&ack(0, 0)), Ok(false), "nothing new");
        assert_eq!(backlog.acknowledge(&ack(3, 0)), Ok(true));
        assert_eq!(kept(&backlog), [(3, 1), (2, 1)]);
        assert_eq!(backlog.acknowledge(&ack(3, 0)), Ok(false), "repeated");
        assert_eq!(backlog.acknowledge(&ack(4, 1)), Ok(true));
        assert_eq!((kept(&backlog), backlog.kept()), ([(2, 0), (1, 0)], 3));
        check_bytes(&backlog);
        assert!(backlog.has_waiting());
    }

    #[test]
    fn counts_wrap() {
        let mut backlog = backlog([u32::MAX - 1, u32::MAX]);
        assert_eq!(backlog.acknowledge(&ack(u32::MAX, u32::MAX)), Ok(true));
        assert_eq!(backlog.acknowledge(&ack(1, 0)), Ok(true));
        assert_eq!(kept(&backlog), [(3, 1), (1, 0)]);
        assert_eq!(backlog.acknowledge(&ack(2, 0)), Ok(true));
        check_bytes(&backlog);
        assert!(backlog.acknowledge(&ack(3, 0)).is_err() && backlog.kept() == 3);
    }

    /// Nothing is lost by the count of a server that goes backwards or is ahead, on either lane and
    /// however far.
    #[test]
    fn an_impossible_count_is_an_error_and_forgets_nothing() {
        for first in [0, 7, u32::MAX - 2] {
            let mut backlog = backlog([first; 2]);
            let least = first.wrapping_add(2);
            assert_eq!(backlog.acknowledge(&ack(least, first)), Ok(true));
            let before = kept(&backlog);
            for ahead in [-1, -2, i32::MIN, 3, 4, 5, 1_000, i32::MAX] {
                let taken = least.wrapping_add_signed(ahead);
                let most = least.wrapping_add(2);
                let error = ProtocolError::EventCount { lane: Lane::Events, taken, least, most };
                assert_eq!(backlog.acknowledge(&ack(taken, first)), Err(error));
                assert_eq!(backlog.attach([taken, first], false, true), Err(error), "by `Joined`");
                let bulk = first.wrapping_add_signed(ahead);
                assert!(backlog.acknowledge(&ack(least.wrapping_add(1), bulk)).is_err());
                assert!(backlog.attach([least, bulk], false, true).is_err());
                assert_eq!(kept(&backlog), before);
            }
            check_bytes(&backlog);
        }
    }

    /// The server's acknowledgement may come before the writer knows that the event is written.
    #[test]
    fn an_event_may_be_acknowledged_while_it_is_written() {
        let mut backlog = backlog([0; 2]);
        assert!(backlog.begin_write(Lane::Events).is_some());
        assert_eq!(backlog.acknowledge(&ack(5, 1)), Ok(true));
        assert_eq!(kept(&backlog), [(1, 0), (1, 0)]);
        backlog.mark_written(Lane::Events);
        assert_eq!(kept(&backlog), [(1, 0), (1, 0)], "it was the acknowledged one");
        check_bytes(&backlog);
        // The same with a resume in the place of the acknowledgement.
        assert!(backlog.begin_write(Lane::Events).is_some());
        assert_eq!(backlog.attach([6, 1], false, true), Ok(()));
        assert_eq!(kept(&backlog), [(0, 0), (1, 0)]);
        check_bytes(&backlog);
    }

    #[test]
    fn events_wait_while_too_many_bytes_are_not_acknowledged() {
        let payload: Arc<[u8]> = [0; 16 << 10].into();
        let large = QueuedEvent { to: To::All, channel: 0, piece: 0, payload };
        let mut backlog = EventBacklog { attached: true, ..EventBacklog::default() };
        let mut offered = 0;
        while backlog.has_capacity(Lane::Events) && offered < 100 {
            backlog.queue(Lane::Events, vec![large.clone()]);
            offered += 1;
            if backlog.begin_write(Lane::Events).is_some() {
                backlog.mark_written(Lane::Events);
            }
        }
        let written = backlog.lanes[0].written;
        assert_eq!((written, offered), (32, 36), "512 KiB are written, then 64 KiB wait");
        assert!(backlog.begin_write(Lane::Events).is_none());
        assert!(backlog.has_capacity(Lane::Bulk), "the other lane goes on");
        backlog.queue(Lane::Bulk, vec![large]);
        assert!(backlog.begin_write(Lane::Bulk).is_some());
        assert_eq!(backlog.acknowledge(&ack(1, 0)), Ok(true));
        assert!(backlog.begin_write(Lane::Events).is_some());
        // A resume writes everything again, up to the same limit.
        assert_eq!(backlog.attach([2, 0], false, true), Ok(()));
        (0..32).for_each(|_| write(&mut backlog.lanes[0]));
        assert!(backlog.begin_write(Lane::Events).is_none());
    }

    #[test]
    fn a_resume_goes_on_behind_what_was_taken() {
        let mut backlog = backlog([0; 2]);
        assert_eq!(backlog.attach([3, 1], false, true), Ok(()));
        assert_eq!(waiting(&backlog.lanes[0]), [3, 4, 5]);
        write(&mut backlog.lanes[0]);
        assert_eq!(backlog.attach([3, 1], false, true), Ok(()));
        assert_eq!(waiting(&backlog.lanes[0]), [3, 4, 5], "written again");
        write(&mut backlog.lanes[0]);
        assert_eq!(backlog.acknowledge(&ack(4, 1)), Ok(true));
        assert_eq!(waiting(&backlog.lanes[0]), [4, 5]);
        check_bytes(&backlog);
    }

    /// The first session of an outbox may resume a participant of an earlier process.
    #[test]
    fn the_first_session_starts_with_the_servers_count() {
        let mut backlog = EventBacklog::default();
        backlog.queue(Lane::Events, vec![event(0, 0)]);
        assert_eq!(backlog.attach([70, 7], false, true), Ok(()));
        write(&mut backlog.lanes[0]);
        assert_eq!(backlog.acknowledge(&ack(71, 7)), Ok(true));
        assert_eq!(backlog.kept(), 0);
    }

    /// The remaining pieces are useless, because the first piece was sent as another peer.
    #[test]
    fn half_a_message_is_not_sent_by_somebody_new() {
        let more = PIECE_MORE | PIECE_CONTINUES;
        let mut lane = lane(9, [PIECE_MORE, more, PIECE_CONTINUES, PIECE_MORE, PIECE_CONTINUES]);
        write(&mut lane);
        lane.attach(0, true, true);
        assert_eq!((waiting(&lane), lane.first), (vec![3, 4], 0));
        lane.attach(0, true, true);
        assert_eq!(waiting(&lane), [3, 4], "a message that was not started may be sent");
    }

    /// The server may have had the event that was being written.
    #[test]
    fn a_half_written_event_is_not_sent_by_somebody_new() {
        let mut lane = lane(0, [0; 3]);
        write(&mut lane);
        assert!(lane.begin_write().is_some());
        lane.attach(0, true, true);
        assert_eq!(waiting(&lane), [2]);
    }

    #[test]
    fn events_to_named_peers_stay_in_their_room_instance() {
        let mut lane = lane(0, [0; 3]);
        lane.events[0].to = To::Peer(PeerId(1));
        lane.events[1].to = To::Peers(vec![PeerId(1)]);
        lane.attach(0, true, true);
        assert_eq!(waiting(&lane), [0, 1, 2]);
        lane.attach(0, true, false);
        assert_eq!(waiting(&lane), [2]);
    }
}
