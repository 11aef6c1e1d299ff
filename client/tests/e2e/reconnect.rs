//! Tests of resuming with a ticket, of rejoining after a restart, and of a second device of the
//! same user.

use std::time::{Duration, Instant};

use nucleus_client::session::{
    Capabilities, EventOutbox, ResolvedServer, ResumeFrom, Session, SessionEvent, SessionOptions,
    SessionReceiver, SessionSockets, client_config,
};
use nucleus_client::{Code, ConnectError, JoinError, RoomEvent, RoomSelection, To, connect};
use nucleus_protocol::session::{NEW_PEER, RESUMED};
use nucleus_server::start::config::SecondDevice;

use super::support::{TestServer, until};

/// Joins with a session on a QUIC endpoint of its own.
pub(crate) async fn session(
    server: &TestServer,
    token: &str,
    resume: Option<ResumeFrom>,
) -> Session {
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    session_on(&endpoint, server, token, resume).await
}

async fn session_on(
    endpoint: &quinn::Endpoint,
    server: &TestServer,
    token: &str,
    resume: Option<ResumeFrom>,
) -> Session {
    try_session_on(endpoint, server, token, resume).await.unwrap()
}

/// Joins the lobby like [`session`], on this endpoint.
pub(crate) async fn try_session_on(
    endpoint: &quinn::Endpoint,
    server: &TestServer,
    token: &str,
    resume: Option<ResumeFrom>,
) -> Result<Session, JoinError> {
    let options = SessionOptions {
        server: ResolvedServer { name: "localhost".into(), addresses: vec![server.on.session] },
        token: token.into(),
        room: "lobby".into(),
        name: String::new(),
        selection: RoomSelection::default(),
        agent: "test".into(),
        capabilities: Capabilities::default(),
        resume,
    };
    let sockets = SessionSockets::Shared(endpoint.clone());
    Session::join(&sockets, client_config(&server.trust()).unwrap(), options).await
}

async fn next_event(receiver: &mut SessionReceiver) -> Vec<u8> {
    let next = async {
        loop {
            match receiver.next().await {
                SessionEvent::Event(event) => return event.payload,
                SessionEvent::Closed { code, text } => panic!("closed: {code:?} {text}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), next).await.expect("no event in 10 s")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_brings_the_same_peer_back_with_what_it_missed() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let token = server.token("sleeper");
    let first = session(&server, &token, None).await;
    let before = first.joined().clone();
    assert_eq!((before.resumed, first.settings().peer_ttl_ms), (NEW_PEER, 30_000));
    let (first_sender, mut first_receiver) = first.split();
    let outbox = EventOutbox::default();
    outbox.attach(first_sender, &before, true).unwrap();
    outbox.send(To::Others, 0, b"up 1").await.unwrap();
    watcher.send_event(To::Others, 0, b"down 1").await.unwrap();
    assert_eq!(next_event(&mut first_receiver).await, b"down 1");
    let event_payload = |event| match event {
        RoomEvent::Event { payload, .. } => Some(payload),
        _ => None,
    };
    assert_eq!(until(&watcher, event_payload).await, b"up 1");
    let last_event = first_receiver.last_event();
    // From here on, the client does not read the first session.
    watcher.send_event(To::Others, 0, b"down 2").await.unwrap();
    watcher.send_event(To::All, 0, b"down 3").await.unwrap();
    assert_eq!(until(&watcher, event_payload).await, b"down 3");

    // With a valid ticket, the server does not check the token.
    let resume = ResumeFrom { ticket: before.ticket.clone(), last_event, last_bulk: 0 };
    let again = session(&server, "no token at all", Some(resume)).await;
    let joined = again.joined().clone();
    assert_eq!((joined.peer, joined.slot), (before.peer, before.slot));
    assert_eq!((joined.resumed, joined.events_taken), (RESUMED, 1));
    assert_ne!(joined.grant[0].secret, before.grant[0].secret);
    let names = |j: &nucleus_protocol::session::Joined| {
        j.roster.iter().map(|p| p.user.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&joined), [b"watcher".to_vec(), b"sleeper".to_vec()], "each peer occurs once");
    let (sender, mut receiver) = again.split();
    outbox.attach(sender, &joined, true).unwrap();
    assert_eq!(next_event(&mut receiver).await, b"down 2");
    assert_eq!(next_event(&mut receiver).await, b"down 3");
    outbox.send(To::Others, 0, b"up 2").await.unwrap();
    assert_eq!(until(&watcher, event_payload).await, b"up 2", "'up 1' must not arrive again");
    let closed = loop {
        if let SessionEvent::Closed { code, .. } = first_receiver.next().await {
            break code;
        }
    };
    assert_eq!(closed, Some(Code::Replaced));
    assert_eq!(watcher.peers().len(), 1, "exactly one other peer");
    assert!(server.metric("nucleus_session_resumes_total") >= 1.0);
}

/// Dropping a connection is not a leave, although quinn then closes the connection with code 0.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_connection_keeps_the_place_of_who_knew_of_it() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let token = server.token("sleeper");
    let first = session(&server, &token, None).await;
    let before = first.joined().clone();
    let (sender, receiver) = first.split();
    sender.send_event(To::Others, 0, b"here").await.unwrap();
    until(&watcher, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
    drop((sender, receiver));
    until(&watcher, |event| matches!(event, RoomEvent::PresenceChanged { .. }).then_some(())).await;
    let resume = ResumeFrom { ticket: before.ticket, last_event: 0, last_bulk: 0 };
    let again = session(&server, &token, Some(resume)).await;
    assert_eq!((again.joined().peer, again.joined().resumed), (before.peer, RESUMED));
    until(&watcher, |event| matches!(event, RoomEvent::PresenceChanged { .. }).then_some(())).await;

    // A participant that never confirmed its `Joined` does not stay in the room.
    let never = session(&server, &server.token("never"), None).await;
    let known = |event| match event {
        RoomEvent::PeerJoined(peer) => Some(peer.id.0),
        _ => None,
    };
    assert_eq!(until(&watcher, known).await, never.joined().peer);
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
    let first = session(&server, &token, None).await;
    let before = first.joined().clone();
    let (sender, _receiver) = first.split();
    sender.leave().await;
    let resume = Some(ResumeFrom { ticket: before.ticket, last_event: 7, last_bulk: 0 });
    let again = session(&server, &token, resume).await;
    assert_ne!(again.joined().peer, before.peer);
    assert_eq!(again.joined().resumed, NEW_PEER);
}

/// Each shard has its own QUIC endpoint on the same port. After a change of its address, a client
/// must still reach the endpoint that has its connection.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_every_shard_follow_their_clients_to_new_ports() {
    let server = TestServer::with(|config| config.shards = 4).await;
    let watcher = server.join("watcher").await;
    for round in 0..16u8 {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let session = session_on(&endpoint, &server, &server.token("roamer"), None).await;
        let (sender, mut receiver) = session.split();
        for port in 0..3 {
            endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            sender.send_event(To::Others, 0, &[round, port]).await.unwrap();
            until(&watcher, |event| match event {
                RoomEvent::Event { payload, .. } => (payload == [round, port]).then_some(()),
                _ => None,
            })
            .await;
            watcher.send_event(To::Others, 0, &[port]).await.unwrap();
            assert_eq!(next_event(&mut receiver).await, [port]);
        }
        sender.leave().await;
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
    a.send_unreliable(nucleus_client::Target::Others, 0, 0, b"hello").unwrap();
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
