//! Health, metrics and the demo page over HTTP/1.1, on their own thread and runtime.
//!
//! Nothing here runs on the packet path. The use of resources is bounded: few connections, small
//! request heads, one response per connection, and a time limit for each connection.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nucleus_core::limits;
use nucleus_core::text::printable;
use serde::{Deserialize, Deserializer, de};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::health::Health;

mod demo;

pub use demo::{DEMO_ORIGIN, DEMO_TENANT, Demo};

/// Pause after a failed accept. Without it, the loop would spin while the process has no free file
/// descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// The HTTP server, which runs until its [`HttpHandle`] is dropped.
pub struct Http;

/// A handle of the HTTP thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct HttpHandle {
    addr: Option<SocketAddr>,
    has_demo: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Starts the thread. It serves `metrics` and `health`, and watches the health. It serves the demo
    /// page if its address is on loopback.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or the system refuses the thread. If the port of
    /// [`HttpAddr::Default`] is taken, a free port is used instead.
    pub fn start(
        addr: HttpAddr,
        metrics: MetricsSource,
        health: Arc<Health>,
        demo: Option<Demo>,
    ) -> io::Result<HttpHandle> {
        let Some(listener) = bind(addr)? else {
            return Ok(HttpHandle { addr: None, has_demo: false, stop: None, thread: None });
        };
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        // Others on the network must not get tokens.
        let demo = demo.filter(|_| addr.ip().is_loopback());
        let has_demo = demo.is_some();
        let mut router = router(metrics, health.clone());
        if let Some(demo) = demo {
            router = router.merge(demo.router(addr));
        }
        let thread = thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || runtime.block_on(serve(listener, router, &health, stopped)))?;
        Ok(HttpHandle { addr: Some(addr), has_demo, stop: Some(stop), thread: Some(thread) })
    }
}

impl HttpHandle {
    /// Returns the address that the thread listens on; `None` if HTTP is off.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Returns whether the thread serves the demo page.
    #[must_use]
    pub fn has_demo(&self) -> bool {
        self.has_demo
    }

    /// Closes the port and all connections, and waits for the end of the thread.
    pub fn stop(mut self) {
        self.close();
    }

    fn close(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread has panicked");
        }
    }
}

impl Drop for HttpHandle {
    fn drop(&mut self) {
        self.close();
    }
}

fn bind(addr: HttpAddr) -> io::Result<Option<TcpListener>> {
    let free_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let listener = match addr {
        HttpAddr::Off => return Ok(None),
        HttpAddr::At(addr) => TcpListener::bind(addr)?,
        HttpAddr::Default => bind_or(HttpAddr::DEFAULT, free_port)?,
    };
    Ok(Some(listener))
}

/// Binds `preferred`, or `fallback` if `preferred` is taken.
fn bind_or(preferred: SocketAddr, fallback: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(preferred) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => TcpListener::bind(fallback),
        result => result,
    }
}

/// The state that the request handlers share.
#[derive(Clone)]
struct HttpState {
    metrics: MetricsSource,
    health: Arc<Health>,
}

fn router(metrics: MetricsSource, health: Arc<Health>) -> Router {
    Router::new()
        .route("/metrics", get(serve_metrics))
        .route("/health/live", get(serve_live))
        .route("/health/ready", get(serve_ready))
        .with_state(HttpState { metrics, health })
}

async fn serve_metrics(State(shared): State<HttpState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (shared.metrics)())
}

async fn serve_live(State(shared): State<HttpState>) -> impl IntoResponse {
    health_response("live", shared.health.dead())
}

async fn serve_ready(State(shared): State<HttpState>) -> impl IntoResponse {
    health_response("ready", shared.health.not_ready())
}

fn health_response(state: &str, fault: Option<String>) -> (StatusCode, String) {
    match fault {
        None => (StatusCode::OK, format!("{state}\n")),
        Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("not {state}: {fault}\n")),
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    health: &Health,
    stopped: oneshot::Receiver<()>,
) {
    tokio::select! {
        () = accept_all(listener, router) => {}
        () = health.watch() => {}
        // The handle was stopped or dropped. The end of the runtime closes all connections.
        _ = stopped => {}
    }
}

/// Accepts connections. If there are too many, closes the oldest: a request takes milliseconds, so
/// the oldest one is that of a client which is silent.
async fn accept_all(listener: TcpListener, router: Router) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot serve HTTP"),
    };
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.retain(|connection| !connection.is_finished());
                if connections.len() >= limits::HTTP_CONNECTIONS
                    && let Some(oldest) = connections.pop_front()
                {
                    oldest.abort();
                }
                let serving = tokio::spawn(serve_connection(stream, router.clone()));
                connections.push_back(serving.abort_handle());
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection. Its errors are not logged, because only its client can cause them.
async fn serve_connection(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEAD_TIME)
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .keep_alive(false);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _served = tokio::time::timeout(limits::HTTP_CONNECTION_TIME, connection).await;
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
