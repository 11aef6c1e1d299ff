//! Tests of resuming with a ticket, of rejoining after a restart, and of a second device of the
//! same user.

use std::time::{Duration, Instant};

use nucleus_client::session::{
    ClientHandle, ReturnTicket, RoomClient, RoomSessionStep, SessionSockets,
};
use nucleus_client::{Code, ConnectError, JoinError, PeerId, RoomEvent, To, connect};
use nucleus_protocol::session::{NEW_PEER, RESUMED};
use nucleus_server::start::config::SecondDevice;

use super::client::{DrivenSession, LobbyJoin, send_event};
use super::support::{TestServer, until};
use super::wire::close_of;
use super::wire::{WireSession, WireTicket};

fn event_payload(event: RoomEvent) -> Option<Vec<u8>> {
    match event {
        RoomEvent::Event { payload, .. } => Some(payload),
        _ => None,
    }
}

/// Returns whether events were missed, if the session was resumed.
fn resumed(event: RoomEvent) -> Option<bool> {
    match event {
        RoomEvent::Resumed { missed_events } => Some(missed_events),
        RoomEvent::Rejoined { .. } => panic!("the client has become a new peer"),
        _ => None,
    }
}

fn me_and_ticket(client: &ClientHandle<RoomClient>) -> (PeerId, Option<ReturnTicket>) {
    let client = client.read();
    (client.me(), client.ticket())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_brings_the_same_peer_back_with_what_it_missed() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let mut first = LobbyJoin::new(&server.token("sleeper")).driven(&server).await;
    send_event(&first.client, b"up 1").await;
    watcher.send_event(To::Others, 0, b"down 1").await.unwrap();
    assert_eq!(first.next_event().await, b"down 1");
    assert_eq!(until(&watcher, event_payload).await, b"up 1");
    // From here on, the client does not read the first session.
    let mut first = first.pause().await;
    let (me, ticket) = me_and_ticket(first.client());
    watcher.send_event(To::Others, 0, b"down 2").await.unwrap();
    watcher.send_event(To::All, 0, b"down 3").await.unwrap();
    assert_eq!(until(&watcher, event_payload).await, b"down 3");

    // With a valid ticket, the server does not check the token.
    let again = LobbyJoin { ticket, ..LobbyJoin::new("e30.e30.bm8") };
    let again = again.session(&server).await.unwrap();
    assert_eq!((again.client().read().me(), again.slot()), (me, first.slot()));
    let mut users: Vec<_> =
        again.client().read().roster().iter().map(|peer| peer.user.clone()).collect();
    users.sort_unstable();
    assert_eq!(users, ["sleeper", "watcher"], "each peer occurs once");
    let mut again = DrivenSession::start(again);
    assert!(!again.until(resumed).await);
    assert_eq!(again.next_event().await, b"down 2");
    assert_eq!(again.next_event().await, b"down 3");
    send_event(&again.client, b"up 2").await;
    assert_eq!(until(&watcher, event_payload).await, b"up 2", "'up 1' must not arrive again");
    let closed = loop {
        match first.next().await {
            RoomSessionStep::Event(RoomEvent::Closed { code, .. }) => break code,
            RoomSessionStep::Closed => panic!("there was no event of the close"),
            _ => {}
        }
    };
    assert_eq!(closed, Some(Code::Replaced));
    assert_eq!(watcher.peers().len(), 1, "exactly one other peer");
    assert!(server.metric("nucleus_session_joins_total{outcome=\"resumed\"}") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_session_has_new_keys_and_the_count_of_taken_events() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let token = server.token("sleeper");
    let mut first = WireSession::join(&server, &token, WireTicket::default()).await;
    let before = first.joined.clone();
    assert_eq!((before.resumed, first.settings().peer_ttl_ms), (NEW_PEER, 30_000));
    first.send_event(b"up 1").await;
    assert_eq!(until(&watcher, event_payload).await, b"up 1");
    watcher.send_event(To::Others, 0, b"down 1").await.unwrap();
    let last = first.next_event().await;
    assert_eq!(last.payload, b"down 1");
    watcher.send_event(To::Others, 0, b"down 2").await.unwrap();

    let ticket = WireTicket { last_sequences: [last.sequence, 0], ..WireTicket::of(&before) };
    let mut again = WireSession::join(&server, "no token at all", ticket).await;
    let joined = &again.joined;
    assert_eq!((joined.peer, joined.slot), (before.peer, before.slot));
    assert_eq!((joined.resumed, joined.events_taken), (RESUMED, 1));
    assert_ne!(joined.grant[0].secret, before.grant[0].secret);
    let names: Vec<_> = joined.roster.iter().map(|peer| peer.user.clone()).collect();
    assert_eq!(names, [b"watcher".to_vec(), b"sleeper".to_vec()], "each peer occurs once");
    assert_eq!(again.next_event().await.payload, b"down 2");
    assert_eq!(close_of(&first.connection).await.0, Some(Code::Replaced));
}

/// Nothing that the server took is sent again, and nothing that it sent meanwhile is missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_loses_its_connection_goes_on_where_it_was() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let join = LobbyJoin::new(&server.token("sleeper"));
    let patience = Duration::from_secs(20);
    let mut sleeper = LobbyJoin { patience, ..join }.driven(&server).await;
    let me = sleeper.client.read().me();
    send_event(&sleeper.client, b"up 1").await;
    assert_eq!(until(&watcher, event_payload).await, b"up 1");
    watcher.send_event(To::Others, 0, b"down 1").await.unwrap();
    assert_eq!(sleeper.next_event().await, b"down 1");
    sleeper.lose_connection();
    sleeper.until(|event| matches!(event, RoomEvent::Interrupted { .. }).then_some(())).await;
    send_event(&sleeper.client, b"up 2").await;
    watcher.send_event(To::Others, 0, b"down 2").await.unwrap();
    assert!(!sleeper.until(resumed).await);
    assert_eq!(sleeper.client.read().me(), me);
    assert_eq!(sleeper.next_event().await, b"down 2");
    assert_eq!(until(&watcher, event_payload).await, b"up 2");
    assert_eq!(watcher.peers().len(), 1, "exactly one other peer");
}

/// Dropping a session is not a leave, although quinn then closes the connection with code 0.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_connection_keeps_the_place_of_who_knew_of_it() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let token = server.token("sleeper");
    let first = LobbyJoin::new(&token).driven(&server).await;
    let (me, ticket) = me_and_ticket(&first.client);
    send_event(&first.client, b"here").await;
    until(&watcher, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
    drop(first);
    until(&watcher, |event| matches!(event, RoomEvent::PresenceChanged { .. }).then_some(())).await;
    let mut again = LobbyJoin { ticket, ..LobbyJoin::new(&token) }.driven(&server).await;
    assert!(!again.until(resumed).await);
    assert_eq!(again.client.read().me(), me);
    until(&watcher, |event| matches!(event, RoomEvent::PresenceChanged { .. }).then_some(())).await;

    // A participant that never confirmed its `Joined` does not stay in the room.
    let never = LobbyJoin::new(&server.token("never")).session(&server).await.unwrap();
    let known = |event| match event {
        RoomEvent::PeerJoined(peer) => Some(peer.id),
        _ => None,
    };
    assert_eq!(until(&watcher, known).await, never.client().read().me());
    drop(never);
    until(&watcher, |event| matches!(event, RoomEvent::PeerLeft { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_the_server_is_away_stays_away() {
    let server = TestServer::start().await;
    let room = server.join("ada").await;
    let server = server.restart().await;
    until(&room, |event| matches!(event, RoomEvent::Interrupted { .. }).then_some(())).await;
    room.leave().await;
    let closed = until(&room, |event| match event {
        RoomEvent::Closed { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(closed.await, Some(Code::Left));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(server.metric("nucleus_sessions") < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_whose_place_is_gone_needs_a_token() {
    let server = TestServer::start().await;
    let _watcher = server.join("watcher").await;
    let token = server.token("sleeper");
    let first = WireSession::join(&server, &token, WireTicket::default()).await;
    let before = first.joined.clone();
    first.leave().await;
    let ticket = WireTicket { last_sequences: [7, 0], ..WireTicket::of(&before) };
    let again = WireSession::join(&server, &token, ticket).await;
    assert_ne!(again.joined.peer, before.peer);
    assert_eq!(again.joined.resumed, NEW_PEER);
}

/// A client that presents such a ticket is a new peer, and hears of no resume.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_place_is_gone_is_a_new_peer() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let token = server.token("sleeper");
    let mut first = LobbyJoin::new(&token).driven(&server).await;
    watcher.send_event(To::Others, 0, b"before").await.unwrap();
    assert_eq!(first.next_event().await, b"before");
    let (before, ticket) = me_and_ticket(&first.client);
    first.leave().await;
    let mut again = LobbyJoin { ticket, ..LobbyJoin::new(&token) }.driven(&server).await;
    assert_ne!(again.client.read().me(), before);
    watcher.send_event(To::Others, 0, b"after").await.unwrap();
    let heard = again.until(|event| {
        assert!(!matches!(event, RoomEvent::Resumed { .. } | RoomEvent::Rejoined { .. }));
        event_payload(event)
    });
    assert_eq!(heard.await, b"after");
}

/// Each shard has its own QUIC endpoint on the same port. After a change of its address, a client
/// must still reach the endpoint that has its connection.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_every_shard_follow_their_clients_to_new_ports() {
    let server = TestServer::with(|config| config.shards = 4).await;
    let watcher = server.join("watcher").await;
    for round in 0..16u8 {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let sockets = SessionSockets::Shared(endpoint.clone());
        let join = LobbyJoin::new(&server.token("roamer"));
        let mut roamer = LobbyJoin { sockets, ..join }.driven(&server).await;
        for port in 0..3 {
            endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            send_event(&roamer.client, &[round, port]).await;
            until(&watcher, |event| match event {
                RoomEvent::Event { payload, .. } => (payload == [round, port]).then_some(()),
                _ => None,
            })
            .await;
            watcher.send_event(To::Others, 0, &[port]).await.unwrap();
            assert_eq!(roamer.next_event().await, [port]);
        }
        roamer.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_come_back_after_a_restart() {
    let server = TestServer::start().await;
    let (a, b) = (server.join("a").await, server.join("b").await);
    a.send_event(To::Others, 0, b"before").await.unwrap();
    let server = server.restart().await;
    for room in [&a, &b] {
        let interrupted = |event| matches!(event, RoomEvent::Interrupted { .. }).then_some(());
        until(room, interrupted).await;
        let me = until(room, |event| match event {
            RoomEvent::Rejoined { me } => Some(me),
            _ => None,
        });
        assert_eq!(me.await, room.me());
    }
    a.send_event(To::Others, 0, b"after").await.unwrap();
    until(&b, |event| match event {
        RoomEvent::Event { payload, .. } => (payload == b"after").then_some(()),
        _ => None,
    })
    .await;
    for _ in 0..100 {
        // The server collects changes of the roster for a moment.
        if a.peers().len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((a.peers().len(), b.peers().len()), (1, 1), "exactly one other peer");
    assert!((server.metric("nucleus_sessions") - 2.0).abs() < 0.1);
    let me = a.me();
    a.send_unreliable(nucleus_client::To::Others, 0, 0, b"hello").unwrap();
    until(&b, |event| match event {
        RoomEvent::Message { from, .. } => (from == me).then_some(()),
        _ => None,
    })
    .await;
}

/// The battery of a device is empty, and the user takes another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_died_keeps_no_other_out_for_longer_than_it_takes_to_be_away() {
    let server = TestServer::with(|config| {
        config.second_device = SecondDevice::Refuse;
        config.limits.away_after = Duration::from_secs(2);
    })
    .await;
    let options = server.options(server.token("ada"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dead = runtime.spawn(connect(options)).await.unwrap().unwrap();
    // For a moment it lives: only a client that has sent something is a device in the room.
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::mem::forget(dead);
    runtime.shutdown_background();
    let refused = connect(server.options(server.token("ada"))).await.err().unwrap();
    let ConnectError::Join(JoinError::Refused { code, retry_after, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(code, Some(Code::AlreadyJoined));
    assert_eq!(retry_after, Some(Duration::from_secs(2)));
    // Longer than a device is silent before it is away, shorter than its session takes to end.
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = connect(server.options(server.token("ada"))).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_follows_the_policy() {
    let server = TestServer::with(|config| config.second_device = SecondDevice::Refuse).await;
    let first = server.join("ada").await;
    let refused = connect(server.options(server.token("ada"))).await.err().unwrap();
    let ConnectError::Join(JoinError::Refused { code, .. }) = refused else { panic!("{refused}") };
    assert_eq!(code, Some(Code::AlreadyJoined));
    first.leave().await;
    server.join("ada").await.leave().await;

    let server = TestServer::with(|config| config.second_device = SecondDevice::Replace).await;
    let (first, other) = (server.join("ada").await, server.join("grace").await);
    let second = server.join("ada").await;
    let code = until(&first, |event| match event {
        RoomEvent::Closed { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(code.await, Some(Code::Replaced));
    until(&other, |event| matches!(event, RoomEvent::PeerLeft { .. }).then_some(())).await;
    assert_eq!(second.peers().len(), 1);

    let server = TestServer::start().await;
    let (first, _second) = (server.join("ada").await, server.join("ada").await);
    until(&first, |event| matches!(event, RoomEvent::PeerJoined(_)).then_some(())).await;
}
