//! What the dashboard says of the server.

use std::net::{SocketAddr, TcpListener};

use nucleus_control::console::ConsoleSettings;
use nucleus_core::limits;

use super::config::Config;
use super::data_dir::DataDir;

/// What a server listens on.
pub(super) struct ConsoleSockets<'a> {
    /// The address of the session plane.
    pub(super) session: SocketAddr,
    /// The further addresses of the session plane.
    pub(super) session_also: &'a [SocketAddr],
    /// The address of the realtime plane.
    pub(super) realtime: SocketAddr,
    /// The socket of HTTPS; `None`: it is off.
    pub(super) https: Option<&'a TcpListener>,
    /// Whether the demo page is served.
    pub(super) has_demo: bool,
}

/// Returns what the dashboard says of this server.
///
/// # Errors
///
/// The system does not tell the address of a socket.
pub(super) fn console_settings(
    config: &Config,
    dir: &DataDir,
    sockets: &ConsoleSockets<'_>,
) -> std::io::Result<ConsoleSettings> {
    let url = config.sign_in.url.as_deref().and_then(|url| url.split("://").nth(1));
    let domain = config.acme.as_ref().and_then(|acme| acme.domains.first().map(String::as_str));
    let host = url.or(domain).unwrap_or("this server");
    let https = sockets.https.map(TcpListener::local_addr).transpose()?;
    Ok(ConsoleSettings {
        host: host.to_owned(),
        data_dir: dir.path().display().to_string(),
        session_port: sockets.session.port(),
        session_also: sockets.session_also.iter().map(SocketAddr::port).collect(),
        realtime_port: sockets.realtime.port(),
        https_port: https.map(|addr| addr.port()),
        has_demo: sockets.has_demo,
        history_days: config.control.history_days,
        drain_seconds: limits::DRAIN_TIME.as_secs(),
    })
}
