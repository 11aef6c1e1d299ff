//! Connection attempts in masses from one network: clients of other networks join nevertheless.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nucleus_client::session::{
    Capabilities, ClientOptions, ResolvedServer, RoomJoin, RoomSession, ServerNames,
    SessionNetwork, SessionSockets, offered_suites,
};
use nucleus_client::{JoinError, RoomSelection};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::heavy::alone;
use crate::raw::RawClients;
use crate::server::Setup;

/// Connection attempts that the flood has in progress at a time.
const FLOODERS: usize = 64;
/// Honest joins, and the time between two of them: 8 s of honest clients.
const HONEST: usize = 160;
const INTERVAL: Duration = Duration::from_millis(50);
/// Bound of the 99th percentile of the time to join. It is far above what is measured, 40 to 163 ms:
/// the server and both kinds of clients share the machine.
const P99: Duration = Duration::from_secs(3);
/// Attempts a second that the flood makes at least, on average: enough for its share of the places.
/// Far below what is measured, 13,000 to 21,000.
const LEAST_RATE: f64 = 100.0;

/// Joins a room of its own as client `n`. Returns how long that took.
async fn join(clients: &RawClients, n: usize) -> Result<(RoomSession, Duration), JoinError> {
    let server = ResolvedServer { name: "localhost".into(), addresses: vec![clients.server] };
    let network = SessionNetwork {
        sockets: SessionSockets::Shared(clients.endpoint(n).clone()),
        trust: clients.config.clone(),
        names: ServerNames::fixed(server),
    };
    let options = RoomJoin {
        token: clients.token.clone(),
        room: format!("honest-{n}"),
        name: String::new(),
        selection: RoomSelection::default(),
        agent: "honest".into(),
        capabilities: Capabilities::default(),
        suites: offered_suites(),
        ticket: None,
    };
    let config = ClientOptions::new(Duration::ZERO, n as u64);
    let start = Instant::now();
    let session = RoomSession::join(network, "localhost", options, config).await?;
    Ok((session, start.elapsed()))
}

/// Opens connections one after the other, and keeps those that the server accepts without a join.
async fn flood(clients: Arc<RawClients>) {
    loop {
        if let Ok(connection) = clients.connect(0).await {
            tokio::spawn(async move { connection.closed().await });
        }
    }
}

/// Shows that clients of other networks join in time while a flood has its share of the places.
///
/// A debug build completes far fewer handshakes a second than a release build. So the server has
/// 256 places instead of 4,096: the flood fills its share of them within a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_network_does_not_keep_others_out() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(&dir.path().join("data"));
    setup.config = "[limits]\nunjoined = 256\n".into();
    let server = setup.start();
    let flooder = Arc::new(RawClients::new(&server, 1..=1));
    let honest = Arc::new(RawClients::new(&server, 2..=21));

    let mut floods = JoinSet::new();
    for _ in 0..FLOODERS {
        floods.spawn(flood(flooder.clone()));
    }
    let over_share = "nucleus_session_over_network_share_total";
    server.until("the flood has its share", |server| server.metric(over_share) > 0);

    let attempts = "nucleus_session_attempts_total";
    let start = Instant::now();
    let before = server.metric(attempts);
    let mut joins = JoinSet::new();
    for n in 0..HONEST {
        let honest = honest.clone();
        joins.spawn(async move { join(&honest, n).await });
        sleep(INTERVAL).await;
    }
    let joins = joins.join_all().await;
    let rate = (server.metric(attempts) - before) as f64 / start.elapsed().as_secs_f64();
    floods.abort_all();

    let failed: Vec<_> = joins.iter().filter_map(|join| join.as_ref().err()).collect();
    let mut times: Vec<_> = joins.iter().flatten().map(|(_, time)| *time).collect();
    times.sort_unstable();
    assert!(failed.len() * 100 <= HONEST, "{} of {HONEST} failed: {failed:?}", failed.len());
    let p99 = times[times.len() * 99 / 100];
    let max = times[times.len() - 1];
    println!("{rate:.0} attempts a second: honest joins p99 {p99:?}, longest {max:?}");
    assert!(rate >= LEAST_RATE, "{rate:.0} attempts a second are no flood");
    assert!(p99 < P99, "p99 {p99:?}");
}

/// A whole company may connect from one address, without any attack. Shows that a network has no
/// share as long as places are free: a hundred joins at a time are fewer than half of the places.
#[tokio::test(flavor = "multi_thread")]
async fn a_company_joins_at_once_from_one_address_while_no_flood_takes_places() {
    const JOINS: usize = 500;
    const AT_A_TIME: usize = 100;
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let config = "[limits]\nunjoined = 256\n".to_owned();
    let server = Setup { config, ..Setup::new(&dir.path().join("data")) }.start();
    let turn = Arc::new(Semaphore::new(AT_A_TIME));
    let company = Arc::new(RawClients::new(&server, 3..=3));
    let start = Instant::now();
    let mut joins = JoinSet::new();
    for n in 0..JOINS {
        let (company, turn) = (company.clone(), turn.clone());
        joins.spawn(async move {
            let _turn = turn.acquire().await.unwrap();
            join(&company, n).await
        });
    }
    let joins = joins.join_all().await;
    let rate = JOINS as f64 / start.elapsed().as_secs_f64();
    let failed: Vec<_> = joins.iter().filter_map(|join| join.as_ref().err()).collect();
    println!("{rate:.0} joins a second from one address");
    assert!(failed.is_empty(), "{} of {JOINS} failed: {failed:?}", failed.len());
    assert_eq!(server.metric("nucleus_session_over_network_share_total"), 0);
    assert_eq!(server.metric("nucleus_sessions"), JOINS as u64);
}
