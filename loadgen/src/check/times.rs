//! Histograms of times.

use std::ops::Deref;

use hdrhistogram::Histogram;

/// The longest time that a histogram tells from longer ones, µs.
const LONGEST: u64 = 60_000_000;

/// A histogram of times in µs, with three significant digits. Times over a minute count as a
/// minute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let Ok(histogram) = Histogram::new_with_bounds(1, LONGEST, 3) else {
            unreachable!("1 to 60,000,000 with three digits are bounds of a histogram")
        };
        Times(histogram)
    }
}

impl Times {
    /// Creates a histogram with two significant digits, in an eighth of the memory.
    pub(crate) fn coarse() -> Self {
        let Ok(histogram) = Histogram::new_with_bounds(1, LONGEST, 2) else {
            unreachable!("1 to 60,000,000 with two digits are bounds of a histogram")
        };
        Times(histogram)
    }

    /// Records a time, µs.
    pub(crate) fn record(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    /// Adds the times of another histogram.
    pub(crate) fn merge(&mut self, other: &Times) {
        // Both histograms have the same bounds, so this cannot fail.
        let _ = self.0.add(&other.0);
    }
}

impl Deref for Times {
    type Target = Histogram<u64>;

    fn deref(&self) -> &Histogram<u64> {
        &self.0
    }
}
