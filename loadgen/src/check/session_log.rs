//! The log of the sessions: how long joins took, and what went wrong.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hdrhistogram::Histogram;

use super::tally;
use crate::shared::lock;

/// How the joins went and why sessions ended.
#[derive(Debug)]
pub(crate) struct SessionLog {
    joins: Mutex<Histogram<u64>>,
    rejoins: Mutex<Histogram<u64>>,
    rosters: [AtomicU64; 2],
    problems: Mutex<BTreeMap<String, u64>>,
}

impl SessionLog {
    pub(crate) fn new() -> Self {
        SessionLog {
            joins: Mutex::new(tally::histogram()),
            rejoins: Mutex::new(tally::histogram()),
            rosters: [AtomicU64::new(0), AtomicU64::new(0)],
            problems: Mutex::default(),
        }
    }

    /// A headset's first join took `micros`.
    pub(crate) fn joined(&self, micros: u64) {
        lock(&self.joins).saturating_record(micros);
    }

    /// µs that the joins took.
    pub(crate) fn joins(&self) -> Histogram<u64> {
        lock(&self.joins).clone()
    }

    /// A headset was back `after` µs.
    pub(crate) fn rejoined(&self, after: u64) {
        lock(&self.rejoins).saturating_record(after);
    }

    /// µs from the end of the last fault until headsets had a session again.
    pub(crate) fn rejoins(&self) -> Histogram<u64> {
        lock(&self.rejoins).clone()
    }

    /// A headset's roster was right at the end, or not.
    pub(crate) fn roster(&self, right: bool) {
        self.rosters[usize::from(right)].fetch_add(1, Relaxed);
    }

    /// Rosters that were wrong, and right.
    pub(crate) fn rosters(&self) -> [u64; 2] {
        [self.rosters[0].load(Relaxed), self.rosters[1].load(Relaxed)]
    }

    /// What went wrong, and how often.
    pub(crate) fn problems(&self) -> BTreeMap<String, u64> {
        lock(&self.problems).clone()
    }

    /// Something went wrong; the report names what happened most often.
    pub(crate) fn problem(&self, text: String) {
        *lock(&self.problems).entry(text).or_default() += 1;
    }
}
