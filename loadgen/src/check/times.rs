//! Histograms of times.

use hdrhistogram::Histogram;

/// The longest time that a histogram tells from longer ones, µs.
const LONGEST: u64 = 60_000_000;

/// Creates a histogram of times in µs, with three significant digits. Times over a minute count as
/// a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    let Ok(histogram) = Histogram::new_with_bounds(1, LONGEST, 3) else {
        unreachable!("1 to 60,000,000 with three digits are bounds of a histogram")
    };
    histogram
}
