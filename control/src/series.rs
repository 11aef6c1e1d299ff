//! How the server's figures ran over the last hour and the last day, in memory.
//!
//! [`Series`] holds the values and decides which belongs to which step (`ring`, `columns`); the time is
//! passed in. [`SeriesKeeper`] asks the planes for the figures. A restart begins anew.

mod columns;
mod keeper;
mod ring;
mod rooms;

use std::time::Duration;

use columns::{COUNT_NAMES, Columns, latest};
pub use columns::{SeriesName, SeriesUnit};
pub use keeper::{SeriesKeeper, SeriesStore};
use nucleus_core::control::SeriesFigures;
use ring::Ring;
pub use ring::Values;
use rooms::RoomSeries;
pub use rooms::{ROOM_VALUES, RoomLine};

/// How far back a question goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesSpan {
    /// An hour, in steps of 10 s.
    Hour,
    /// A day, in steps of 2 min.
    Day,
}

impl SeriesSpan {
    /// Returns the length of a step.
    pub const fn step(self) -> Duration {
        match self {
            Self::Hour => Duration::from_secs(10),
            Self::Day => Duration::from_secs(120),
        }
    }

    /// Returns the number of steps.
    pub const fn steps(self) -> usize {
        match self {
            Self::Hour => 360,
            Self::Day => 720,
        }
    }
}

/// A line of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesLine {
    /// What it shows.
    pub name: SeriesName,
    /// The shard, of figures of shards.
    pub shard: Option<u16>,
    /// The value of each step, the oldest first. `None`: nothing is known of the step.
    pub values: Values,
}

/// The reading from which the next step goes on.
#[derive(Debug)]
struct NewestReading {
    /// The number of the step.
    step: u64,
    /// When it was read.
    at: Duration,
    figures: SeriesFigures,
}

/// The figures of the server in the steps of one span.
#[derive(Debug)]
struct SpanSeries {
    span: SeriesSpan,
    newest: Option<NewestReading>,
    whole: [Ring; COUNT_NAMES],
    /// The figures of each shard.
    shards: Vec<[Ring; columns::SHARD_NAMES]>,
}

/// The figures of the server over time. With 8 shards 0.2 MB, with the most 1.5 MB, and 0.5 MB for the
/// rooms (twice that while shards do not answer), 4 bytes for each step of each figure, and 100 bytes for each link of these rooms.
#[derive(Debug)]
pub struct Series {
    spans: [SpanSeries; 2],
    rooms: RoomSeries,
}

impl Default for Series {
    fn default() -> Self {
        let spans = [SeriesSpan::Hour, SeriesSpan::Day].map(SpanSeries::new);
        Self { spans, rooms: RoomSeries::default() }
    }
}

impl Series {
    /// Takes the figures that were read `now`, which is the time since any origin that stays the same. A
    /// second reading of the same step changes nothing.
    pub fn record(&mut self, now: Duration, figures: &SeriesFigures) {
        for span in &mut self.spans {
            span.record(now, figures);
        }
        self.rooms.record(now, figures);
    }

    /// Returns the time of the last value of each line, by the same origin.
    pub fn end(&self, now: Duration, span: SeriesSpan) -> Duration {
        let found = self.spans.iter().find(|series| series.span == span);
        let step = found.map_or(0, |series| series.last_step(now));
        Duration::from_secs(step * span.step().as_secs())
    }

    /// Returns the lines of a figure: one, or one for each shard.
    pub fn lines(&self, now: Duration, span: SeriesSpan, name: SeriesName) -> Vec<SeriesLine> {
        let found = self.spans.iter().find(|series| series.span == span);
        found.map(|series| series.lines(now, name)).unwrap_or_default()
    }

    /// Returns the shards that did not tell the figures of their links in the newest reading.
    pub fn silent_shards(&self) -> Vec<u16> {
        let newest = self.spans.first().and_then(|span| span.newest.as_ref());
        let losses = newest.map_or(&[][..], |newest| &newest.figures.losses);
        (0..).zip(losses).filter(|(_, losses)| losses.is_none()).map(|(shard, _)| shard).collect()
    }

    /// Returns the lines of the fullest rooms, the fullest first.
    pub fn rooms(&self, now: Duration) -> Vec<RoomLine> {
        self.rooms.lines(now)
    }
}

impl SpanSeries {
    fn new(span: SeriesSpan) -> Self {
        let whole = std::array::from_fn(|_| Ring::new(span.steps()));
        Self { span, newest: None, whole, shards: Vec::new() }
    }

    fn record(&mut self, now: Duration, figures: &SeriesFigures) {
        let step = step_at(now, self.span.step());
        if self.newest.as_ref().is_some_and(|newest| newest.step >= step) {
            return;
        }
        // What came in a longer time belongs to no single step.
        let before = self.newest.as_ref().filter(|newest| newest.step + 1 == step);
        let elapsed = before.map_or(self.span.step(), |before| now.saturating_sub(before.at));
        let before = before.map(|before| &before.figures);
        let columns = Columns { before, now: figures, elapsed };
        for (ring, value) in self.whole.iter_mut().zip(columns.whole()) {
            ring.set(step, value);
        }
        let count = figures.status.shards.len();
        if self.shards.len() < count {
            let empty = || std::array::from_fn(|_| Ring::new(self.span.steps()));
            self.shards.resize_with(count, empty);
        }
        for (shard, rings) in self.shards.iter_mut().enumerate() {
            for (ring, value) in rings.iter_mut().zip(columns.of_shard(shard)) {
                ring.set(step, value);
            }
        }
        self.newest = Some(NewestReading { step, at: now, figures: latest(figures) });
    }

    /// Returns the step of the last value of each line. The reading of a step that has just begun may be
    /// under way: the step before is the last one then.
    fn last_step(&self, now: Duration) -> u64 {
        let step = step_at(now, self.span.step());
        let newest = self.newest.as_ref().map(|newest| newest.step);
        newest.filter(|newest| newest + 1 == step).unwrap_or(step)
    }

    fn lines(&self, now: Duration, name: SeriesName) -> Vec<SeriesLine> {
        let step = self.last_step(now);
        match name.place() {
            columns::SeriesPlace::Whole(at) => {
                let values = self.whole.get(at).map(|ring| ring.values(step));
                vec![SeriesLine { name, shard: None, values: values.unwrap_or_default() }]
            }
            columns::SeriesPlace::Shard(at) => {
                let line = |(shard, rings): (u16, &[Ring; columns::SHARD_NAMES])| {
                    let values = rings.get(at).map(|ring| ring.values(step)).unwrap_or_default();
                    SeriesLine { name, shard: Some(shard), values }
                };
                (0..).zip(&self.shards).map(line).collect()
            }
        }
    }
}

/// Returns the number of the step that ended last at `now`.
fn step_at(now: Duration, step: Duration) -> u64 {
    now.as_secs() / step.as_secs().max(1)
}

#[cfg(test)]
mod tests;
