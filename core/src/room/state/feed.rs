//! Encodes the state for the sessions. Each update is encoded once for all sessions. A snapshot is
//! encoded once for all sessions that connect while it is still being sent to one of them.

use bytes::Bytes;
use nucleus_protocol::session::{StateSnapshot, StateUpdate, encode};
use nucleus_protocol::time::Time;

use super::SharedState;
use crate::limits;

/// Encodes updates and snapshots, and caches the newest snapshot for a moment.
#[derive(Default)]
pub(super) struct StateFeed {
    cached: Option<CachedSnapshot>,
}

/// An encoded snapshot, and the updates since.
struct CachedSnapshot {
    /// When the snapshot is dropped, unless it is still being sent to a session.
    until: Time,
    snapshot: Bytes,
    updates: Vec<Bytes>,
    /// Bytes of the updates.
    update_bytes: usize,
}

impl StateFeed {
    /// Returns the messages of an update for sessions that have the version before it. Caches the
    /// update behind the cached snapshot.
    pub(super) fn update(&mut self, update: &StateUpdate) -> Vec<Bytes> {
        let message = Bytes::from(encode(update));
        if let Some(cached) = &mut self.cached {
            cached.updates.push(message.clone());
            cached.update_bytes += message.len();
            if cached.update_bytes > limits::STATE_FEED_BYTES {
                self.cached = None;
            }
        }
        // Before version 1 the sessions have no state stream. A state stream begins with a
        // snapshot, so this one begins with a snapshot of the empty state.
        let first = update.version == 1;
        let empty = first.then(|| Bytes::from(encode(&StateSnapshot::default())));
        empty.into_iter().chain([message]).collect()
    }

    /// Returns the messages for a session that has no state yet: a snapshot and the updates since.
    /// None if the state is empty.
    pub(super) fn snapshot(&mut self, now: Time, state: &SharedState) -> Vec<Bytes> {
        if state.version() == 0 {
            return Vec::new();
        }
        let cached = self.cached.get_or_insert_with(|| CachedSnapshot {
            until: now + limits::ROSTER_BATCH,
            snapshot: encode(&state.snapshot()).into(),
            updates: Vec::new(),
            update_bytes: 0,
        });
        [&cached.snapshot].into_iter().chain(&cached.updates).cloned().collect()
    }

    /// Drops the cached snapshot at its time, because it is a second copy of the state. While a
    /// session is still being sent the snapshot, its bytes are in memory anyway: then it stays
    /// cached and spares the next session an encoding.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        let Some(cached) = self.cached.as_mut().filter(|cached| cached.until <= now) else {
            return;
        };
        if cached.snapshot.is_unique() {
            self.cached = None;
        } else {
            cached.until = now + limits::ROSTER_BATCH;
        }
    }

    /// Returns when to call [`Self::handle_timeout`].
    pub(super) fn deadline(&self) -> Option<Time> {
        self.cached.as_ref().map(|cached| cached.until)
    }
}
