//! Which connections there are. One more than the limit closes one that has never sent a request, or else
//! the one that has been silent the longest: a client that sends no request must keep out nobody who does.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nucleus_core::limits::HTTP_CONNECTIONS;
use tokio::task::AbortHandle;

/// All connections.
#[derive(Default)]
pub(super) struct Connections {
    /// Counts what happens, as a clock that orders the connections.
    turns: AtomicU64,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    all: HashMap<u64, OpenConnection>,
    /// The numbers of those that have never sent a request, so that the oldest is found without a look at
    /// all: a flood of silent clients closes one for each that comes.
    silent: BTreeSet<u64>,
}

impl OpenConnections {
    fn remove(&mut self, number: u64) -> Option<OpenConnection> {
        self.silent.remove(&number);
        self.all.remove(&number)
    }
}

struct OpenConnection {
    usage: Arc<Usage>,
    task: Option<AbortHandle>,
}

/// How much a connection is used.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Requests that are being answered.
    busy: AtomicU64,
    /// The turn at which the newest request ended; before the first one, that of the begin.
    used: AtomicU64,
}

impl Usage {
    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }
}

/// A connection in the list, until it is dropped.
pub(super) struct Entry {
    connections: Arc<Connections>,
    number: u64,
    pub(super) usage: Arc<Usage>,
}

impl Connections {
    /// Adds a connection. If there are too many, closes one that is not being answered.
    /// `None`: all of them are being answered, so the new one must go.
    pub(super) fn add(self: &Arc<Self>) -> Option<Entry> {
        let number = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
        let usage = Arc::new(Usage { used: AtomicU64::new(number), ..Usage::default() });
        let mut open = self.open();
        if open.all.len() >= HTTP_CONNECTIONS {
            // Who has never sent a request goes before who has.
            let oldest = open.silent.first().copied().or_else(|| {
                let used = |usage: &Usage| usage.used.load(Ordering::Relaxed);
                let idle = open.all.iter().filter(|(_, open)| !open.usage.is_busy());
                idle.min_by_key(|(_, open)| used(&open.usage)).map(|(number, _)| *number)
            })?;
            if let Some(task) = open.remove(oldest).and_then(|open| open.task) {
                task.abort();
            }
        }
        open.all.insert(number, OpenConnection { usage: usage.clone(), task: None });
        open.silent.insert(number);
        Some(Entry { connections: self.clone(), number, usage })
    }

    /// Notes the task of a connection, so that it can be closed.
    pub(super) fn set_task(&self, number: u64, task: AbortHandle) {
        if let Some(open) = self.open().all.get_mut(&number) {
            open.task = Some(task);
        }
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The number of the connection.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Counts a request until the result is dropped.
    pub(super) fn request(&self) -> Busy {
        self.usage.busy.fetch_add(1, Ordering::Relaxed);
        self.connections.open().silent.remove(&self.number);
        Busy { connections: self.connections.clone(), usage: self.usage.clone() }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.open().remove(self.number);
    }
}

/// A request that is being answered.
pub(super) struct Busy {
    connections: Arc<Connections>,
    usage: Arc<Usage>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let turn = self.connections.turns.fetch_add(1, Ordering::Relaxed) + 1;
        self.usage.used.store(turn, Ordering::Relaxed);
        self.usage.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_silent_the_longest_goes_first() {
        let connections = Arc::new(Connections::default());
        let mut entries: Vec<_> =
            (0..HTTP_CONNECTIONS).map(|_| connections.add().unwrap()).collect();
        let has = |entry: &Entry| connections.open().all.contains_key(&entry.number);
        // The first is being answered, and the second was answered just now.
        let busy = entries[0].request();
        drop(entries[1].request());
        let newest = connections.add().unwrap();
        assert!(has(&entries[0]) && has(&entries[1]) && has(&newest));
        assert!(!has(&entries[2]), "it has never sent a request");
        drop(busy);
        let more: Vec<_> = (3..HTTP_CONNECTIONS).map(|_| connections.add().unwrap()).collect();
        assert!(!has(&entries[3]) && !has(&entries[HTTP_CONNECTIONS - 1]));
        assert!(has(&entries[0]) && has(&entries[1]), "those that sent requests are left");
        assert_eq!(connections.open().all.len(), HTTP_CONNECTIONS);
        entries.clear();
        drop((more, newest));
        assert!(connections.open().all.is_empty() && connections.open().silent.is_empty());
    }

    #[test]
    fn nobody_is_closed_while_it_is_answered() {
        let connections = Arc::new(Connections::default());
        let entries: Vec<_> = (0..HTTP_CONNECTIONS).map(|_| connections.add().unwrap()).collect();
        let busy: Vec<_> = entries.iter().map(Entry::request).collect();
        assert!(connections.add().is_none());
        drop(busy);
        assert!(connections.add().is_some());
    }
}
