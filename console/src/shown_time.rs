//! Times as `<time>`: UTC from the server, in the reader's zone where scripts run.

use std::fmt;

use askama::filters::HtmlSafe;
use time::OffsetDateTime;

use crate::markup::Markup;
use crate::text::UNKNOWN;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment, or an unknown one. As HTML it has date and time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShownTime(Option<OffsetDateTime>);

impl ShownTime {
    /// Takes microseconds since 1970 in UTC. Times before the year 1 and after 9999 are unknown.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok())
    }

    /// Takes microseconds since 1970 in UTC, or nothing.
    #[must_use]
    pub fn of(micros: Option<i64>) -> Self {
        micros.map_or(Self(None), Self::from_micros)
    }

    /// Whether the time is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the time of day with seconds.
    #[must_use]
    pub fn clock(&self) -> Markup {
        self.html("s", |at| format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()))
    }

    /// Returns the time of day with minutes.
    #[must_use]
    pub fn minute(&self) -> Markup {
        self.html("m", |at| format!("{:02}:{:02}", at.hour(), at.minute()))
    }

    /// Returns the date.
    #[must_use]
    pub fn day(&self) -> Markup {
        self.html("d", date)
    }

    /// Returns the moment for the attribute `datetime`, as `2026-11-26T10:04:12Z`; empty: unknown.
    #[must_use]
    pub fn machine(&self) -> String {
        self.0.map(|at| rfc3339(&at)).unwrap_or_default()
    }

    /// Returns the date for `<input type="date">`; empty: unknown.
    #[must_use]
    pub fn input_day(&self) -> String {
        self.0.map(|at| rfc3339(&at)[..10].to_owned()).unwrap_or_default()
    }

    fn html(self, show: &str, text: impl FnOnce(&OffsetDateTime) -> String) -> Markup {
        let Some(at) = self.0 else {
            return Markup::trusted(format!("<span class=\"muted\">{UNKNOWN}</span>"));
        };
        Markup::trusted(format!(
            "<time datetime=\"{}\" data-show=\"{show}\">{}</time>",
            rfc3339(&at),
            text(&at)
        ))
    }
}

impl fmt::Display for ShownTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |at: &OffsetDateTime| {
            format!("{}, {:02}:{:02}:{:02} UTC", date(at), at.hour(), at.minute(), at.second())
        };
        self.html("ds", text).fmt(f)
    }
}

impl HtmlSafe for ShownTime {}

fn date(at: &OffsetDateTime) -> String {
    let month = MONTHS.get(usize::from(u8::from(at.month())) - 1).copied().unwrap_or(UNKNOWN);
    format!("{} {month} {}", at.day(), at.year())
}

fn rfc3339(at: &OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 26 November 2026, 10:04:12 UTC.
    const DROPPED: i64 = 1_795_687_452_000_000;

    #[test]
    fn times_are_utc_with_a_machine_form() {
        let at = ShownTime::from_micros(DROPPED);
        let clock = "<time datetime=\"2026-11-26T10:04:12Z\" data-show=\"s\">10:04:12</time>";
        assert_eq!(at.clock().as_str(), clock);
        assert!(at.to_string().ends_with(">26 Nov 2026, 10:04:12 UTC</time>"));
        assert!(at.minute().as_str().ends_with(">10:04</time>"));
        assert_eq!(at.input_day(), "2026-11-26");
    }

    #[test]
    fn an_unknown_time_is_a_dash() {
        for unknown in [
            ShownTime::of(None),
            ShownTime::from_micros(i64::MAX),
            ShownTime::from_micros(i64::MIN),
        ] {
            assert_eq!(unknown.to_string(), "<span class=\"muted\">–</span>");
            assert!(!unknown.is_known());
        }
        assert!(ShownTime::from_micros(0).is_known());
    }
}
