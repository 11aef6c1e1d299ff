//! A bounded queue between a task and a session. Unlike tokio's channel, it allocates nothing
//! before its first item, and next to nothing once it is empty again: five thousand silent peers
//! have several empty queues each.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Number of items whose memory an empty queue retains.
const RETAINED_ITEMS: usize = 16;

/// The sending end, which can be cloned.
pub struct QueueSender<T>(Arc<QueueShared<T>>);

/// The receiving end.
pub struct QueueReceiver<T>(Arc<QueueShared<T>>);

/// What happened to a pushed item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The item is in the queue.
    Queued,
    /// The limit of items or bytes is reached. The item is dropped.
    Full,
    /// The receiver has been dropped. The item is dropped.
    Closed,
}

struct QueueShared<T> {
    state: Mutex<QueueState<T>>,
    /// Notified when an item is pushed and when a sender is dropped.
    changed: Notify,
    max_items: usize,
    /// Bytes that have not been written yet, of items in the queue and of popped ones.
    unwritten: AtomicUsize,
    max_bytes: usize,
}

struct QueueState<T> {
    items: VecDeque<T>,
    /// The item of [`QueueSender::push_newest`]. On the heap, because few queues ever have one.
    newest: Option<Box<T>>,
    senders: usize,
    /// Whether the receiver exists.
    has_receiver: bool,
}

/// Makes a queue of at most `max_items` items.
pub fn queue<T>(max_items: usize) -> (QueueSender<T>, QueueReceiver<T>) {
    queue_of_bytes(max_items, usize::MAX)
}

/// Makes a queue of at most `max_items` items and `max_bytes` unwritten bytes.
pub fn queue_of_bytes<T>(max_items: usize, max_bytes: usize) -> (QueueSender<T>, QueueReceiver<T>) {
    let state = QueueState { items: VecDeque::new(), newest: None, senders: 1, has_receiver: true };
    let state = Mutex::new(state);
    let (changed, unwritten) = (Notify::new(), AtomicUsize::new(0));
    let shared = Arc::new(QueueShared { state, changed, max_items, unwritten, max_bytes });
    (QueueSender(shared.clone()), QueueReceiver(shared))
}

impl<T> QueueShared<T> {
    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> QueueSender<T> {
    /// Appends `item` unless the queue is full.
    pub fn push(&self, item: T) -> PushOutcome {
        let mut state = self.0.lock();
        if !state.has_receiver {
            return PushOutcome::Closed;
        }
        if state.items.len() >= self.0.max_items {
            return PushOutcome::Full;
        }
        state.items.push_back(item);
        drop(state);
        self.0.changed.notify_one();
        PushOutcome::Queued
    }

    /// Puts an item behind all others. Replaces the item of an earlier call that has not been
    /// popped, so these items never fill the queue.
    pub fn push_newest(&self, item: T) {
        let mut state = self.0.lock();
        if state.has_receiver {
            state.newest = Some(Box::new(item));
            drop(state);
            self.0.changed.notify_one();
        }
    }

    /// Appends an item of `len` bytes. They count as unwritten until [`QueueReceiver::written`].
    pub fn push_bytes(&self, len: usize, item: T) -> PushOutcome {
        let unwritten = &self.0.unwritten;
        if unwritten.load(Ordering::Relaxed) + len > self.0.max_bytes {
            return PushOutcome::Full;
        }
        unwritten.fetch_add(len, Ordering::Relaxed);
        let outcome = self.push(item);
        if outcome != PushOutcome::Queued {
            unwritten.fetch_sub(len, Ordering::Relaxed);
        }
        outcome
    }
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for QueueSender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.changed.notify_one();
    }
}

impl<T> QueueReceiver<T> {
    /// Waits for the next item. `None`: the queue is empty and all senders have been dropped.
    /// Cancel-safe.
    pub async fn pop(&mut self) -> Option<T> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(item) = state.items.pop_front() {
                    if state.items.is_empty() {
                        state.items.shrink_to(RETAINED_ITEMS);
                    }
                    return Some(item);
                }
                if let Some(newest) = state.newest.take() {
                    return Some(*newest);
                }
                if state.senders == 0 {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }

    /// Stops counting `bytes` as unwritten.
    pub fn written(&self, bytes: usize) {
        self.0.unwritten.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl<T> Drop for QueueReceiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.has_receiver = false;
        (state.items, state.newest) = (VecDeque::new(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_and_goes_on_when_it_has_a_place() {
        let (sender, mut receiver) = queue(2);
        assert_eq!(
            [1, 2, 3].map(|item| sender.push(item)),
            [PushOutcome::Queued, PushOutcome::Queued, PushOutcome::Full]
        );
        assert_eq!(receiver.pop().await, Some(1));
        assert_eq!(sender.push(4), PushOutcome::Queued);
        drop(sender);
        assert_eq!([receiver.pop().await, receiver.pop().await], [Some(2), Some(4)]);
        assert_eq!(receiver.pop().await, None);
    }

    #[tokio::test]
    async fn a_refused_item_takes_no_bytes() {
        let (sender, mut receiver) = queue_of_bytes(1, 10);
        assert_eq!(sender.push_bytes(4, 1), PushOutcome::Queued);
        for _ in 0..5 {
            assert_eq!(sender.push_bytes(4, 2), PushOutcome::Full, "no place for another item");
        }
        assert_eq!(receiver.pop().await, Some(1));
        assert_eq!(sender.push_bytes(4, 3), PushOutcome::Queued);
    }

    #[tokio::test]
    async fn the_newest_of_its_kind_replaces_the_one_before_and_needs_no_place() {
        let (sender, mut receiver) = queue(1);
        sender.push_newest(1);
        assert_eq!(sender.push(2), PushOutcome::Queued);
        assert_eq!(sender.push(3), PushOutcome::Full);
        (4..1_000).for_each(|item| sender.push_newest(item));
        assert_eq!([receiver.pop().await, receiver.pop().await], [Some(2), Some(999)]);
        sender.push_newest(7);
        drop(sender);
        assert_eq!([receiver.pop().await, receiver.pop().await], [Some(7), None]);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_an_item_and_by_the_end() {
        let (sender, mut receiver) = queue(2);
        let clone = sender.clone();
        let waiting = tokio::spawn(async move { (receiver.pop().await, receiver.pop().await) });
        tokio::task::yield_now().await;
        drop(sender);
        tokio::task::yield_now().await;
        assert_eq!(clone.push(7), PushOutcome::Queued);
        drop(clone);
        assert_eq!(waiting.await.unwrap(), (Some(7), None));
    }

    #[test]
    fn nothing_is_kept_for_a_receiver_that_is_gone() {
        let (sender, receiver) = queue(2);
        let item = Arc::new(());
        assert_eq!(sender.push(item.clone()), PushOutcome::Queued);
        drop(receiver);
        assert_eq!(Arc::strong_count(&item), 1);
        assert_eq!(sender.push(item), PushOutcome::Closed);
    }
}
