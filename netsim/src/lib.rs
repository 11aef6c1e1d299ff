//! A seeded network inside one process, for tests and for the load generator's `--network`.
//!
//! [`Pipe`] is one direction of a network. Its [`Conditions`] decide whether an item is delayed,
//! duplicated or lost. [`SimPeer`] is a peer behind a NAT: two pipes, and an address that may
//! change.
//!
//! The caller drives both like the state machines of [`nucleus_protocol`]: it passes inputs with
//! the time ([`nucleus_protocol::time::Time`]), and polls outputs at their deadline. Nothing here
//! reads a clock. The same seed and the same inputs give the same outputs, so that a test which
//! prints its seed can be repeated.

mod peer;
mod pipe;

use std::time::Duration;

pub use peer::{SimPeer, SimPeerCounters};
pub use pipe::{MAX_IN_FLIGHT, Pipe, PipeCounters};

/// A Gilbert-Elliott loss model. The network is in a good or a bad state, and may change the state
/// after each item. All four fields are probabilities, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Probability that an item is lost in the good state.
    pub loss_good: f64,
    /// Probability that an item is lost in the bad state.
    pub loss_bad: f64,
    /// Probability that the good state turns bad after an item.
    pub good_to_bad: f64,
    /// Probability that the bad state turns good after an item.
    pub bad_to_good: f64,
}

impl Loss {
    /// No loss.
    pub const NONE: Loss =
        Loss { loss_good: 0.0, loss_bad: 0.0, good_to_bad: 0.0, bad_to_good: 1.0 };

    /// Returns a model that loses every item with the same probability, independent of other items.
    pub const fn independent(probability: f64) -> Self {
        Self { loss_good: probability, loss_bad: probability, ..Self::NONE }
    }

    /// Returns a model that loses items in bursts. `mean_loss` is the share of lost items (0 to 1),
    /// `mean_burst_len` the mean number of items in a burst (at least 1).
    ///
    /// At least one item arrives between two bursts. If bursts of this length cannot reach the
    /// share, the bursts are longer, and the share is kept.
    pub fn bursts(mean_loss: f64, mean_burst_len: f64) -> Self {
        if mean_loss <= 0.0 {
            return Self::NONE;
        }
        if mean_loss >= 1.0 {
            return Self::independent(1.0);
        }
        let odds = mean_loss / (1.0 - mean_loss);
        let bad_to_good = (1.0 / mean_burst_len.max(1.0)).min(1.0 / odds);
        Self {
            loss_good: 0.0,
            loss_bad: 1.0,
            good_to_bad: (odds * bad_to_good).min(1.0),
            bad_to_good,
        }
    }

    /// Returns the share of items for which the network is in the bad state, in the long run (0 to
    /// 1).
    pub fn bad_share(&self) -> f64 {
        let changes = self.good_to_bad + self.bad_to_good;
        if changes > 0.0 { self.good_to_bad / changes } else { 0.0 }
    }

    /// Returns the share of items that are lost, in the long run (0 to 1).
    pub fn mean(&self) -> f64 {
        let bad = self.bad_share();
        bad * self.loss_bad + (1.0 - bad) * self.loss_good
    }
}

/// The conditions of one direction of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Smallest delay of an item.
    pub delay_min: Duration,
    /// Largest delay of an item. Delays are distributed evenly from `delay_min` on. Items keep
    /// their order: an item with a short delay waits for the items before it.
    pub delay_max: Duration,
    /// The loss model.
    pub loss: Loss,
    /// Share of items that are duplicated (0 to 1). Each copy has its own delay.
    pub duplicate: f64,
    /// Share of items that get an extra [`Conditions::REORDER_DELAY`], during which later items
    /// overtake them (0 to 1).
    pub reorder: f64,
    /// Bandwidth of the bottleneck in bits a second; `None` for no limit.
    pub bandwidth_bps: Option<u64>,
    /// Bytes that may wait in front of the bottleneck. Further items are dropped (tail drop).
    pub queue_bytes: usize,
    /// Interval at which the peer's address changes. [`SimPeer`] uses the value of its direction to
    /// the server, and owners of real sockets use it too. A pipe has no address.
    pub new_address_every: Option<Duration>,
}

impl Conditions {
    /// A perfect network: items arrive at once and in order.
    pub const CLEAN: Conditions = Conditions {
        delay_min: Duration::ZERO,
        delay_max: Duration::ZERO,
        loss: Loss::NONE,
        duplicate: 0.0,
        reorder: 0.0,
        bandwidth_bps: None,
        queue_bytes: 256 << 10,
        new_address_every: None,
    };

    /// Smallest and largest extra delay of a reordered item: long enough for the next item to
    /// overtake it if items are sent at 20 Hz or more.
    pub const REORDER_DELAY: (Duration, Duration) =
        (Duration::from_millis(50), Duration::from_millis(80));

    /// The names of all presets, see [`Conditions::preset`].
    pub const PRESETS: [&str; 6] = ["clean", "wifi", "lossy", "far", "awful", "roaming"];

    /// Returns the preset with this name, meant for both directions, or `None` for an unknown name.
    pub fn preset(name: &str) -> Option<Self> {
        let conditions = match name {
            "clean" => Self::CLEAN,
            "wifi" => Self::delayed(5, 30, Loss::bursts(0.01, 3.0)),
            "lossy" => Self {
                duplicate: 0.01,
                reorder: 0.02,
                ..Self::delayed(30, 150, Loss::bursts(0.05, 3.0))
            },
            "far" => Self::delayed(70, 130, Loss::independent(0.01)),
            "awful" => Self::delayed(100, 200, Loss::bursts(0.10, 5.0)),
            "roaming" => Self {
                new_address_every: Some(Duration::from_secs(5)),
                ..Self::delayed(5, 30, Loss::bursts(0.01, 3.0))
            },
            _ => return None,
        };
        Some(conditions)
    }

    /// Returns conditions with a delay between two bounds in milliseconds and with loss, and
    /// otherwise [`Conditions::CLEAN`].
    pub fn delayed(min_ms: u64, max_ms: u64, loss: Loss) -> Self {
        Self {
            delay_min: Duration::from_millis(min_ms),
            delay_max: Duration::from_millis(max_ms),
            loss,
            ..Self::CLEAN
        }
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Self::CLEAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_its_stated_loss() {
        for (name, loss) in Conditions::PRESETS.into_iter().zip([0.0, 0.01, 0.05, 0.01, 0.10, 0.01])
        {
            let conditions = Conditions::preset(name).expect(name);
            assert!((conditions.loss.mean() - loss).abs() < 1e-9, "{name}: {:?}", conditions.loss);
            assert!(conditions.delay_min <= conditions.delay_max, "{name}");
        }
        assert_eq!(Conditions::preset("dial-up"), None);
    }

    #[test]
    fn bursts_keep_the_mean_at_every_length() {
        for mean in [0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 1.0] {
            for length in [0.0, 1.0, 2.0, 50.0] {
                let loss = Loss::bursts(mean, length);
                assert!(
                    (loss.mean() - mean).abs() < 1e-9,
                    "{mean} in bursts of {length}: {loss:?}"
                );
                assert!(
                    (0.0..=1.0).contains(&loss.good_to_bad)
                        && (0.0..=1.0).contains(&loss.bad_to_good)
                );
            }
        }
    }
}
