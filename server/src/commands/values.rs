//! Readers of values of the command line. clap names the flag in front of their errors.

use std::time::Duration;

use nucleus_control::Timestamp;
use nucleus_control::api::Scope;
use nucleus_core::text::parse_duration;

/// A time, or `never`. A type of its own: clap takes an option in an option for a flag without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeOrNever(pub(super) Option<String>);

/// A limit, or `none`: that of the server's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LimitOrNone(pub(super) Option<u32>);

/// Longest ban that has an end: what the API takes, in seconds.
const MAX_BAN: u64 = u32::MAX as u64;

/// Checks a time.
pub(super) fn parse_time(text: &str) -> Result<String, String> {
    let wrong = || "a time is written as in 2026-11-30T08:00:00Z, from 1970 to 9999".to_owned();
    Timestamp::parse(text).map(|_| text.to_owned()).ok_or_else(wrong)
}

/// Reads a time that may be `never`.
pub(super) fn parse_time_or_never(text: &str) -> Result<TimeOrNever, String> {
    if text == "never" {
        return Ok(TimeOrNever(None));
    }
    parse_time(text).map(|text| TimeOrNever(Some(text))).map_err(|why| format!("{why}, or never"))
}

/// Reads how long a ban lasts.
pub(super) fn parse_ban(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if (1..=MAX_BAN).contains(&time.as_secs()) {
        return Ok(time);
    }
    Err("a ban lasts 1s to 49710d; without the flag it lasts until it is lifted".to_owned())
}

/// Reads the name of a scope.
pub(super) fn parse_scope(text: &str) -> Result<Scope, String> {
    text.parse()
        .map_err(|()| format!("a scope is one of {}", Scope::ALL.map(Scope::name).join(", ")))
}

/// Reads a limit that may be `none`.
pub(super) fn parse_limit(text: &str) -> Result<LimitOrNone, String> {
    if text == "none" {
        return Ok(LimitOrNone(None));
    }
    let wrong = |_| "a limit is a number from 0 to 1000000, or none".to_owned();
    text.parse().map(|limit| LimitOrNone(Some(limit))).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_refused() {
        assert!(parse_time("2026-11-30T08:00:00Z").is_ok() && parse_time("yesterday").is_err());
        assert_eq!(parse_time_or_never("never"), Ok(TimeOrNever(None)));
        assert!(parse_time_or_never("yesterday").unwrap_err().contains("or never"));
        assert_eq!(parse_ban("49710d"), Ok(Duration::from_secs(4_294_944_000)));
        assert!(parse_ban("49711d").is_err() && parse_ban("0s").is_err());
        assert!(parse_scope("read").is_ok() && parse_scope("foo").unwrap_err().contains("manage"));
        assert_eq!(
            (parse_limit("none"), parse_limit("7")),
            (Ok(LimitOrNone(None)), Ok(LimitOrNone(Some(7))))
        );
        assert!(parse_limit("-1").is_err());
    }
}
