//! A map of bounded size that drops the least recently used keys, in constant time.

use std::collections::HashMap;
use std::hash::Hash;

/// A map that keeps at least the `limit` most recently used keys and at most twice as many.
///
/// The map has two generations. When the newer one is full, it becomes the older one, and the keys
/// of the former older one, which were not used since, are dropped.
#[derive(Debug)]
pub(super) struct RecentMap<K, V> {
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
    limit: usize,
}

impl<K: Eq + Hash + Copy, V> RecentMap<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { newer: HashMap::new(), older: HashMap::new(), limit }
    }

    /// Returns the value of the key. A new key gets the value that `first` returns.
    pub(super) fn get_or(&mut self, key: K, first: impl FnOnce() -> V) -> &mut V {
        if !self.newer.contains_key(&key) {
            let value = self.older.remove(&key).unwrap_or_else(first);
            if self.newer.len() >= self.limit {
                self.older = std::mem::take(&mut self.newer);
            }
            return self.newer.entry(key).insert_entry(value).into_mut();
        }
        self.newer.entry(key).or_insert_with(first)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.newer.iter().chain(&self.older)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_the_recent_stay() {
        let mut recent = RecentMap::new(8);
        for key in 0..1_000u32 {
            *recent.get_or(key, || 0) += 1;
            *recent.get_or(7_777, || 0) += 1;
            assert!(recent.len() <= 16);
        }
        assert_eq!(*recent.get_or(7_777, || 0), 1_000);
        assert_eq!(*recent.get_or(999, || 0), 1);
        assert_eq!(*recent.get_or(3, || 0), 0);
    }
}
