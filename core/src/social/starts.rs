//! How many calls each user may start, whatever sessions the user has.

use std::collections::{BTreeSet, HashMap};

use nucleus_protocol::time::Time;

use crate::limits::STARTS_RATE;
use crate::rate::Bucket;

/// The budgets of call starts. A budget belongs to the user, not to a session: a user who leaves and
/// enters again has what is left. Only budgets that are not full are kept.
#[derive(Default)]
pub(super) struct CallStarts {
    budgets: HashMap<String, StartBudget>,
    /// When each budget is full again.
    full_at: BTreeSet<(Time, String)>,
}

struct StartBudget {
    bucket: Bucket,
    full_at: Time,
}

impl CallStarts {
    /// Returns true if the user may start a call now.
    pub(super) fn may_start(&mut self, now: Time, user: &str) -> bool {
        self.budgets.get_mut(user).is_none_or(|budget| budget.bucket.available(now) > 0)
    }

    /// Counts a call that the user has started.
    pub(super) fn count(&mut self, now: Time, user: &str) {
        let kept = self.budgets.remove(user);
        if let Some(StartBudget { full_at, .. }) = &kept {
            self.full_at.remove(&(*full_at, user.to_owned()));
        }
        let mut bucket = kept.map_or_else(|| Bucket::new(now, STARTS_RATE), |kept| kept.bucket);
        bucket.available(now);
        bucket.take(1);
        let full_at = now + bucket.wait_for(now, STARTS_RATE.burst);
        self.full_at.insert((full_at, user.to_owned()));
        self.budgets.insert(user.to_owned(), StartBudget { bucket, full_at });
    }

    /// Forgets the budgets that are full again.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        while self.full_at.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, user)) = self.full_at.pop_first() else { return };
            self.budgets.remove(&user);
        }
    }

    /// Returns when the first budget is full again.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.full_at.first().map(|(at, _)| *at)
    }

    /// Returns true if every user has the full budget.
    pub(super) fn is_empty(&self) -> bool {
        self.budgets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_until_it_is_full_again() {
        let mut starts = CallStarts::default();
        let at = Time::from_millis;
        for _ in 0..STARTS_RATE.burst {
            assert!(starts.may_start(at(0), "ada"));
            starts.count(at(0), "ada");
        }
        assert!(!starts.may_start(at(0), "ada") && starts.may_start(at(0), "bob"));
        let full = starts.deadline().unwrap();
        assert_eq!(full, at(1_000 * STARTS_RATE.burst / STARTS_RATE.per_second));
        starts.handle_timeout(at(5_000));
        assert!(!starts.is_empty() && starts.may_start(at(5_000), "ada"));
        starts.handle_timeout(full);
        assert!(starts.is_empty() && starts.deadline().is_none());
    }
}
