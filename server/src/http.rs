//! What the control plane serves beside its API: health, metrics and the demo page.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use nucleus_core::text::printable;
use serde::{Deserialize, Deserializer, de};

use crate::health::Health;

mod demo;

pub use demo::{DEMO_ORIGIN, DEMO_TENANT, Demo};

/// The address at which health and metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpAddr {
    /// No address is configured: [`HttpAddr::DEFAULT`], or a free port if that one is taken.
    #[default]
    Default,
    /// This address only; port 0 picks a free port.
    At(SocketAddr),
    /// HTTP is not served.
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
    /// The default address. Loopback, so that metrics are not public unless the operator chooses
    /// it.
    pub const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8055);
}

impl FromStr for HttpAddr {
    type Err = HttpAddrError;

    fn from_str(text: &str) -> Result<Self, HttpAddrError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| HttpAddrError(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for HttpAddr {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A text that is not an HTTP address. The error names the text and says what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not an HTTP address: write off, or address:port as in 127.0.0.1:8055, with port 0 to 65535",
    printable(.0)
)]
pub struct HttpAddrError(String);

/// A function that renders all metrics as Prometheus text, version 0.0.4.
pub type MetricsSource = Arc<dyn Fn() -> String + Send + Sync>;

/// Binds the configured address. `None`: HTTP is off. If the port of [`HttpAddr::Default`] is taken,
/// binds a free port instead.
///
/// # Errors
///
/// The address cannot be bound.
pub(crate) fn bind(addr: HttpAddr) -> io::Result<Option<TcpListener>> {
    let free_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let listener = match addr {
        HttpAddr::Off => return Ok(None),
        HttpAddr::At(addr) => TcpListener::bind(addr)?,
        HttpAddr::Default => bind_or(HttpAddr::DEFAULT, free_port)?,
    };
    Ok(Some(listener))
}

/// Whether a socket is reached from this machine alone, so that a key may travel in the clear.
pub(crate) fn is_local(socket: Option<&TcpListener>) -> bool {
    let addr = socket.and_then(|socket| socket.local_addr().ok());
    addr.is_some_and(|addr| addr.ip().is_loopback())
}

/// Binds `preferred`, or `fallback` if `preferred` is taken.
fn bind_or(preferred: SocketAddr, fallback: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(preferred) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => TcpListener::bind(fallback),
        result => result,
    }
}

/// Returns the routes of health and metrics.
pub(crate) fn router(metrics: MetricsSource, health: Arc<Health>) -> Router {
    let metrics = get(async move || {
        let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
        ([kind, CLOSE], metrics())
    });
    health_router(health).route("/metrics", metrics)
}

/// Returns the routes of health.
pub(crate) fn health_router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/health/live", get(serve_live))
        .route("/health/ready", get(serve_ready))
        .with_state(health)
}

/// Probes and scrapers ask once in a while, and the simplest of them read until the connection ends.
const CLOSE: (header::HeaderName, &str) = (header::CONNECTION, "close");

async fn serve_live(State(health): State<Arc<Health>>) -> impl IntoResponse {
    health_response("live", health.dead())
}

async fn serve_ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    health_response("ready", health.not_ready())
}

fn health_response(state: &str, fault: Option<String>) -> impl IntoResponse {
    match fault {
        None => (StatusCode::OK, [CLOSE], format!("{state}\n")),
        Some(fault) => {
            (StatusCode::SERVICE_UNAVAILABLE, [CLOSE], format!("not {state}: {fault}\n"))
        }
    }
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
