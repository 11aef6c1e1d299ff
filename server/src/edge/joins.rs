//! Counts how joins end, and how long they take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nucleus_core::histogram::{Histogram, HistogramScale};
use nucleus_protocol::session::Code;

use crate::published_histogram::PublishedHistogram;

/// How a join ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// It is a new participant of a room.
    Joined,
    /// It has its participant again, by a ticket.
    Resumed,
    /// It has entered outside rooms.
    Entered,
    /// A rule refused it.
    Refused,
    /// It said nothing in time or nothing that can be understood, or the server could not serve it.
    Failed,
}

impl JoinOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] =
        [Self::Joined, Self::Resumed, Self::Entered, Self::Refused, Self::Failed];

    /// Returns the outcome of a join that was refused with `code`.
    pub fn of_refusal(code: Code) -> Self {
        match code {
            Code::Malformed | Code::Internal | Code::JoinTimeout => Self::Failed,
            _ => Self::Refused,
        }
    }

    /// Returns whether the client was not admitted.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Refused | Self::Failed)
    }

    /// Returns the name, as a label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Resumed => "resumed",
            Self::Entered => "entered",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The figures of all joins.
pub struct JoinFigures {
    outcomes: [AtomicU64; JoinOutcome::ALL.len()],
    duration: PublishedHistogram,
}

/// Between two machines of one site a join takes some milliseconds. Connections that have not joined
/// are closed after five seconds, unless the configuration says otherwise.
const DURATION: HistogramScale = HistogramScale::micros(&[
    10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
]);

impl Default for JoinFigures {
    fn default() -> Self {
        Self { outcomes: Default::default(), duration: PublishedHistogram::new(DURATION) }
    }
}

impl JoinFigures {
    /// Counts a join that has ended.
    pub fn count(&self, outcome: JoinOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how long a join took that admitted its client.
    pub fn note_duration(&self, duration: Duration) {
        self.duration.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns how many joins had each outcome.
    pub fn by_outcome(&self) -> impl Iterator<Item = (JoinOutcome, u64)> {
        let counts = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        JoinOutcome::ALL.into_iter().zip(counts)
    }

    /// Returns how long joins took, µs.
    pub fn durations(&self) -> Histogram {
        self.duration.read()
    }
}
