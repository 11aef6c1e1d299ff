//! The memory that sessions outside rooms can pin at the server. docs/LIMITS.md states the figure, in
//! its section "Memory".

use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::session::{self, Enter, WatchUsers, status, stream};
use quinn::{ClientConfig, Connection, RecvStream, SendStream, TransportConfig};
use tokio::time::sleep;

use crate::heavy::alone;
use crate::memory::{PIECE, assert_near, start, until_it_stays};
use crate::raw::{RawClients, hello};
use crate::server::Server;

/// KiB that one session outside rooms pins, as docs/LIMITS.md states.
const SOCIAL_KIB: u64 = 106;

/// Users, and sessions of each: as many as a user may have outside rooms.
const USERS: usize = 6;
const SESSIONS_OF_USER: usize = 16;

/// Time between two packets of one kind.
const INTERVAL: Duration = Duration::from_millis(4);

/// Returns the configuration of a client that fills each packet with padding.
fn padded(clients: &RawClients) -> ClientConfig {
    let (mut config, mut transport) = (clients.config.clone(), TransportConfig::default());
    transport.pad_to_mtu(true).mtu_discovery_config(None);
    config.transport_config(Arc::new(transport));
    config
}

/// Enters outside rooms. Returns the connection and its control stream.
async fn enter(
    clients: &RawClients,
    n: usize,
    token: String,
) -> (Connection, SendStream, RecvStream) {
    let connecting = clients.endpoint(n).connect_with(padded(clients), clients.server, "localhost");
    let connection = connecting.unwrap().await.unwrap();
    let (mut control, mut answers) = connection.open_bi().await.unwrap();
    let enter = Enter { token: token.into_bytes(), name: vec![], status: status::ONLINE };
    control.write_all(&[hello(), session::encode(&enter)].concat()).await.unwrap();
    // `Welcome` and the start of `Entered`.
    answers.read_exact(&mut [0; 100]).await.unwrap();
    (connection, control, answers)
}

/// Asks for as many users as one may, again and again, in pieces that have a packet each. The server
/// carries one such request out in a second. So the window is full.
async fn keep_asking(mut control: SendStream) -> Result<(), quinn::WriteError> {
    // Nobody has these ids.
    let users = (0..64).map(|n| format!("{n:0>128}").into_bytes()).collect();
    let watch = session::encode(&WatchUsers { request: 1, roles: vec![], users });
    loop {
        for piece in watch.chunks(PIECE) {
            control.write_all(piece).await?;
            sleep(INTERVAL).await;
        }
    }
}

/// Sends datagrams of one byte, in packets of their own.
async fn keep_sending_datagrams(connection: Connection) {
    while connection.send_datagram(vec![0].into()).is_ok() {
        sleep(INTERVAL).await;
    }
}

/// Opens streams and writes to them. The server refuses them.
async fn keep_opening_streams(connection: Connection) {
    while let Ok(mut refused) = connection.open_uni().await {
        let _stopped = refused.write_all(&[&[stream::EVENTS][..], &[0; 1_000]].concat()).await;
        sleep(INTERVAL * 10).await;
    }
}

/// Returns the memory of each session in KiB.
fn kib_each(server: &Server, before: u64) -> u64 {
    let sessions = server.metric("nucleus_sessions");
    assert_eq!(sessions, (USERS * SESSIONS_OF_USER) as u64, "the server has closed sessions");
    (server.resident_kib() - before) / sessions
}

/// Measures the memory of a session outside rooms that sends all it may, in KiB.
async fn measure() -> Option<u64> {
    let dir = tempfile::tempdir().unwrap();
    let (server, clients) = start(&dir, "").await;
    let tokens: Vec<_> =
        (0..USERS).map(|n| server.token(&format!("user-{n}"), "participant")).collect();
    let before = server.resident_kib();
    let mut answers = Vec::new();
    for n in 0..USERS * SESSIONS_OF_USER {
        let (connection, control, answer) = enter(&clients, n, tokens[n % USERS].clone()).await;
        tokio::spawn(keep_asking(control));
        tokio::spawn(keep_opening_streams(connection.clone()));
        tokio::spawn(keep_sending_datagrams(connection));
        answers.push(answer);
    }
    // Datagrams that nobody reads would fill their buffer in nine seconds.
    sleep(Duration::from_secs(10)).await;
    let (interval, noise) = (Duration::from_secs(2), SOCIAL_KIB / 100 + 1);
    Some(until_it_stays(interval, noise, || kib_each(&server, before)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_outside_rooms_pin_the_documented_memory() {
    let _alone = alone();
    assert_near("a session outside rooms that sends all it may", SOCIAL_KIB, measure).await;
}
