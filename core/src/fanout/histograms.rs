//! The histograms of a shard, plain numbers that the shell publishes.

use crate::histogram::{Histogram, HistogramScale};

/// The histograms of a shard since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanoutHistograms {
    /// How long the server had each relayed message, from its arrival until it was handed on for its
    /// last recipient, µs.
    pub relay_latency: Histogram,
    /// The tick, noted at each report of the load, µs.
    pub tick: Histogram,
    /// Messages in each datagram that has messages.
    pub messages_per_datagram: Histogram,
}

/// The longest tick is 16 ms. At 50 ms people notice the delay, at 250 ms they talk at cross purposes.
const RELAY_LATENCY: HistogramScale = HistogramScale::micros(&[
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 1_000_000,
]);
/// The adaptive tick has these lengths.
const TICK: HistogramScale = HistogramScale::micros(&[0, 2_000, 5_000, 10_000, 16_000]);
/// A datagram holds some fifty of the smallest messages.
const MESSAGES: HistogramScale = HistogramScale::things(&[1, 2, 4, 8, 16, 32, 64]);

impl Default for FanoutHistograms {
    fn default() -> Self {
        Self {
            relay_latency: Histogram::new(RELAY_LATENCY),
            tick: Histogram::new(TICK),
            messages_per_datagram: Histogram::new(MESSAGES),
        }
    }
}

impl FanoutHistograms {
    /// The metric name and the explanation of each histogram, in order.
    pub const METRICS: [(&str, &str); 3] = [
        (
            "relay_latency_seconds",
            "Time in the server of each relayed message, from its arrival until it was handed on for its last recipient.",
        ),
        (
            "tick_seconds",
            "Tick: the longest time that a message waits to share a datagram with others, noted about ten times a second.",
        ),
        ("messages_per_datagram", "Messages in each datagram that was sent with messages."),
    ];

    /// Returns the histograms, in the order of [`Self::METRICS`].
    pub fn all(&self) -> [&Histogram; Self::METRICS.len()] {
        [&self.relay_latency, &self.tick, &self.messages_per_datagram]
    }
}
