//! One user must not hurt the others: places, budgets and rooms that belong to a user, not to a
//! session.

use std::time::Duration;

use nucleus_client::{Batch, Code, ConnectError, JoinError, Room, RoomOptions, To, connect};
use nucleus_protocol::session::RESUMED;
use nucleus_server::start::config::Config;

use super::support::TestServer;
use super::wire::{WireSession, WireTicket};

fn code(error: &ConnectError) -> Option<Code> {
    match error {
        ConnectError::Join(JoinError::Refused { code, .. }) => *code,
        _ => None,
    }
}

/// Starts a server with changed settings, and joins as many users to one room.
async fn crowd(size: usize, change: impl FnOnce(&mut Config)) -> (TestServer, Vec<Room>) {
    let server = TestServer::with(change).await;
    let mut rooms = Vec::new();
    for n in 0..size {
        rooms.push(server.join(&format!("user-{n}")).await);
    }
    (server, rooms)
}

/// The old session still has its place when the new one comes, and later when it is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_lets_a_participant_resume() {
    let server = TestServer::with(|config| config.limits.sessions = 1).await;
    let token = server.token("ada");
    let mut ticket = WireTicket::default();
    for round in 0..6 {
        let mut held = WireSession::join(&server, &token, ticket).await;
        assert_eq!(held.joined.resumed == RESUMED, round > 0, "{round}");
        let refused = connect(server.options(server.token("bob"))).await;
        assert_eq!(refused.err().as_ref().and_then(code), Some(Code::ServerFull), "{round}");
        ticket = WireTicket::of(&held.joined);
        held.ping().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if round == 5 {
            held.leave().await;
        } else if round % 2 == 0 {
            drop(held);
            tokio::time::sleep(Duration::from_millis(100)).await;
        } else {
            // The server still thinks that the old session lives.
            std::mem::forget(held);
        }
    }
    // The place is free when the participant has left.
    connect(server.options(server.token("bob"))).await.unwrap();
}

/// Sends as many events as go out at once, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_fills_no_budget() {
    let server = TestServer::with(|config| {
        config.limits.peer_events_per_s = 10;
        config.limits.peer_ttl = Duration::from_secs(60);
    })
    .await;
    let token = server.token("ada");
    let (mut ticket, started) = (WireTicket::default(), std::time::Instant::now());
    for _ in 0..8 {
        let mut session = WireSession::join(&server, &token, ticket).await;
        for n in 0..60_u8 {
            session.send_event(&[n]).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        ticket = WireTicket::of(&session.joined);
    }
    // Four seconds' worth at once, and what the time gave since.
    let most = 40.0 + 10.0 * (started.elapsed().as_secs_f64() + 1.0);
    let taken = server.metric("nucleus_session_events_in_total");
    assert!(taken <= most, "{taken} events taken, at most {most} allowed");
    assert!(taken >= 40.0, "{taken}");
}

/// A user makes room after room and leaves each at once. Each would outlive its last peer.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_holds_few_empty_rooms() {
    let server = TestServer::with(|config| {
        config.limits.user_empty_rooms = 3;
        config.limits.tenant_empty_rooms = 5;
    })
    .await;
    let make = async |user: &str, name: String| {
        let options = RoomOptions::new().empty_ttl(Duration::from_secs(300));
        let room = connect(server.options(server.token(user)).room(name).options(options)).await;
        room.unwrap().leave().await;
    };
    for (user, rooms, expected) in [("ada", 10, 3.0), ("bob", 10, 5.0), ("cyd", 1, 5.0)] {
        for n in 0..rooms {
            make(user, format!("{user}-{n}")).await;
        }
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while server.metric("nucleus_rooms") > expected && std::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(server.metric("nucleus_rooms"), expected, "after {user}");
    }
}

/// Requests that change what all see count against the room's rate, as events do.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_requests_waits_for_the_room() {
    let (_server, crowd) = crowd(10, |config| config.limits.room_events_per_s = 20).await;
    let change = async |room: &Room| {
        for n in 0..8_i64 {
            room.change(Batch::new().set(room.me(), "n", n)).await.unwrap();
        }
    };
    let start = std::time::Instant::now();
    let mut changing = tokio::task::JoinSet::new();
    for room in crowd {
        changing.spawn(async move {
            change(&room).await;
            room
        });
    }
    let rooms = changing.join_all().await;
    // 40 at once, then 20 a second.
    assert!(start.elapsed() >= Duration::from_millis(1_900), "{:?}", start.elapsed());
    drop(rooms);
}

/// A message costs one delivery for each recipient. A large room has fewer messages.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_room_has_fewer_events() {
    let (_server, mut crowd) =
        crowd(100, |config| config.limits.room_deliveries_per_s = 1_000).await;
    let (start, sender) = (std::time::Instant::now(), crowd.remove(0));
    for n in 0..40_u8 {
        sender.send_event(To::Others, 0, &[n]).await.unwrap();
    }
    let last = crowd.pop().unwrap();
    super::support::until(&last, |event| match event {
        nucleus_client::RoomEvent::Event { payload, .. } => (payload[..] == [39]).then_some(()),
        _ => None,
    })
    .await;
    // 20 events to 100 peers at once, then 10 a second.
    assert!(start.elapsed() >= Duration::from_millis(1_900), "{:?}", start.elapsed());
}

/// Events to one peer cost one delivery, so they keep their rate in a large room.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_to_one_peer_costs_one_delivery() {
    let (_server, mut crowd) =
        crowd(100, |config| config.limits.room_deliveries_per_s = 1_000).await;
    let (sender, last) = (crowd.remove(0), crowd.pop().unwrap());
    let start = std::time::Instant::now();
    for n in 0..100_u8 {
        sender.send_event(To::Peers(vec![last.me()]), 0, &[n]).await.unwrap();
    }
    super::support::until(&last, |event| match event {
        nucleus_client::RoomEvent::Event { payload, .. } => (payload[..] == [99]).then_some(()),
        _ => None,
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}
