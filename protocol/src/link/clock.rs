//! The client's idea of the server's clock: NTP's four times (RFC 5905), the sample with the least
//! round trip counts.

use std::time::Duration;

use crate::limits::CLOCK_SAMPLES;
use crate::realtime::control::ClockReply;
use crate::time::Time;

#[derive(Clone, Copy, Debug)]
struct ClockSample {
    /// µs on the path, the server's own time taken out.
    round_trip: u64,
    /// Server's clock less the client's, µs.
    offset: i64,
}

/// The newest [`CLOCK_SAMPLES`] samples of one clock epoch.
///
/// The error of the best sample is at most half its round trip's asymmetry, and a sample without
/// queueing has the least of both.
#[derive(Clone, Debug, Default)]
pub struct ClockSync {
    epoch: Option<u32>,
    samples: [Option<ClockSample>; CLOCK_SAMPLES],
    next: usize,
    smoothed: Option<u64>,
}

impl ClockSync {
    /// Takes a reply that arrived at `now` on the client's clock. One whose times contradict each
    /// other is ignored; one of another epoch throws away what was known.
    pub fn handle_reply(&mut self, now: Time, reply: &ClockReply) {
        let Some(sample) = ClockSample::new(now, reply) else { return };
        if self.epoch != Some(reply.epoch) {
            *self = Self { epoch: Some(reply.epoch), ..Self::default() };
        }
        self.samples[self.next % CLOCK_SAMPLES] = Some(sample);
        self.next = (self.next + 1) % CLOCK_SAMPLES;
        // The smoothing of RFC 6298.
        let smoothed = self.smoothed.unwrap_or(sample.round_trip);
        self.smoothed = Some(smoothed - smoothed / 8 + sample.round_trip / 8);
    }

    /// Whether there is a sample yet.
    pub fn is_set(&self) -> bool {
        self.epoch.is_some()
    }

    /// The epoch of the server's clock; changes when the server restarts.
    pub fn epoch(&self) -> Option<u32> {
        self.epoch
    }

    /// Smoothed round trip.
    pub fn round_trip(&self) -> Option<Duration> {
        self.smoothed.map(Duration::from_micros)
    }

    /// The server's clock when the client's shows `now`.
    pub fn server_time(&self, now: Time) -> Option<Time> {
        let best = self.samples.iter().flatten().min_by_key(|sample| sample.round_trip)?;
        Some(Time::from_micros(now.as_micros().saturating_add_signed(best.offset)))
    }
}

impl ClockSample {
    fn new(now: Time, reply: &ClockReply) -> Option<ClockSample> {
        let elapsed = now.as_micros().checked_sub(reply.client_sent)?;
        let held = reply.server_sent.checked_sub(reply.server_received)?;
        let there = i128::from(reply.server_received) - i128::from(reply.client_sent);
        let back = i128::from(reply.server_sent) - i128::from(now.as_micros());
        let offset = i64::try_from((there + back) / 2).ok()?;
        Some(ClockSample { round_trip: elapsed.checked_sub(held)?, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: u64 = 7_000_000_000;

    fn exchange(clock: &mut ClockSync, at: u64, there: u64, back: u64, epoch: u32) {
        let received = at + OFFSET + there;
        let reply = ClockReply {
            client_sent: at,
            server_received: received,
            server_sent: received + 300,
            epoch,
        };
        clock.handle_reply(Time::from_micros(at + there + 300 + back), &reply);
    }

    fn error(clock: &ClockSync) -> u64 {
        let estimate = clock.server_time(Time::from_micros(1_000_000)).unwrap();
        estimate.as_micros().abs_diff(1_000_000 + OFFSET)
    }

    #[test]
    fn converges_to_half_the_jitter() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut clock = ClockSync::default();
            for n in 0..8 {
                let (there, back) = (rng.u64(0..20_000), rng.u64(0..20_000));
                exchange(&mut clock, n * 100_000, 30_000 + there, 30_000 + back, 1);
                assert!(error(&clock) <= 10_000, "seed {seed}");
            }
        }
    }

    #[test]
    fn the_least_round_trip_counts() {
        let mut clock = ClockSync::default();
        exchange(&mut clock, 0, 90_000, 10_000, 1);
        assert_eq!(error(&clock), 40_000);
        exchange(&mut clock, 1, 10_000, 10_000, 1);
        exchange(&mut clock, 2, 10_000, 90_000, 1);
        assert_eq!(error(&clock), 0);
    }

    #[test]
    fn a_new_epoch_forgets_the_old() {
        let mut clock = ClockSync::default();
        exchange(&mut clock, 0, 10, 10, 1);
        exchange(&mut clock, 0, 9_000, 1_000, 2);
        assert_eq!((clock.epoch(), error(&clock)), (Some(2), 4_000));
        assert_eq!(clock.round_trip(), Some(Duration::from_micros(10_000)));
    }

    #[test]
    fn nonsense_is_ignored() {
        let mut clock = ClockSync::default();
        let ends = [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX];
        for client_sent in ends {
            for server_received in ends {
                for server_sent in ends {
                    let reply = ClockReply { client_sent, server_received, server_sent, epoch: 0 };
                    clock.handle_reply(Time::from_micros(5), &reply);
                    clock.handle_reply(Time::MAX, &reply);
                    clock.server_time(Time::MAX);
                }
            }
        }
        let mut clock = ClockSync::default();
        let reply = ClockReply { client_sent: 9, server_received: 9, server_sent: 9, epoch: 0 };
        clock.handle_reply(Time::from_micros(5), &reply);
        assert!(!clock.is_set());
    }
}
