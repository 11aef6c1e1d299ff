//! Histograms for the page of metrics: few buckets, plain numbers.

/// Most bounds of a histogram. Each bound is a series of the page, so there are few.
pub const MAX_BOUNDS: usize = 10;

/// The values in each bucket of a histogram.
pub type BucketCounts = [u64; MAX_BOUNDS + 1];

/// Counts values by their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    scale: HistogramScale,
    /// Values in each bucket. That behind the last bound has the values over all bounds.
    counts: BucketCounts,
    sum: u64,
}

/// The buckets of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistogramScale {
    /// The largest value of each bucket, rising. At most [`MAX_BOUNDS`].
    pub bounds: &'static [u64],
    /// What one unit of the metric is in values: 1,000,000 for values in µs that are shown in
    /// seconds, 1 for numbers of things.
    pub unit: u32,
}

impl HistogramScale {
    /// Makes a scale for times in µs, which are shown in seconds.
    pub const fn micros(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1_000_000)
    }

    /// Makes a scale for numbers of things.
    pub const fn things(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1)
    }

    const fn new(bounds: &'static [u64], unit: u32) -> Self {
        assert!(bounds.len() <= MAX_BOUNDS);
        Self { bounds, unit }
    }

    /// Returns the index of the bucket of a value.
    pub fn bucket(&self, value: u64) -> usize {
        // There are so few bounds that counting them is faster than searching.
        self.bounds.iter().take_while(|bound| **bound < value).count()
    }
}

impl Histogram {
    /// Makes a histogram that has counted nothing.
    pub const fn new(scale: HistogramScale) -> Self {
        Self { scale, counts: [0; MAX_BOUNDS + 1], sum: 0 }
    }

    /// Makes a histogram that has counted these values: those in each bucket, and the sum of all.
    pub const fn counted(scale: HistogramScale, counts: BucketCounts, sum: u64) -> Self {
        Self { scale, counts, sum }
    }

    /// Counts a value.
    pub fn observe(&mut self, value: u64) {
        self.counts[self.scale.bucket(value)] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Counts what `other`, which has the same scale, has counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Returns the buckets.
    pub fn scale(&self) -> HistogramScale {
        self.scale
    }

    /// Returns the number of values in each bucket: as many as there are bounds, and one more for
    /// the values over all bounds.
    pub fn counts(&self) -> &[u64] {
        &self.counts[..=self.scale.bounds.len()]
    }

    /// Returns the sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let scale = HistogramScale::micros(&[0, 500, 1_000]);
        let mut histogram = Histogram::new(scale);
        for value in [0, 1, 500, 501, 1_000, 1_001, u64::MAX] {
            histogram.observe(value);
        }
        assert_eq!(histogram.counts(), [1, 2, 2, 2]);
        assert_eq!(histogram.sum(), u64::MAX, "the sum does not wrap");
    }

    #[test]
    fn histograms_add_up() {
        let scale = HistogramScale::things(&[1, 2]);
        let mut all = Histogram::new(scale);
        let one = Histogram::counted(scale, [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0], 20);
        (0..2).for_each(|_| all.add(&one));
        assert_eq!((all.counts(), all.sum()), (&[2, 4, 6][..], 40));
    }
}
