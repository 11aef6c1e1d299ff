//! Lists and queues whose size in memory is known and has a limit.

use std::collections::{BTreeMap, VecDeque};

/// A thing that a server describes, with texts of any length.
pub(crate) trait HeldBytes {
    /// Returns the bytes that this thing holds outside itself: those of its texts and lists.
    fn held_bytes(&self) -> usize;
}

impl HeldBytes for String {
    fn held_bytes(&self) -> usize {
        self.len()
    }
}

impl<T: HeldBytes> HeldBytes for [T] {
    fn held_bytes(&self) -> usize {
        size_of_val(self) + self.iter().map(HeldBytes::held_bytes).sum::<usize>()
    }
}

/// The largest size of a list.
#[derive(Clone, Copy)]
pub(crate) struct ListLimit {
    pub(crate) entries: usize,
    /// Bytes that the entries hold.
    pub(crate) bytes: usize,
}

/// A list in the order of its keys.
#[derive(Clone, Debug)]
pub(crate) struct SizedMap<K, V> {
    entries: BTreeMap<K, V>,
    bytes: usize,
}

impl<K, V> Default for SizedMap<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), bytes: 0 }
    }
}

impl<K: Ord, V: HeldBytes> SizedMap<K, V> {
    pub(crate) fn insert(&mut self, key: K, entry: V) {
        self.bytes += entry.held_bytes();
        let before = self.entries.insert(key, entry);
        self.bytes -= before.map_or(0, |before| before.held_bytes());
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.held_bytes();
        Some(entry)
    }

    pub(crate) fn entries(&self) -> &BTreeMap<K, V> {
        &self.entries
    }

    /// Returns whether the list stays within a limit with `more` entries.
    pub(crate) fn has_room(&self, limit: ListLimit, more: &[V]) -> bool {
        let bytes = more.iter().map(HeldBytes::held_bytes).sum::<usize>();
        self.entries.len() + more.len() <= limit.entries && self.bytes + bytes <= limit.bytes
    }
}

/// The limits of an [`EventQueue`].
#[derive(Clone, Copy)]
pub(crate) struct QueueLimit {
    /// Bytes of the counted events at which the queue is full.
    pub(crate) full: usize,
    /// Number of events, also of those that are not counted, at which the queue is overfull.
    pub(crate) most: usize,
    /// Bytes of events, also of those that are not counted, at which the queue is overfull.
    pub(crate) most_bytes: usize,
    /// Bytes counted for an event in addition to those that it holds.
    pub(crate) overhead: usize,
}

/// How an event counts towards the limit at which a queue is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventCost {
    /// By its size.
    Counted,
    /// Not at all, for events that describe a whole roster or state. Such events occur once a
    /// session, and their number is bounded by the room's peers, objects and fields. If they
    /// counted, a client that joins a large room would not receive the reply to its first request.
    Free,
}

struct SizedEvent<E> {
    event: E,
    size: usize,
    cost: EventCost,
}

/// A queue of events. It takes every event: when it is full, its owner stops reading the session, and
/// QUIC's flow control stops the senders.
pub(crate) struct EventQueue<E> {
    events: VecDeque<SizedEvent<E>>,
    /// Bytes of the counted events.
    counted: usize,
    /// Bytes of all events.
    bytes: usize,
    limit: QueueLimit,
}

impl<E: HeldBytes> EventQueue<E> {
    pub(crate) fn new(limit: QueueLimit) -> Self {
        Self { events: VecDeque::new(), counted: 0, bytes: 0, limit }
    }

    pub(crate) fn push(&mut self, event: E, cost: EventCost) {
        let size = event.held_bytes() + self.limit.overhead;
        self.bytes += size;
        self.counted += if cost == EventCost::Counted { size } else { 0 };
        self.events.push_back(SizedEvent { event, size, cost });
    }

    pub(crate) fn pop(&mut self) -> Option<E> {
        let SizedEvent { event, size, cost } = self.events.pop_front()?;
        self.bytes -= size;
        self.counted -= if cost == EventCost::Counted { size } else { 0 };
        Some(event)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.counted >= self.limit.full
    }

    /// Returns whether the application has taken so few events over several sessions that another
    /// session would not help. One session alone stops being read when the queue is full; what its last
    /// message adds is less than the queue's limit, or the server is hostile.
    pub(crate) fn is_overfull(&self) -> bool {
        self.counted >= 2 * self.limit.full
            || self.bytes >= self.limit.most_bytes
            || self.events.len() >= self.limit.most
    }
}
