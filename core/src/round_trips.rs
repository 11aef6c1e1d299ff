//! The round trips of a participant, in few bytes.

use std::time::Duration;

/// The shortest octave is 2^6 µs, 64 µs: shorter round trips are those of one machine.
const FIRST_OCTAVE: u32 = 6;
/// Octaves up to 4.2 s. A session with longer round trips is lost.
const OCTAVES: usize = 16;
/// Buckets of an octave. A value is told within an eighth of itself.
const PARTS: usize = 4;

/// Counts round trips by their size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundTrips([u16; OCTAVES * PARTS]);

impl Default for RoundTrips {
    fn default() -> Self {
        Self([0; OCTAVES * PARTS])
    }
}

impl RoundTrips {
    /// Adds a measurement.
    pub fn add(&mut self, time: Duration) {
        let count = &mut self.0[bucket(time)];
        // A client is measured for days until a count is full.
        *count = count.saturating_add(1);
    }

    /// Returns the round trip that so many of 100 measurements do not exceed; `None`: nothing was measured.
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let rank = (all * u64::from(percent)).div_ceil(100).max(1);
        let mut below = 0;
        let reaches = |count: &u16| {
            below += u64::from(*count);
            below >= rank
        };
        self.0.iter().position(reaches).map(middle)
    }
}

fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1 << FIRST_OCTAVE);
    let octave = micros.ilog2();
    let part = (micros >> (octave - 2)) as usize % PARTS;
    ((octave - FIRST_OCTAVE) as usize * PARTS + part).min(OCTAVES * PARTS - 1)
}

/// Returns the middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let (octave, part) = (FIRST_OCTAVE + (bucket / PARTS) as u32, (bucket % PARTS) as u64);
    let width = 1 << (octave - 2);
    Duration::from_micros((PARTS as u64 + part) * width + width / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_within_an_eighth() {
        let mut micros = 64;
        while micros < 4_000_000 {
            let mut one = RoundTrips::default();
            one.add(Duration::from_micros(micros));
            let told = one.percentile(50).unwrap().as_micros() as f64;
            assert!((told / micros as f64 - 1.0).abs() <= 0.125, "{micros}: {told}");
            micros += micros / 50 + 1;
        }
    }

    #[test]
    fn percentiles_are_those_of_all_measurements() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.percentile(50), None);
        (0..94).for_each(|_| trips.add(Duration::from_millis(20)));
        (0..6).for_each(|_| trips.add(Duration::from_millis(300)));
        let near = |percent, millis: f64| {
            let told = trips.percentile(percent).unwrap().as_secs_f64() * 1e3;
            (told / millis - 1.0).abs() <= 0.125
        };
        assert!(near(50, 20.0) && near(94, 20.0) && near(95, 300.0) && near(100, 300.0));
        for extreme in [Duration::ZERO, Duration::MAX] {
            trips.add(extreme);
        }
        assert!(trips.percentile(0).unwrap() < Duration::from_micros(80));
        assert!(trips.percentile(100).unwrap() > Duration::from_secs(3));
    }
}
