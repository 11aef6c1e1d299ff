//! Counts what came of deliveries.

use std::sync::atomic::{AtomicU64, Ordering};

/// What came of deliveries since the start.
#[derive(Debug, Default)]
pub struct DeliveryCounters([AtomicU64; 5]);

/// What came of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver has taken it.
    Delivered,
    /// The try has failed, and there will be another one.
    Retried,
    /// The last try has failed, or the receiver is gone for good.
    GivenUp,
    /// Too many deliveries of the webhook waited.
    Overflowed,
    /// It waited until it was too old, and was deleted: its webhook is off, or no server can sign for it.
    Expired,
}

impl DeliveryOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] =
        [Self::Delivered, Self::Retried, Self::GivenUp, Self::Overflowed, Self::Expired];

    /// Returns the name in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::GivenUp => "given_up",
            Self::Overflowed => "overflowed",
            Self::Expired => "expired",
        }
    }
}

impl DeliveryCounters {
    /// Counts deliveries.
    pub fn add(&self, outcome: DeliveryOutcome, count: u64) {
        self.0[outcome as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the number of deliveries with an outcome.
    pub fn get(&self, outcome: DeliveryOutcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}
