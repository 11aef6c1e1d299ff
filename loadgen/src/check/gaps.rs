//! Measures how long a receiver waited for the next pose of a sender. A mean would hide an avatar
//! that stands still for a second.

use crate::shared::Window;

/// Gaps longer than this are counted in [`Gaps::over_1s`], µs.
const LONG_GAP: u64 = 1_000_000;

/// The gaps between two poses of one sender at one receiver within the window, over all pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// The longest gap, µs.
    pub(crate) max: u64,
    /// Gaps over one second.
    pub(crate) over_1s: u64,
}

impl Gaps {
    /// Counts the gap that ends with a pose that arrived at `arrival`, and sets `last` to
    /// `arrival`. Before the call, `last` is the arrival of the pair's previous pose, or 0.
    /// `together` is the time from which both sender and receiver were in the room. All times are
    /// in µs.
    pub(crate) fn arrival(&mut self, last: &mut u64, together: u64, arrival: u64, window: Window) {
        if arrival >= window.end {
            return;
        }
        if arrival >= window.start {
            self.note(*last, together, arrival, window);
        }
        // The kernel's time stamps may go back when its clock is set.
        *last = (*last).max(arrival);
    }

    /// Counts the gap from a pair's last pose to the end of the window.
    pub(crate) fn close(&mut self, last: u64, together: u64, window: Window) {
        if window.start < window.end {
            self.note(last, together, window.end, window);
        }
    }

    /// Counts a gap that ended at `until`. A gap starts at the start of the window at the earliest.
    /// If the sender or the receiver joined after the start of the window, the pair's first gap
    /// starts at its first pose.
    fn note(&mut self, last: u64, together: u64, until: u64, window: Window) {
        if last < window.start && together >= window.start {
            return;
        }
        let gap = until.saturating_sub(last.max(window.start));
        self.max = self.max.max(gap);
        self.over_1s += u64::from(gap > LONG_GAP);
    }

    /// Adds the gaps of other pairs of sender and receiver.
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
        assert_eq!(
            gaps(1, &[19_500_000]),
            (9_500_000, 1),
            "the gap from the window's start to the first pose"
        );
        assert_eq!(
            gaps(1, &[10_500_000]),
            (9_500_000, 1),
            "the gap from the last pose to the window's end"
        );
        assert_eq!(gaps(1, &[]), (10_000_000, 1), "no pose arrived in the window");
        let exact: Vec<_> = (10..=20).map(|n| n * 1_000_000).collect();
        assert_eq!(
            gaps(1, &exact),
            (1_000_000, 0),
            "a gap of exactly one second is not counted as longer"
        );
        assert_eq!(
            gaps(1, &[25_000_000]),
            (10_000_000, 1),
            "a pose after the window does not end the gap"
        );
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
