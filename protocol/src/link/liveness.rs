//! What a client on the realtime port watches: that it hears something, and that it is heard.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits;
use crate::time::Time;

/// Longest time between two probes where there is nothing to fall back to.
const PROBE_MAX: Duration = limits::KEEP_ALIVE;
/// No probe sooner than this after the last message, however long a round trip takes: messages come
/// 20 ms apart and more.
const PROBE_LEAST: Duration = Duration::from_millis(100);

/// Silence that is being watched, because something was to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct SilenceWatch {
    began: Time,
    probe_at: Time,
    /// Between the first probes.
    interval: Duration,
    /// Application traffic was flowing; otherwise an answer is awaited.
    traffic: bool,
    probes: u32,
}

impl SilenceWatch {
    /// `fallback`: there is one, and a round trip is known to take so long: the first probe goes out
    /// early enough for its answer to decide.
    pub(super) fn new(began: Time, traffic: bool, fallback: Option<Duration>) -> Self {
        let needed = fallback.map_or(Duration::ZERO, |round_trip| round_trip * 3 / 2);
        let latest = limits::FALLBACK_AFTER - PROBE_LEAST;
        let first = limits::PROBE_AFTER.min(limits::FALLBACK_AFTER - needed.min(latest));
        let interval = (limits::FALLBACK_AFTER - first) / limits::FALLBACK_PROBES;
        Self { began, probe_at: began + first, interval, traffic, probes: 0 }
    }

    /// There was traffic, and nothing has been missed so far.
    pub(super) fn is_fresh(&self) -> bool {
        self.traffic && self.probes == 0
    }

    pub(super) fn probe_at(&self) -> Time {
        self.probe_at
    }

    /// A probe goes out. With a fallback to turn to, a few come in quick succession and decide.
    pub(super) fn probe_sent(&mut self, now: Time, fallback: bool) {
        self.probes += 1;
        self.probe_at = now
            + if fallback && self.probes < limits::FALLBACK_PROBES {
                self.interval
            } else {
                backoff(limits::PROBE_AFTER, self.probes)
            };
    }

    /// When the silence means that the port is lost. An answer to a lone question may take a round
    /// trip; traffic that was flowing has been cut off, however long its way is.
    pub(super) fn lost_at(&self, round_trip: Duration) -> Time {
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

/// A datagram with messages is asked for after so long at the soonest and at the latest ...
const UNACKED_PROBE: (Duration, Duration) =
    (Duration::from_millis(400), Duration::from_millis(600));
/// ... and again after this.
const UNACKED_INTERVAL: Duration = Duration::from_millis(100);
const _: () = assert!(UNACKED_PROBE.0.as_millis() > limits::ACK_LATEST.as_millis());

/// Datagrams with messages that wait for the server's acknowledgement: when they were sent, and their
/// packet numbers. Some are enough to see since when the way up is closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Unacked {
    samples: VecDeque<(Time, u32)>,
    /// Probes since the last acknowledgement, and when the last of them went out.
    probes: u32,
    last_probe: Time,
}

impl Unacked {
    pub(super) fn sent(&mut self, now: Time, number: u32) {
        let due = self.samples.back().is_none_or(|(last, _)| now.since(*last) >= SAMPLE_INTERVAL);
        if due && self.samples.len() < SAMPLES {
            self.samples.push_back((now, number));
        }
    }

    pub(super) fn acknowledged(&mut self, largest: u32) {
        while self.samples.pop_front_if(|(_, number)| *number <= largest).is_some() {
            self.probes = 0;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When to ask whether the oldest has arrived: when the server's own acknowledgement is overdue,
    /// its way included. The server acknowledges with its answer.
    pub(super) fn probe_at(&self, round_trip: Duration) -> Option<Time> {
        let (oldest, _) = self.samples.front()?;
        let overdue = (limits::ACK_LATEST + round_trip).clamp(UNACKED_PROBE.0, UNACKED_PROBE.1);
        let at = (*oldest + overdue).max(self.last_probe + UNACKED_INTERVAL);
        (self.probes < limits::FALLBACK_PROBES).then_some(at)
    }

    pub(super) fn probe_sent(&mut self, now: Time) {
        self.probes += 1;
        self.last_probe = now;
    }

    /// When the way up counts as closed: a while after the last probe, a round trip included.
    pub(super) fn lost_at(&self, round_trip: Duration) -> Option<Time> {
        let (oldest, _) = self.samples.front()?;
        Some(*oldest + limits::FALLBACK_AFTER + round_trip)
    }
}
