//! Points in time, as the database and the API write them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time of day in microseconds since 1970. The API writes it as RFC 3339 does, in UTC:
/// `2026-11-29T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest time that RFC 3339 can write: the end of the year 9999.
    const LATEST: i64 = 253_402_300_799_999_999;

    /// Returns the time of the system's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(i64::try_from(since.as_micros()).unwrap_or(Self::LATEST))
    }

    /// Makes a time of microseconds since 1970. Times before 1970 and after 9999 become the nearest
    /// possible one.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(0, Self::LATEST))
    }

    /// Makes a time of whole seconds since 1970.
    pub fn from_seconds(seconds: u64) -> Self {
        Self::from_micros(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000))
    }

    /// Returns the microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0.unsigned_abs() / 1_000_000
    }

    /// Reads a time as RFC 3339 writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let micros = i64::try_from(time.unix_timestamp_nanos() / 1_000).ok()?;
        (0..=Self::LATEST).contains(&micros).then_some(Self(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000);
        let text = time.ok().and_then(|time| time.format(&Rfc3339).ok());
        f.write_str(&text.unwrap_or_default())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom("a time is written as in 2026-11-29T12:00:00Z, from 1970 to 9999")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_as_rfc_3339() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_796_000_000_000_000, "2026-11-30T00:53:20Z"),
            (1_500_000, "1970-01-01T00:00:01.5Z"),
            (Timestamp::LATEST, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp(micros)));
        }
        let with_offset = Timestamp::parse("2026-11-29T13:00:00+01:00");
        assert_eq!(with_offset, Timestamp::parse("2026-11-29T12:00:00Z"));
        for wrong in ["", "2026-11-29", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "now"] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }
}
