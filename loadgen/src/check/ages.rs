//! The age of information: how old the newest message is that a receiver has of a sender.

use std::ops::Range;

use super::times::Times;

/// Time between two samples of the age of one pair, µs. It is no multiple of the time between two
/// messages at any usual rate, so that a pair is not sampled at the same point of every message.
const SAMPLE_INTERVAL: u64 = 97_000;

/// The ages of all pairs of a receiver and a sender over the window.
///
/// The age of a pair at a moment is that moment minus the time at which the newest message that the
/// receiver has received of the sender was due. Before the first message, it is the time for which
/// both have been in the room. Each pair is sampled every 97 ms from the moment at which
/// both are in the room, and only within the window. A message that does not arrive leaves the age
/// growing, whoever withheld or lost it: unlike a latency, an age is no better if less is delivered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ages(Times);

/// A receiver and a sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) receiver: u32,
    pub(super) sender: u32,
    /// The time from which both were in the room, µs.
    pub(super) together: u64,
}

impl Pair {
    /// Returns when the pair is first sampled, µs. The pairs are sampled at different moments.
    fn phase(self) -> u64 {
        let number = u64::from(self.receiver) * 7_919 + u64::from(self.sender) * 104_729;
        number * 1_009 % SAMPLE_INTERVAL
    }
}

impl Ages {
    /// Records the ages of a pair from `span.start` to `span.end` (µs), during which the newest
    /// message was one that was due at `due` (µs); `None` if there was no message yet. Tells `also`
    /// the moment and the age of each sample, µs.
    pub(super) fn record(
        &mut self,
        pair: Pair,
        span: Range<u64>,
        due: Option<u64>,
        mut also: impl FnMut(u64, u64),
    ) {
        let (due, phase) = (due.unwrap_or(pair.together), pair.phase());
        let start = span.start.max(pair.together);
        // Before the window is set, it lies in the far future.
        if start >= span.end {
            return;
        }
        let mut sample = phase + start.saturating_sub(phase).next_multiple_of(SAMPLE_INTERVAL);
        while sample < span.end {
            let age = sample.saturating_sub(due);
            self.0.record(age);
            also(sample, age);
            sample += SAMPLE_INTERVAL;
        }
    }

    /// Adds the samples of another thread.
    pub(crate) fn merge(&mut self, other: &Ages) {
        self.0.merge(&other.0);
    }

    /// Returns the samples, µs.
    pub(crate) fn samples(&self) -> &Times {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Pair = Pair { receiver: 3, sender: 4, together: 1_000_000 };

    #[test]
    fn samples_are_evenly_spread_however_the_time_is_divided() {
        let mut whole = Ages::default();
        whole.record(PAIR, 0..20_000_000, Some(1_000_000), |_, _| {});
        let count = whole.samples().len();
        assert!((195..=196).contains(&count), "one each 97 ms of the 19 s together: {count}");
        let mut divided = Ages::default();
        for start in (0..20_000_000).step_by(33_333) {
            let end = (start + 33_333).min(20_000_000);
            divided.record(PAIR, start..end, Some(1_000_000), |_, _| {});
        }
        assert_eq!(divided.samples(), whole.samples());
    }

    #[test]
    fn before_the_first_message_the_age_counts_from_the_meeting() {
        let mut ages = Ages::default();
        ages.record(PAIR, 2_000_000..4_000_000, None, |_, _| {});
        let samples = ages.samples();
        assert!((20..=21).contains(&samples.len()));
        assert!(
            samples.min() >= 1_000_000 && samples.max() > 2_800_000 && samples.max() < 3_010_000
        );
    }

    #[test]
    fn before_the_window_nothing_is_sampled() {
        let mut ages = Ages::default();
        let far = Range { start: u64::MAX, end: 5_000_000 };
        for span in [far, 5_000_000..5_000_000, 0..PAIR.together] {
            ages.record(PAIR, span, Some(1), |_, _| {});
        }
        assert!(ages.samples().is_empty());
    }

    #[test]
    fn pairs_are_sampled_at_different_moments() {
        let mut phases: Vec<u64> = (0..100)
            .map(|n| Pair { receiver: n / 10, sender: n % 10, together: 0 }.phase())
            .collect();
        phases.sort_unstable();
        phases.dedup();
        assert!(phases.len() > 90 && phases.iter().any(|phase| *phase > 90_000), "{phases:?}");
    }
}
