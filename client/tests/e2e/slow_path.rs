//! Browsers behind a slow path: what they learn of the end of their session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nucleus_client::Code;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::browser::{closed, join, open_at};
use super::support::TestServer;

/// Half of a round trip over a satellite.
const SLOW: Duration = Duration::from_millis(240);

/// How often a wait is measured at the most.
const TRIES: usize = 5;

/// Starts a relay in front of a server, for one client. Each datagram takes `one_way` through it. Returns
/// the relay's address.
async fn slow_path(server: SocketAddr, one_way: Duration) -> SocketAddr {
    let bind = async || UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = (bind().await, bind().await);
    far.connect(server).await.unwrap();
    let address = near.local_addr().unwrap();
    tokio::spawn(async move {
        let (_, client) = near.peek_from(&mut [0; 8]).await.unwrap();
        near.connect(client).await.unwrap();
        let (near, far) = (Arc::new(near), Arc::new(far));
        tokio::join!(pass(&near, &far, one_way), pass(&far, &near, one_way));
    });
    address
}

/// Passes datagrams on after a while, in their order.
async fn pass(from: &UdpSocket, to: &UdpSocket, one_way: Duration) {
    let (arrived, mut waiting) = mpsc::unbounded_channel();
    let read = async {
        loop {
            let mut datagram = vec![0; 2_048];
            // Fails if the other end's socket is gone.
            let Ok(len) = from.recv(&mut datagram).await else { continue };
            datagram.truncate(len);
            arrived.send((Instant::now() + one_way, datagram)).unwrap();
        }
    };
    let write = async {
        while let Some((due, datagram)) = waiting.recv().await {
            sleep_until(due).await;
            let _not_if_gone = to.send(&datagram).await;
        }
    };
    tokio::join!(read, write);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_time_to_read_the_ends_of_its_streams_before_the_code() {
    let server = TestServer::start().await;
    // The server waits 30 ms, and on the slow path 125 ms more.
    for (one_way, wait_ms) in [(Duration::ZERO, 30), (SLOW, 155)] {
        let least = Duration::from_millis(wait_ms * 2 / 3);
        let mut waits = Vec::new();
        // On a busy machine the client may notice the end of the streams late, but not each time.
        while waits.len() < TRIES && waits.last().is_none_or(|wait| *wait < least) {
            waits.push(wait_before_the_code(&server, one_way).await);
        }
        let longest = waits.iter().max().copied().unwrap_or_default();
        assert!(longest >= least, "{waits:?} of {wait_ms} ms, one way {one_way:?}");
    }
}

/// Breaks the rules as a page. Returns how long after the end of its streams the page learns the code.
async fn wait_before_the_code(server: &TestServer, one_way: Duration) -> Duration {
    let path = slow_path(server.on.session, one_way).await;
    let web = open_at(server, path).await;
    let ((mut control, mut answers), _) = join(&web, server, server.token("web")).await;
    let ended = async {
        while let Ok(Some(_)) = answers.read_chunk(usize::MAX, true).await {}
        Instant::now()
    };
    let told = async {
        let (code, _) = closed(web).await;
        (Instant::now(), code)
    };
    control.write_all(&[0xff; 8]).await.unwrap();
    let both = async { tokio::join!(ended, told) };
    let (ended, (told, code)) = timeout(Duration::from_secs(5), both).await.unwrap();
    assert_eq!(code, Some(Code::Malformed));
    told.saturating_duration_since(ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_waits_until_pages_behind_slow_paths_have_the_code() {
    let mut server = TestServer::start().await;
    let path = slow_path(server.on.session, SLOW).await;
    let web = open_at(&server, path).await;
    let (_control, _joined) = join(&web, &server, server.token("web")).await;
    let begun = Instant::now();
    let (stopped, (code, _)) = tokio::join!(server.stop(), closed(web));
    stopped.unwrap();
    assert_eq!(code, Some(Code::ShuttingDown));
    assert!(begun.elapsed() < Duration::from_secs(4), "within the time of a shutdown");
}
