//! Tests of the HTTP server: its responses, its limits and its end.

use std::io::{Read, Write};
use std::net::TcpStream as Client;

use super::*;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn start() -> (HttpHandle, SocketAddr, Arc<Health>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let health = Health::new(runtime.handle(), &[]);
    let metrics: MetricsSource = Arc::new(|| "nucleus_rooms 3\n".to_owned());
    let handle = Http::start(HttpAddr::At(LOCAL), metrics, health.clone(), None).unwrap();
    let addr = handle.addr().unwrap();
    (handle, addr, health)
}

fn exchange(addr: SocketAddr, request: &str) -> String {
    let mut client = Client::connect(addr).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn fetch(addr: SocketAddr, path: &str) -> String {
    exchange(addr, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
}

#[test]
fn health_follows_the_flag() {
    let (_handle, addr, health) = start();
    assert!(fetch(addr, "/health/live").starts_with("HTTP/1.1 200"));
    assert!(fetch(addr, "/health/ready").starts_with("HTTP/1.1 503"));
    health.set_accepting(true);
    assert!(fetch(addr, "/health/ready").starts_with("HTTP/1.1 200"));
    health.set_accepting(false);
    assert!(fetch(addr, "/health/ready").starts_with("HTTP/1.1 503"));
}

#[test]
fn metrics_are_prometheus_text() {
    let (_handle, addr, _) = start();
    let answer = fetch(addr, "/metrics");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.ends_with("nucleus_rooms 3\n"), "{answer}");
}

#[test]
fn anything_else_is_not_there() {
    let (_handle, addr, _) = start();
    for path in ["/", "/metrics/x", "/health", "/../etc/passwd"] {
        assert!(fetch(addr, path).starts_with("HTTP/1.1 404"), "{path}");
    }
    assert!(
        exchange(addr, "POST /metrics HTTP/1.1\r\nhost: x\r\n\r\n").starts_with("HTTP/1.1 405")
    );
}

#[test]
fn a_large_head_is_refused() {
    let (_handle, addr, _) = start();
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n", "a".repeat(limits::HTTP_HEAD_BYTES));
    let mut client = Client::connect(addr).unwrap();
    client.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

/// More clients than connections are half-open. Each request is answered at once, and the oldest of
/// the silent clients are closed.
#[test]
fn silent_clients_hold_nobody_up() {
    let (_handle, addr, _) = start();
    let mut silent: Vec<_> = (0..limits::HTTP_CONNECTIONS + 6)
        .map(|_| {
            let mut client = Client::connect(addr).unwrap();
            client.write_all(b"GET /health/live HTTP/1.1\r\n").unwrap();
            client
        })
        .collect();
    // Before the time of a silent client is over.
    let start = std::time::Instant::now();
    assert!(fetch(addr, "/health/live").starts_with("HTTP/1.1 200"));
    assert!(start.elapsed() < limits::HTTP_HEAD_TIME, "{:?}", start.elapsed());
    let oldest = &mut silent[0];
    oldest.set_read_timeout(Some(limits::HTTP_HEAD_TIME / 2)).unwrap();
    assert!(
        !matches!(oldest.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    );
}

#[test]
fn a_silent_client_is_cut() {
    let (_handle, addr, _) = start();
    let mut silent = Client::connect(addr).unwrap();
    silent.set_read_timeout(Some(limits::HTTP_CONNECTION_TIME + Duration::from_secs(5))).unwrap();
    silent.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn only_the_default_port_moves() {
    let taken = TcpListener::bind(LOCAL).unwrap();
    let addr = taken.local_addr().unwrap();
    assert_ne!(bind_or(addr, LOCAL).unwrap().local_addr().unwrap(), addr);
    assert_eq!(bind(HttpAddr::At(addr)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(bind(HttpAddr::Off).unwrap().is_none());
}

#[test]
fn stopping_closes_the_port_even_with_a_client_on_it() {
    let (handle, addr, _) = start();
    let _client = Client::connect(addr).unwrap();
    handle.stop();
    assert!(Client::connect(addr).is_err());
}
