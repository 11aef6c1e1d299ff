//! The server's settings, with their defaults, ranges and units. The settings of the limits are in
//! [`Limits`].
//!
//! A flag wins over the file, and the file over the default. This module reads only
//! the configuration file. A file that a setting names is read by the code that uses it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

mod acme;
mod control;
mod products;
mod servers;
mod sign_in;
pub mod value;
mod web;

pub use acme::{AcmeSettings, ExternalAccount};
pub use control::{ControlSettings, PostgresAddress};
pub use nucleus_core::fanout::Tick;
use nucleus_core::ids::Product;
pub use nucleus_core::limits::Limits;
use nucleus_core::limits::{MAX_SHARDS, within};
pub use nucleus_core::room::SecondDevice;
use nucleus_protocol::session::Features;
pub use servers::ServersSettings;
pub use sign_in::{OidcProvider, SignIn};
pub use value::{LogFormat, ValueError, parse_shards, parse_socket_addr, parse_tick};
pub use web::WebSettings;

pub use crate::http::HttpAddr;
use crate::text_file;
pub use crate::token::{TokenAlgorithm, TokenSettings};

/// The documented default configuration, which `nucleus config` prints.
pub const DEFAULT_TOML: &str = include_str!("config/default.toml");

/// Most further addresses of the session plane: each has a socket for each shard.
const MAX_SESSION_ALSO: usize = 4;

/// All settings of one server. [`Config::load`] returns only values within their ranges.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// UDP address of the session plane; port 0 picks a free port.
    #[serde(deserialize_with = "value::socket_addr")]
    pub session: SocketAddr,
    /// Further UDP addresses of the session plane.
    #[serde(deserialize_with = "value::socket_addrs")]
    pub session_also: Vec<SocketAddr>,
    /// UDP address of the realtime plane; port 0 picks a free port.
    #[serde(deserialize_with = "value::socket_addr")]
    pub realtime: SocketAddr,
    /// TCP address of health and metrics, and of the API if it is on loopback.
    pub http: HttpAddr,
    /// TCP address of health and the API over TLS; absent: none.
    #[serde(deserialize_with = "value::optional_socket_addr")]
    pub https: Option<SocketAddr>,
    /// The applications that use the server, 1 to 16.
    pub products: Vec<Product>,
    /// The database of tenants and keys.
    pub control: ControlSettings,
    /// Number of realtime threads, 1 to 64; by default one less than the number of cores.
    pub shards: u16,
    /// How long a shard gathers frames before it sends them.
    #[serde(deserialize_with = "value::tick")]
    pub tick: Tick,
    /// Directory of certificate, keys and the server's id.
    pub data_dir: PathBuf,
    /// Format of the log on stderr.
    pub log_format: LogFormat,
    /// Whether each datagram takes a system call of its own, as on other systems than Linux. Needs a
    /// single shard.
    pub plain_sockets: bool,
    /// Differentiated services code point of realtime datagrams, 0 to 63.
    pub dscp: u8,
    /// What happens when a user joins a room a second time without a ticket.
    pub second_device: SecondDevice,
    /// Limits of the server, of rooms and of peers.
    pub limits: Limits,
    /// Where clients find this server and others.
    pub servers: ServersSettings,
    /// Whether the demo page is served in development mode.
    pub demo: bool,
    /// How people sign in to the dashboard.
    pub sign_in: SignIn,
    /// Which web pages may hold sessions.
    pub web: WebSettings,
    /// Features of the protocol that the server does not offer, to try how older clients get on.
    #[serde(deserialize_with = "value::features")]
    pub hide_features: Features,
    /// The certificate and its key; absent: the development certificate of the data directory.
    pub tls: Option<TlsFiles>,
    /// The authority from which the server gets its certificate, in place of `tls`.
    pub acme: Option<AcmeSettings>,
    /// The join tokens that the server accepts. Absent: development mode, in which the server
    /// accepts tokens signed with the data directory's key.
    pub tokens: Option<TokenSettings>,
}

/// `[tls]`: the operator's certificate and its private key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate chain, which starts with the server's certificate.
    pub cert_file: PathBuf,
    /// The private key of the server's certificate.
    pub key_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 5055),
            session_also: Vec::new(),
            realtime: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 5056),
            http: HttpAddr::Default,
            https: None,
            products: products::default(),
            control: ControlSettings::default(),
            shards: default_shards(),
            tick: Tick::Auto,
            data_dir: PathBuf::from("./data"),
            log_format: LogFormat::Pretty,
            plain_sockets: false,
            dscp: 46,
            second_device: SecondDevice::default(),
            limits: Limits::default(),
            servers: ServersSettings::default(),
            demo: true,
            sign_in: SignIn::default(),
            web: WebSettings::default(),
            hide_features: Features::NONE,
            tls: None,
            acme: None,
            tokens: None,
        }
    }
}

/// Returns one less than the number of cores, because sessions and rooms need one core. Only Linux
/// has several sockets on one port.
fn default_shards() -> u16 {
    if cfg!(not(target_os = "linux")) {
        return 1;
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores.saturating_sub(1)).unwrap_or(MAX_SHARDS).clamp(1, MAX_SHARDS)
}

/// The values of the command line. `None` keeps the file's value or the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Overrides [`Config::session`].
    pub session: Option<SocketAddr>,
    /// Overrides [`Config::realtime`].
    pub realtime: Option<SocketAddr>,
    /// Overrides [`Config::http`].
    pub http: Option<HttpAddr>,
    /// Overrides [`Config::shards`].
    pub shards: Option<u16>,
    /// Overrides [`Config::tick`].
    pub tick: Option<Tick>,
    /// Overrides [`Config::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// Overrides [`Config::log_format`].
    pub log_format: Option<LogFormat>,
}

/// Why the configuration cannot be used. Each text is one line; the process ends with exit code 2.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}", path = path.display())]
    Read {
        /// The file named by `--config`.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("{path}:{line}: {message}", path = path.display())]
    Parse {
        /// The file named by `--config`.
        path: PathBuf,
        /// Line of the mistake, counted from 1.
        line: usize,
        /// What is wrong in this line, with the key.
        message: String,
    },
    /// A value is out of its range, or two values contradict each other.
    #[error("configuration: {0}")]
    Value(#[from] ValueError),
}

impl Config {
    /// Starts with the defaults, overrides them with `file` and then with `flags`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or parsed, or a value is out of its range.
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
        toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let message = without_rust_types(&message);
            ConfigError::Parse {
                path: path.to_owned(),
                line: line_of(text, offset),
                message: match key_at(text, offset) {
                    Some(key) => format!("{key}: {message}"),
                    None => message,
                },
            }
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
        within("control.audit_days", self.control.audit_days, control::DAYS)?;
        within("control.history_days", self.control.history_days, control::DAYS)?;
        if self.shards > 1 && (self.plain_sockets || cfg!(not(target_os = "linux"))) {
            return Err(ValueError::new(format!(
                "shards = {}: plain sockets, and systems other than Linux, need shards = 1",
                self.shards
            )));
        }
        self.check_addresses()?;
        self.limits.check()?;
        self.servers.check()?;
        self.web.check()?;
        self.sign_in.check()?;
        products::check(&self.products)?;
        self.check_acme()?;
        self.tokens.as_ref().map_or(Ok(()), check_tokens)
    }
}

impl Config {
    /// Whether the API signs join tokens.
    pub fn mints_tokens(&self) -> bool {
        self.control.mint_tokens.unwrap_or(self.tokens.is_none())
    }

    /// Checks that the certificate comes from one place, and that an authority can validate its names.
    fn check_acme(&self) -> Result<(), ValueError> {
        let Some(acme) = &self.acme else { return Ok(()) };
        if self.tls.is_some() {
            return Err(ValueError::new(
                "[tls] and [acme] both name a certificate: keep one of them",
            ));
        }
        if self.https.is_none() {
            let text = "[acme] needs https: the authority validates the names at its port 443";
            return Err(ValueError::new(text));
        }
        acme.check()
    }

    /// Whether the certificates are those of development mode, which clients pin.
    pub fn has_development_certificate(&self) -> bool {
        self.tls.is_none() && self.acme.is_none()
    }

    /// Checks that no two planes listen on one address.
    fn check_addresses(&self) -> Result<(), ValueError> {
        within("the length of session_also", self.session_also.len(), 0..=MAX_SESSION_ALSO)?;
        let own = [("session", self.session), ("realtime", self.realtime)];
        let also = self.session_also.iter().map(|addr| ("session_also", *addr));
        let all: Vec<_> =
            own.into_iter().chain(also).filter(|(_, addr)| addr.port() != 0).collect();
        for (at, (first, addr)) in all.iter().enumerate() {
            if let Some((second, _)) = all[at + 1..].iter().find(|(_, other)| other == addr) {
                return Err(ValueError::new(format!(
                    "{first} and {second} are both {addr}: give them different ports"
                )));
            }
        }
        Ok(())
    }
}

/// Checks that `[tokens]` names the key file of its algorithm, and no other.
fn check_tokens(tokens: &TokenSettings) -> Result<(), ValueError> {
    let TokenSettings { algorithm, public_key_file, secret_file, audience } = tokens;
    let (needs, refuses, present, absent) = match algorithm {
        TokenAlgorithm::HS256 => ("secret_file", "public_key_file", secret_file, public_key_file),
        _ => ("public_key_file", "secret_file", public_key_file, secret_file),
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

/// Returns the IPv4 wildcard address with the port of `addr`, if `addr` is the IPv6 wildcard. The
/// IPv4 address replaces `addr` on a machine without IPv6.
#[must_use]
pub fn without_ipv6(addr: SocketAddr) -> Option<SocketAddr> {
    let wildcard = addr.is_ipv6() && addr.ip().is_unspecified();
    wildcard.then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr.port()))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let text = text_file::read(path).map_err(failed)?;
    String::from_utf8(text.to_vec()).map_err(|_| failed(std::io::Error::other("not UTF-8")))
}

/// Returns the number of the line at `offset`, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Returns the key whose value is at `offset`, with its table in front. `None` if `offset` is not
/// in a value: then the parser's message names the key itself.
fn key_at(text: &str, offset: usize) -> Option<String> {
    let before = text.get(..offset)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let (key, _) = before[line_start..].split_once('=')?;
    let tables = before[..line_start].lines().map(str::trim);
    let is_name =
        |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._- ".contains(c));
    let table = tables
        .filter_map(|line| line.strip_prefix('[')?.split(']').next())
        .rfind(|name| is_name(name));
    let key = key.trim();
    Some(table.map_or_else(|| key.to_owned(), |table| format!("{}.{key}", table.trim())))
}

/// Replaces the Rust type that the parser expects by a description for operators.
fn without_rust_types(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((start, "u8" | "u16" | "u32" | "u64")) => {
            format!("{start}, expected a whole number (nucleus config shows the range)")
        }
        Some((start, name)) if name.starts_with("struct ") => format!("{start}, expected a table"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
