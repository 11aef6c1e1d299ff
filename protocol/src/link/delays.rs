//! The delay from the server to a client, as the client reports it: the difference between its own
//! clock at the arrival of a datagram and the datagram's send time. The unknown offset between the
//! two clocks is in every difference, so only their differences have a meaning.

use crate::limits::{CLOCK_JUMP, DELAY_BASE_TIME, EARLY_REPORT_RISE};
use crate::realtime::report::DelayReport;
use crate::time::Time;

/// Differences since the last report, and the least one of the last 15 to 30 s.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delays {
    /// The arrival and the send time of the newest datagram since the last report.
    newest: Option<(Time, u32)>,
    /// The first difference of the link, µs modulo 2^32. All others are relative to it, so that
    /// they do not wrap.
    origin: Option<u32>,
    min: i32,
    sum: i64,
    count: i64,
    /// The difference of the newest datagram.
    last: i32,
    base: DelayBase,
    /// Whether the newest difference is far above the base.
    high: bool,
    /// Whether the difference has risen far above the base since the last report.
    risen: bool,
}

/// The least difference of the present half and of the one before, each of [`DELAY_BASE_TIME`].
#[derive(Clone, Copy, Debug, Default)]
struct DelayBase {
    /// When the next half begins.
    until: Time,
    current: Option<i32>,
    previous: Option<i32>,
}

impl DelayBase {
    fn add(&mut self, now: Time, delay: i32) -> i32 {
        if now >= self.until {
            *self = Self { until: now + DELAY_BASE_TIME, current: None, previous: self.current };
        }
        let current = self.current.map_or(delay, |least| least.min(delay));
        self.current = Some(current);
        self.previous.map_or(current, |least| least.min(current))
    }
}

impl Delays {
    /// Takes a datagram that arrived at `now` and was sent at `send_time`, in µs modulo 2^32.
    /// Returns whether the delay has jumped as no network makes it: one of the clocks stood still.
    /// Then all earlier differences are worth nothing, and the figures begin anew.
    pub(super) fn add(&mut self, now: Time, send_time: u32) -> bool {
        let raw = (now.as_micros() as u32).wrapping_sub(send_time);
        let jump = self
            .origin
            .map_or(0, |origin| raw.wrapping_sub(origin) as i32)
            .saturating_sub(self.last);
        let jumped = jump.saturating_abs() > CLOCK_JUMP;
        if jumped {
            *self = Self { risen: self.risen || jump > 0, ..Self::default() };
        }
        let delay = raw.wrapping_sub(*self.origin.get_or_insert(raw)) as i32;
        self.min = if self.count == 0 { delay } else { self.min.min(delay) };
        self.sum += i64::from(delay);
        self.count += 1;
        self.newest = Some((now, send_time));
        let high = delay.saturating_sub(self.base.add(now, delay)) >= EARLY_REPORT_RISE;
        self.risen |= high && !self.high;
        self.high = high;
        self.last = delay;
        jumped
    }

    /// Returns whether the delay has risen far above its least value since the last report.
    pub(super) fn has_risen(&self) -> bool {
        self.risen
    }

    /// Returns the figures since the last report, and begins anew. `None`: no datagram had a send
    /// time.
    pub(super) fn take(&mut self, now: Time) -> Option<DelayReport> {
        let (arrived, send_time) = self.newest.take()?;
        let units = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
        let spread = self.sum / self.count - i64::from(self.min);
        let report = DelayReport {
            arrival: arrived.as_micros() as u32,
            send_time,
            delay_min: self.origin.unwrap_or(0).wrapping_add(self.min as u32),
            spread: units(spread.max(0) as u64 / 10),
            hold: units(now.since(arrived).as_micros() as u64 / 100),
        };
        (self.sum, self.count, self.risen) = (0, 0, false);
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A datagram each 20 ms, with this delay in ms on top of a constant offset of the clocks.
    fn feed(delays: &mut Delays, from: Time, ms: &[u32]) -> Time {
        let mut now = from;
        for delay in ms {
            now += 20 * MS;
            // Close to the wrap of the send time.
            let sent = (now.as_micros() as u32).wrapping_sub(1_000 * delay).wrapping_add(7_000);
            delays.add(now, sent);
        }
        now
    }

    #[test]
    fn a_report_has_the_least_the_mean_and_the_newest() {
        for start in [0, u64::from(u32::MAX) - 30_000] {
            let mut delays = Delays::default();
            assert_eq!(delays.take(Time::ZERO), None);
            let now = feed(&mut delays, Time::from_micros(start), &[12, 10, 17]);
            let report = delays.take(now + 3 * MS).unwrap();
            assert_eq!(report.delay_min, 10_000u32.wrapping_sub(7_000));
            assert_eq!((report.spread, report.hold), (300, 30));
            assert_eq!(report.arrival, now.as_micros() as u32);
            assert_eq!(report.arrival.wrapping_sub(report.send_time), 10_000);
            assert_eq!(delays.take(now), None, "nothing came since");
        }
    }

    #[test]
    fn one_early_report_for_one_rise() {
        let mut delays = Delays::default();
        let now = feed(&mut delays, Time::ZERO, &[10, 39]);
        assert!(!delays.has_risen());
        let now = feed(&mut delays, now, &[41]);
        assert!(delays.has_risen());
        delays.take(now);
        let now = feed(&mut delays, now, &[60, 80]);
        assert!(!delays.has_risen(), "the queue still stands");
        feed(&mut delays, now, &[10, 45]);
        assert!(delays.has_risen());
    }

    /// A clock stood still, for longer than the differences can tell or not. The least delay of
    /// before is forgotten.
    #[test]
    fn a_jump_begins_anew() {
        for jump in [600, 40_000, 3_000_000] {
            for (before, after) in [(10, 10 + jump), (10 + jump, 10)] {
                let mut delays = Delays::default();
                let now = feed(&mut delays, Time::from_micros(1 << 33), &[before; 50]);
                delays.take(now);
                let now = feed(&mut delays, now, &[after, after + 2]);
                let report = delays.take(now).unwrap();
                assert_eq!(report.delay_min, (1_000 * after).wrapping_sub(7_000));
                assert_eq!(report.spread, 100);
                // A rise above the new level is noticed at once, whichever way the jump went.
                let now = feed(&mut delays, now, &[after + 29]);
                assert!(!delays.has_risen(), "{before} to {after}");
                feed(&mut delays, now, &[after + 31]);
                assert!(delays.has_risen(), "{before} to {after}");
            }
        }
    }

    #[test]
    fn the_base_follows_a_longer_route() {
        let mut delays = Delays::default();
        let mut now = feed(&mut delays, Time::ZERO, &[10; 50]);
        // 80 s later the 10 ms are forgotten, so 95 ms are a rise above 60.
        now = feed(&mut delays, now, &[60; 4_000]);
        delays.take(now);
        let now = feed(&mut delays, now, &[80]);
        assert!(!delays.has_risen());
        feed(&mut delays, now, &[95]);
        assert!(delays.has_risen());
    }
}
