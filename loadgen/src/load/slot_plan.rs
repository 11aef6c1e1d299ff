//! How the window of a run is divided for figures over time.

use crate::shared::Window;

/// The most slots of a run. A channel needs 40 KB for a slot on each thread.
const MAX_SLOTS: u64 = 60;
/// The shortest slot, µs: the server's own figures are read once in a slot.
const SHORTEST: u64 = 1_000_000;

/// How the window of a run is divided. By default it is not: nothing is counted over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotPlan {
    pub(crate) count: usize,
    /// µs.
    pub(crate) length: u64,
}

impl SlotPlan {
    /// Divides a window of `duration` (µs).
    pub(crate) fn of(duration: u64) -> Self {
        let length = duration.div_ceil(MAX_SLOTS).max(SHORTEST);
        SlotPlan { count: duration.div_ceil(length) as usize, length }
    }

    /// Returns how long a slot is within a window of `duration` (µs), µs: the last one may be shorter. If a
    /// run is interrupted, the slots behind its end have a length of 0.
    pub(crate) fn length_of(&self, slot: usize, duration: u64) -> u64 {
        duration.saturating_sub(slot as u64 * self.length).min(self.length)
    }

    /// Returns the slot of a time in the window, µs; `None` outside of all slots.
    pub(crate) fn slot(&self, window: Window, time: u64) -> Option<usize> {
        let slot = time.checked_sub(window.start)?.checked_div(self.length)? as usize;
        (slot < self.count).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_of_a_window_has_a_slot_of_a_second_or_longer() {
        for duration in [1, 500_000, 3_000_000, 3_500_000, 59_999_999, 60_000_000, 86_400_000_000] {
            let plan = SlotPlan::of(duration);
            assert!((1..=60).contains(&plan.count) && plan.length >= SHORTEST, "{plan:?}");
            let window = Window { start: 7, end: 7 + duration };
            assert_eq!(plan.slot(window, window.start), Some(0));
            assert_eq!(plan.slot(window, window.end - 1), Some(plan.count - 1), "{duration}");
            assert_eq!(plan.slot(window, 6), None);
            let lengths = (0..plan.count + 2).map(|slot| plan.length_of(slot, duration));
            assert_eq!(lengths.sum::<u64>(), duration);
            assert_eq!(plan.slot(window, 7 + plan.length * plan.count as u64), None);
        }
    }

    #[test]
    fn without_a_plan_there_is_no_slot() {
        assert_eq!(SlotPlan::default().slot(Window { start: 0, end: 10 }, 5), None);
    }
}
