//! The log of the newest events, for participants that resume.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::session::Lane;
use nucleus_protocol::time::Time;

use crate::ids::PeerId;
use crate::limits;
use crate::room::members::Recipients;

/// An event in the log.
struct LogEntry {
    at: Time,
    sequence: u64,
    from: PeerId,
    to: Recipients,
    message: Bytes,
}

impl LogEntry {
    /// Returns the bytes that the entry takes in memory.
    fn cost(&self) -> usize {
        let listed = match &self.to {
            Recipients::Listed(listed) => size_of_val(&**listed),
            _ => 0,
        };
        self.message.len() + listed + size_of::<LogEntry>()
    }
}

/// The newest events of a room. An event is kept as long as a participant with a lost session may
/// resume.
pub(super) struct EventLog {
    /// How long an event is kept.
    max_age: Duration,
    /// The sequence of the newest event.
    sequence: u64,
    lanes: [LaneLog; 2],
}

/// The events of one lane, oldest first.
struct LaneLog {
    entries: VecDeque<LogEntry>,
    /// Bytes of all entries.
    bytes: usize,
    /// The most bytes that the lane keeps.
    max_bytes: usize,
    /// The sequence of the newest event that was dropped, 0 for none.
    dropped: u64,
}

/// The events of one lane that a peer has missed.
pub(crate) struct Missed {
    /// Whether `messages` is all of them. False: the log has dropped some.
    pub(crate) complete: bool,
    pub(crate) messages: Vec<Bytes>,
}

impl EventLog {
    pub(super) fn new(max_age: Duration) -> Self {
        let lane = |lane| {
            let max_bytes = match lane {
                Lane::Events => limits::EVENT_LOG_BYTES,
                Lane::Bulk => limits::BULK_LOG_BYTES,
            };
            LaneLog { entries: VecDeque::new(), bytes: 0, max_bytes, dropped: 0 }
        };
        Self { max_age, sequence: 0, lanes: Lane::ALL.map(lane) }
    }

    /// Returns the sequence of the newest event that a lane has dropped, 0 for none.
    pub(super) fn dropped(&self, lane: Lane) -> u64 {
        self.lanes[lane.index()].dropped
    }

    /// Returns the sequence of the newest event on either lane, 0 before the first.
    pub(super) fn newest(&self) -> u64 {
        self.sequence
    }

    /// Returns the sequence for the next event.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Adds the event with the sequence that [`Self::next_sequence`] returned last.
    pub(super) fn push(
        &mut self,
        now: Time,
        lane: Lane,
        from: PeerId,
        to: Recipients,
        message: Bytes,
    ) {
        let entry = LogEntry { at: now, sequence: self.sequence, from, to, message };
        let lane = &mut self.lanes[lane.index()];
        lane.bytes += entry.cost();
        lane.entries.push_back(entry);
        lane.drop_old(now, self.max_age);
    }

    /// Drops events that are too old.
    pub(super) fn drop_old(&mut self, now: Time) {
        self.lanes.iter_mut().for_each(|lane| lane.drop_old(now, self.max_age));
    }

    /// Returns the time from which the oldest event is too old.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.lanes.iter().filter_map(|lane| lane.deadline(self.max_age)).min()
    }

    /// Returns the events of a lane after event `last` whose recipients include `peer`.
    pub(super) fn since(&self, lane: Lane, last: u64, peer: PeerId) -> Missed {
        let lane = &self.lanes[lane.index()];
        let newer = lane.entries.iter().filter(|e| e.sequence > last);
        let missed = newer.filter(|e| e.to.include(e.from, peer));
        let messages = missed.map(|e| e.message.clone()).collect();
        Missed { complete: last >= lane.dropped, messages }
    }
}

impl LaneLog {
    /// Drops the oldest events while they are too old, or too many for the lane.
    fn drop_old(&mut self, now: Time, max_age: Duration) {
        while self.bytes > self.max_bytes || self.deadline(max_age).is_some_and(|at| at <= now) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.cost();
            self.dropped = oldest.sequence;
        }
    }

    fn deadline(&self, max_age: Duration) -> Option<Time> {
        self.entries.front().map(|oldest| oldest.at + max_age)
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
        let sequence = log.next_sequence();
        let message = vec![sequence as u8; len];
        log.push(Time::from_millis(at), lane, PeerId(1), to, message.into());
    }

    /// Returns whether the events are complete, and the sequence of each message.
    fn sequences(missed: Missed) -> (bool, Vec<u8>) {
        (missed.complete, missed.messages.iter().map(|message| message[0]).collect())
    }

    #[test]
    fn everybody_gets_what_was_for_him() {
        let mut log = EventLog::new(KEEP);
        let listed = Recipients::listed(vec![PeerId(3), PeerId(2), PeerId(3)]).unwrap();
        let each = [Recipients::All, Recipients::Others, listed];
        each.into_iter().for_each(|to| push(&mut log, 0, to, 9));
        assert_eq!(sequences(log.since(Lane::Events, 0, PeerId(1))), (true, vec![1]));
        assert_eq!(sequences(log.since(Lane::Events, 0, PeerId(2))), (true, vec![1, 2, 3]));
        assert_eq!(sequences(log.since(Lane::Events, 1, PeerId(4))), (true, vec![2]));
        assert_eq!(sequences(log.since(Lane::Events, 3, PeerId(2))), (true, vec![]));
    }

    #[test]
    fn what_is_too_old_or_too_much_is_forgotten_and_said_so() {
        let mut log = EventLog::new(KEEP);
        (0..3).for_each(|n| push(&mut log, n * 20_000, Recipients::All, 9));
        assert_eq!(sequences(log.since(Lane::Events, 0, PeerId(2))), (false, vec![2, 3]));
        assert_eq!(sequences(log.since(Lane::Events, 1, PeerId(2))), (true, vec![2, 3]));
        (0..100).for_each(|_| push(&mut log, 40_000, Recipients::All, 16 << 10));
        assert!(log.lanes[0].bytes <= limits::EVENT_LOG_BYTES);
        let (complete, missed) = sequences(log.since(Lane::Events, 3, PeerId(2)));
        assert!(!complete && missed.last() == Some(&103) && missed.len() < 9);
    }

    /// Many pieces on the bulk lane do not push events out of the log.
    #[test]
    fn each_lane_is_forgotten_by_itself() {
        let mut log = EventLog::new(KEEP);
        push(&mut log, 0, Recipients::All, 9);
        (0..60).for_each(|_| push_to(&mut log, Lane::Bulk, 1, Recipients::All, 16 << 10));
        push(&mut log, 2, Recipients::All, 9);
        assert_eq!(sequences(log.since(Lane::Events, 0, PeerId(2))), (true, vec![1, 62]));
        let (complete, pieces) = sequences(log.since(Lane::Bulk, 0, PeerId(2)));
        let kept = limits::BULK_LOG_BYTES / (17 << 10);
        assert!(!complete && pieces.last() == Some(&61) && pieces.len() >= kept);
        assert!(log.since(Lane::Bulk, 60, PeerId(2)).complete);
        assert_eq!(log.deadline(), Some(Time::from_millis(0) + KEEP));
    }
}
