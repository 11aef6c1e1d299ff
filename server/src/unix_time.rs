//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the system's time in seconds since 1970; 0 if the clock is set to a time before.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
