//! Counts the messages that arrived, and how many of them were verified.

/// The messages that arrived during the window and the wait after it, right or wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrivals {
    pub(crate) arrived: u64,
    /// The messages among them that were compared with what their sender sent, byte for byte.
    pub(crate) verified: u64,
    /// When the last message arrived, during the run, µs; 0 before the first.
    pub(crate) last: u64,
}

impl Arrivals {
    /// Counts a message.
    pub(crate) fn count(&mut self, was_verified: bool) {
        self.arrived += 1;
        self.verified += u64::from(was_verified);
    }

    /// Adds the counts of others.
    pub(crate) fn merge(&mut self, other: Arrivals) {
        self.arrived += other.arrived;
        self.verified += other.verified;
        self.last = self.last.max(other.last);
    }

    /// Returns the verified messages as a share of those that arrived; `None` if none arrived.
    pub(crate) fn verified_share(&self) -> Option<f64> {
        (self.arrived > 0).then(|| self.verified as f64 / self.arrived as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_what_arrived() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.verified_share(), None);
        for was_verified in [true, true, false, true] {
            arrivals.count(was_verified);
        }
        assert_eq!(arrivals.verified_share(), Some(0.75));
        arrivals.merge(Arrivals { arrived: 6, verified: 2, last: 9 });
        assert_eq!((arrivals.verified_share(), arrivals.last), (Some(0.5), 9));
    }
}
