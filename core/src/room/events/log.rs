//! Reliable events on their way through a room, and the newest of them for those who come back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::groups::Group;
use nucleus_protocol::limits::MAX_EVENT_TARGETS;
use nucleus_protocol::session::Lane;
use nucleus_protocol::time::Time;

use crate::ids::PeerId;
use crate::limits;

/// Whom an event is for, as its sender says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTarget {
    /// Everybody, the sender included.
    All,
    /// Everybody but the sender.
    Others,
    /// Those of these who are in the room.
    Listed(Vec<PeerId>),
    /// The host of this moment, the sender itself if it is that.
    Host,
    /// Those who are in the group at this moment, but for the sender.
    Group(Group),
    /// Everybody but the sender, and whoever comes later.
    Later,
}

/// Whom the room takes an event for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipients {
    All,
    Others,
    /// Each once, in order.
    Listed(Arc<[PeerId]>),
}

impl Recipients {
    /// Those of a list, unless it is longer than an event's may be.
    pub(crate) fn listed(mut listed: Vec<PeerId>) -> Option<Self> {
        if listed.len() > MAX_EVENT_TARGETS {
            return None;
        }
        listed.sort_unstable();
        listed.dedup();
        // A list that named one peer a thousand times takes no more than one that names him once.
        Some(Recipients::Listed(listed.into()))
    }

    /// Whether an event of `from` is for `peer`.
    pub(crate) fn include(&self, from: PeerId, peer: PeerId) -> bool {
        match self {
            Recipients::All => true,
            Recipients::Others => peer != from,
            Recipients::Listed(listed) => listed.binary_search(&peer).is_ok(),
        }
    }
}

/// An event, or a piece of the bulk lane, on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it came.
    pub lane: Lane,
    /// Whom it is for.
    pub target: EventTarget,
    /// The application's channel.
    pub channel: u8,
    /// See [`nucleus_protocol::session::EventUp::piece`].
    pub piece: u8,
    /// Opaque.
    pub payload: Vec<u8>,
}

struct Entry {
    at: Time,
    sequence: u64,
    from: PeerId,
    to: Recipients,
    message: Bytes,
}

impl Entry {
    fn cost(&self) -> usize {
        let listed = match &self.to {
            Recipients::Listed(listed) => size_of_val(&**listed),
            _ => 0,
        };
        self.message.len() + listed + size_of::<Entry>()
    }
}

/// The newest events of a room, kept as long as a peer that was lost may come back.
pub(crate) struct EventLog {
    keep: Duration,
    sequence: u64,
    lanes: [LaneLog; 2],
}

/// One lane of it.
struct LaneLog {
    entries: VecDeque<Entry>,
    bytes: usize,
    limit: usize,
    /// Everything up to this sequence is gone.
    forgotten: u64,
}

impl EventLog {
    pub(crate) fn new(keep: Duration) -> Self {
        let lane = |lane| {
            let limit = match lane {
                Lane::Events => limits::EVENT_LOG_BYTES,
                Lane::Bulk => limits::BULK_LOG_BYTES,
            };
            LaneLog { entries: VecDeque::new(), bytes: 0, limit, forgotten: 0 }
        };
        Self { keep, sequence: 0, lanes: Lane::ALL.map(lane) }
    }

    /// Everything of a lane up to this number is gone.
    pub(crate) fn forgotten(&self, lane: Lane) -> u64 {
        self.lanes[lane.index()].forgotten
    }

    /// Number of the newest event of either lane, 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.sequence
    }

    /// The number for the next event.
    pub(crate) fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Keeps the event of the last number.
    pub(crate) fn push(
        &mut self,
        now: Time,
        lane: Lane,
        from: PeerId,
        to: Recipients,
        message: Bytes,
    ) {
        let entry = Entry { at: now, sequence: self.sequence, from, to, message };
        let lane = &mut self.lanes[lane.index()];
        lane.bytes += entry.cost();
        lane.entries.push_back(entry);
        lane.forget(now, self.keep);
    }

    /// Forgets what is too old or too much.
    pub(crate) fn forget(&mut self, now: Time) {
        self.lanes.iter_mut().for_each(|lane| lane.forget(now, self.keep));
    }

    /// When the oldest event is too old.
    pub(crate) fn due(&self) -> Option<Time> {
        self.lanes.iter().filter_map(|lane| lane.due(self.keep)).min()
    }

    /// What `peer` has missed of a lane since event `last`, and whether that is all of it.
    pub(crate) fn since(&self, lane: Lane, last: u64, peer: PeerId) -> (bool, Vec<Bytes>) {
        let lane = &self.lanes[lane.index()];
        let missed = lane.entries.iter().filter(|e| e.sequence > last);
        let mine = missed.filter(|e| e.to.include(e.from, peer));
        (last >= lane.forgotten, mine.map(|e| e.message.clone()).collect())
    }
}

impl LaneLog {
    fn forget(&mut self, now: Time, keep: Duration) {
        while self.bytes > self.limit || self.due(keep).is_some_and(|at| at <= now) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.cost();
            self.forgotten = oldest.sequence;
        }
    }

    fn due(&self, keep: Duration) -> Option<Time> {
        self.entries.front().map(|oldest| oldest.at + keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(30);

    fn push(log: &mut EventLog, at: u64, to: Recipients, len: usize) {
        push_to(log, Lane::Events, at, to, len);
    }

    fn push_to(log: &mut EventLog, lane: Lane, at: u64, to: Recipients, len: usize) {
        let number = log.number();
        let message = vec![number as u8; len];
        log.push(Time::from_millis(at), lane, PeerId(1), to, message.into());
    }

    fn numbers((complete, missed): (bool, Vec<Bytes>)) -> (bool, Vec<u8>) {
        (complete, missed.iter().map(|m| m[0]).collect())
    }

    #[test]
    fn everybody_gets_what_was_for_him() {
        let mut log = EventLog::new(KEEP);
        let listed = Recipients::listed(vec![PeerId(3), PeerId(2), PeerId(3)]).unwrap();
        let each = [Recipients::All, Recipients::Others, listed];
        each.into_iter().for_each(|to| push(&mut log, 0, to, 9));
        assert_eq!(numbers(log.since(Lane::Events, 0, PeerId(1))), (true, vec![1]));
        assert_eq!(numbers(log.since(Lane::Events, 0, PeerId(2))), (true, vec![1, 2, 3]));
        assert_eq!(numbers(log.since(Lane::Events, 1, PeerId(4))), (true, vec![2]));
        assert_eq!(numbers(log.since(Lane::Events, 3, PeerId(2))), (true, vec![]));
    }

    #[test]
    fn what_is_too_old_or_too_much_is_forgotten_and_said_so() {
        let mut log = EventLog::new(KEEP);
        (0..3).for_each(|n| push(&mut log, n * 20_000, Recipients::All, 9));
        assert_eq!(numbers(log.since(Lane::Events, 0, PeerId(2))), (false, vec![2, 3]));
        assert_eq!(numbers(log.since(Lane::Events, 1, PeerId(2))), (true, vec![2, 3]));
        (0..100).for_each(|_| push(&mut log, 40_000, Recipients::All, 16 << 10));
        assert!(log.lanes[0].bytes <= limits::EVENT_LOG_BYTES);
        let (complete, missed) = numbers(log.since(Lane::Events, 3, PeerId(2)));
        assert!(!complete && missed.last() == Some(&103) && missed.len() < 9);
    }

    #[test]
    fn too_many_targets_are_refused() {
        let listed = |n: u32| Recipients::listed((0..n).map(PeerId).collect());
        assert!(listed(1_024).is_some() && listed(1_025).is_none());
        let repeated = Recipients::listed(vec![PeerId(1); 1_024]);
        assert_eq!(repeated, Recipients::listed(vec![PeerId(1)]));
    }

    /// A lane full of pieces costs nobody an event.
    #[test]
    fn each_lane_is_forgotten_by_itself() {
        let mut log = EventLog::new(KEEP);
        push(&mut log, 0, Recipients::All, 9);
        (0..60).for_each(|_| push_to(&mut log, Lane::Bulk, 1, Recipients::All, 16 << 10));
        push(&mut log, 2, Recipients::All, 9);
        assert_eq!(numbers(log.since(Lane::Events, 0, PeerId(2))), (true, vec![1, 62]));
        let (complete, pieces) = numbers(log.since(Lane::Bulk, 0, PeerId(2)));
        let kept = limits::BULK_LOG_BYTES / (17 << 10);
        assert!(!complete && pieces.last() == Some(&61) && pieces.len() >= kept);
        assert!(log.since(Lane::Bulk, 60, PeerId(2)).0);
        assert_eq!(log.due(), Some(Time::from_millis(0) + KEEP));
    }
}
