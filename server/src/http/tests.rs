//! Tests of the routes of health and metrics, and of the address.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::response::Response;
use tower::ServiceExt;

use super::*;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn start() -> (Router, Arc<Health>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let health = Health::new(runtime.handle(), None, &[]);
    let metrics: MetricsSource = Arc::new(|| "nucleus_rooms 3\n".to_owned());
    (router(metrics, health.clone()), health)
}

async fn fetch(router: &Router, method: &str, path: &str) -> Response {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

#[test]
fn health_follows_the_flag() {
    let (router, health) = start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let status = |path| runtime.block_on(fetch(&router, "GET", path)).status();
    assert_eq!(status("/health/live"), 200);
    assert_eq!(status("/health/ready"), 503);
    health.set_accepting(true);
    assert_eq!(status("/health/ready"), 200);
    health.set_accepting(false);
    assert_eq!(status("/health/ready"), 503);
}

#[test]
fn metrics_are_prometheus_text() {
    let (router, _) = start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(fetch(&router, "GET", "/metrics"));
    let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let body = runtime.block_on(to_bytes(answer.into_body(), 1_000)).unwrap();
    assert_eq!(&body[..], b"nucleus_rooms 3\n");
}

#[test]
fn anything_else_is_not_there() {
    let (router, _) = start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let status = |method, path| runtime.block_on(fetch(&router, method, path)).status();
    for path in ["/", "/metrics/x", "/health", "/../etc/passwd"] {
        assert_eq!(status("GET", path), 404, "{path}");
    }
    assert_eq!(status("POST", "/metrics"), 405);
}

#[test]
fn only_the_default_port_moves() {
    let taken = TcpListener::bind(LOCAL).unwrap();
    let addr = taken.local_addr().unwrap();
    assert_ne!(bind_or(addr, LOCAL).unwrap().local_addr().unwrap(), addr);
    assert_eq!(bind(HttpAddr::At(addr)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(bind(HttpAddr::Off).unwrap().is_none());
}
