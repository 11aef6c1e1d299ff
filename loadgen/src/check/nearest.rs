//! Who sits near whom: what a server that cannot send everybody everything should send in full.

use crate::load::payload::Source;

/// How many of the nearest are looked at.
pub(crate) const NEAR_K: usize = 40;

/// One receiver's nearest seats.
#[derive(Clone, Debug)]
pub(crate) struct Nearest {
    /// A bit for each of the room's senders.
    bits: Vec<u64>,
}

impl Nearest {
    /// Of a room of `members`; of seats equally far, those with the lower number.
    pub(crate) fn of(receiver: Source, members: u32) -> Self {
        let here = receiver.seat();
        let mut others: Vec<_> = (0..members).filter(|sender| *sender != receiver.sender).collect();
        others.sort_by_key(|sender| {
            let there = Source { sender: *sender, ..receiver }.seat();
            let across = |axis: usize| u64::from(here[axis].abs_diff(there[axis]));
            across(0).pow(2) + across(1).pow(2)
        });
        let mut bits = vec![0; members.div_ceil(64) as usize];
        for sender in others.into_iter().take(NEAR_K) {
            bits[sender as usize / 64] |= 1 << (sender % 64);
        }
        Nearest { bits }
    }

    /// Whether a sender is one of them.
    pub(crate) fn contains(&self, sender: u32) -> bool {
        let word = self.bits.get(sender as usize / 64).copied().unwrap_or(0);
        word >> (sender % 64) & 1 != 0
    }
}

/// Poses from the nearest seats, over the window and all receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NearPoses {
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
}

impl NearPoses {
    /// Adds another's.
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
        // The seat at row 5, place 5, and the circle about it.
        let near = nearest(5 * 32 + 5, 500);
        assert_eq!(near.len(), NEAR_K);
        for around in [4 * 32 + 4, 4 * 32 + 5, 5 * 32 + 6, 5 * 32 + 8, 8 * 32 + 5] {
            assert!(near.contains(&around), "{around}");
        }
        let far = |sender: &u32| (sender % 32).abs_diff(5) > 4 || (sender / 32).abs_diff(5) > 4;
        assert!(!near.iter().any(far), "{near:?}");
    }
}
