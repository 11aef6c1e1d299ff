//! The task that writes events into the database, or into the spool while the database does not answer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::rows;
use super::spool::{SPOOL_BYTES, Spool, SpooledBatch};
use crate::database::{Database, DatabaseError};
use crate::events::{EventFeed, PostedEvent, RecordedEvent};
use crate::id;
use crate::store::{StoreError, deliveries};
use crate::webhooks::{DeliveryOutcome, WebhookSettings};

/// Most events of a transaction.
const BATCH: usize = 500;
/// Longest wait for more events of a batch: people and webhooks should not wait longer.
const GATHER_TIME: Duration = Duration::from_millis(250);
/// Longest time of a transaction. A database that takes longer does not answer. Longer than the time for
/// which the database itself waits for a lock, so that its own error is seen.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// Pause between attempts while the database does not answer.
const RETRY_TIME: Duration = Duration::from_secs(1);
/// Batches that a subscriber may be behind. One that is further behind misses events, and is told so.
const SUBSCRIBER_BATCHES: usize = 256;

/// Events that have been recorded together, in their order.
pub type RecordedBatch = Arc<[RecordedEvent]>;

/// What the page of metrics shows of the history.
#[derive(Clone, Debug)]
pub struct HistoryFigures {
    rows: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    feed: EventFeed,
}

impl HistoryFigures {
    /// Returns the number of events in the spool.
    pub fn spool_rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Returns the number of events that were lost: the feed or the spool was full, or a line of the
    /// spool was damaged.
    pub fn dropped(&self) -> u64 {
        self.lost.load(Ordering::Relaxed) + self.feed.dropped()
    }
}

/// What the recorder is made of.
pub struct RecorderSettings {
    /// The planes' end of the feed.
    pub feed: EventFeed,
    /// The other end.
    pub posted: mpsc::Receiver<PostedEvent>,
    /// The file for events that the database does not take.
    pub spool: PathBuf,
}

/// Finishes a recorder from outside.
#[derive(Clone, Debug)]
pub struct RecorderHandle {
    finish: mpsc::Sender<oneshot::Sender<()>>,
    batches: broadcast::Sender<RecordedBatch>,
    figures: HistoryFigures,
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

    /// Waits until everything that was posted before is in the database or in the spool, or until the
    /// recorder has ended.
    pub async fn finish(&self) {
        let (done, finished) = oneshot::channel();
        if self.finish.send(done).await.is_ok() {
            let _ended = finished.await;
        }
    }
}

/// Writes the history.
pub struct HistoryRecorder {
    posted: mpsc::Receiver<PostedEvent>,
    spool_path: PathBuf,
    /// `None`: the file cannot be read, and events that the database does not take are lost.
    spool: Option<Spool>,
    retry_at: Instant,
    /// Most events of the next batch from the spool: fewer after a batch that failed, in case the database
    /// was too slow for so many.
    most: usize,
    finish: mpsc::Receiver<oneshot::Sender<()>>,
    batches: broadcast::Sender<RecordedBatch>,
    figures: HistoryFigures,
}

impl HistoryRecorder {
    /// Makes a recorder.
    pub fn new(settings: RecorderSettings) -> (Self, RecorderHandle) {
        let RecorderSettings { feed, posted, spool } = settings;
        let (batches, _) = broadcast::channel(SUBSCRIBER_BATCHES);
        let (finish, finished) = mpsc::channel(1);
        let figures = HistoryFigures { rows: Arc::default(), lost: Arc::default(), feed };
        let handle = RecorderHandle { finish, batches: batches.clone(), figures: figures.clone() };
        let recorder = Self {
            posted,
            spool_path: spool,
            spool: None,
            retry_at: Instant::now(),
            most: BATCH,
            finish: finished,
            batches,
            figures,
        };
        (recorder, handle)
    }

    /// Records until the planes and the handles are gone.
    pub async fn run(mut self, database: Database, webhooks: Arc<WebhookSettings>) {
        let target = &Target { database, webhooks };
        let path = self.spool_path.clone();
        match blocking(move || Spool::open(&path, SPOOL_BYTES)).await {
            Ok(spool) => self.spool = Some(spool),
            Err(error) => tracing::error!(%error, "the spool of the history cannot be read"),
        }
        self.publish_rows();
        let mut posted = Vec::with_capacity(BATCH);
        loop {
            let spooled = self.spool.as_ref().is_some_and(|spool| !spool.is_empty());
            tokio::select! {
                biased;
                Some(done) = self.finish.recv() => {
                    self.record_all(target).await;
                    // Fails if the server waits no longer.
                    let _gone = done.send(());
                }
                () = tokio::time::sleep_until(self.retry_at), if spooled => self.replay(target).await,
                count = self.posted.recv_many(&mut posted, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.gather(&mut posted).await;
                    self.record(target, std::mem::take(&mut posted)).await;
                }
            }
            self.publish_rows();
        }
    }

    /// Waits for more events of a batch.
    async fn gather(&mut self, posted: &mut Vec<PostedEvent>) {
        let end = Instant::now() + GATHER_TIME;
        while posted.len() < BATCH && self.finish.is_empty() {
            let more = self.posted.recv_many(posted, BATCH - posted.len());
            if !matches!(tokio::time::timeout_at(end, more).await, Ok(1..)) {
                return;
            }
        }
    }

    /// Records all events that wait.
    async fn record_all(&mut self, target: &Target) {
        let mut posted = Vec::new();
        while let Ok(event) = self.posted.try_recv() {
            posted.push(event);
            if posted.len() == BATCH {
                self.record(target, std::mem::take(&mut posted)).await;
            }
        }
        self.record(target, posted).await;
    }

    /// Records a batch. Events stay in order: while some are in the spool, all others go there too.
    async fn record(&mut self, target: &Target, posted: Vec<PostedEvent>) {
        let count = posted.len() as u64;
        let recorded = posted
            .into_iter()
            .map(|PostedEvent { at, what }| id::new(at).map(|id| RecordedEvent { id, at, what }));
        let Ok(events) = recorded.collect::<Result<Vec<_>, _>>() else {
            return self.lose(count, &"the system has no random bytes");
        };
        if events.is_empty() {
            return;
        }
        let spooled = self.spool.as_ref().is_some_and(|spool| !spool.is_empty());
        if !spooled {
            match target.write(&events).await {
                Ok(()) => return self.publish(events),
                Err(error) => tracing::warn!(%error, "the history goes to the spool file"),
            }
            self.retry_at = Instant::now() + RETRY_TIME;
        }
        self.spool_events(events).await;
    }

    async fn spool_events(&mut self, events: Vec<RecordedEvent>) {
        let count = events.len() as u64;
        let Some(mut spool) = self.spool.take() else {
            return self.lose(count, &"there is no spool file");
        };
        let (spool, appended) = blocking_with(move || {
            let appended = spool.append(&events);
            (spool, appended)
        })
        .await;
        self.spool = spool;
        match appended {
            Some(Ok(0)) => {}
            Some(Ok(lost)) => self.lose(lost, &"the spool file is full"),
            Some(Err(error)) => self.lose(count, &error),
            None => self.lose(count, &"the spool file was not written"),
        }
    }

    /// Writes the oldest events of the spool into the database.
    async fn replay(&mut self, target: &Target) {
        let Some(spool) = self.spool.take() else { return };
        let most = self.most;
        let (spool, batch) = blocking_with(move || {
            let batch = spool.oldest(most);
            (spool, batch)
        })
        .await;
        self.spool = spool;
        let batch = match batch {
            Some(Ok(batch)) => batch,
            failed => {
                tracing::error!(?failed, "the spool of the history cannot be read");
                self.retry_at = Instant::now() + RETRY_TIME;
                return;
            }
        };
        if let Err(error) = target.write(&batch.events).await {
            tracing::debug!(%error, "the history stays in the spool file");
            self.most = (self.most / 2).max(1);
            self.retry_at = Instant::now() + RETRY_TIME;
            return;
        }
        self.most = (self.most * 2).min(BATCH);
        if batch.events.is_empty() {
            // Somebody has cut the file: it is not asked all the time.
            self.retry_at = Instant::now() + RETRY_TIME;
        }
        if batch.damaged > 0 {
            self.lose(batch.damaged, &"lines of the spool file are damaged");
        }
        self.forget(&batch);
        self.publish(batch.events);
    }

    /// Removes a batch from the spool.
    fn forget(&mut self, batch: &SpooledBatch) {
        let Some(spool) = &mut self.spool else { return };
        if let Err(error) = spool.taken(batch) {
            tracing::error!(%error, "the spool of the history cannot be emptied");
            self.retry_at = Instant::now() + RETRY_TIME;
        } else if spool.is_empty() {
            tracing::info!("the history is in the database again");
        }
    }

    fn publish(&self, events: Vec<RecordedEvent>) {
        // Fails if nobody has subscribed.
        let _nobody = self.batches.send(events.into());
    }

    fn publish_rows(&self) {
        let rows = self.spool.as_ref().map_or(0, |spool| spool.rows);
        self.figures.rows.store(rows, Ordering::Relaxed);
    }

    fn lose(&self, count: u64, error: &dyn std::fmt::Display) {
        self.figures.lost.fetch_add(count, Ordering::Relaxed);
        tracing::error!(count, %error, "events of the history are lost");
    }
}

/// Where batches are written.
struct Target {
    database: Database,
    webhooks: Arc<WebhookSettings>,
}

impl Target {
    /// Writes a batch, and what webhooks are to be told of it, in one transaction.
    async fn write(&self, events: &[RecordedEvent]) -> Result<(), StoreError> {
        let writing = async {
            let mut transaction = self.database.begin().await?;
            rows::write(&mut transaction, events).await?;
            let now = (self.webhooks.now)();
            let overflowed = deliveries::enqueue(&mut transaction, events, now).await?;
            transaction.commit().await?;
            Ok(overflowed)
        };
        let late = |_| DatabaseError::TimedOut(WRITE_TIME);
        let overflowed: Result<_, StoreError> = timeout(WRITE_TIME, writing).await.map_err(late)?;
        self.webhooks.counters.add(DeliveryOutcome::Overflowed, overflowed?);
        self.webhooks.wake.notify_one();
        Ok(())
    }
}

/// Runs what waits for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|_| Err(io::Error::other("it panicked")))
}

/// As [`blocking`], for what returns the spool as well. Nothing if the thread has panicked.
async fn blocking_with<T: Send + 'static>(
    run: impl FnOnce() -> (Spool, T) + Send + 'static,
) -> (Option<Spool>, Option<T>) {
    match tokio::task::spawn_blocking(run).await {
        Ok((spool, value)) => (Some(spool), Some(value)),
        Err(_) => (None, None),
    }
}
