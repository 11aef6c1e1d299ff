//! The planes' end of the events, and the end from which they are recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nucleus_core::ids::{ProductKey, RoomKey};
use nucleus_core::moments::{Moment, MomentLog};
use nucleus_core::plane_event::{CallTotals, PlaneEvent, RoomRef, RoomVisitor, Visit};
use tokio::sync::mpsc;

use crate::timestamp::Timestamp;

/// Most events that wait to be recorded. The control plane's thread may be busy for a moment, and all
/// sessions and rooms of a full server may end in it.
const FEED: usize = 65_536;
/// Most bytes of these events, as [`bytes`] counts them: as much as the spool has. The end of a session with
/// ten moments has some 1.5 KB, one with the most moments 4.5 KB.
const FEED_BYTES: usize = 64 << 20;

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
    most_bytes: usize,
    /// Bytes of the events that wait.
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

/// The end of a feed from which events are recorded.
#[derive(Debug)]
pub struct PostedEvents {
    receiver: mpsc::Receiver<PostedEvent>,
    waiting: Arc<AtomicUsize>,
}

impl EventFeed {
    /// Makes a feed, and the end from which events are recorded.
    pub fn new() -> (Self, PostedEvents) {
        Self::with_limits(FEED, FEED_BYTES)
    }

    fn with_limits(most: usize, most_bytes: usize) -> (Self, PostedEvents) {
        let (sender, receiver) = mpsc::channel(most);
        let waiting = Arc::<AtomicUsize>::default();
        let feed = Self { sender, most_bytes, waiting: waiting.clone(), dropped: Arc::default() };
        (feed, PostedEvents { receiver, waiting })
    }

    /// Posts an event that happens now.
    pub fn post(&self, what: PlaneEvent) {
        let event = PostedEvent { at: Timestamp::now(), what };
        let bytes = bytes(&event);
        // Counted before the event is sent, so that the other end never takes off more than there is.
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.most_bytes;
        if !fits || self.sender.try_send(event).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of events that found the feed full, or nobody to record them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl PostedEvents {
    /// Waits for events, and appends up to `most` to `events`. Returns how many; 0: there will be no more.
    /// Dropping the future loses no event.
    pub(crate) async fn recv_many(&mut self, events: &mut Vec<PostedEvent>, most: usize) -> usize {
        let before = events.len();
        let count = self.receiver.recv_many(events, most).await;
        self.take_off(&events[before..]);
        count
    }

    /// Returns the next event if one waits.
    pub(crate) fn try_recv(&mut self) -> Option<PostedEvent> {
        let event = self.receiver.try_recv().ok()?;
        self.take_off(std::slice::from_ref(&event));
        Some(event)
    }

    /// Returns the number of events that wait.
    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }

    fn take_off(&self, events: &[PostedEvent]) {
        self.waiting.fetch_sub(events.iter().map(bytes).sum(), Ordering::Relaxed);
    }
}

/// Returns the bytes that an event keeps in memory, at most. What several events share counts for each of
/// them, because it may wait for the last one.
fn bytes(event: &PostedEvent) -> usize {
    size_of::<PostedEvent>()
        + match &event.what {
            PlaneEvent::RoomStarted(room) | PlaneEvent::RoomEnded(room, _) => room_bytes(room),
            PlaneEvent::PeerJoined(room, visitor) => room_bytes(room) + visitor_bytes(visitor),
            PlaneEvent::PeerLeft(room, visitor, visit) => {
                let moments = size_of::<Visit>() + moments_bytes(&visit.moments);
                room_bytes(room) + visitor_bytes(visitor) + moments
            }
            PlaneEvent::CallStarted(call) => owner_bytes(&call.owner) + call.caller.len(),
            PlaneEvent::CallEnded(call, totals) => {
                let users = totals.members.iter().chain(&totals.missed);
                let users: usize = users.map(|user| size_of::<String>() + user.len()).sum();
                // The lists may have twice the space that they need.
                let users = size_of::<CallTotals>() + 2 * users;
                owner_bytes(&call.owner) + call.caller.len() + users
            }
        }
}

fn room_bytes(room: &RoomRef) -> usize {
    size_of::<RoomKey>() + room.key.owner.tenant.len() + room.key.name.len()
}

fn owner_bytes(owner: &ProductKey) -> usize {
    size_of::<ProductKey>() + owner.tenant.len()
}

fn visitor_bytes(visitor: &RoomVisitor) -> usize {
    let RoomVisitor { user, name, role, .. } = visitor;
    size_of::<RoomVisitor>() + user.len() + name.len() + role.len()
}

fn moments_bytes(log: &MomentLog) -> usize {
    // The list grows to powers of two.
    log.moments().len().next_power_of_two().max(4) * size_of::<Moment>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nucleus_core::ids::{PeerId, Product, RoomInstanceId};
    use nucleus_core::moments::{MAX_MOMENTS, MomentKind};
    use nucleus_core::plane_event::CallRef;
    use nucleus_protocol::session::Code;

    use super::*;

    #[test]
    fn a_full_feed_drops_and_counts() {
        let owner = Arc::new(ProductKey { tenant: "a".to_owned(), product: Product::ATOM });
        let event = |call| {
            let caller = "anna".to_owned();
            PlaneEvent::CallStarted(CallRef { call, owner: owner.clone(), caller })
        };
        let (feed, mut posted) = EventFeed::with_limits(2, usize::MAX);
        (0..5).for_each(|call| feed.post(event(call)));
        assert_eq!(feed.dropped(), 3);
        assert_eq!(posted.try_recv().unwrap().what, event(0));
        feed.post(event(5));
        drop(posted);
        feed.post(event(6));
        assert_eq!(feed.dropped(), 4);
    }

    /// The end of a visit with so many moments and so long a name.
    fn left(moments: usize, name: usize) -> PlaneEvent {
        let owner = ProductKey { tenant: "a".to_owned(), product: Product::ATOM };
        let key = Arc::new(owner.room("lobby".to_owned()));
        let visitor = RoomVisitor {
            peer: PeerId(1),
            user: "anna".to_owned(),
            name: "x".repeat(name),
            role: "host".to_owned(),
        };
        let moment = Moment { after: Duration::ZERO, kind: MomentKind::Away };
        let visit = Visit {
            lasted: Duration::ZERO,
            code: Code::Left,
            resumes: 0,
            links: None,
            moments: MomentLog::stored(std::iter::repeat_n(moment, moments), 0),
        };
        let room = RoomRef { instance: RoomInstanceId([1; 8]), key };
        PlaneEvent::PeerLeft(room, Arc::new(visitor), Box::new(visit))
    }

    #[test]
    fn large_events_fill_the_feed_by_their_bytes() {
        let (feed, mut posted) = EventFeed::new();
        for _ in 0..FEED {
            feed.post(left(MAX_MOMENTS, 64));
        }
        let least = MAX_MOMENTS * size_of::<Moment>();
        let (waiting, count) = (feed.waiting.load(Ordering::Relaxed), posted.len());
        assert!(waiting <= FEED_BYTES && count * least <= FEED_BYTES, "{count}: {waiting}");
        assert!(waiting + 2 * waiting / count > FEED_BYTES, "the feed is full");
        assert_eq!(feed.dropped(), (FEED - count) as u64);
        let before = feed.dropped();
        posted.try_recv().unwrap();
        feed.post(left(MAX_MOMENTS, 64));
        assert_eq!((posted.len(), feed.dropped()), (count, before), "there is space again");
        while posted.try_recv().is_some() {}
        assert_eq!(feed.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_taken_in_batches_makes_space_too() {
        let one = bytes(&PostedEvent { at: Timestamp::now(), what: left(10, 10) });
        let (feed, mut posted) = EventFeed::with_limits(FEED, 10 * one);
        (0..12).for_each(|_| feed.post(left(10, 10)));
        let mut events = Vec::new();
        assert_eq!((posted.recv_many(&mut events, 3).await, feed.dropped()), (3, 2));
        (0..4).for_each(|_| feed.post(left(10, 10)));
        assert_eq!((posted.len(), feed.dropped()), (10, 3));
        assert_eq!(posted.recv_many(&mut events, 20).await, 10);
        assert_eq!((events.len(), feed.waiting.load(Ordering::Relaxed)), (13, 0));
    }
}
