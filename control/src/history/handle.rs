//! The recorder of the history, as the rest of the server sees it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use crate::events::{EventFeed, PostedEvents, RecordedEvent};

/// Events that have been recorded together, in their order.
pub type RecordedBatch = Arc<[RecordedEvent]>;

/// What the page of metrics shows of the history.
#[derive(Clone, Debug)]
pub struct HistoryFigures {
    pub(super) rows: Arc<AtomicU64>,
    pub(super) lost: Arc<AtomicU64>,
    pub(super) feed: EventFeed,
}

impl HistoryFigures {
    /// Returns the number of events that wait for the database: those of the spool, and those that wait in
    /// memory because the spool takes no more.
    pub fn spool_rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Returns the number of events that were lost: the feed was full, the database refuses the event, or a
    /// line of the spool was damaged.
    pub fn dropped(&self) -> u64 {
        self.lost.load(Ordering::Relaxed) + self.feed.dropped()
    }
}

/// What the recorder is made of.
pub struct RecorderSettings {
    /// The planes' end of the feed.
    pub feed: EventFeed,
    /// The other end.
    pub posted: PostedEvents,
    /// The file for events that the database does not take.
    pub spool: PathBuf,
}

/// A request to write everything that waits.
#[derive(Debug)]
pub(super) struct FinishRequest {
    /// When the database is no longer tried.
    pub(super) end: Instant,
    pub(super) done: oneshot::Sender<()>,
}

/// Finishes a recorder from outside.
#[derive(Clone, Debug)]
pub struct RecorderHandle {
    pub(super) finish: mpsc::Sender<FinishRequest>,
    pub(super) batches: broadcast::Sender<RecordedBatch>,
    pub(super) figures: HistoryFigures,
}

impl RecorderHandle {
    /// Returns the batches that are recorded from now on. A batch comes after its transaction, and
    /// again if the server was killed between the two.
    pub fn subscribe(&self) -> broadcast::Receiver<RecordedBatch> {
        self.batches.subscribe()
    }

    /// Returns the figures for the page of metrics.
    pub fn figures(&self) -> HistoryFigures {
        self.figures.clone()
    }

    /// Waits until everything that was posted before is in the spool, and then, if the database takes it
    /// within `time`, in the database; or until the recorder has ended. A database that hangs takes no
    /// longer than `time`.
    pub async fn finish(&self, time: Duration) {
        let (done, finished) = oneshot::channel();
        if self.finish.send(FinishRequest { end: Instant::now() + time, done }).await.is_ok() {
            let _ended = finished.await;
        }
    }
}
