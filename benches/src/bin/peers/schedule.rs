//! The schedule: when each peer sends which message. The due time of a message is a pure function
//! of its sender and its sequence, so that a receiver can check the due time.

use std::ops::Range;

use crate::message::Claim;
use crate::rooms::Rooms;

/// 2^32 divided by the golden ratio. Its multiples modulo 2^32 are evenly spread for any range of
/// peers.
const GOLDEN: u32 = 0x9e37_79b9;

/// The schedule of all peers.
pub(crate) struct Schedule {
    pub(crate) rooms: Rooms,
    hz: u32,
    /// The earliest time at which a message can be due, µs.
    pub(crate) start: u64,
    /// The window, µs. Messages that are due in it count.
    pub(crate) window: Range<u64>,
    /// The peers in the order of their phases.
    order: Vec<u32>,
    /// Number of messages that were taken from the schedule so far.
    taken: u64,
}

impl Schedule {
    /// Creates a schedule in which every peer sends `hz` messages a second from `start` (µs) on.
    /// The window of `seconds` begins after `warm_up` (µs), and its end ends the schedule.
    pub(crate) fn new(rooms: Rooms, hz: u32, start: u64, warm_up: u64, seconds: f64) -> Self {
        let mut order: Vec<u32> = (0..rooms.peers).collect();
        order.sort_by_key(|peer| peer.wrapping_mul(GOLDEN));
        let begin = start + warm_up;
        let window = begin..begin + (seconds * 1e6) as u64;
        Schedule { rooms, hz, start, window, order, taken: 0 }
    }

    /// Returns when a message is due, µs. Phases are evenly spread over all peers and over the
    /// peers of each room.
    pub(crate) fn due(&self, sender: u32, sequence: u16) -> u64 {
        let phase = u64::from(sender.wrapping_mul(GOLDEN)) * (1_000_000 / u64::from(self.hz));
        self.start + u64::from(sequence) * 1_000_000 / u64::from(self.hz) + (phase >> 32)
    }

    /// Returns when the next message is due, µs; `None` after the window.
    pub(crate) fn next_due(&self) -> Option<u64> {
        Some(self.next().due).filter(|due| *due < self.window.end)
    }

    /// Returns the next message if it is due. The schedule then advances.
    pub(crate) fn take(&mut self, now: u64) -> Option<Claim> {
        let claim = self.next();
        let due = claim.due <= now && claim.due < self.window.end;
        self.taken += u64::from(due);
        due.then_some(claim)
    }

    fn next(&self) -> Claim {
        let peers = self.order.len() as u64;
        let sender = self.order[(self.taken % peers) as usize];
        let sequence = (self.taken / peers) as u16;
        Claim { sender, sequence, due: self.due(sender, sequence) }
    }

    /// Returns a number greater than every sequence.
    pub(crate) fn sequences(&self) -> u64 {
        (self.window.end - self.start) * u64::from(self.hz) / 1_000_000 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_speaks_in_time_and_in_order() {
        let rooms = Rooms { peers: 25, size: 10 };
        let mut schedule = Schedule::new(rooms, 60, 1_000, 500_000, 1.0);
        let (mut last, mut counts) = (0, vec![0; 25]);
        while let Some(claim) = schedule.take(u64::MAX) {
            assert!(claim.due >= last && u64::from(claim.sequence) < schedule.sequences());
            last = claim.due;
            counts[claim.sender as usize] += 1;
        }
        assert!(counts.iter().all(|count| (89..=91).contains(count)), "{counts:?}");
        // The members of a room must not all send at the same time.
        let mut phases: Vec<u64> = (0..10).map(|peer| schedule.due(peer, 0)).collect();
        phases.sort_unstable();
        assert!(phases.windows(2).all(|pair| (600..3_000).contains(&(pair[1] - pair[0]))));
    }
}
