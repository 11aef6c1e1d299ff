//! A seeded network inside one process, for tests and for the load generator's `--network`.
//!
//! [`Pipe`] is one direction of a network. What goes in comes out later, twice or never, as its
//! [`Conditions`] say. [`SimPeer`] is a peer behind a NAT: two pipes, and an address that may change.
//!
//! Both are driven like the state machines of [`nucleus_protocol`]: by `handle_input`,
//! `poll_output` and `deadline`, with the time as a value ([`nucleus_protocol::time::Time`]). No
//! clock is read. The same seed and the same inputs give the same outcome, so a test that prints its
//! seed can be repeated.

mod peer;
mod pipe;

use std::time::Duration;

pub use peer::{SimPeer, SimPeerCounters};
pub use pipe::{MAX_IN_FLIGHT, Pipe, PipeCounters};

/// Gilbert-Elliott loss: a network that is good or bad and changes between the two by chance, once
/// for every item sent. All four are probabilities, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// An item is lost while the network is good.
    pub loss_good: f64,
    /// An item is lost while the network is bad.
    pub loss_bad: f64,
    /// The network turns bad after an item.
    pub good_to_bad: f64,
    /// The network turns good again after an item.
    pub bad_to_good: f64,
}

impl Loss {
    /// Nothing is lost.
    pub const NONE: Loss =
        Loss { loss_good: 0.0, loss_bad: 0.0, good_to_bad: 0.0, bad_to_good: 1.0 };

    /// Every item is lost with the same probability, whatever happened to the one before.
    pub const fn independent(probability: f64) -> Self {
        Self { loss_good: probability, loss_bad: probability, ..Self::NONE }
    }

    /// Loss in runs: a share of `mean_loss` (0 to 1) of all items, in bursts of `mean_burst_len`
    /// items (at least 1).
    ///
    /// Where so short bursts cannot make up so much loss (a burst is followed by at least one item
    /// that arrives), the bursts are longer and the share is kept.
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

    /// Share of the time that the network is bad, in the long run (0 to 1).
    pub fn bad_share(&self) -> f64 {
        let turns = self.good_to_bad + self.bad_to_good;
        if turns > 0.0 { self.good_to_bad / turns } else { 0.0 }
    }

    /// Share of the items that are lost, in the long run (0 to 1).
    pub fn mean(&self) -> f64 {
        let bad = self.bad_share();
        bad * self.loss_bad + (1.0 - bad) * self.loss_good
    }
}

/// One direction of one peer's network.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Least delay of an item.
    pub delay_min: Duration,
    /// Largest delay of an item, drawn evenly from `delay_min` up. It is a queue: an item that
    /// draws a short delay waits for those before it.
    pub delay_max: Duration,
    /// What gets lost.
    pub loss: Loss,
    /// Share of the items that arrive twice (0 to 1), each copy with a delay of its own.
    pub duplicate: f64,
    /// Share of the items that get [`Conditions::REORDER_DELAY`] on top, which later ones do not
    /// wait for (0 to 1).
    pub reorder: f64,
    /// Bits a second that pass the bottleneck; `None` for as many as come.
    pub bandwidth_bps: Option<u64>,
    /// Bytes that may wait before the bottleneck; what finds no room is dropped (tail drop).
    pub queue_bytes: usize,
    /// How often the peer's address changes. Read by [`SimPeer`] in its upward direction and by
    /// whoever owns a real socket; a pipe has no address.
    pub new_address_every: Option<Duration>,
}

impl Conditions {
    /// Nothing happens: what goes in comes out at once, in order.
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

    /// Extra delay of a reordered item, drawn evenly between the two: enough to fall behind the
    /// next items of anything sent at 20 Hz or more.
    pub const REORDER_DELAY: (Duration, Duration) =
        (Duration::from_millis(50), Duration::from_millis(80));

    /// The names that [`Conditions::preset`] knows.
    pub const PRESETS: [&str; 6] = ["clean", "wifi", "lossy", "far", "awful", "roaming"];

    /// The conditions behind a name, the same in both directions; `None` for an unknown name.
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

    /// Clean but for a delay between two bounds in milliseconds, and loss.
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
