//! How long a receiver had to do without a sender's poses: a mean hides a second of standing still.

use crate::shared::Window;

/// µs; a gap over it is counted for itself.
const LONG_GAP: u64 = 1_000_000;

/// The longest time between two poses of one sender at one receiver within the window, over all
/// pairs, and how many of those times were over a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// µs.
    pub(crate) max: u64,
    pub(crate) over_1s: u64,
}

impl Gaps {
    /// A pose arrived at `arrival`, the pair's previous one at `last` (0 before the first), which is
    /// brought up to date. The two are `together` since then. All in µs.
    pub(crate) fn arrival(&mut self, last: &mut u64, together: u64, arrival: u64, window: Window) {
        if arrival >= window.end {
            return;
        }
        if arrival >= window.start {
            self.note(*last, together, arrival, window);
        }
        // The kernel's stamps may go back when its clock is set.
        *last = (*last).max(arrival);
    }

    /// The window has ended: what stands open is a gap up to its end.
    pub(crate) fn close(&mut self, last: u64, together: u64, window: Window) {
        if window.start < window.end {
            self.note(last, together, window.end, window);
        }
    }

    /// A gap counts from the window's start, or from the first arrival of two that were not together
    /// by then.
    fn note(&mut self, last: u64, together: u64, until: u64, window: Window) {
        if last < window.start && together >= window.start {
            return;
        }
        let gap = until.saturating_sub(last.max(window.start));
        self.max = self.max.max(gap);
        self.over_1s += u64::from(gap > LONG_GAP);
    }

    /// Adds another's.
    pub(crate) fn merge(&mut self, other: Gaps) {
        self.max = self.max.max(other.max);
        self.over_1s += other.over_1s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start: 10_000_000, end: 20_000_000 };

    fn gaps(together: u64, arrivals: &[u64]) -> (u64, u64) {
        let (mut gaps, mut last) = (Gaps::default(), 0);
        for arrival in arrivals {
            gaps.arrival(&mut last, together, *arrival, WINDOW);
        }
        gaps.close(last, together, WINDOW);
        (gaps.max, gaps.over_1s)
    }

    #[test]
    fn between_arrivals_and_to_both_ends_of_the_window() {
        let steady: Vec<_> = (0..300).map(|n| 5_000_000 + n * 100_000).collect();
        assert_eq!(gaps(1, &steady), (100_000, 0));
        assert_eq!(gaps(1, &[9_000_000, 12_000_000, 19_500_000, 21_000_000]), (7_500_000, 2));
        assert_eq!(gaps(1, &[19_500_000]), (9_500_000, 1), "from the start to the first");
        assert_eq!(gaps(1, &[10_500_000]), (9_500_000, 1), "from the last to the end");
        assert_eq!(gaps(1, &[]), (10_000_000, 1), "nothing at all");
        let exact: Vec<_> = (10..=20).map(|n| n * 1_000_000).collect();
        assert_eq!(gaps(1, &exact), (1_000_000, 0), "a second is not over a second");
        assert_eq!(gaps(1, &[25_000_000]), (10_000_000, 1), "after the window is too late");
    }

    #[test]
    fn who_came_later_is_missed_from_its_first_pose_on() {
        assert_eq!(gaps(10_000_000, &[]), (0, 0));
        assert_eq!(gaps(12_000_000, &[15_000_000, 15_200_000]), (4_800_000, 1));
    }

    #[test]
    fn the_worst_counts_of_several() {
        let mut all = Gaps { max: 5, over_1s: 1 };
        all.merge(Gaps { max: 3, over_1s: 2 });
        assert_eq!(all, Gaps { max: 5, over_1s: 3 });
    }
}
