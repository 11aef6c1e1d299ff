//! The numbers by which an application names clients, rooms and social sessions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::failure::{Failure, Outcome};
use crate::types::NcResult;

/// Numbers and what they stand for. A number is never used again.
pub(crate) struct Handles<T> {
    what: &'static str,
    of: RwLock<Option<HashMap<u64, Arc<T>>>>,
}

/// The next number. Clients, rooms, social sessions and requests share one sequence, so no two of them have the
/// same number.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Returns a number that no handle has.
pub(crate) fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<T> Handles<T> {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, of: RwLock::new(None) }
    }

    pub(crate) fn insert(&self, number: u64, of: Arc<T>) {
        let mut handles = self.of.write().unwrap_or_else(PoisonError::into_inner);
        handles.get_or_insert_default().insert(number, of);
    }

    /// Returns what the number stands for.
    ///
    /// # Errors
    /// [`NcResult::InvalidHandle`].
    pub(crate) fn get(&self, number: u64) -> Outcome<Arc<T>> {
        let handles = self.of.read().unwrap_or_else(PoisonError::into_inner);
        let found = handles.as_ref().and_then(|handles| handles.get(&number)).cloned();
        found.ok_or_else(|| self.missing(number))
    }

    /// Removes a number.
    ///
    /// # Errors
    /// [`NcResult::InvalidHandle`].
    pub(crate) fn remove(&self, number: u64) -> Outcome<Arc<T>> {
        let mut handles = self.of.write().unwrap_or_else(PoisonError::into_inner);
        let removed = handles.as_mut().and_then(|handles| handles.remove(&number));
        removed.ok_or_else(|| self.missing(number))
    }

    fn missing(&self, number: u64) -> Failure {
        Failure::new(
            NcResult::InvalidHandle,
            format!("{} {number} does not exist, or was freed", self.what),
        )
    }
}
