//! Parsers of values that have the same syntax in flags and in the configuration file.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use nucleus_core::fanout::Tick;
use nucleus_core::limits::{MAX_SHARDS, OutOfRange};
use nucleus_core::text::{parse_duration, printable};
use nucleus_protocol::session::Features;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// Why a value is refused. The text names the value and says what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ValueError(String);

impl From<OutOfRange> for ValueError {
    fn from(error: OutOfRange) -> Self {
        Self(error.to_string())
    }
}

impl ValueError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The shortest fixed tick. With a shorter one a shard would spend its time waking up.
const SHORTEST_TICK: Duration = Duration::from_millis(1);
/// The longest fixed tick. With a longer one poses visibly stutter.
const LONGEST_TICK: Duration = Duration::from_millis(50);

/// Reads `auto`, or a duration of 1 ms to 50 ms.
///
/// # Errors
///
/// The text is neither `auto` nor a duration in this range.
pub fn parse_tick(text: &str) -> Result<Tick, ValueError> {
    if text == "auto" {
        return Ok(Tick::Auto);
    }
    let tick = parse_duration(text).map_err(|_| refused_tick(text))?;
    if (SHORTEST_TICK..=LONGEST_TICK).contains(&tick) {
        Ok(Tick::Fixed(tick))
    } else {
        Err(refused_tick(text))
    }
}

pub(super) fn tick<'de, D: Deserializer<'de>>(from: D) -> Result<Tick, D::Error> {
    parse_tick(&String::deserialize(from)?).map_err(de::Error::custom)
}

/// Reads a list of names of features.
pub(super) fn features<'de, D: Deserializer<'de>>(from: D) -> Result<Features, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let feature = |name: &String| match name.as_str() {
        "state" => Ok(Features::STATE),
        "notices" => Ok(Features::NOTICES),
        "renew" => Ok(Features::RENEW),
        other => Err(de::Error::custom(format!(
            "`{}` is not a feature: write state, notices or renew",
            printable(other)
        ))),
    };
    names.iter().try_fold(Features::NONE, |all, name| Ok(all.with(feature(name)?)))
}

fn refused_tick(text: &str) -> ValueError {
    ValueError::new(format!("`{}` is not a tick: write auto, or 1ms to 50ms", printable(text)))
}

/// Reads a number of realtime threads.
///
/// # Errors
///
/// The text is not a number of 1 to [`MAX_SHARDS`].
pub fn parse_shards(text: &str) -> Result<u16, ValueError> {
    let shards = text.parse().ok().filter(|shards| (1..=MAX_SHARDS).contains(shards));
    shards.ok_or_else(|| {
        let text = printable(text);
        ValueError::new(format!("`{text}` is not a number of threads: write 1 to {MAX_SHARDS}"))
    })
}

/// Reads `address:port`. Refuses a host name, because a server listens on addresses.
///
/// # Errors
///
/// The text is not an IP address with a port.
pub fn parse_socket_addr(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| {
        ValueError::new(format!(
            "`{}` is not an address: write address:port as in 0.0.0.0:5055 or [::]:5055, with port 0 to 65535",
            printable(text)
        ))
    })
}

/// Reads a list of addresses with ports.
pub(super) fn socket_addrs<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| parse_socket_addr(text).map_err(de::Error::custom)).collect()
}

pub(super) fn socket_addr<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    parse_socket_addr(&String::deserialize(from)?).map_err(de::Error::custom)
}

/// Reads an address with its port, which may be absent.
pub(super) fn optional_socket_addr<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SocketAddr>, D::Error> {
    socket_addr(from).map(Some)
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One short line per event, for people.
    #[default]
    Pretty,
    /// One JSON object per line, for machines.
    Json,
}

impl FromStr for LogFormat {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err(ValueError::new(format!(
                "`{}` is not a log format: write pretty or json",
                printable(text)
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks() {
        assert_eq!(parse_tick("auto"), Ok(Tick::Auto));
        assert_eq!(parse_tick("5ms"), Ok(Tick::Fixed(Duration::from_millis(5))));
        for bad in ["0ms", "51ms", "1s", "five", ""] {
            assert!(parse_tick(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refusals_stay_on_one_line_without_escapes() {
        let text = parse_tick("\x1b[31m\nx").unwrap_err().to_string();
        assert!(!text.contains(['\x1b', '\n']), "{text:?}");
    }
}
