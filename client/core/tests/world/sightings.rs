//! Counts what has occurred, so that a test can show that its faults have had their effects.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// How often something has occurred.
#[derive(Default)]
pub(crate) struct Sightings(BTreeMap<String, u64>);

impl Sightings {
    /// Notes that something has occurred.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// Adds a count.
    pub(crate) fn add(&mut self, what: &str, count: u64) {
        *self.0.entry(what.to_owned()).or_default() += count;
    }

    /// Returns how often things have occurred whose names begin with `start`.
    pub(crate) fn count(&self, start: &str) -> u64 {
        let all = self.0.iter().filter(|(what, _)| what.starts_with(start));
        all.map(|(_, count)| *count).sum()
    }

    /// Adds these counts to those of other seeds.
    pub(crate) fn merge_into(&self, all: &Mutex<Sightings>) {
        let mut all = all.lock().unwrap();
        self.0.iter().for_each(|(what, count)| all.add(what, *count));
    }

    /// Checks that each of these things has occurred.
    #[expect(clippy::print_stdout, reason = "tells what a simulation has tried")]
    pub(crate) fn check(&self, expected: &[&str]) {
        self.0.iter().for_each(|(what, count)| println!("{count:>9} {what}"));
        for what in expected {
            assert!(self.count(what) > 0, "{what} has never occurred");
        }
    }
}
