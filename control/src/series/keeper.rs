//! Asks the planes for the figures of the series.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nucleus_core::control::{ControlReply, ControlRequest, SeriesFigures};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{RoomLine, Series, SeriesLine, SeriesName, SeriesSpan};
use crate::planes::PlanesHandle;

/// The series, which many may read. A lock is held for a copy of some lines.
#[derive(Debug)]
pub struct SeriesStore {
    series: Mutex<Series>,
    /// The origin of the times.
    begin: Instant,
}

impl SeriesStore {
    /// Makes a store without values.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { series: Mutex::default(), begin: Instant::now() })
    }

    /// Takes figures that were read at this time since the store was made.
    pub fn record(&self, at: Duration, figures: &SeriesFigures) {
        self.lock().record(at, figures);
    }

    /// Returns how long ago the last value of each line was read, and the lines of some figures.
    pub fn lines(&self, span: SeriesSpan, names: &[SeriesName]) -> (Duration, Vec<SeriesLine>) {
        let (series, now) = (self.lock(), self.begin.elapsed());
        let lines = names.iter().flat_map(|name| series.lines(now, span, *name)).collect();
        (now.saturating_sub(series.end(now, span)), lines)
    }

    /// Returns how long ago the last value of each line was read, and the lines of the fullest rooms.
    pub fn rooms(&self) -> (Duration, Vec<RoomLine>) {
        let (series, now) = (self.lock(), self.begin.elapsed());
        (now.saturating_sub(series.end(now, SeriesSpan::Hour)), series.rooms(now))
    }

    /// Returns the shards that did not tell the figures of their links in the newest reading.
    pub fn silent_shards(&self) -> Vec<u16> {
        self.lock().silent_shards()
    }

    fn lock(&self) -> MutexGuard<'_, Series> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills the series.
pub struct SeriesKeeper {
    store: Arc<SeriesStore>,
    planes: PlanesHandle,
}

impl SeriesKeeper {
    /// Makes a keeper.
    pub fn new(store: Arc<SeriesStore>, planes: PlanesHandle) -> Self {
        Self { store, planes }
    }

    /// Asks for the figures at the begin of each step. Never returns. A step in which the server is too busy
    /// to answer stays a gap.
    pub async fn run(self) {
        let mut ticks = interval_at(self.store.begin, SeriesSpan::Hour.step());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let at = ticks.tick().await;
            if let Ok(ControlReply::Figures(figures)) =
                self.planes.ask(ControlRequest::Figures).await
            {
                self.store.record(at.saturating_duration_since(self.store.begin), &figures);
            }
        }
    }
}
