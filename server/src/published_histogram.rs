//! A histogram that other threads read: an array of atomics.

use std::sync::atomic::{AtomicU64, Ordering};

use nucleus_core::histogram::{Histogram, HistogramScale, MAX_BOUNDS};

/// A histogram that other threads read. Its numbers are read one by one, so a reader may see a value in a
/// bucket and not yet in the sum.
#[derive(Debug)]
pub struct PublishedHistogram {
    scale: HistogramScale,
    counts: [AtomicU64; MAX_BOUNDS + 1],
    sum: AtomicU64,
}

impl PublishedHistogram {
    /// Makes a histogram that has counted nothing.
    pub fn new(scale: HistogramScale) -> Self {
        Self { scale, counts: Default::default(), sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        self.counts[self.scale.bucket(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Takes over what `histogram`, which has the same scale, has counted.
    pub fn publish(&self, histogram: &Histogram) {
        for (published, count) in self.counts.iter().zip(histogram.counts()) {
            published.store(*count, Ordering::Relaxed);
        }
        self.sum.store(histogram.sum(), Ordering::Relaxed);
    }

    /// Returns what was counted.
    pub fn read(&self) -> Histogram {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Histogram::counted(self.scale, counts, self.sum.load(Ordering::Relaxed))
    }
}
