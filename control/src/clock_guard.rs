//! Whether the clock of the machine may be right, before something is deleted for its age.

use std::time::{Duration, Instant};

use crate::timestamp::Timestamp;

/// No clock is right that shows an earlier time, in microseconds since 1970: this server did not exist.
const EARLIEST: i64 = 1_790_000_000_000_000;
/// How far ahead of the last known time the clock may be without a wait, in microseconds: 30 days. A server
/// that was off for longer waits too.
const FAR: i64 = 30 * 86_400_000_000;
/// How long a clock that is far ahead must stay so before it is believed: time for somebody to mend it.
const WAIT: Duration = Duration::from_secs(86_400);

/// Why nothing is deleted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockDoubt {
    /// The clock shows a time before this server was made.
    #[error("the clock of the machine shows a time before this server was made")]
    TooEarly,
    /// The clock is far ahead of the last known time.
    #[error(
        "the clock of the machine is {0} days ahead of the newest entry: it is believed after a day"
    )]
    FarAhead(i64),
}

/// Doubts a clock that has jumped ahead.
#[derive(Debug, Default)]
pub(crate) struct ClockGuard {
    /// Since when the clock has been far ahead.
    doubted: Option<Instant>,
}

impl ClockGuard {
    /// Checks that the clock, which shows `now` at the moment `at`, may be right. `known` is a time that has
    /// been reached for sure; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`ClockDoubt`]
    pub(crate) fn check(
        &mut self,
        now: Timestamp,
        at: Instant,
        known: Option<Timestamp>,
    ) -> Result<(), ClockDoubt> {
        if now.micros() < EARLIEST {
            return Err(ClockDoubt::TooEarly);
        }
        let ahead = known.map_or(0, |known| now.micros().saturating_sub(known.micros()));
        if ahead <= FAR {
            self.doubted = None;
            return Ok(());
        }
        let doubted = *self.doubted.get_or_insert(at);
        if at.saturating_duration_since(doubted) >= WAIT {
            return Ok(());
        }
        Err(ClockDoubt::FarAhead(ahead / 86_400_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_has_jumped_ahead_is_believed_after_a_day() {
        let (mut guard, start) = (ClockGuard::default(), Instant::now());
        let known = Timestamp::from_seconds(1_800_000_000);
        let days = |days: u64| Timestamp::from_seconds(1_800_000_000 + days * 86_400);
        let hours = |hours: u64| start + Duration::from_secs(hours * 3_600);
        assert_eq!(guard.check(days(30), start, Some(known)), Ok(()));
        assert_eq!(guard.check(days(4_000), start, None), Ok(()), "nothing is there to be deleted");
        let doubt = Err(ClockDoubt::FarAhead(3_650));
        assert_eq!(guard.check(days(3_650), start, Some(known)), doubt);
        assert_eq!(guard.check(days(3_650), hours(23), Some(known)), doubt);
        // Somebody has mended the clock; the next jump is doubted anew.
        assert_eq!(guard.check(days(1), hours(24), Some(known)), Ok(()));
        assert_eq!(guard.check(days(3_650), hours(25), Some(known)), doubt);
        assert_eq!(guard.check(days(3_650), hours(49), Some(known)), Ok(()), "it was off so long");
        let early = guard.check(Timestamp::from_seconds(86_400), start, Some(known));
        assert_eq!(early, Err(ClockDoubt::TooEarly));
        assert_eq!(guard.check(days(0), start, Some(days(9))), Ok(()), "it deletes less");
    }
}
