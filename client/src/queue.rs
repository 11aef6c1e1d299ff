//! A bounded queue between the application and the realtime task that never blocks: when it is
//! full, the oldest goes, for on this plane the newest is worth most.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Many may push, one pops.
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    filled: Notify,
    limit: usize,
}

struct Inner<T> {
    items: VecDeque<T>,
    dropped: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: usize) -> Self {
        let inner = Mutex::new(Inner { items: VecDeque::new(), dropped: 0 });
        Self { inner, filled: Notify::new(), limit }
    }

    /// Appends; drops the oldest when full.
    pub(crate) fn push(&self, item: T) {
        {
            let mut inner = self.lock();
            if inner.items.len() >= self.limit {
                inner.items.pop_front();
                inner.dropped += 1;
            }
            inner.items.push_back(item);
        }
        self.filled.notify_one();
    }

    /// The oldest, if there is one.
    pub(crate) fn try_pop(&self) -> Option<T> {
        self.lock().items.pop_front()
    }

    /// Waits for the oldest. Cancel-safe.
    pub(crate) async fn pop(&self) -> T {
        loop {
            if let Some(item) = self.try_pop() {
                return item;
            }
            self.filled.notified().await;
        }
    }

    /// How many were dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nobody panics while holding it, and a queue is whole at every step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_is_counted() {
        let queue = Queue::new(2);
        (1..=4).for_each(|item| queue.push(item));
        assert_eq!([queue.try_pop(), queue.try_pop(), queue.try_pop()], [Some(3), Some(4), None]);
        assert_eq!(queue.dropped(), 2);
    }

    #[tokio::test]
    async fn a_waiting_pop_is_woken() {
        let queue = Queue::new(2);
        let (item, ()) = tokio::join!(queue.pop(), async { queue.push(7) });
        assert_eq!(item, 7);
    }
}
