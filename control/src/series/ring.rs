//! The newest values of one figure.

/// The value of each step, the oldest first. `None`: nothing is known of the step.
pub type Values = Vec<Option<u32>>;

/// Stands for a step of which nothing is known.
const GAP: u32 = u32::MAX;

/// The values of the newest steps of one figure.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// The value of step `n` is at `n` modulo the length.
    values: Vec<u32>,
    /// The newest step with a value; `None`: there is none.
    newest: Option<u64>,
}

impl Ring {
    /// Makes a ring of so many steps, without values.
    pub(super) fn new(steps: usize) -> Self {
        Self { values: vec![GAP; steps], newest: None }
    }

    fn at(&self, step: u64) -> usize {
        // The length is never 0: see `new`.
        (step % (self.values.len().max(1) as u64)) as usize
    }

    /// Sets the value of a step, which is newer than all others. Steps in between become gaps. A value that
    /// is too large becomes the largest one.
    pub(super) fn set(&mut self, step: u64, value: Option<u64>) {
        let len = self.values.len() as u64;
        let first = self.newest.map_or(step, |newest| newest + 1).max(step.saturating_sub(len));
        for skipped in first..step {
            let at = self.at(skipped);
            self.values[at] = GAP;
        }
        let at = self.at(step);
        self.values[at] = value.map_or(GAP, |value| value.min(u64::from(GAP - 1)) as u32);
        self.newest = Some(step);
    }

    /// Returns the values up to that of the step `last`.
    pub(super) fn values(&self, last: u64) -> Values {
        let len = self.values.len() as u64;
        let oldest_kept = self.newest.map_or(0, |newest| (newest + 1).saturating_sub(len));
        let value = |back: u64| {
            let step = last.checked_sub(back)?;
            let is_known = self.newest.is_some_and(|newest| step <= newest) && step >= oldest_kept;
            Some(self.values[self.at(step)]).filter(|value| is_known && *value != GAP)
        };
        (0..len).rev().map(value).collect()
    }

    /// Returns whether no step from `oldest` on has a value.
    pub(super) fn is_over(&self, oldest: u64) -> bool {
        self.newest.is_none_or(|newest| newest < oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_or_too_old_is_a_gap_and_never_zero() {
        let mut ring = Ring::new(4);
        assert_eq!(ring.values(9), [None; 4]);
        ring.set(10, Some(0));
        ring.set(11, Some(1));
        assert_eq!(ring.values(11), [None, None, Some(0), Some(1)]);
        ring.set(13, Some(u64::MAX));
        assert_eq!(ring.values(13), [Some(0), Some(1), None, Some(GAP - 1)]);
        ring.set(14, None);
        assert_eq!(ring.values(14), [Some(1), None, Some(GAP - 1), None]);
        assert_eq!(ring.values(16), [Some(GAP - 1), None, None, None]);
        ring.set(1_000, Some(5));
        assert_eq!(ring.values(1_000), [None, None, None, Some(5)]);
        assert_eq!(ring.values(999), [None; 4], "older values are gone");
        assert!(ring.is_over(1_001) && !ring.is_over(1_000));
    }
}
