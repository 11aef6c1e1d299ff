//! What the dashboard says of the server.

use std::net::SocketAddr;

use nucleus_control::console::ConsoleSettings;
use nucleus_core::limits;

use super::config::Config;
use super::data_dir::DataDir;

/// Returns what the dashboard says of this server, which listens on the UDP addresses.
pub(super) fn console_settings(
    config: &Config,
    dir: &DataDir,
    (session, session_also, realtime): (SocketAddr, &[SocketAddr], SocketAddr),
) -> ConsoleSettings {
    let url = config.sign_in.url.as_deref().and_then(|url| url.split("://").nth(1));
    let domain = config.acme.as_ref().and_then(|acme| acme.domains.first().map(String::as_str));
    let host = url.or(domain).unwrap_or("this server");
    ConsoleSettings {
        host: host.to_owned(),
        data_dir: dir.path().display().to_string(),
        session_port: session.port(),
        session_also: session_also.iter().map(SocketAddr::port).collect(),
        realtime_port: realtime.port(),
        // The control plane knows the port and the demo page.
        https_port: None,
        has_demo: false,
        history_days: config.control.history_days,
        drain_seconds: limits::DRAIN_TIME.as_secs(),
    }
}
