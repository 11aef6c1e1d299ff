//! The state on its way to the sessions: each update encoded once for all, and a snapshot once for
//! all who come within one batch of the roster.

use bytes::Bytes;
use nucleus_protocol::session::{StateSnapshot, StateUpdate, encode};

use super::State;
use crate::limits;

/// See the module.
#[derive(Default)]
pub(in crate::room) struct Feed {
    kept: Option<Kept>,
}

/// A snapshot, and what has changed since.
struct Kept {
    snapshot: Bytes,
    updates: Vec<Bytes>,
    bytes: usize,
}

impl Feed {
    /// What a session gets that has the state up to now, if it has any; and keeps it for those who
    /// come after.
    pub(in crate::room) fn update(&mut self, update: &StateUpdate) -> Vec<Bytes> {
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
    pub(in crate::room) fn snapshot(&mut self, state: &State) -> Vec<Bytes> {
        if state.version() == 0 {
            return Vec::new();
        }
        let kept = self.kept.get_or_insert_with(|| Kept {
            snapshot: encode(&state.snapshot()).into(),
            updates: Vec::new(),
            bytes: 0,
        });
        [&kept.snapshot].into_iter().chain(&kept.updates).cloned().collect()
    }

    /// The batch is over: the next one has a snapshot of its own, for a room's state lies here twice
    /// meanwhile.
    pub(in crate::room) fn end_batch(&mut self) {
        self.kept = None;
    }
}
