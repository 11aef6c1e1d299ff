//! How long a person stays signed in.

use crate::timestamp::Timestamp;

/// Longest time without a request, in microseconds: 30 minutes.
const IDLE: i64 = 30 * 60_000_000;
/// Longest time from the sign-in, in microseconds: 12 hours, a long working day.
const LIFE: i64 = 12 * 3_600_000_000;
/// How long the noted time of the last request may lag behind, in microseconds. Without it every request
/// would write to the database.
const NOTE_EVERY: i64 = 60_000_000;
/// By how much one server's clock may be ahead of another's, in microseconds: a minute. A session that begins on
/// the one is valid on the other at once. Clocks that a time service sets are within a second.
const AHEAD: i64 = 60_000_000;

/// Returns the end of a session that begins at `now`, whatever its person does.
pub fn session_end(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.micros().saturating_add(LIFE))
}

/// Returns the time of the last request from which on a session is live at `now`.
pub fn oldest_live(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.micros().saturating_sub(IDLE))
}

/// Whether a session is live at `now`, whose last request was at `seen_at`.
pub fn is_session_live(seen_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> bool {
    // A session that would last longer than any was begun by a clock that was far ahead.
    let latest = session_end(now).micros().saturating_add(AHEAD);
    seen_at > oldest_live(now) && now < expires_at && expires_at.micros() <= latest
}

/// Whether the time of a request at `now` is to be noted.
pub fn wants_note(seen_at: Timestamp, now: Timestamp) -> bool {
    !(0..NOTE_EVERY).contains(&now.micros().saturating_sub(seen_at.micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_after_30_minutes_idle_and_after_12_hours() {
        let at = |seconds: u64| Timestamp::from_seconds(1_800_000_000 + seconds);
        let end = session_end(at(0));
        for (seen, now, is_live) in [
            (0, 0, true),
            (0, 1_799, true),
            (0, 1_800, false),
            (1_700, 3_000, true),
            (43_199, 43_199, true),
            (43_199, 43_200, false),
        ] {
            assert_eq!(is_session_live(at(seen), end, at(now)), is_live, "{seen}, {now}");
        }
        let before = |seconds: u64| Timestamp::from_seconds(1_800_000_000 - seconds);
        assert!(is_session_live(at(0), end, before(60)), "the clock of another server is behind");
        assert!(!is_session_live(at(0), end, before(61)), "the clock was set back");
    }

    #[test]
    fn a_request_is_noted_once_a_minute() {
        let at = |seconds: u64| Timestamp::from_seconds(1_800_000_000 + seconds);
        assert!(
            !wants_note(at(0), at(59)) && wants_note(at(0), at(60)) && wants_note(at(9), at(0))
        );
    }
}
