//! The counters of one channel during a run.

use super::ages::Ages;
use super::time_slots::ChannelSlots;
use super::times::Times;

/// Counters of one channel over the window, and its latencies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    /// Messages that arrived, but so late that a client drops them. They are not delivered.
    pub(crate) late: u64,
    pub(crate) superseded: u64,
    pub(crate) suppressed: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupt: u64,
    pub(crate) misrouted: u64,
    /// The time from when a message was due until it arrived, µs.
    pub(crate) latency: Times,
    /// Empty on a channel without an age.
    pub(crate) ages: Ages,
    /// The counts over time, if they are recorded.
    pub(crate) slots: ChannelSlots,
}

impl Tally {
    /// Counts a message that the receiver should not have received.
    pub(super) fn count_mismatch(&mut self, mismatch: Mismatch) {
        match mismatch {
            Mismatch::Misrouted => self.misrouted += 1,
            Mismatch::Corrupt => self.corrupt += 1,
        }
    }

    /// Adds the counts of another tally.
    pub(crate) fn merge(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.late += other.late;
        self.superseded += other.superseded;
        self.suppressed += other.suppressed;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.misrouted += other.misrouted;
        self.latency.merge(&other.latency);
        self.ages.merge(&other.ages);
        self.slots.merge(&other.slots);
    }
}

/// The reason why a receiver should not have received a message that arrived.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mismatch {
    /// The message was not meant for this receiver.
    Misrouted,
    /// No sender sent a message with these bytes.
    Corrupt,
}
