//! The planes' end of the events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nucleus_core::plane_event::PlaneEvent;
use tokio::sync::mpsc;

use crate::timestamp::Timestamp;

/// Most events that wait to be recorded, about 40 MB. The control plane's thread may be busy for a moment,
/// and all sessions and rooms of a full server may end in it.
const FEED: usize = 65_536;

/// An event as it was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedEvent {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: PlaneEvent,
}

/// Where the planes post events. They never wait: an event that finds the feed full is counted and
/// dropped.
#[derive(Clone, Debug)]
pub struct EventFeed {
    sender: mpsc::Sender<PostedEvent>,
    dropped: Arc<AtomicU64>,
}

impl EventFeed {
    /// Makes a feed, and the end from which events are recorded.
    pub fn new() -> (Self, mpsc::Receiver<PostedEvent>) {
        Self::with_capacity(FEED)
    }

    fn with_capacity(capacity: usize) -> (Self, mpsc::Receiver<PostedEvent>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { sender, dropped: Arc::default() }, receiver)
    }

    /// Posts an event that happens now.
    pub fn post(&self, what: PlaneEvent) {
        if self.sender.try_send(PostedEvent { at: Timestamp::now(), what }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of events that found the feed full, or nobody to record them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use nucleus_core::ids::{Product, ProductKey};
    use nucleus_core::plane_event::CallRef;

    use super::*;

    #[test]
    fn a_full_feed_drops_and_counts() {
        let owner = Arc::new(ProductKey { tenant: "a".to_owned(), product: Product::ATOM });
        let event = |call| {
            let caller = "anna".to_owned();
            PlaneEvent::CallStarted(CallRef { call, owner: owner.clone(), caller })
        };
        let (feed, mut posted) = EventFeed::with_capacity(2);
        (0..5).for_each(|call| feed.post(event(call)));
        assert_eq!(feed.dropped(), 3);
        assert_eq!(posted.try_recv().unwrap().what, event(0));
        feed.post(event(5));
        drop(posted);
        feed.post(event(6));
        assert_eq!(feed.dropped(), 4);
    }
}
