//! What a client on the realtime port watches: that it hears something, and that it is heard.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits;
use crate::time::Time;

/// Longest time between two probes where there is nothing to fall back to.
const PROBE_MAX: Duration = limits::KEEP_ALIVE;

/// Silence that is being watched, because something was to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    began: Time,
    probe_at: Time,
    /// Application traffic was flowing; otherwise an answer is awaited.
    traffic: bool,
    probes: u32,
}

impl Watch {
    pub(super) fn new(began: Time, traffic: bool) -> Self {
        Self { began, probe_at: began + limits::PROBE_AFTER, traffic, probes: 0 }
    }

    /// There was traffic, and nothing has been missed so far.
    pub(super) fn is_fresh(&self) -> bool {
        self.traffic && self.probes == 0
    }

    pub(super) fn probe_at(&self) -> Time {
        self.probe_at
    }

    /// A probe goes out. With a fallback to turn to, a few come in quick succession and decide.
    pub(super) fn probed(&mut self, now: Time, fallback: bool) {
        self.probes += 1;
        self.probe_at = now
            + if fallback && self.probes < limits::FALLBACK_PROBES {
                (limits::FALLBACK_AFTER - limits::PROBE_AFTER) / limits::FALLBACK_PROBES
            } else {
                backoff(limits::PROBE_AFTER, self.probes)
            };
    }

    /// When the silence means that the port is lost. An answer to a lone question may take a round
    /// trip; traffic that was flowing has been cut off, however long its way is.
    pub(super) fn falls_at(&self, round_trip: Duration) -> Time {
        let patience = if self.traffic { Duration::ZERO } else { round_trip };
        self.began + limits::FALLBACK_AFTER + patience
    }
}

/// `first` doubled `times` times, at most [`PROBE_MAX`].
pub(super) fn backoff(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(PROBE_MAX)
}

/// Datagrams with messages are remembered this far apart ...
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// ... and at most so many: as long as a port may be silent, and a round trip.
const SAMPLES: usize = 24;

/// Datagrams with messages that wait for the server's acknowledgement: when they were sent, and their
/// packet numbers. Some are enough to see since when the way up is closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Unacked(VecDeque<(Time, u32)>);

impl Unacked {
    pub(super) fn sent(&mut self, now: Time, number: u32) {
        let due = self.0.back().is_none_or(|(last, _)| now.since(*last) >= SAMPLE_INTERVAL);
        if due && self.0.len() < SAMPLES {
            self.0.push_back((now, number));
        }
    }

    pub(super) fn acknowledged(&mut self, largest: u32) {
        while self.0.pop_front_if(|(_, number)| *number <= largest).is_some() {}
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn falls_at(&self, round_trip: Duration) -> Option<Time> {
        self.0.front().map(|(sent, _)| *sent + limits::FALLBACK_AFTER + round_trip)
    }
}
