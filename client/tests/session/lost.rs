//! Lost sessions, and servers that are hard to reach.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nucleus_client::session::{
    ClientOptions, JoinError, ResolvedServer, RoomSession, RoomSessionStep, ServerNames,
    SessionNetwork, SessionSockets, client_config,
};
use nucleus_client::{Code, ConnectOptions, Room, To, Trust, connect};
use nucleus_protocol::session::{EventDown, Joined, PRESENT, Peer, RESUMED, encode, stream};
use tokio::time::timeout;

use super::support::{ScriptedServer, TOKEN, endpoint, join, join_at, joined, options};

fn with_me() -> Joined {
    let (user, name, role) = (vec![], vec![], vec![]);
    let me = Peer { peer: 1, slot: 1, presence: PRESENT, user, name, role };
    Joined { roster: vec![me], ..joined() }
}

async fn enter(server: &quinn::Endpoint, pin: [u8; 32], patience: Duration) -> Room {
    let options = ConnectOptions::new(server.local_addr().unwrap().to_string(), TOKEN);
    let trust = Trust::Pins(vec![pin]);
    connect(options.room("lobby").trust(trust).patience(patience)).await.unwrap()
}

/// An application that answers events from the task that hears them (as examples/headset.rs does).
#[tokio::test]
async fn a_lost_session_comes_back_though_the_application_waits_in_send_event() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let server = ScriptedServer::admit_as(endpoint.clone(), with_me()).await;
        let mut events = server.connection.open_uni().await.unwrap();
        events.write_all(&[stream::EVENTS]).await.unwrap();
        for sequence in 1..=200 {
            let event = EventDown {
                peer: 1,
                roster_version: 4,
                sequence,
                channel: 0,
                piece: 0,
                payload: vec![0; 10],
            };
            events.write_all(&encode(&event)).await.unwrap();
        }
        // Nothing of the client's is read; its window fills.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.connection.close((Code::Internal as u32).into(), b"on purpose");
        let again = Joined { resumed: RESUMED, ..with_me() };
        let joining = ScriptedServer::admit_as(endpoint.clone(), again);
        timeout(Duration::from_secs(10), joining).await.is_ok()
    };
    let live = async {
        let room = enter(&endpoint, pin, Duration::from_secs(20)).await;
        while room.send_event(To::Others, 0, &[0; 1_000]).await.is_ok() {}
    };
    let is_back = tokio::select! { is_back = serve => is_back, () = live => false };
    assert!(is_back, "the client never came back");
}

#[tokio::test]
async fn a_join_that_ran_out_of_the_servers_time_is_tried_again() {
    let (endpoint, pin) = endpoint();
    let serve = async {
        let server = ScriptedServer::accept(endpoint.clone()).await;
        server.connection.close((Code::JoinTimeout as u32).into(), b"");
        timeout(Duration::from_secs(5), ScriptedServer::admit(endpoint.clone())).await
    };
    let (joined, again) = tokio::join!(join(&endpoint, pin), serve);
    assert!(again.is_ok() && joined.is_ok(), "{:?}", joined.err());
}

#[tokio::test]
async fn a_silent_address_delays_a_join_by_a_quarter_of_a_second() {
    let (endpoint, pin) = endpoint();
    let silent = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut addresses: Vec<_> = silent.iter().map(|socket| socket.local_addr().unwrap()).collect();
    addresses.push(endpoint.local_addr().unwrap());
    let begun = Instant::now();
    let (session, _server) =
        tokio::join!(join_at(addresses, pin), ScriptedServer::admit(endpoint.clone()));
    assert!(session.is_ok());
    // Two pauses of 250 ms. Without the race, the first silent address takes 10 s.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// The name moves to another server in mid-session, and the old server stops.
#[tokio::test]
async fn a_name_that_moves_is_followed() {
    let (first, pin) = endpoint();
    let (second, other_pin) = endpoint();
    let at = |server: &quinn::Endpoint| {
        let addresses = vec![server.local_addr().unwrap()];
        ResolvedServer { name: "localhost".to_owned(), addresses }
    };
    let now_at = Arc::new(Mutex::new(at(&first)));
    let looked_up = now_at.clone();
    let lookup = move |name: &str| {
        assert_eq!(name, "meeting.example");
        Ok(looked_up.lock().unwrap().clone())
    };
    let network = SessionNetwork {
        sockets: SessionSockets::New,
        trust: client_config(&Trust::Pins(vec![pin, other_pin])).unwrap(),
        names: ServerNames::By(Arc::new(lookup)),
    };
    let config = ClientOptions::new(Duration::from_secs(20), 1);
    let joining = RoomSession::join(network, "meeting.example", options(), config);
    let (session, server) = tokio::join!(joining, ScriptedServer::admit(first.clone()));
    let mut session = session.unwrap();
    *now_at.lock().unwrap() = at(&second);
    server.connection.close((Code::ShuttingDown as u32).into(), b"moved");
    first.close(0u32.into(), b"");
    let live = async { while !matches!(session.next().await, RoomSessionStep::Closed) {} };
    let again = Joined { resumed: RESUMED, ..joined() };
    tokio::select! {
        () = live => panic!("closed"),
        server = ScriptedServer::admit_as(second.clone(), again) => drop(server),
    }
}

#[tokio::test]
async fn a_missing_route_is_told_at_once() {
    // No machine has a route to a link-local address without a zone.
    let nowhere = "[fe80::1]:5055".parse().unwrap();
    let begun = Instant::now();
    let error = join_at(vec![nowhere], [0; 32]).await.err();
    assert!(matches!(error, Some(JoinError::Unreachable { server, .. }) if server == nowhere));
    assert!(begun.elapsed() < Duration::from_secs(5));
}
