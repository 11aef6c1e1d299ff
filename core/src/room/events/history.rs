//! Events that are kept for whoever comes later: the newest, in their order.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::PeerId;
use crate::limits;

struct Kept {
    sequence: u64,
    from: PeerId,
    message: Bytes,
}

/// The events kept for later.
#[derive(Default)]
pub(crate) struct History {
    entries: VecDeque<Kept>,
    bytes: usize,
}

impl History {
    /// Keeps an event, and forgets the oldest where there are too many.
    pub(crate) fn push(&mut self, sequence: u64, from: PeerId, message: Bytes) {
        self.bytes += message.len();
        self.entries.push_back(Kept { sequence, from, message });
        while self.entries.len() > limits::HISTORY_EVENTS || self.bytes > limits::HISTORY_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.message.len();
        }
    }

    /// Those of others than `peer` behind event `after`, up to event `to`.
    pub(crate) fn between(&self, after: u64, to: u64, peer: PeerId) -> impl Iterator<Item = Bytes> {
        let within = self.entries.iter().filter(move |e| e.sequence > after && e.sequence <= to);
        within.filter(move |e| e.from != peer).map(|e| e.message.clone())
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_within_the_limits() {
        let mut history = History::default();
        let (me, other) = (PeerId(1), PeerId(2));
        (1..=300).for_each(|n| history.push(n, other, vec![0; 8].into()));
        let count = |history: &History, after, to| history.between(after, to, me).count();
        assert_eq!(count(&history, 0, u64::MAX), limits::HISTORY_EVENTS);
        assert_eq!(count(&history, 290, 295), 5);
        assert_eq!(history.between(0, u64::MAX, other).count(), 0, "its own");
        assert_eq!(count(&history, 0, 44), 0, "the oldest went");
        (301..=310).for_each(|n| history.push(n, other, vec![0; 16 << 10].into()));
        assert_eq!(count(&history, 0, u64::MAX), 4);
        assert!(history.bytes <= limits::HISTORY_BYTES);
        history.clear();
        assert_eq!((count(&history, 0, u64::MAX), history.bytes), (0, 0));
    }
}
