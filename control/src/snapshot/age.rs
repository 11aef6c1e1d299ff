//! How old a snapshot is: the time since the database last gave this answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::timestamp::Timestamp;

/// Age at which a snapshot is void, in memory and in its copy: a key that was revoked meanwhile must not
/// work for ever. A day leaves time to repair a database, also over a night.
const VOID_AFTER: Duration = Duration::from_secs(86_400);

/// How old a snapshot is, by the time of day and by a steady clock: the time of day may be set back, and the
/// steady clock may stand still while the machine sleeps. The larger age counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotAge {
    /// When the database answered, by the time of day.
    at: Timestamp,
    /// The age at `since`.
    before: Duration,
    since: Instant,
}

impl SnapshotAge {
    /// The database has answered just now.
    pub(super) fn new(now: Timestamp, steady: Instant) -> Self {
        Self { at: now, before: Duration::ZERO, since: steady }
    }

    /// The age of a copy that was made at `at`. `None`: it is from the future, so that nobody knows.
    pub(super) fn of_copy(at: Timestamp, now: Timestamp, steady: Instant) -> Option<Self> {
        let age = u64::try_from(now.micros() - at.micros()).ok()?;
        Some(Self { at, before: Duration::from_micros(age), since: steady })
    }

    /// Returns whether the snapshot is void at `now`.
    pub(super) fn is_void(self, now: Timestamp, steady: Instant) -> bool {
        let by_day = u64::try_from(now.micros() - self.at.micros()).unwrap_or(0);
        let counted = self.before + steady.saturating_duration_since(self.since);
        counted.max(Duration::from_micros(by_day)) >= VOID_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_by_both_clocks() {
        let (day, start) = (86_400, Instant::now());
        let at = |seconds: u64| Timestamp::from_seconds(2_000_000_000 + seconds);
        let age = SnapshotAge::new(at(0), start);
        assert!(!age.is_void(at(day - 1), start) && age.is_void(at(day), start));
        // The time of day was set back by years, and a day has passed.
        let back = Timestamp::from_seconds(1_000_000_000);
        assert!(!age.is_void(back, start) && age.is_void(back, start + VOID_AFTER));
        let copy = SnapshotAge::of_copy(at(0), at(day - 60), start).unwrap();
        assert!(copy.is_void(back, start + Duration::from_secs(60)), "the copy's age counts");
        assert!(SnapshotAge::of_copy(at(1), at(0), start).is_none());
    }
}
