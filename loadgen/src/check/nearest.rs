//! Finds the seats that are nearest to a receiver. A server that cannot send every pose to every
//! peer should send all poses from these seats.

use crate::load::payload::Source;

/// How many seats count as near.
pub(crate) const NEAR_K: usize = 40;

/// The senders in the seats nearest to one receiver.
#[derive(Clone, Debug)]
pub(crate) struct Nearest {
    /// A bit for each of the room's senders.
    bits: Vec<u64>,
}

impl Nearest {
    /// Returns the nearest senders in a room of `members`. Of seats at the same distance, the lower
    /// number comes first.
    pub(crate) fn of(receiver: Source, members: u32) -> Self {
        let own_seat = receiver.seat();
        let mut others: Vec<_> = (0..members).filter(|sender| *sender != receiver.sender).collect();
        others.sort_by_key(|sender| {
            let seat = Source { sender: *sender, ..receiver }.seat();
            let distance = |axis: usize| u64::from(own_seat[axis].abs_diff(seat[axis]));
            distance(0).pow(2) + distance(1).pow(2)
        });
        let mut bits = vec![0; members.div_ceil(64) as usize];
        for sender in others.into_iter().take(NEAR_K) {
            bits[sender as usize / 64] |= 1 << (sender % 64);
        }
        Nearest { bits }
    }

    /// Returns whether a sender is among the nearest.
    pub(crate) fn contains(&self, sender: u32) -> bool {
        let word = self.bits.get(sender as usize / 64).copied().unwrap_or(0);
        word >> (sender % 64) & 1 != 0
    }
}

/// Counts of poses from the nearest seats, over the window and all receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NearPoses {
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
}

impl NearPoses {
    /// Adds the counts of another ledger.
    pub(crate) fn merge(&mut self, other: NearPoses) {
        self.expected += other.expected;
        self.delivered += other.delivered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(sender: u32, members: u32) -> Vec<u32> {
        let near = Nearest::of(Source { seed: 1, room: 0, sender }, members);
        (0..members + 100).filter(|sender| near.contains(*sender)).collect()
    }

    #[test]
    fn in_a_small_room_everybody_else_is_near() {
        assert_eq!(nearest(3, 10), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        assert_eq!(nearest(3, 41).len(), 40);
        assert!(nearest(0, 1).is_empty());
    }

    #[test]
    fn in_a_large_one_the_seats_around() {
        // The seat at row 5, column 5, and the circle around it.
        let near = nearest(5 * 32 + 5, 500);
        assert_eq!(near.len(), NEAR_K);
        for around in [4 * 32 + 4, 4 * 32 + 5, 5 * 32 + 6, 5 * 32 + 8, 8 * 32 + 5] {
            assert!(near.contains(&around), "{around}");
        }
        let far = |sender: &u32| (sender % 32).abs_diff(5) > 4 || (sender / 32).abs_diff(5) > 4;
        assert!(!near.iter().any(far), "{near:?}");
    }
}
