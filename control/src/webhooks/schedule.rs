//! When a delivery that failed is tried again.

use std::time::Duration;

use crate::timestamp::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// The pauses between the tries, as Standard Webhooks recommends them: 76 hours in all, so that a
/// receiver that is down over a weekend misses nothing.
const PAUSES: [u64; 9] =
    [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// Returns the time of the next try of a delivery that has failed `tries` times, at `now` the last time.
/// `None`: there is none. The pauses of different deliveries differ by up to a tenth, so that they do not
/// come all at once after a receiver was down.
pub(super) fn next_try(tries: u32, now: Timestamp, delivery: &str) -> Option<Timestamp> {
    let index = usize::try_from(tries).ok()?.checked_sub(1)?;
    let pause = Duration::from_secs(*PAUSES.get(index)?);
    let sum =
        delivery.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let late = pause / 10 * (sum % 256) / 256;
    let micros = i64::try_from((pause + late).as_micros()).ok()?;
    Some(Timestamp::from_micros(now.micros().saturating_add(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_go_on_for_three_days_and_then_end() {
        for delivery in ["a", "0190a5f2-0000-7000-8000-000000000001", ""] {
            let start = Timestamp::from_seconds(1_800_000_000);
            let (mut now, mut tries) = (start, 1);
            while let Some(next) = next_try(tries, now, delivery) {
                assert!(next.seconds() >= now.seconds() + 5, "{tries}");
                now = next;
                tries += 1;
            }
            let hours = (now.seconds() - start.seconds()) / HOUR;
            assert_eq!(tries, 10);
            assert!((72..=84).contains(&hours), "{hours}");
        }
        assert_eq!(next_try(0, Timestamp::from_seconds(1), "a"), None, "it has not failed");
    }
}
