//! The log of the sessions: how long joins took, and which problems occurred.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hdrhistogram::Histogram;

use super::times;
use crate::shared::lock;

/// Collects the times of joins, and the problems of sessions.
#[derive(Debug)]
pub(crate) struct SessionLog {
    joins: Mutex<Histogram<u64>>,
    rejoins: Mutex<Histogram<u64>>,
    rosters_right: AtomicU64,
    rosters_wrong: AtomicU64,
    problems: Mutex<BTreeMap<String, u64>>,
    join_errors: Mutex<BTreeMap<String, u64>>,
}

/// How many headsets had the right roster at the end of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RosterCounts {
    pub(crate) right: u64,
    pub(crate) wrong: u64,
}

impl SessionLog {
    pub(crate) fn new() -> Self {
        SessionLog {
            joins: Mutex::new(times::histogram()),
            rejoins: Mutex::new(times::histogram()),
            rosters_right: AtomicU64::new(0),
            rosters_wrong: AtomicU64::new(0),
            problems: Mutex::default(),
            join_errors: Mutex::default(),
        }
    }

    /// Records how long a headset's first join took, from the moment at which it was due, µs.
    pub(crate) fn joined(&self, micros: u64) {
        lock(&self.joins).saturating_record(micros);
    }

    /// Returns how long the first joins took, µs.
    pub(crate) fn joins(&self) -> Histogram<u64> {
        lock(&self.joins).clone()
    }

    /// Records that a headset had a session again, `after` µs after the last fault ended.
    pub(crate) fn rejoined(&self, after: u64) {
        lock(&self.rejoins).saturating_record(after);
    }

    /// Returns the times from the end of the last fault until headsets had a session again, µs.
    pub(crate) fn rejoins(&self) -> Histogram<u64> {
        lock(&self.rejoins).clone()
    }

    /// Records whether a headset's roster was right at the end.
    pub(crate) fn roster(&self, is_right: bool) {
        let counter = if is_right { &self.rosters_right } else { &self.rosters_wrong };
        counter.fetch_add(1, Relaxed);
    }

    /// Returns how many rosters were right and wrong at the end.
    pub(crate) fn rosters(&self) -> RosterCounts {
        RosterCounts {
            right: self.rosters_right.load(Relaxed),
            wrong: self.rosters_wrong.load(Relaxed),
        }
    }

    /// Returns the problems and how often each occurred.
    pub(crate) fn problems(&self) -> BTreeMap<String, u64> {
        lock(&self.problems).clone()
    }

    /// Returns the problems that kept clients from joining, and how often each occurred.
    pub(crate) fn join_errors(&self) -> BTreeMap<String, u64> {
        lock(&self.join_errors).clone()
    }

    /// Records a problem that kept a client from joining.
    pub(crate) fn join_failed(&self, text: String) {
        *lock(&self.join_errors).entry(text.clone()).or_default() += 1;
        self.problem(text);
    }

    /// Records a problem.
    pub(crate) fn problem(&self, text: String) {
        *lock(&self.problems).entry(text).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_join_is_a_problem_too() {
        let log = SessionLog::new();
        log.problem("session lost".into());
        log.join_failed("join failed: full".into());
        log.join_failed("join failed: full".into());
        assert_eq!(log.join_errors(), BTreeMap::from([("join failed: full".into(), 2)]));
        assert_eq!(log.problems().len(), 2);
    }
}
