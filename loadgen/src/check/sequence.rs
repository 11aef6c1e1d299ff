//! Sequence numbers: extends the 16 bits of the wire to 64, and tells which numbers are duplicates.

/// Extends the 16 bits `wire` to the full number, given the newest number sent. No newer number can
/// arrive. If `wire` is ahead of `newest_sent`, the result is therefore a number far in the past,
/// or `None` if that would be negative.
pub(crate) fn unwrap(newest_sent: u64, wire: u16) -> Option<u64> {
    let behind = (newest_sent as u16).wrapping_sub(wire);
    newest_sent.checked_sub(behind.into())
}

/// Records which numbers of one sender on one channel a receiver has received: the newest number
/// and the 127 before it. At 90 Hz these are the messages of 1.4 s, and messages that arrive later
/// than that do not count. The struct is packed, because a room has one for each pair of members.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(8))]
pub(crate) struct SequenceWindow {
    /// The newest number + 1; 0 before the first.
    next: u64,
    /// Bit n is set if the number `next - 1 - n` was received.
    bits: u128,
}

/// How a number relates to the numbers received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// The newest number so far.
    Newest,
    /// A new number, but a newer one arrived first.
    Reordered,
    /// A number that arrived before.
    Duplicate,
    /// A number older than the window: nobody can tell whether it arrived before.
    Ancient,
}

impl Novelty {
    /// Returns whether the number is new.
    pub(crate) fn is_new(self) -> bool {
        matches!(self, Novelty::Newest | Novelty::Reordered)
    }
}

impl SequenceWindow {
    /// Returns the newest number; `None` before the first.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Records a number that arrived.
    pub(crate) fn record(&mut self, number: u64) -> Novelty {
        if number >= self.next {
            let ahead = number + 1 - self.next;
            self.bits = if ahead >= 128 { 0 } else { self.bits << ahead };
            self.bits |= 1;
            self.next = number + 1;
            return Novelty::Newest;
        }
        let behind = self.next - 1 - number;
        if behind >= 128 {
            return Novelty::Ancient;
        }
        let bit = 1 << behind;
        if self.bits & bit != 0 {
            return Novelty::Duplicate;
        }
        self.bits |= bit;
        Novelty::Reordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_across_the_edge() {
        assert_eq!(unwrap(0, 0), Some(0));
        assert_eq!(unwrap(65_536, 65_535), Some(65_535));
        assert_eq!(unwrap(65_540, 4), Some(65_540));
        assert_eq!(unwrap(131_080, 0xfff0), Some(131_056));
        assert_eq!(unwrap(5, 6), None, "a number newer than the newest sent");
        for newest in [0u64, 1, 65_534, 65_535, 65_536, 70_000, 1 << 40] {
            for number in newest.saturating_sub(60_000)..=newest {
                assert_eq!(unwrap(newest, number as u16), Some(number));
            }
        }
    }

    #[test]
    fn tells_new_from_seen() {
        let mut seen = SequenceWindow::default();
        let numbers = [0, 1, 3, 2, 2, 3, 130, 3, 2, 500, 499, 499, 372, 373];
        use Novelty::*;
        let expected = [
            Newest, Newest, Newest, Reordered, Duplicate, Duplicate, Newest, Duplicate, Ancient,
            Newest, Reordered, Duplicate, Ancient, Reordered,
        ];
        assert_eq!(numbers.map(|number| seen.record(number)), expected);
    }

    #[test]
    fn counts_each_number_once_in_any_order() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut numbers: Vec<u64> = (0..1_000).chain((0..1_000).step_by(3)).collect();
        numbers.sort_unstable();
        for block in numbers.chunks_mut(40) {
            rng.shuffle(block);
        }
        let mut seen = SequenceWindow::default();
        assert_eq!(numbers.iter().filter(|n| seen.record(**n).is_new()).count(), 1_000);
    }
}
