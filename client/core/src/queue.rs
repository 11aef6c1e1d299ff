//! The events that wait for the application.

use std::collections::VecDeque;

/// A queue of events with their costs. It takes every event: when it is full, its owner stops
/// reading the session, and QUIC's flow control stops the senders.
pub(crate) struct EventQueue<E> {
    /// Each event with its cost.
    events: VecDeque<(E, usize)>,
    cost: usize,
    /// The cost at which the queue is full.
    limit: usize,
    /// Number of events, also those without a cost, at which the queue is overfull.
    most: usize,
}

impl<E> EventQueue<E> {
    pub(crate) fn new(limit: usize, most: usize) -> Self {
        Self { events: VecDeque::new(), cost: 0, limit, most }
    }

    pub(crate) fn push(&mut self, event: E, cost: usize) {
        self.cost += cost;
        self.events.push_back((event, cost));
    }

    pub(crate) fn pop(&mut self) -> Option<E> {
        let (event, cost) = self.events.pop_front()?;
        self.cost -= cost;
        Some(event)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.cost >= self.limit
    }

    /// Returns whether the application has taken so few events over several sessions that another
    /// session would not help. One session alone stops being read when the queue is full.
    pub(crate) fn is_overfull(&self) -> bool {
        self.cost >= 2 * self.limit || self.events.len() >= self.most
    }
}
