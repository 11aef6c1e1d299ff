//! The sockets of systems other than Linux, and half-open HTTP requests.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::clients::{check_seen, join};
use crate::server::Setup;

#[tokio::test]
async fn plain_sockets_carry_both_planes() {
    let dir = tempfile::tempdir().unwrap();
    let config = "plain_sockets = true\nshards = 1\n".to_owned();
    let server = Setup { config, ..Setup::new(dir.path()) }.start();
    let ada = join(&server, "ada", "den", "participant").await;
    let bob = join(&server, "bob", "den", "participant").await;
    check_seen(&ada, &bob, 1.0).await;
    // On a busy machine, a client may use the fallback at first.
    let used = "nucleus_realtime_links_on_fallback{shard=\"0\"}";
    server.until("both use the realtime port", |server| server.metric(used) == 0);
    check_seen(&bob, &ada, 2.0).await;
    assert_eq!(server.metric("nucleus_sessions"), 2);
}

#[test]
fn half_open_requests_hold_no_probe_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Setup::new(dir.path()).start();
    let mut half_open = Vec::new();
    for _ in 0..70 {
        let mut client = TcpStream::connect(server.http()).unwrap();
        client.write_all(b"GET /health/ready HTTP/1.1\r\n").unwrap();
        half_open.push(client);
    }
    let start = Instant::now();
    assert!(server.is_ready());
    // Far below the 5 s after which a half-open request ends.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
