//! A queue of times at which to look at a link, never a scan of all of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use nucleus_protocol::time::Time;

/// Entries are not removed when a link's deadline moves: an early look finds nothing due and asks
/// for the next one, and an entry that the link no longer waits for is passed over.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Time, u32)>>);

impl Timers {
    pub(super) fn push(&mut self, at: Time, link: u32) {
        self.0.push(Reverse((at, link)));
    }

    pub(super) fn pop_due(&mut self, now: Time) -> Option<(Time, u32)> {
        let due = self.0.peek().is_some_and(|Reverse((at, _))| *at <= now);
        if !due {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}
