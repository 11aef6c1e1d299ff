//! Values that flags and the configuration file write the same way, and their parsers.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// Why a value was refused; the text says what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Reads a whole number with a unit: `250ms`, `10s`, `5m`, `1h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let refused = || {
        ValueError::new(format!(
            "`{}` is not a duration: write a whole number and ms, s, m, h or d, as in 250ms or 10s",
            printable(text)
        ))
    };
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

/// Control characters never reach a terminal through an error message, and a line stays a line.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(64).flat_map(|c| c.escape_debug()).collect()
}

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).map_err(de::Error::custom)
}

/// How long a shard may gather frames before it sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tick {
    /// Chosen from the load, so that a shard stays at or under half a core.
    #[default]
    Auto,
    /// Always the same, 1 ms to 50 ms.
    Fixed(Duration),
}

impl Tick {
    /// The shortest fixed tick; below it a shard does nothing but wake.
    pub const MIN: Duration = Duration::from_millis(1);
    /// The longest fixed tick; beyond it poses visibly stutter.
    pub const MAX: Duration = Duration::from_millis(50);
}

impl FromStr for Tick {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let tick = parse_duration(text).map_err(|_| refused_tick(text))?;
        if (Self::MIN..=Self::MAX).contains(&tick) {
            Ok(Self::Fixed(tick))
        } else {
            Err(refused_tick(text))
        }
    }
}

fn refused_tick(text: &str) -> ValueError {
    ValueError::new(format!("`{}` is not a tick: write auto, or 1ms to 50ms", printable(text)))
}

/// Where health and metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpAddr {
    /// Nobody asked for an address: [`HttpAddr::DEFAULT`], or a free port beside it when taken.
    #[default]
    Default,
    /// This one or none; port 0 picks a free one.
    At(SocketAddr),
    /// Not at all.
    Off,
}

impl fmt::Display for HttpAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Self::DEFAULT.fmt(f),
            Self::At(addr) => addr.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}

impl HttpAddr {
    /// Loopback only: metrics are for the machine's own agent until somebody decides otherwise.
    pub const DEFAULT: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8055);
}

impl FromStr for HttpAddr {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            ValueError::new(format!(
                "`{}` is not an HTTP address: write off, or address:port as in 127.0.0.1:8055",
                printable(text)
            ))
        })
    }
}

/// Reads `address:port`; a name is refused, because a server listens on addresses.
pub fn parse_socket_addr(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| {
        ValueError::new(format!(
            "`{}` is not an address: write address:port as in 0.0.0.0:5055 or [::]:5055",
            printable(text)
        ))
    })
}

pub(super) fn socket_addr<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    parse_socket_addr(&String::deserialize(from)?).map_err(de::Error::custom)
}

/// What becomes of a user who joins a room that he is in already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondDevice {
    /// Both stay: a headset and a desktop, say.
    #[default]
    Allow,
    /// The first one goes.
    Replace,
    /// The second one does not get in, unless the first one's session is lost.
    Refuse,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One short line an event, for people.
    #[default]
    Pretty,
    /// One JSON object a line, for machines.
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

/// How join tokens are signed. Configured, never taken from a token's own header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TokenAlgorithm {
    /// Ed25519; what the development key uses.
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// HMAC with SHA-256: whoever can check a token can also make one.
    HS256,
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::HS256 => "HS256",
        })
    }
}

macro_rules! deserialize_from_str {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

deserialize_from_str!(Tick, HttpAddr, LogFormat);

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

    #[test]
    fn ticks() {
        assert_eq!("auto".parse(), Ok(Tick::Auto));
        assert_eq!("5ms".parse(), Ok(Tick::Fixed(Duration::from_millis(5))));
        for bad in ["0ms", "51ms", "1s", "five", ""] {
            assert!(bad.parse::<Tick>().is_err(), "{bad}");
        }
    }

    #[test]
    fn refusals_stay_on_one_line_without_escapes() {
        let text = "\x1b[31m\nx".parse::<Tick>().unwrap_err().to_string();
        assert!(!text.contains(['\x1b', '\n']), "{text:?}");
    }
}
