//! [`SlewedTime`]: a time that never jumps, derived from one that does.

use std::time::Duration;

use nucleus_protocol::time::Time;

/// A time that follows a measured one without jumps: it goes at most a share faster or slower than
/// real time, and never backwards.
#[derive(Clone, Copy, Debug)]
pub struct SlewedTime {
    /// Parts in a thousand by which this time may be faster or slower.
    rate: u32,
    /// Larger differences are not evened out: the time jumps forward, or stands still.
    largest: Duration,
    /// The newest local time and the time that was returned for it.
    newest: Option<(Time, Time)>,
}

impl SlewedTime {
    /// Creates a time that is `rate` parts in a thousand faster or slower than real time while it
    /// catches up. Differences above `largest` are not evened out.
    pub const fn new(rate: u32, largest: Duration) -> Self {
        Self { rate, largest, newest: None }
    }

    /// Returns the time at the local time `now`, for which `measured` was measured.
    pub fn at(&mut self, now: Time, measured: Time) -> Time {
        let Some((before, shown)) = self.newest else {
            self.newest = Some((now, measured));
            return measured;
        };
        let passed = now.since(before);
        let expected = shown + passed;
        let most = passed * self.rate / 1_000;
        let (ahead, behind) = (measured.since(expected), expected.since(measured));
        let at = if ahead > self.largest {
            measured
        } else if behind > self.largest {
            shown
        } else {
            expected + ahead.min(most) - behind.min(most)
        };
        self.newest = Some((now.max(before), at));
        at
    }

    /// Returns the time at the local time `now`, for which nothing was measured; `None` if nothing was
    /// measured before.
    pub fn go_on(&mut self, now: Time) -> Option<Time> {
        let (before, shown) = self.newest?;
        Some(self.at(now, shown + now.since(before)))
    }

    /// Forgets the measured time, because another clock is measured from now on.
    pub fn restart(&mut self) {
        self.newest = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn never_backwards_never_in_jumps_and_right_in_the_end() {
        for seed in 0..1_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut slewed = SlewedTime::new(20, 500 * MS);
            let (mut now, mut before) = (Time::from_millis(5_000), None);
            let mut offset = 100_000;
            for step in 0..2_000 {
                if step < 1_000 && rng.u8(..) == 0 {
                    offset += rng.u64(..100);
                    offset -= rng.u64(..100);
                }
                let passed = rng.u32(..30) * MS;
                now += passed;
                let at = slewed.at(now, now + MS * offset as u32);
                if let Some(before) = before.replace(at) {
                    let shown = at.since(before);
                    let least = passed * 979 / 1_000;
                    assert!(at >= before && shown >= least, "{seed}: {shown:?} in {passed:?}");
                    assert!(shown <= passed * 1_021 / 1_000, "{seed}: {shown:?} in {passed:?}");
                }
            }
            assert_eq!(before, Some(now + MS * offset as u32), "{seed}");
        }
    }

    #[test]
    fn a_large_difference_is_a_jump_forward_or_a_halt() {
        let mut slewed = SlewedTime::new(20, 500 * MS);
        let start = Time::from_millis(10_000);
        assert_eq!(slewed.at(start, start), start);
        assert_eq!(slewed.at(start + MS, start + 700 * MS), start + 700 * MS);
        assert_eq!(slewed.at(start + 2 * MS, start + 2 * MS), start + 700 * MS);
        assert_eq!(slewed.at(start, start), start + 700 * MS, "the local time went backwards");
        assert_eq!(slewed.go_on(start + 5 * MS), Some(start + 703 * MS));
        slewed.restart();
        assert_eq!(slewed.go_on(start), None);
        assert_eq!(slewed.at(start, Time::ZERO), Time::ZERO);
    }
}
