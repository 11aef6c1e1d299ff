//! Checks that settings are in their ranges.

use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

/// The error for a setting outside its range. The text names the range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key} = {value} is out of range: write {low} to {high}")]
pub struct OutOfRange {
    key: String,
    value: String,
    low: String,
    high: String,
}

/// A type whose values may be limited to a range.
pub trait Setting: Copy + PartialOrd {
    /// Returns the value as a configuration file writes it.
    fn to_config_text(self) -> String;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Setting for $number {
            fn to_config_text(self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 usize);

impl Setting for Duration {
    fn to_config_text(self) -> String {
        let millis = self.as_millis();
        match millis.is_multiple_of(1_000) {
            true => format!("{}s", millis / 1_000),
            false => format!("{millis}ms"),
        }
    }
}

/// Checks that the value of the setting `key` is in `range`.
///
/// # Errors
///
/// [`OutOfRange`] if the value is below or above the range.
pub fn within<T: Setting>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), OutOfRange> {
    if range.contains(&value) {
        return Ok(());
    }
    let [value, low, high] = [value, *range.start(), *range.end()].map(T::to_config_text);
    Err(OutOfRange { key: key.to_owned(), value, low, high })
}
