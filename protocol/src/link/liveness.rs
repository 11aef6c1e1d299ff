//! How a client detects that it receives nothing any more, or that the server does not receive its
//! messages on the realtime port.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits;
use crate::time::Time;

/// Longest time between two probes of a client without a fallback.
const PROBE_MAX: Duration = limits::KEEP_ALIVE;
/// Shortest time from the last message to the first probe, whatever the round trip: messages arrive
/// 20 ms apart and more.
const PROBE_LEAST: Duration = Duration::from_millis(100);

/// The timers of a silence on the realtime port while the client expects to receive something.
#[derive(Clone, Copy, Debug)]
pub(super) struct SilenceTimers {
    began: Time,
    probe_at: Time,
    /// Time between the first probes.
    interval: Duration,
    /// Whether the silence follows messages; otherwise it follows a request of the client.
    traffic: bool,
    probes: u32,
}

impl SilenceTimers {
    /// Starts the timers. `round_trip` is the round trip of a link with a fallback, or `None`
    /// without a fallback. The first probe is early enough for its answer to arrive before the
    /// client falls back.
    pub(super) fn new(began: Time, traffic: bool, round_trip: Option<Duration>) -> Self {
        let needed = round_trip.map_or(Duration::ZERO, |round_trip| round_trip * 3 / 2);
        let latest = limits::FALLBACK_AFTER - PROBE_LEAST;
        let first = limits::PROBE_AFTER.min(limits::FALLBACK_AFTER - needed.min(latest));
        let interval = (limits::FALLBACK_AFTER - first) / limits::FALLBACK_PROBES;
        Self { began, probe_at: began + first, interval, traffic, probes: 0 }
    }

    /// Returns whether the silence follows messages and the client has sent no probe yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.traffic && self.probes == 0
    }

    pub(super) fn probe_at(&self) -> Time {
        self.probe_at
    }

    /// Notes that a probe is sent. With a fallback, the first probes follow each other quickly.
    pub(super) fn probe_sent(&mut self, now: Time, fallback: bool) {
        self.probes += 1;
        self.probe_at = now
            + if fallback && self.probes < limits::FALLBACK_PROBES {
                self.interval
            } else {
                backoff(limits::PROBE_AFTER, self.probes)
            };
    }

    /// Returns when the port counts as lost. An answer to a request may take a round trip more.
    /// After messages the round trip does not matter, because the next message needs no request.
    pub(super) fn lost_at(&self, round_trip: Duration) -> Time {
        let answer_time = if self.traffic { Duration::ZERO } else { round_trip };
        self.began + limits::FALLBACK_AFTER + answer_time
    }
}

/// Returns `first` doubled `times` times, at most [`PROBE_MAX`].
pub(super) fn backoff(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(PROBE_MAX)
}

/// A request that has no answer for so long was lost, or its answer was. Far above the round trip of a
/// network on which people talk.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// The server is silent if it has answered no request for this long, and had [`ANSWER_TIME`] for the
/// answer to a second one. Every datagram counts as an answer. So one lost datagram is no silence,
/// however rarely the client asks.
const SILENT_TIME: Duration = Duration::from_secs(4);
/// How long a client whose request has no answer asks every [`ANSWER_TIME`]. Without this, an idle one
/// would ask only with its next keep-alive. It covers the silence and the two evaluations of the quality
/// that tell of it; one more, because a timer may be late.
const ASKING_TIME: Duration = Duration::from_secs(8);

/// Clock requests and keep-alives on the chosen plane since the newest datagram of the server on
/// either plane. Probes of the realtime port do not count while the session carries the messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unanswered {
    requests: u32,
    /// When the first of them left.
    since: Time,
    /// When the second left.
    again: Time,
    newest: Time,
}

impl Unanswered {
    pub(super) fn requested(&mut self, now: Time) {
        self.requests = self.requests.saturating_add(1);
        match self.requests {
            1 => self.since = now,
            2 => self.again = now,
            _ => {}
        }
        self.newest = now;
    }

    /// Returns when to ask again; `None` if everything is answered, or the client has asked long enough.
    pub(super) fn again_at(&self) -> Option<Time> {
        let asks = self.requests > 0 && self.newest.since(self.since) < ASKING_TIME;
        asks.then(|| self.newest + ANSWER_TIME)
    }

    /// Returns whether the server answers nothing.
    pub(super) fn is_silent(&self, now: Time) -> bool {
        self.requests >= 2
            && now.since(self.since) >= SILENT_TIME
            && now.since(self.again) >= ANSWER_TIME
    }
}

/// Shortest time between two datagrams that [`Unacked`] remembers.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// Most datagrams that [`Unacked`] remembers. At [`SAMPLE_INTERVAL`] they cover
/// [`limits::FALLBACK_AFTER`] and a round trip.
const SAMPLES: usize = 24;

/// Shortest time from a datagram with messages to a probe for its acknowledgement.
const UNACKED_PROBE_MIN: Duration = Duration::from_millis(400);
/// Longest time from a datagram with messages to a probe for its acknowledgement.
const UNACKED_PROBE_MAX: Duration = Duration::from_millis(600);
/// Time between two probes for an acknowledgement.
const UNACKED_INTERVAL: Duration = Duration::from_millis(100);
const _: () = assert!(UNACKED_PROBE_MIN.as_millis() > limits::ACK_LATEST.as_millis());

/// Datagrams with messages that the server has not acknowledged. A sample of them is enough to know
/// since when the server has received nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Unacked {
    samples: VecDeque<SentSample>,
    /// Probes since the last acknowledgement.
    probes: u32,
    last_probe: Time,
}

/// A datagram with messages that [`Unacked`] remembers.
#[derive(Clone, Copy, Debug)]
struct SentSample {
    sent: Time,
    number: u32,
}

impl Unacked {
    pub(super) fn sent(&mut self, now: Time, number: u32) {
        let due = self.samples.back().is_none_or(|last| now.since(last.sent) >= SAMPLE_INTERVAL);
        if due && self.samples.len() < SAMPLES {
            self.samples.push_back(SentSample { sent: now, number });
        }
    }

    pub(super) fn acknowledged(&mut self, largest: u32) {
        while self.samples.pop_front_if(|sample| sample.number <= largest).is_some() {
            self.probes = 0;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns when to probe: when the acknowledgement of the oldest datagram is overdue, a round
    /// trip included. The server acknowledges with its answer to the probe.
    pub(super) fn probe_at(&self, round_trip: Duration) -> Option<Time> {
        let oldest = self.samples.front()?.sent;
        let overdue = (limits::ACK_LATEST + round_trip).clamp(UNACKED_PROBE_MIN, UNACKED_PROBE_MAX);
        let at = (oldest + overdue).max(self.last_probe + UNACKED_INTERVAL);
        (self.probes < limits::FALLBACK_PROBES).then_some(at)
    }

    pub(super) fn probe_sent(&mut self, now: Time) {
        self.probes += 1;
        self.last_probe = now;
    }

    /// Returns when the path to the server counts as lost: [`limits::FALLBACK_AFTER`] and a round
    /// trip after the oldest unacknowledged datagram. `None` if every datagram is acknowledged.
    pub(super) fn lost_at(&self, round_trip: Duration) -> Option<Time> {
        let oldest = self.samples.front()?.sent;
        Some(oldest + limits::FALLBACK_AFTER + round_trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Time = |seconds| Time::from_millis(1_000 * seconds);

    #[test]
    fn a_request_without_an_answer_is_repeated_for_a_while() {
        let mut unanswered = Unanswered::default();
        assert_eq!(unanswered.again_at(), None);
        for seconds in [20, 22, 24, 26] {
            unanswered.requested(S(seconds));
            assert_eq!(unanswered.again_at(), Some(S(seconds + 2)));
            assert_eq!(unanswered.is_silent(S(seconds)), seconds >= 24);
        }
        unanswered.requested(S(28));
        assert_eq!(unanswered.again_at(), None, "a silent server is not asked for ever");
        assert!(unanswered.is_silent(S(28)));
    }

    #[test]
    fn a_second_request_has_time_for_its_answer() {
        let mut unanswered = Unanswered::default();
        unanswered.requested(S(20));
        assert!(!unanswered.is_silent(S(35)), "one answer may be lost");
        unanswered.requested(S(35));
        assert!(!unanswered.is_silent(S(36)));
        assert!(unanswered.is_silent(S(37)));
    }
}
