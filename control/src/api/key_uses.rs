//! When each API key was last used, so that a busy key does not write with every request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::timestamp::Timestamp;

/// How long the noted time of a key's last use may lag behind, in microseconds.
const STEP: i64 = 60_000_000;
/// Most keys whose use is remembered. Beyond it, uses are noted once more than needed.
const MAX_KEYS: usize = 100_000;

/// The last noted use of each key, by its id.
#[derive(Default)]
pub(super) struct KeyUses(Mutex<HashMap<String, i64>>);

impl KeyUses {
    /// Returns whether the use of a key at `now` is to be noted in the database.
    pub(super) fn is_due(&self, id: &str, now: Timestamp) -> bool {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = noted.get(id).copied();
        // A clock that was set back makes a use due, too.
        if last.is_some_and(|last| (last..last.saturating_add(STEP)).contains(&now.micros())) {
            return false;
        }
        if noted.len() >= MAX_KEYS {
            noted.clear();
        }
        noted.insert(id.to_owned(), now.micros());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_due_once_a_minute() {
        let uses = KeyUses::default();
        let seconds = [0, 30, 59, 60, 61, 200, 100, 130];
        let due = seconds.map(|at| uses.is_due("a", Timestamp::from_seconds(1_000 + at)));
        assert_eq!(due, [true, false, false, true, false, true, true, false]);
        assert!(uses.is_due("b", Timestamp::from_seconds(1_000)));
    }
}
