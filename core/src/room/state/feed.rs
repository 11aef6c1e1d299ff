//! The state on its way to the sessions: each update encoded once for all, and a snapshot once for
//! all who come while it is still on its way to somebody.

use bytes::Bytes;
use nucleus_protocol::session::{StateSnapshot, StateUpdate, encode};

use nucleus_protocol::time::Time;

use super::State;
use crate::limits;

/// What is encoded, and kept for a moment.
#[derive(Default)]
pub(crate) struct Feed {
    kept: Option<Kept>,
}

/// A snapshot, and what has changed since.
struct Kept {
    /// When it is to be forgotten, unless somebody is still being sent it.
    until: Time,
    snapshot: Bytes,
    updates: Vec<Bytes>,
    bytes: usize,
}

impl Feed {
    /// What a session gets that has the state up to now, if it has any; and keeps it for those who
    /// come after.
    pub(crate) fn update(&mut self, update: &StateUpdate) -> Vec<Bytes> {
        let message = Bytes::from(encode(update));
        if let Some(kept) = &mut self.kept {
            kept.updates.push(message.clone());
            kept.bytes += message.len();
            if kept.bytes > limits::STATE_FEED_BYTES {
                self.kept = None;
            }
        }
        // A session without a stream has the empty state, and its stream begins with that.
        let first = update.version == 1;
        let empty = first.then(|| Bytes::from(encode(&StateSnapshot::default())));
        empty.into_iter().chain([message]).collect()
    }

    /// What a session gets that has nothing yet.
    pub(crate) fn snapshot(&mut self, now: Time, state: &State) -> Vec<Bytes> {
        if state.version() == 0 {
            return Vec::new();
        }
        let kept = self.kept.get_or_insert_with(|| Kept {
            until: now + limits::ROSTER_BATCH,
            snapshot: encode(&state.snapshot()).into(),
            updates: Vec::new(),
            bytes: 0,
        });
        [&kept.snapshot].into_iter().chain(&kept.updates).cloned().collect()
    }

    /// Forgets the snapshot when its time has come, for a room's state lies here twice meanwhile. As
    /// long as a session has not been sent all of it, keeping it costs nothing, and spares whoever
    /// comes meanwhile one of his own.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.until <= now) else { return };
        if kept.snapshot.is_unique() {
            self.kept = None;
        } else {
            kept.until = now + limits::ROSTER_BATCH;
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    pub(crate) fn due(&self) -> Option<Time> {
        self.kept.as_ref().map(|kept| kept.until)
    }
}
