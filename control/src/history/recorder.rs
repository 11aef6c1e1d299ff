//! The task that writes events into the database, or into the spool while the database does not answer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep_until};

use super::batch_writer::{BATCH, BatchSize, BatchWriter};
use super::handle::{
    FinishRequest, HistoryFigures, RecordedBatch, RecorderHandle, RecorderSettings,
};
use super::spool::{Appended, SPOOL_BYTES, Spool, SpooledBatch};
use crate::database::Database;
use crate::events::{PostedEvent, PostedEvents, RecordedEvent};
use crate::id;
use crate::store::StoreError;
use crate::webhooks::WebhookSettings;

/// Longest wait for more events of a batch: people and webhooks should not wait longer.
const GATHER_TIME: Duration = Duration::from_millis(250);
/// Pause between attempts while the database does not answer.
const RETRY_TIME: Duration = Duration::from_secs(1);
/// Events that are appended to the spool at once at the stop, two megabytes: the disk is waited for a few
/// times, however many events there are.
const STOP_BATCH: usize = 5_000;
/// Batches that a subscriber may be behind. One that is further behind misses events, and is told so.
const SUBSCRIBER_BATCHES: usize = 256;
/// Least time between two lines of the log of the same kind. Events come by the thousand.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Writes the history.
pub struct HistoryRecorder {
    posted: PostedEvents,
    spool_path: PathBuf,
    /// `None`: the file cannot be opened. It is tried again.
    spool: Option<Spool>,
    /// Events that neither the database nor the spool takes, because the disk or the spool is full. They
    /// are tried again. Meanwhile no others are taken from the feed, whose bound then holds.
    held: Vec<RecordedEvent>,
    retry_at: Instant,
    size: BatchSize,
    finish: mpsc::Receiver<FinishRequest>,
    /// A request that came while a batch was being written.
    finishing: Option<FinishRequest>,
    /// When the database is no longer tried, at the stop.
    end: Option<Instant>,
    batches: broadcast::Sender<RecordedBatch>,
    figures: HistoryFigures,
    log: RecorderLog,
}

/// When the lines of the log came that could come too often, and the events that were lost since.
#[derive(Debug, Default)]
struct RecorderLog {
    lost_at: Option<Instant>,
    lost: u64,
    held_at: Option<Instant>,
    unopened_at: Option<Instant>,
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
            held: Vec::new(),
            retry_at: Instant::now(),
            size: BatchSize::default(),
            finish: finished,
            finishing: None,
            end: None,
            batches,
            figures,
            log: RecorderLog::default(),
        };
        (recorder, handle)
    }

    /// Records events. Never returns.
    pub async fn run(mut self, database: Database, webhooks: Arc<WebhookSettings>) {
        let writer = &BatchWriter { database, webhooks };
        self.open_spool().await;
        self.publish_rows();
        let mut posted = Vec::with_capacity(BATCH);
        loop {
            // None goes first for ever: a long spool does not let the feed overflow, and events that come
            // all the time do not keep the spool waiting.
            tokio::select! {
                Some(request) = self.finish.recv() => self.finishing = Some(request),
                () = sleep_until(self.retry_at), if self.waits() => self.catch_up(writer).await,
                // Never ends: the figures have an end of the feed, too.
                _count = self.posted.recv_many(&mut posted, BATCH), if self.held.is_empty() => {
                    if !self.waits() {
                        self.gather(&mut posted).await;
                    }
                    let events = self.identify(std::mem::take(&mut posted));
                    self.store(writer, events).await;
                }
            }
            if let Some(request) = self.finishing.take() {
                self.finish(writer, request).await;
            }
            self.publish_rows();
        }
    }

    /// Whether something waits for the database, or the spool for being opened.
    fn waits(&self) -> bool {
        self.spool.as_ref().is_none_or(|spool| !spool.is_empty()) || !self.held.is_empty()
    }

    /// Whether events are in the spool, so that others must go there too, to stay in order.
    fn is_spooled(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| !spool.is_empty())
    }

    /// Opens the spool, if it is not open.
    async fn open_spool(&mut self) {
        if self.spool.is_some() {
            return;
        }
        let path = self.spool_path.clone();
        match blocking(move || Spool::open(&path, SPOOL_BYTES)).await {
            Ok((spool, damaged)) => {
                self.spool = Some(spool);
                self.lose(damaged, &"the spool file has a line without an end");
            }
            Err(error) => {
                if is_due(&mut self.log.unopened_at) {
                    tracing::error!(%error, "the spool of the history cannot be opened");
                }
                self.retry_at = Instant::now() + RETRY_TIME;
            }
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

    /// Writes everything that waits into the spool, which is fast, and then into the database, as far as
    /// there is time and the database answers. So what the spool does not take may still be written.
    async fn finish(&mut self, writer: &BatchWriter, request: FinishRequest) {
        // Those that come from now on are not waited for.
        let mut count = self.posted.len();
        self.open_spool().await;
        let mut events = std::mem::take(&mut self.held);
        loop {
            events.extend(self.take_posted(STOP_BATCH, &mut count));
            if !events.is_empty() {
                self.spool_events(std::mem::take(&mut events)).await;
            }
            if count == 0 || !self.held.is_empty() {
                break;
            }
        }
        self.end = Some(request.end);
        self.write_rest(writer, request.end, &mut count).await;
        self.end = None;
        let left = self.held.len() + count;
        if left > 0 {
            tracing::error!(
                left,
                "the last events are neither in the database nor in the spool file"
            );
        }
        self.publish_rows();
        // Fails if the server waits no longer.
        let _gone = request.done.send(());
    }

    /// Writes what waits into the database, and `count` events of the feed, until the database does not
    /// answer or the time is over.
    async fn write_rest(&mut self, writer: &BatchWriter, end: Instant, count: &mut usize) {
        loop {
            // Every failure sets a later time.
            let begin = Instant::now();
            self.retry_at = begin;
            if self.is_spooled() {
                self.replay(writer).await;
            } else if !self.held.is_empty() {
                let held = std::mem::take(&mut self.held);
                self.store(writer, held).await;
            } else if *count > 0 {
                let events = self.take_posted(BATCH, count);
                self.store(writer, events).await;
            } else {
                return;
            }
            if self.retry_at > begin || Instant::now() >= end {
                return;
            }
        }
    }

    /// Takes up to `most` of the next `count` events of the feed.
    fn take_posted(&mut self, most: usize, count: &mut usize) -> Vec<RecordedEvent> {
        let mut posted = Vec::new();
        while posted.len() < most.min(*count) {
            let Some(event) = self.posted.try_recv() else { break };
            posted.push(event);
        }
        *count = if posted.is_empty() { 0 } else { *count - posted.len() };
        self.identify(posted)
    }

    /// Gives events their ids.
    fn identify(&mut self, posted: Vec<PostedEvent>) -> Vec<RecordedEvent> {
        let count = posted.len() as u64;
        let identified = posted
            .into_iter()
            .map(|PostedEvent { at, what }| id::new(at).map(|id| RecordedEvent { id, at, what }));
        identified.collect::<Result<_, _>>().unwrap_or_else(|error| {
            self.lose(count, &error);
            Vec::new()
        })
    }

    /// Records events: in the database, or in the spool if others wait there or the database does not
    /// answer, or else in memory.
    async fn store(&mut self, writer: &BatchWriter, mut events: Vec<RecordedEvent>) {
        if !self.is_spooled() {
            self.write(writer, &mut events).await;
        }
        if !events.is_empty() {
            self.spool_events(events).await;
        }
    }

    /// Writes events into the database, in parts if it refuses one of them. What is left was not written.
    async fn write(&mut self, writer: &BatchWriter, events: &mut Vec<RecordedEvent>) {
        while !events.is_empty() {
            let count = self.size.most().min(events.len());
            match self.try_write(writer, &events[..count]).await {
                None => return,
                Some(Ok(())) => {
                    self.size.grow();
                    self.publish(events.drain(..count).collect());
                }
                Some(Err(error)) if error.is_refused() => {
                    if count == 1 {
                        let refused = events.remove(0);
                        self.lose(1, &format_args!("{}: {error}", refused.id));
                    }
                    self.size.halve(count);
                }
                Some(Err(error)) => {
                    self.retry_at = Instant::now() + RETRY_TIME;
                    tracing::warn!(%error, "the history goes to the spool file");
                    return;
                }
            }
        }
    }

    /// Writes a batch. `None`: the recorder is to finish, and has given the batch up.
    async fn try_write(
        &mut self,
        writer: &BatchWriter,
        events: &[RecordedEvent],
    ) -> Option<Result<(), StoreError>> {
        tokio::select! {
            biased;
            Some(request) = self.finish.recv(), if self.finishing.is_none() => {
                self.finishing = Some(request);
                None
            }
            written = writer.write(events, self.end) => Some(written),
        }
    }

    /// Appends events to the spool. What it does not take waits in memory.
    async fn spool_events(&mut self, events: Vec<RecordedEvent>) {
        let Some(mut spool) = self.spool.take() else {
            return self.hold(events, &"it is not open");
        };
        let count = events.len() as u64;
        let (spool, appended) = blocking_with(move || {
            let appended = spool.append(&events);
            (spool, (appended, events))
        })
        .await;
        self.spool = spool;
        match appended {
            Some((Ok(Appended { done, too_long }), mut events)) => {
                self.lose(too_long, &"an event is too long for the spool file");
                events.drain(..done);
                self.hold(events, &"it is full");
            }
            Some((Err(error), events)) => self.hold(events, &error),
            None => self.lose(count, &"the spool file was not written"),
        }
    }

    /// Keeps events in memory that the spool does not take, until it or the database does.
    fn hold(&mut self, events: Vec<RecordedEvent>, why: &dyn std::fmt::Display) {
        if events.is_empty() {
            return;
        }
        if is_due(&mut self.log.held_at) {
            let count = events.len();
            tracing::error!(count, %why, "the spool of the history takes no events: they wait in memory");
        }
        self.held = events;
        self.retry_at = Instant::now() + RETRY_TIME;
    }

    /// Tries again what waits.
    async fn catch_up(&mut self, writer: &BatchWriter) {
        self.open_spool().await;
        if self.is_spooled() {
            let begin = Instant::now();
            self.replay(writer).await;
            // The database takes them again: those in memory come after those in the spool.
            if self.is_spooled() && self.retry_at <= begin {
                return;
            }
        }
        if !self.held.is_empty() && self.finishing.is_none() {
            let held = std::mem::take(&mut self.held);
            self.store(writer, held).await;
        }
    }

    /// Writes the oldest events of the spool into the database.
    async fn replay(&mut self, writer: &BatchWriter) {
        let Some(spool) = self.spool.take() else { return };
        let most = self.size.most();
        let (spool, batch) = blocking_with(move || {
            let batch = spool.oldest(most);
            (spool, batch)
        })
        .await;
        self.spool = spool;
        let batch = match batch {
            Some(Ok(batch)) => batch,
            failed => {
                if is_due(&mut self.log.unopened_at) {
                    tracing::error!(?failed, "the spool of the history cannot be read");
                }
                self.retry_at = Instant::now() + RETRY_TIME;
                return;
            }
        };
        match self.try_write(writer, &batch.events).await {
            None => {}
            Some(Ok(())) => {
                self.size.grow();
                let events = self.remove(batch).await;
                self.publish(events);
            }
            Some(Err(error)) if error.is_refused() => {
                let count = batch.events.len();
                self.size.halve(count);
                if count <= 1 {
                    let id = batch.events.first().map_or("", |event| event.id.as_str());
                    self.lose(count as u64, &format_args!("{id}: {error}"));
                    self.remove(batch).await;
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the history stays in the spool file");
                // It may be too slow for so many.
                self.size.halve(batch.events.len());
                self.retry_at = Instant::now() + RETRY_TIME;
            }
        }
    }

    /// Removes a batch from the spool, and returns its events.
    async fn remove(&mut self, batch: SpooledBatch) -> Vec<RecordedEvent> {
        self.lose(batch.damaged, &"lines of the spool file are damaged");
        let Some(mut spool) = self.spool.take() else { return batch.events };
        let (spool, removed) = blocking_with(move || {
            let removed = spool.taken(&batch);
            (spool, (removed, batch.events))
        })
        .await;
        self.spool = spool;
        let Some((removed, events)) = removed else { return Vec::new() };
        if let Err(error) = removed {
            tracing::error!(%error, "the spool of the history cannot be emptied");
            self.retry_at = Instant::now() + RETRY_TIME;
        } else if !self.is_spooled() {
            tracing::info!("the history is in the database again");
        }
        events
    }

    fn publish(&self, events: Vec<RecordedEvent>) {
        if !events.is_empty() {
            // Fails if nobody has subscribed.
            let _nobody = self.batches.send(events.into());
        }
    }

    fn publish_rows(&self) {
        let mut rows = self.spool.as_ref().map_or(0, |spool| spool.rows) + self.held.len() as u64;
        if !self.held.is_empty() {
            // The spool takes none of these either.
            rows += self.posted.len() as u64;
        }
        self.figures.rows.store(rows, Ordering::Relaxed);
    }

    fn lose(&mut self, count: u64, error: &dyn std::fmt::Display) {
        if count == 0 {
            return;
        }
        self.figures.lost.fetch_add(count, Ordering::Relaxed);
        self.log.lost += count;
        if is_due(&mut self.log.lost_at) {
            let count = std::mem::take(&mut self.log.lost);
            tracing::error!(count, %error, "events of the history are lost");
        }
    }
}

/// Whether a line of the log is due that came last at `last`. If it is, it comes now.
fn is_due(last: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let is_due = last.is_none_or(|last| now - last >= LOG_PAUSE);
    if is_due {
        *last = Some(now);
    }
    is_due
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
