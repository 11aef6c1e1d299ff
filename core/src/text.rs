//! Checks text from clients and operators: names that reach terminals and logs, and durations.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// Returns the text if it is UTF-8 of `min` to `max` bytes without two kinds of characters: control
/// characters, which would reach terminals and logs, and characters that change the direction of
/// writing, which can make one name look like another.
pub fn plain(bytes: &[u8], min: usize, max: usize) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let changes_direction = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = !text.chars().any(|c| c.is_control() || changes_direction(c));
    (plain && (min..=max).contains(&bytes.len())).then(|| text.to_owned())
}

/// Returns the first 64 characters of a text, escaped. An error message with this text contains no
/// control character and no line break.
pub fn printable(text: &str) -> String {
    text.chars().take(64).flat_map(|c| c.escape_debug()).collect()
}

/// The error for a text that is not a duration. Its message shows the accepted form.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{}` is not a duration: write a whole number and ms, s, m, h or d, as in 250ms or 10s",
    printable(.0)
)]
pub struct NotADuration(String);

/// Reads a whole number with a unit: `250ms`, `10s`, `5m`, `1h`, `7d`.
///
/// # Errors
///
/// [`NotADuration`] if the text has another form, or if the duration exceeds `u64::MAX`
/// milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, NotADuration> {
    let refused = || NotADuration(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(refused)
}

/// Deserializes a duration by [`parse_duration`], for `serde`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in ["", "10", "s", "-1s", "1.5s", "10 s", "10S", "1s1ms", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert!(parse_duration("18446744073709551615d").is_err(), "must not overflow");
    }
}
