//! The client's estimate of the server's clock, from NTP's four times (RFC 5905). The sample with
//! the shortest round trip counts.

use std::time::Duration;

use crate::limits::{
    CLOCK_DRIFT, CLOCK_JUMP, CLOCK_SAMPLES, ROUND_TRIP_MEMORY, ROUND_TRIP_RISE, SETTLE_SAMPLES,
};
use crate::realtime::control::ClockReply;
use crate::time::Time;

/// One measurement of the server's clock.
#[derive(Clone, Copy, Debug)]
struct ClockSample {
    /// Round trip in µs, without the server's processing time.
    round_trip: u64,
    /// The server's clock minus the client's, µs.
    offset: i64,
}

/// The smoothed round trip.
#[derive(Clone, Copy, Debug)]
struct SmoothedRoundTrip {
    micros: u64,
    /// When the newest sample arrived; `None` if the network has changed since.
    sampled_at: Option<Time>,
}

/// Estimates the server's clock from the newest [`CLOCK_SAMPLES`] samples of one clock epoch.
///
/// The error of a sample is half the difference between its two one-way delays. A sample that did
/// not wait in a queue has the shortest round trip and the smallest such difference.
///
/// A sample that contradicts the best one shows that one of the clocks has stood still, as a
/// device's does while it sleeps. Then only this sample and later ones count.
#[derive(Clone, Debug, Default)]
pub struct ClockSync {
    epoch: Option<u32>,
    samples: [Option<ClockSample>; CLOCK_SAMPLES],
    next: usize,
    smoothed: Option<SmoothedRoundTrip>,
    /// Number of the next samples of which the least counts, because the round trip has jumped.
    settling: u32,
}

impl ClockSync {
    fn best(&self) -> Option<&ClockSample> {
        self.samples.iter().flatten().min_by_key(|sample| sample.round_trip)
    }

    /// Takes a reply that arrived at `now` on the client's clock. Ignores a reply whose times
    /// contradict each other. A reply of another epoch discards all earlier samples.
    ///
    /// Returns whether the round trip has jumped as no network makes it: the server stood still, or
    /// still reads what waited for it. The caller then asks for the time at once,
    /// [`SETTLE_SAMPLES`] times.
    pub fn handle_reply(&mut self, now: Time, reply: &ClockReply) -> bool {
        let Some(sample) = ClockSample::new(now, reply) else { return false };
        if self.epoch != Some(reply.epoch) {
            *self = Self { epoch: Some(reply.epoch), ..Self::default() };
        }
        if self.best().is_some_and(|best| best.contradicts(&sample)) {
            self.samples = [None; CLOCK_SAMPLES];
        }
        self.samples[self.next % CLOCK_SAMPLES] = Some(sample);
        self.next = (self.next + 1) % CLOCK_SAMPLES;
        self.smooth(now, sample.round_trip)
    }

    /// Adds a sample to the smoothed round trip with the weight of RFC 6298. Begins anew with the
    /// sample after a silence, and after a jump: old samples say nothing about the path of now. The
    /// least of the next samples counts after a jump. Returns whether there was one.
    fn smooth(&mut self, now: Time, round_trip: u64) -> bool {
        let old = self.smoothed.map(|smoothed| smoothed.micros);
        let is_recent = |at: Time| now.since(at) <= ROUND_TRIP_MEMORY;
        let kept = self.smoothed.filter(|smoothed| smoothed.sampled_at.is_some_and(is_recent));
        let kept = kept.map(|kept| kept.micros);
        let settles = self.settling > 0 && kept.is_some();
        let jumped = !settles
            && old.is_some_and(|old| {
                old.abs_diff(round_trip) > CLOCK_JUMP as u64
                    || round_trip > 3 * old + ROUND_TRIP_RISE
            });
        let smoothed = match kept {
            Some(kept) if settles => kept.min(round_trip),
            Some(kept) if !jumped => kept - kept / 8 + round_trip / 8,
            _ => round_trip,
        };
        self.smoothed = Some(SmoothedRoundTrip { micros: smoothed, sampled_at: Some(now) });
        self.settling = if jumped { SETTLE_SAMPLES } else { self.settling.saturating_sub(1) };
        jumped
    }

    /// Forgets the smoothed round trip, because the network is another one. The next sample begins
    /// anew.
    pub fn forget_round_trip(&mut self) {
        if let Some(smoothed) = &mut self.smoothed {
            smoothed.sampled_at = None;
        }
    }

    /// Returns whether there is a sample.
    pub fn is_set(&self) -> bool {
        self.epoch.is_some()
    }

    /// Returns the epoch of the server's clock, which changes when the server restarts.
    pub fn epoch(&self) -> Option<u32> {
        self.epoch
    }

    /// Returns the smoothed round trip.
    pub fn round_trip(&self) -> Option<Duration> {
        self.smoothed.map(|smoothed| Duration::from_micros(smoothed.micros))
    }

    /// Returns when the newest sample of the smoothed round trip arrived, on the client's clock;
    /// `None` without a sample of the present network.
    pub fn round_trip_sampled_at(&self) -> Option<Time> {
        self.smoothed?.sampled_at
    }

    /// Returns the estimated server's clock at `now` on the client's clock, or `None` without a
    /// sample.
    pub fn server_time(&self, now: Time) -> Option<Time> {
        let best = self.best()?;
        Some(Time::from_micros(now.as_micros().saturating_add_signed(best.offset)))
    }
}

impl ClockSample {
    /// Returns whether no pair of steady clocks explains both samples: their offsets differ by more
    /// than both errors and what clocks may drift apart.
    fn contradicts(&self, newer: &ClockSample) -> bool {
        let errors = (self.round_trip / 2).saturating_add(newer.round_trip / 2);
        self.offset.abs_diff(newer.offset) > errors.saturating_add(CLOCK_DRIFT)
    }

    fn new(now: Time, reply: &ClockReply) -> Option<ClockSample> {
        let elapsed = now.as_micros().checked_sub(reply.client_sent)?;
        let processing = reply.server_sent.checked_sub(reply.server_received)?;
        let request_offset = i128::from(reply.server_received) - i128::from(reply.client_sent);
        let reply_offset = i128::from(reply.server_sent) - i128::from(now.as_micros());
        let offset = i64::try_from((request_offset + reply_offset) / 2).ok()?;
        Some(ClockSample { round_trip: elapsed.checked_sub(processing)?, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: u64 = 7_000_000_000;

    fn exchange(clock: &mut ClockSync, at: u64, up: u64, down: u64, epoch: u32) {
        let received = at + OFFSET + up;
        let reply = ClockReply {
            client_sent: at,
            server_received: received,
            server_sent: received + 300,
            epoch,
        };
        clock.handle_reply(Time::from_micros(at + up + 300 + down), &reply);
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
                let (up, down) = (rng.u64(0..20_000), rng.u64(0..20_000));
                exchange(&mut clock, n * 100_000, 30_000 + up, 30_000 + down, 1);
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

    /// A reply that waited while the server stood still, and the replies that follow.
    #[test]
    fn the_round_trip_forgets_what_a_stop_made_of_it() {
        for stop in [1, 3, 12, 15, 40] {
            let mut clock = ClockSync::default();
            (0..8).for_each(|n| exchange(&mut clock, n * 5_000_000, 20_000, 20_000, 1));
            let at = 40_000_000;
            exchange(&mut clock, at, stop * 1_000_000, 20_000, 1);
            exchange(&mut clock, at + stop * 1_000_000 + 100_000, 20_000, 20_000, 1);
            let round_trip = clock.round_trip().unwrap();
            assert!(round_trip < Duration::from_millis(45), "{round_trip:?} after {stop} s");
            assert_eq!(error(&clock), 0);
        }
    }

    #[test]
    fn the_round_trip_forgets_after_a_silence() {
        let mut clock = ClockSync::default();
        (0..8).for_each(|n| exchange(&mut clock, n * 5_000_000, 200_000, 200_000, 1));
        exchange(&mut clock, 100_000_000, 10_000, 10_000, 1);
        assert_eq!(clock.round_trip(), Some(Duration::from_millis(20)));
        clock.forget_round_trip();
        assert_eq!(clock.round_trip(), Some(Duration::from_millis(20)), "the best known");
        exchange(&mut clock, 101_000_000, 40_000, 40_000, 1);
        assert_eq!(clock.round_trip(), Some(Duration::from_millis(80)));
    }

    /// The client's clock has just begun, so its start is not long ago.
    #[test]
    fn another_network_begins_anew_with_a_young_clock_too() {
        let mut clock = ClockSync::default();
        (0..4).for_each(|n| exchange(&mut clock, n * 100_000, 100_000, 100_000, 1));
        clock.forget_round_trip();
        exchange(&mut clock, 1_000_000, 10_000, 10_000, 1);
        assert_eq!(clock.round_trip(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn a_round_trip_has_the_time_of_its_newest_sample() {
        let mut clock = ClockSync::default();
        assert_eq!(clock.round_trip_sampled_at(), None);
        exchange(&mut clock, 1_000_000, 10_000, 10_000, 1);
        assert_eq!(clock.round_trip_sampled_at(), Some(Time::from_micros(1_020_300)));
        exchange(&mut clock, 2_000_000, 10_000, 10_000, 1);
        assert_eq!(clock.round_trip_sampled_at(), Some(Time::from_micros(2_020_300)));
        clock.forget_round_trip();
        assert_eq!((clock.round_trip_sampled_at(), clock.round_trip().is_some()), (None, true));
    }

    /// The first replies waited behind what a server that stood still has to read.
    #[test]
    fn the_round_trip_is_right_after_the_next_requests() {
        for (before, first) in [(1_000, 60_000), (1_000, 450_000), (100_000, 700_000)] {
            for silence in [1, 12, 40] {
                let mut clock = ClockSync::default();
                (0..8).for_each(|n| exchange(&mut clock, n * 5_000_000, before, before, 1));
                let mut at = 40_000_000 + silence * 1_000_000;
                for waited in [first, first / 2, 0, first / 3, 0] {
                    exchange(&mut clock, at, before, before + waited, 1);
                    at += 100_000;
                }
                let round_trip = clock.round_trip().unwrap().as_micros() as u64;
                let most = 2 * before + before / 2;
                assert!(round_trip <= most, "{round_trip} us, {before}, {first}, {silence} s");
            }
        }
    }

    /// A network with jitter: the round trip is smoothed, and nobody asks for the time more often.
    #[test]
    fn jitter_begins_nothing_anew() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut clock = ClockSync::default();
            for n in 0..60 {
                let sent = n * 5_000_000;
                let delay = rng.u64(60_000..300_000);
                let received = sent + OFFSET + delay / 2;
                let reply = ClockReply {
                    client_sent: sent,
                    server_received: received,
                    server_sent: received,
                    epoch: 1,
                };
                let anew = clock.handle_reply(Time::from_micros(sent + delay), &reply);
                // The first samples may be among the least that there are.
                assert!(!anew || n < 8, "seed {seed}, sample {n}");
            }
        }
    }

    #[test]
    fn a_clock_that_stood_still_is_noticed_with_the_next_sample() {
        let mut clock = ClockSync::default();
        (0..8).for_each(|n| exchange(&mut clock, n * 5_000_000, 10_000, 10_000, 1));
        // The client slept for 5 s: its clock is behind from now on. The next sample is a bad one.
        let (at, slept) = (50_000_000, 5_000_000);
        let received = at + OFFSET + slept + 90_000;
        let reply = ClockReply {
            client_sent: at,
            server_received: received,
            server_sent: received,
            epoch: 1,
        };
        clock.handle_reply(Time::from_micros(at + 100_000), &reply);
        let estimate = clock.server_time(Time::from_micros(at)).unwrap();
        assert!(estimate.as_micros().abs_diff(at + OFFSET + slept) <= 40_000);
    }

    #[test]
    fn jitter_and_drift_are_no_jump() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut clock = ClockSync::default();
            exchange(&mut clock, 0, 1_000, 1_000, 1);
            for n in 1..8 {
                // Idle: a sample each 15 s, with clocks that drift by 100 ppm.
                let drift = n * 1_500;
                let (up, down) = (rng.u64(0..800_000) + drift, rng.u64(0..800_000));
                exchange(&mut clock, n * 15_000_000, up, down + 2_000, 1);
                assert_eq!(error(&clock), 0, "seed {seed}: the first sample is still the best");
            }
        }
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
