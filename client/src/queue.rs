//! A bounded queue between the application and the realtime task. Pushing never blocks: when the
//! queue is full, the oldest item is dropped, because the newest realtime message is the most
//! valuable.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A queue with any number of pushing tasks and one popping task.
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

    /// Appends an item. Drops the oldest item if the queue is full.
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

    /// Removes and returns the oldest item, if there is one.
    pub(crate) fn try_pop(&self) -> Option<T> {
        self.lock().items.pop_front()
    }

    /// Removes and returns the oldest item; waits while the queue is empty. Cancel-safe.
    pub(crate) async fn pop(&self) -> T {
        loop {
            if let Some(item) = self.try_pop() {
                return item;
            }
            self.filled.notified().await;
        }
    }

    /// Returns how many items were dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // No code panics while it holds the lock, and each step leaves the queue consistent.
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
