//! The log of the sessions: how long joins took, and which problems occurred.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::times::Times;
use crate::shared::lock;

/// Collects the times of joins, and the problems of sessions.
#[derive(Debug, Default)]
pub(crate) struct SessionLog(Mutex<SessionFigures>);

/// What a [`SessionLog`] has collected.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionFigures {
    /// How long the headsets' first joins took, from the moment at which each was due, µs.
    pub(crate) joins: Times,
    /// The times from the end of the last fault until headsets had a session again, µs.
    pub(crate) rejoins: Times,
    /// Headsets whose roster was right at the end.
    pub(crate) rosters_right: u64,
    /// Headsets whose roster was wrong at the end.
    pub(crate) rosters_wrong: u64,
    /// The problems, and how often each occurred.
    pub(crate) problems: BTreeMap<String, u64>,
    /// The problems among them that kept clients from joining.
    pub(crate) join_errors: BTreeMap<String, u64>,
}

impl SessionLog {
    /// Records how long a headset's first join took, from the moment at which it was due, µs.
    pub(crate) fn joined(&self, micros: u64) {
        lock(&self.0).joins.record(micros);
    }

    /// Records that a headset had a session again, `after` µs after the last fault ended.
    pub(crate) fn rejoined(&self, after: u64) {
        lock(&self.0).rejoins.record(after);
    }

    /// Records whether a headset's roster was right at the end.
    pub(crate) fn roster(&self, is_right: bool) {
        let mut figures = lock(&self.0);
        figures.rosters_right += u64::from(is_right);
        figures.rosters_wrong += u64::from(!is_right);
    }

    /// Records a problem that kept a client from joining.
    pub(crate) fn join_failed(&self, text: String) {
        *lock(&self.0).join_errors.entry(text.clone()).or_default() += 1;
        self.problem(text);
    }

    /// Records a problem.
    pub(crate) fn problem(&self, text: String) {
        *lock(&self.0).problems.entry(text).or_default() += 1;
    }

    /// Returns what was collected so far.
    pub(crate) fn figures(&self) -> SessionFigures {
        lock(&self.0).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_join_is_a_problem_too() {
        let log = SessionLog::default();
        log.problem("session lost".into());
        log.join_failed("join failed: full".into());
        log.join_failed("join failed: full".into());
        let SessionFigures { problems, join_errors, .. } = log.figures();
        assert_eq!(join_errors, BTreeMap::from([("join failed: full".into(), 2)]));
        assert_eq!(problems.len(), 2);
    }
}
