//! The recent events, in memory: a stream reads them at its own pace, and goes on after an interruption.
//!
//! An event is written as text once, for all streams together. A stream that is further behind than the
//! ring reaches is told that it has missed events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::events::{PlaneEventKind, RecordedEvent};
use crate::history::RecordedBatch;
use crate::id::{self, NoRandomness};
use crate::store::deliveries;
use crate::timestamp::Timestamp;

/// Most events in the ring: those of some minutes of a busy server, so that a stream that comes back
/// within a minute misses nothing.
const RING_EVENTS: usize = 10_000;
/// Most bytes of the events in the ring. An event has 300 to 600 bytes; that of a large call has more,
/// because it names all members.
const RING_BYTES: usize = 16 << 20;
/// Most entries that one reading looks at, so that no stream holds the ring for long.
const READING: usize = 256;
/// Bytes of events after which one reading ends: a stream that its client does not take holds no more of
/// them, and one event of any size.
const READING_BYTES: usize = 64 << 10;

/// An event as streams send it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StreamEvent {
    pub(crate) id: String,
    pub(crate) kind: PlaneEventKind,
    pub(crate) tenant: String,
    /// The body that webhooks get, in JSON on one line.
    pub(crate) text: String,
}

/// The recent events of this process.
pub struct EventRing {
    /// The id of the place before the first event of this process.
    start: String,
    most: usize,
    most_bytes: usize,
    kept: Mutex<KeptEvents>,
    /// The number of the next entry, for the streams that wait for it.
    next: watch::Sender<u64>,
}

/// `None`: events are missing here, because this task was too slow for the recorder.
type RingEntry = Option<Arc<StreamEvent>>;

#[derive(Default)]
struct KeptEvents {
    entries: VecDeque<RingEntry>,
    /// The number of the first entry. The entries of a process are counted from 0.
    first: u64,
    bytes: usize,
}

/// What a stream reads from the ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RingReading {
    /// Whether events before these are missing.
    pub(crate) missed: bool,
    /// The next events: at most a few hundred, and about 64 KiB.
    pub(crate) events: Vec<Arc<StreamEvent>>,
    /// The number of the entry with which the next reading begins.
    pub(crate) next: u64,
    /// Whether there is more to read at once.
    pub(crate) has_more: bool,
}

impl EventRing {
    /// Makes an empty ring.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`]
    pub fn new() -> Result<Arc<Self>, NoRandomness> {
        Self::with_limits(RING_EVENTS, RING_BYTES)
    }

    fn with_limits(most: usize, most_bytes: usize) -> Result<Arc<Self>, NoRandomness> {
        let start = format!("start-{}", id::new(Timestamp::now())?);
        let (kept, next) = (Mutex::default(), watch::Sender::new(0));
        Ok(Arc::new(Self { start, most, most_bytes, kept, next }))
    }

    /// Takes over what a recorder has recorded, until the recorder is gone.
    pub async fn follow(&self, mut batches: broadcast::Receiver<RecordedBatch>) {
        loop {
            match batches.recv().await {
                Ok(batch) => self.push(&batch),
                Err(broadcast::error::RecvError::Lagged(_)) => self.push_gap(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Returns what changes when there is something to read.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// Returns the number of the entry behind the newest one.
    pub(crate) fn end(&self) -> u64 {
        let kept = self.kept();
        kept.first + kept.entries.len() as u64
    }

    /// Returns the number of the entry behind the event `id`, or behind the start of this process. `None`:
    /// the ring does not reach back so far, or has no such event that a caller of `tenant` may see.
    pub(crate) fn after(&self, id: &str, tenant: Option<&str>) -> Option<u64> {
        let kept = self.kept();
        if id == self.start {
            return (kept.first == 0).then_some(0);
        }
        let is_it = |entry: &RingEntry| {
            entry.as_ref().is_some_and(|event| event.id == id && event.is_visible(tenant))
        };
        let at = kept.entries.iter().rposition(is_it)?;
        Some(kept.first + at as u64 + 1)
    }

    /// Returns the id after which a stream goes on that has read everything before the entry `next`: that
    /// of the newest event before it that a caller of `tenant` may see.
    pub(crate) fn resume_id(&self, next: u64, tenant: Option<&str>) -> String {
        let kept = self.kept();
        let count = usize::try_from(next.saturating_sub(kept.first)).unwrap_or(usize::MAX);
        let before = kept.entries.iter().take(count).flatten();
        let visible = before.rev().find(|event| event.is_visible(tenant));
        visible.map_or_else(|| self.start.clone(), |event| event.id.clone())
    }

    /// Reads the entries from `next` on, as far as a caller of `tenant` may see them.
    pub(crate) fn read(&self, next: u64, tenant: Option<&str>) -> RingReading {
        let kept = self.kept();
        let mut missed = next < kept.first;
        let begin = next.max(kept.first);
        let skipped = usize::try_from(begin - kept.first).unwrap_or(usize::MAX);
        let entries = kept.entries.iter().skip(skipped).take(READING);
        let mut bytes = 0;
        let mut reading =
            RingReading { missed: false, events: Vec::new(), next: begin, has_more: false };
        for entry in entries {
            match entry {
                _ if bytes >= READING_BYTES => break,
                // What comes behind a gap is the next reading: the stream is told first.
                None if !reading.events.is_empty() => break,
                None => missed = true,
                Some(event) if event.is_visible(tenant) => {
                    bytes += event.text.len();
                    reading.events.push(event.clone());
                }
                Some(_) => {}
            }
            reading.next += 1;
        }
        reading.has_more = reading.next < kept.first + kept.entries.len() as u64;
        RingReading { missed, ..reading }
    }

    fn push(&self, events: &[RecordedEvent]) {
        let entries = events.iter().map(|event| {
            Some(Arc::new(StreamEvent {
                id: event.id.clone(),
                kind: event.kind(),
                tenant: event.tenant().to_owned(),
                text: deliveries::body(event.kind().name(), event.at, event.data()),
            }))
        });
        self.add(entries);
    }

    fn push_gap(&self) {
        self.add([None]);
    }

    fn add(&self, entries: impl IntoIterator<Item = RingEntry>) {
        let mut kept = self.kept();
        for entry in entries {
            kept.bytes += size(&entry);
            kept.entries.push_back(entry);
            while kept.entries.len() > self.most || kept.bytes > self.most_bytes {
                let Some(oldest) = kept.entries.pop_front() else { break };
                kept.bytes -= size(&oldest);
                kept.first += 1;
            }
        }
        let end = kept.first + kept.entries.len() as u64;
        drop(kept);
        self.next.send_replace(end);
    }

    fn kept(&self) -> MutexGuard<'_, KeptEvents> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamEvent {
    /// Whether a caller may see the event. `None`: the caller sees all tenants.
    fn is_visible(&self, tenant: Option<&str>) -> bool {
        tenant.is_none_or(|own| own == self.tenant)
    }
}

/// Returns the bytes that count for an entry.
fn size(entry: &RingEntry) -> usize {
    entry.as_ref().map_or(0, |event| {
        size_of::<StreamEvent>() + event.id.len() + event.tenant.len() + event.text.len()
    })
}

#[cfg(test)]
mod tests {
    use nucleus_core::ids::{Product, ProductKey};
    use nucleus_core::plane_event::{CallRef, PlaneEvent};

    use super::*;

    fn event(call: u64, tenant: &str) -> RecordedEvent {
        let owner = Arc::new(ProductKey { tenant: tenant.to_owned(), product: Product::ATOM });
        let what = PlaneEvent::CallStarted(CallRef { call, owner, caller: "anna".to_owned() });
        RecordedEvent { id: format!("id {call}"), at: Timestamp::from_seconds(1), what }
    }

    fn ids(reading: &RingReading) -> Vec<&str> {
        reading.events.iter().map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn a_stream_goes_on_where_it_was_or_is_told_what_it_missed() {
        let ring = EventRing::with_limits(3, usize::MAX).unwrap();
        let start = ring.resume_id(ring.end(), None);
        assert_eq!(ring.after(&start, None), Some(0));
        ring.push(&[event(1, "acme"), event(2, "beta")]);
        assert_eq!(ids(&ring.read(0, None)), ["id 1", "id 2"]);
        assert_eq!(ids(&ring.read(ring.after("id 1", None).unwrap(), None)), ["id 2"]);
        assert_eq!(ring.after(&start, None), Some(0), "nothing has left the ring");
        ring.push(&[event(3, "acme"), event(4, "acme")]);
        assert_eq!((ring.after("id 1", None), ring.after(&start, None)), (None, None));
        assert_eq!(ring.after("id 9", None), None);
        let late = ring.read(0, None);
        assert_eq!((late.missed, ids(&late)), (true, vec!["id 2", "id 3", "id 4"]));
        let next = ring.read(late.next, None);
        assert!(!next.missed && next.events.is_empty() && !next.has_more);
    }

    #[test]
    fn the_bytes_of_the_ring_are_bounded() {
        let ring = EventRing::with_limits(1_000, 10 * size_of::<StreamEvent>()).unwrap();
        for number in 0..1_000 {
            ring.push(&[event(number, "acme")]);
        }
        let kept = ring.kept();
        assert!(kept.bytes <= 10 * size_of::<StreamEvent>() && kept.entries.len() < 10);
        let counted: usize = kept.entries.iter().map(size).sum();
        assert_eq!((counted, kept.first + kept.entries.len() as u64), (kept.bytes, 1_000));
    }

    #[test]
    fn one_reading_is_bounded_and_the_next_one_goes_on() {
        let ring = EventRing::with_limits(1_000, usize::MAX).unwrap();
        let owner = Arc::new(ProductKey { tenant: "acme".to_owned(), product: Product::ATOM });
        for call in 0..1_000 {
            // A large one now and then.
            let caller = "x".repeat(if call % 100 == 0 { 2 * READING_BYTES } else { 1 });
            let what = PlaneEvent::CallStarted(CallRef { call, owner: owner.clone(), caller });
            let (id, at) = (format!("{call:04}"), Timestamp::from_seconds(1));
            ring.push(&[RecordedEvent { id, at, what }]);
        }
        let (mut next, mut seen) = (0, Vec::new());
        loop {
            let reading = ring.read(next, None);
            let bytes: usize = reading.events.iter().map(|event| event.text.len()).sum();
            assert!(reading.events.len() <= READING && bytes < 4 * READING_BYTES, "{bytes}");
            seen.extend(reading.events.iter().map(|event| event.id.clone()));
            next = reading.next;
            if !reading.has_more {
                break;
            }
        }
        assert_eq!(seen, (0..1_000).map(|call| format!("{call:04}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_tenant_learns_nothing_of_others() {
        let ring = EventRing::with_limits(10, usize::MAX).unwrap();
        ring.push(&[event(1, "beta"), event(2, "acme"), event(3, "beta")]);
        assert_eq!(ids(&ring.read(0, Some("acme"))), ["id 2"]);
        assert_eq!(ring.resume_id(ring.end(), Some("acme")), "id 2");
        assert!(ring.resume_id(ring.end(), Some("other")).starts_with("start-"));
        assert_eq!(ring.after("id 3", Some("acme")), None, "it looks as if there were none");
        assert_eq!(ring.after("id 3", None), Some(3));
    }

    #[tokio::test]
    async fn a_gap_of_the_recorder_is_told() {
        let ring = EventRing::with_limits(10, usize::MAX).unwrap();
        let (recorder, batches) = broadcast::channel(2);
        for number in 0..5 {
            recorder.send(vec![event(number, "acme")].into()).unwrap();
        }
        drop(recorder);
        ring.follow(batches).await;
        let reading = ring.read(0, None);
        assert_eq!((reading.missed, ids(&reading)), (true, vec!["id 3", "id 4"]));
        ring.push_gap();
        ring.push(&[event(5, "acme")]);
        let before = ring.read(1, None);
        assert_eq!((before.missed, before.has_more, before.next), (false, true, 3));
        let behind = ring.read(before.next, None);
        assert_eq!((behind.missed, ids(&behind)), (true, vec!["id 5"]));
    }
}
