//! The history: the newest events that are kept for participants that join later.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::PeerId;
use crate::limits;

/// An event in the history.
struct HistoryEvent {
    sequence: u64,
    from: PeerId,
    message: Bytes,
}

/// The history of a room, oldest event first.
#[derive(Default)]
pub(super) struct History {
    events: VecDeque<HistoryEvent>,
    /// Bytes of all messages.
    bytes: usize,
}

impl History {
    /// Adds an event. Drops the oldest while there are more than [`limits::HISTORY_EVENTS`] or
    /// [`limits::HISTORY_BYTES`].
    pub(super) fn push(&mut self, sequence: u64, from: PeerId, message: Bytes) {
        self.bytes += message.len();
        self.events.push_back(HistoryEvent { sequence, from, message });
        while self.events.len() > limits::HISTORY_EVENTS || self.bytes > limits::HISTORY_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.message.len();
        }
    }

    /// Returns the messages of events after `after` up to `to`, except those that `peer` sent.
    pub(super) fn between(&self, after: u64, to: u64, peer: PeerId) -> impl Iterator<Item = Bytes> {
        let within = self.events.iter().filter(move |e| e.sequence > after && e.sequence <= to);
        within.filter(move |e| e.from != peer).map(|e| e.message.clone())
    }

    /// Drops all events.
    pub(super) fn clear(&mut self) {
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
        assert_eq!(history.between(0, u64::MAX, other).count(), 0, "its own events");
        assert_eq!(count(&history, 0, 44), 0, "the oldest were dropped");
        (301..=310).for_each(|n| history.push(n, other, vec![0; 16 << 10].into()));
        assert_eq!(count(&history, 0, u64::MAX), 4);
        assert!(history.bytes <= limits::HISTORY_BYTES);
        history.clear();
        assert_eq!((count(&history, 0, u64::MAX), history.bytes), (0, 0));
    }
}
