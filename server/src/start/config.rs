//! The server's settings: every default, range and unit stands here and in [`Limits`], once.
//!
//! A flag wins over the file, the file over the default. What the values are used for is not
//! decided here, and no file but the configuration itself is read.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

pub mod value;

pub use nucleus_core::fanout::Tick;
pub use nucleus_core::limits::Limits;
use nucleus_core::limits::{CONFIG_FILE_BYTES, MAX_SHARDS, within};
pub use nucleus_core::room::SecondDevice;
pub use value::{LogFormat, ValueError, parse_socket_addr, parse_tick};

pub use crate::http::HttpAddr;
pub use crate::token::{TokenAlgorithm, Tokens};

/// The documented default configuration, as `nucleus config` prints it.
pub const DEFAULT_TOML: &str = include_str!("config/default.toml");

/// All settings of one server, within their ranges once [`Config::load`] returned them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// UDP address of the session plane; port 0 picks a free one.
    #[serde(deserialize_with = "value::socket_addr")]
    pub session: SocketAddr,
    /// UDP address of the realtime plane; port 0 picks a free one.
    #[serde(deserialize_with = "value::socket_addr")]
    pub realtime: SocketAddr,
    /// TCP address of health and metrics.
    pub http: HttpAddr,
    /// Realtime threads, 1 to 64; by default the cores less one.
    pub shards: u16,
    /// How long a shard gathers frames before it sends them.
    #[serde(deserialize_with = "value::tick")]
    pub tick: Tick,
    /// Directory of certificate, keys and the server's id.
    pub data_dir: PathBuf,
    /// Shape of the log on stderr.
    pub log_format: LogFormat,
    /// Differentiated services code point of realtime datagrams, 0 to 63.
    pub dscp: u8,
    /// What becomes of a user who joins a room twice.
    pub second_device: SecondDevice,
    /// Bounds of server, rooms and peers.
    pub limits: Limits,
    /// The certificate to show; absent: the development certificate of the data directory.
    pub tls: Option<TlsFiles>,
    /// Whose join tokens count; absent: development mode, the data directory's own key.
    pub tokens: Option<Tokens>,
}

/// `[tls]`: a certificate from outside, both files PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 5055),
            realtime: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 5056),
            http: HttpAddr::Default,
            shards: default_shards(),
            tick: Tick::Auto,
            data_dir: PathBuf::from("./data"),
            log_format: LogFormat::Pretty,
            dscp: 46,
            second_device: SecondDevice::default(),
            limits: Limits::default(),
            tls: None,
            tokens: None,
        }
    }
}

/// One core is left to sessions and rooms.
fn default_shards() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores.saturating_sub(1)).unwrap_or(MAX_SHARDS).clamp(1, MAX_SHARDS)
}

/// What the command line said; `None` leaves the file's value or the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// See [`Config::session`].
    pub session: Option<SocketAddr>,
    /// See [`Config::realtime`].
    pub realtime: Option<SocketAddr>,
    /// See [`Config::http`].
    pub http: Option<HttpAddr>,
    /// See [`Config::shards`].
    pub shards: Option<u16>,
    /// See [`Config::tick`].
    pub tick: Option<Tick>,
    /// See [`Config::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// See [`Config::log_format`].
    pub log_format: Option<LogFormat>,
}

/// Why there is no configuration; one line each, for exit code 2.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path}: {source}", path = path.display())]
    Read {
        /// The file named by `--config`.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML, has an unknown key or a value of the wrong kind.
    #[error("{path}:{line}: {message}", path = path.display())]
    Parse {
        /// The file named by `--config`.
        path: PathBuf,
        /// Line of the mistake, counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A value out of its range, or two that contradict each other.
    #[error("configuration: {0}")]
    Value(#[from] ValueError),
}

impl Config {
    /// Reads `file` over the defaults and lays `flags` over both.
    pub fn load(file: Option<&Path>, flags: Overrides) -> Result<Self, ConfigError> {
        let mut config = match file {
            Some(path) => Self::parse(&read(path)?, path)?,
            None => Self::default(),
        };
        config.apply(flags);
        config.validate()?;
        Ok(config)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        })
    }

    fn apply(&mut self, flags: Overrides) {
        fn set<T>(target: &mut T, flag: Option<T>) {
            if let Some(value) = flag {
                *target = value;
            }
        }
        set(&mut self.session, flags.session);
        set(&mut self.realtime, flags.realtime);
        set(&mut self.http, flags.http);
        set(&mut self.shards, flags.shards);
        set(&mut self.tick, flags.tick);
        set(&mut self.data_dir, flags.data_dir);
        set(&mut self.log_format, flags.log_format);
    }

    fn validate(&self) -> Result<(), ValueError> {
        within("shards", self.shards, 1..=MAX_SHARDS)?;
        within("dscp", self.dscp, 0..=63)?;
        if self.session == self.realtime && self.session.port() != 0 {
            return Err(ValueError::new(format!(
                "session and realtime are both {}: give them different ports",
                self.session
            )));
        }
        self.limits.check()?;
        self.tokens.as_ref().map_or(Ok(()), check_tokens)
    }
}

fn check_tokens(tokens: &Tokens) -> Result<(), ValueError> {
    let Tokens { algorithm, public_key_file, secret_file, audience } = tokens;
    let (needs, refuses, present, absent) = match algorithm {
        TokenAlgorithm::HS256 => ("secret_file", "public_key_file", secret_file, public_key_file),
        TokenAlgorithm::EdDSA | TokenAlgorithm::ES256 => {
            ("public_key_file", "secret_file", public_key_file, secret_file)
        }
    };
    if present.is_none() || absent.is_some() {
        return Err(ValueError::new(format!(
            "tokens.algorithm = {algorithm} needs tokens.{needs} and no tokens.{refuses}"
        )));
    }
    if let Some(audience) = audience {
        within("the length of tokens.audience", audience.len(), 1..=128)?;
    }
    Ok(())
}

/// The IPv4 stand-in for a wildcard IPv6 address on a machine that has no IPv6.
#[must_use]
pub fn without_ipv6(addr: SocketAddr) -> Option<SocketAddr> {
    let wildcard = addr.is_ipv6() && addr.ip().is_unspecified();
    wildcard.then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr.port()))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > CONFIG_FILE_BYTES {
        return Err(failed(std::io::Error::other("larger than 1 MiB")));
    }
    fs::read_to_string(path).map_err(failed)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
