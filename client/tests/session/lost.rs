//! Lost sessions, and servers that are hard to reach.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use nucleus_client::session::JoinError;
use nucleus_client::{Code, ConnectOptions, Group, Room, RoomEvent, To, Trust, connect};
use nucleus_protocol::session::{
    EventDown, Joined, Moderate, NEW_PEER, PRESENT, Peer, RESUMED, Refuse, Schema, Subscribe, act,
    encode, owned, stream,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::support::{ScriptedServer, endpoint, join, join_at, joined, message};

fn with_me() -> Joined {
    let (user, name, role) = (vec![], vec![], vec![]);
    let me = Peer { peer: 1, slot: 1, presence: PRESENT, user, name, role };
    Joined { roster: vec![me], ..joined() }
}

async fn enter(server: &quinn::Endpoint, pin: [u8; 32], patience: Duration) -> Room {
    let options = ConnectOptions::new(server.local_addr().unwrap().to_string(), "t");
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
async fn patience_bounds_what_the_server_asks_for() {
    let ((endpoint, pin), has_joined) = (endpoint(), Notify::new());
    let serve = async {
        let server = ScriptedServer::admit_as(endpoint.clone(), with_me()).await;
        has_joined.notified().await;
        server.connection.close((Code::Internal as u32).into(), b"on purpose");
        let mut server = ScriptedServer::accept(endpoint.clone()).await;
        let refuse = Refuse {
            code: Code::ServerFull as u16,
            text: vec![],
            retry_after_ms: 15_000,
            oldest: 1,
            newest: 1,
            endpoints: vec![],
        };
        server.send(&refuse.encode()).await;
        server.connection.closed().await;
        std::future::pending::<()>().await;
    };
    let live = async {
        let room = enter(&endpoint, pin, Duration::from_secs(6)).await;
        has_joined.notify_one();
        loop {
            match room.next().await {
                Some(RoomEvent::Closed { code, .. }) => return code,
                Some(_) => {}
                None => return None,
            }
        }
    };
    let code = tokio::select! {
        code = timeout(Duration::from_secs(12), live) => code.expect("6 s of patience"),
        () = serve => None,
    };
    assert_eq!(code, Some(Code::ServerFull));
}

#[tokio::test]
async fn what_the_application_wished_while_the_session_was_gone_is_told_when_it_is_back() {
    let (endpoint, pin) = endpoint();
    let entering = enter(&endpoint, pin, Duration::from_secs(20));
    let (room, server) =
        tokio::join!(entering, ScriptedServer::admit_as(endpoint.clone(), with_me()));
    server.connection.close((Code::Internal as u32).into(), b"on purpose");
    while !matches!(room.next().await, Some(RoomEvent::Interrupted { .. })) {}
    assert_eq!(room.set_muted(false).await, Ok(()));
    assert_eq!(room.set_muted(true).await, Ok(()));
    assert_eq!(room.subscribe([Group::new(3).unwrap()]).await, Ok(()));
    for resumed in [RESUMED, NEW_PEER] {
        let again = Joined { resumed, ..with_me() };
        let mut server = ScriptedServer::admit_as(endpoint.clone(), again).await;
        let (mut is_muted, mut is_subscribed) = (false, false);
        while !(is_muted && is_subscribed) {
            let reading = message(&mut server.recv);
            let (schema, body) = timeout(Duration::from_secs(5), reading).await.unwrap();
            match schema {
                Schema::Moderate => {
                    // The older value is not told.
                    assert_eq!(owned::<Moderate>(&body).unwrap().act, act::MUTE_SELF);
                    is_muted = true;
                }
                Schema::Subscribe => is_subscribed = owned::<Subscribe>(&body).is_ok(),
                other => panic!("{other:?}"),
            }
        }
        server.connection.close((Code::Internal as u32).into(), b"on purpose");
    }
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

#[tokio::test]
async fn a_missing_route_is_told_at_once() {
    // No machine has a route to a link-local address without a zone.
    let nowhere = "[fe80::1]:5055".parse().unwrap();
    let begun = Instant::now();
    let error = join_at(vec![nowhere], [0; 32]).await.err();
    assert!(matches!(error, Some(JoinError::Unreachable { server, .. }) if server == nowhere));
    assert!(begun.elapsed() < Duration::from_secs(5));
}
