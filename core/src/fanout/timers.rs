//! A queue of the times at which links or rooms are due, so that no scan of all of them is needed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use nucleus_protocol::time::Time;

/// Times with the index of the link or room that is due.
///
/// An entry stays in the queue when the time of its link or room changes. If the new time is later,
/// the owner finds nothing due at the old entry and adds a new one. If the new time is earlier, the
/// owner adds a second entry at once and ignores the old one.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Time, u32)>>);

impl Timers {
    pub(super) fn push(&mut self, at: Time, index: u32) {
        self.0.push(Reverse((at, index)));
    }

    /// Removes and returns the earliest entry if it is due at `now`.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(Time, u32)> {
        let due = self.0.peek().is_some_and(|Reverse((at, _))| *at <= now);
        if !due {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    /// Returns the time of the earliest entry.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}
