//! Clients and servers that can do different things work together.

use std::time::Duration;

use nucleus_client::session::RoomSession;
use nucleus_client::{
    Batch, Capabilities, ConnectOptions, EntityId, Features, Group, Pose, RenewError, Room,
    RoomEvent, StateError, To, Transform, connect,
};
use nucleus_protocol::link::Planes;
use nucleus_protocol::session::{self, Code, Hello, Join, NO_REALTIME_PORT, stream};
use nucleus_server::token::{Product, TokenRequest};

use super::client::LobbyJoin;
use super::support::{TestServer, until};
use super::wire::WireSession;

fn pose() -> Pose {
    let head = Transform { position: [1.0, 1.7, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    Pose { head, left: None, right: None }
}

fn host_token(server: &TestServer, user: &str) -> String {
    let request = TokenRequest::new(Product::ATOM, "tenant", user);
    server.token_with(TokenRequest { role: "host".to_owned(), ..request })
}

fn options(server: &TestServer, user: &str, capabilities: Capabilities) -> ConnectOptions {
    server.options(host_token(server, user)).capabilities(capabilities)
}

async fn joined(server: &TestServer, user: &str, capabilities: Capabilities) -> Room {
    connect(options(server, user, capabilities)).await.unwrap()
}

/// Sends poses from one room until the other has received one.
async fn poses_reach(from: &Room, to: &Room) {
    let send = async {
        loop {
            from.send_pose(&pose()).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = send => {}
        () = until(to, |event| matches!(event, RoomEvent::Pose { .. }).then_some(())) => {}
    }
}

/// Everything that needs no feature works, and every feature works if both ends have it.
async fn works(server: &TestServer, offered: Features, hidden: Features) {
    let full = joined(server, "full", Capabilities::default()).await;
    let features = Features::SUPPORTED.without(hidden);
    let less = joined(server, "less", Capabilities { features, ..Capabilities::default() }).await;
    let common = features.common(offered);

    less.send_event(To::Others, 1, b"hello").await.unwrap();
    until(&full, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
    full.send_event(To::Others, 1, b"hello").await.unwrap();
    until(&less, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
    poses_reach(&less, &full).await;
    poses_reach(&full, &less).await;

    let set = Batch::new().set(EntityId::Room, "slide", 7);
    match less.change(set).await {
        Ok(_) => assert!(common.contains(Features::STATE)),
        Err(error) => {
            assert_eq!(error, StateError::NotOffered("the shared state"));
            assert!(!common.contains(Features::STATE));
        }
    }
    // The other client's state does not disturb a client without this feature.
    let set = Batch::new().set(EntityId::Room, "slide", 8);
    assert_eq!(full.change(set).await.is_ok(), offered.contains(Features::STATE));

    let renewed = less.renew(host_token(server, "less")).await;
    let expected = match common.contains(Features::RENEW) {
        true => Ok(()),
        false => Err(RenewError::NotOffered),
    };
    assert_eq!(renewed, expected);

    // Replies come although this client does not follow the state.
    let subscribed = less.subscribe([Group::new(7).unwrap()]);
    tokio::time::timeout(Duration::from_secs(5), subscribed).await.unwrap().unwrap();

    // An act is told to the clients that want notices.
    full.mute_all(true).await.unwrap();
    let seen = |room| {
        let act = until(room, |event| matches!(event, RoomEvent::Moderated(_)).then_some(()));
        tokio::time::timeout(Duration::from_millis(500), act)
    };
    assert_eq!(seen(&full).await.is_ok(), offered.contains(Features::NOTICES));
    assert_eq!(seen(&less).await.is_ok(), common.contains(Features::NOTICES));
    full.mute_all(false).await.unwrap();
    less.leave().await;
    full.leave().await;
}

const PARTS: [Features; 5] =
    [Features::NONE, Features::STATE, Features::NOTICES, Features::RENEW, Features::SUPPORTED];

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_on_with_every_server() {
    let mut servers = tokio::task::JoinSet::new();
    for on_server in PARTS {
        servers.spawn(async move {
            let server = TestServer::with(|config| config.hide_features = on_server).await;
            for on_client in PARTS {
                works(&server, Features::SUPPORTED.without(on_server), on_client).await;
            }
        });
    }
    servers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_realtime_port_gets_no_keys_and_hears_everybody() {
    let server = TestServer::start().await;
    let session_only = Capabilities { realtime_port: false, ..Capabilities::default() };
    let small = Capabilities { largest_body: 1_000, ..session_only };
    let (web, small) =
        (joined(&server, "web", session_only).await, joined(&server, "small", small).await);
    let headset = joined(&server, "headset", Capabilities::default()).await;
    for (from, to) in [(&web, &small), (&small, &headset), (&headset, &web), (&web, &headset)] {
        poses_reach(from, to).await;
    }
    assert!(web.stats().on_fallback && small.stats().on_fallback);
    // The largest message of an application fits every client.
    let largest = [7; 900];
    headset.send_unreliable(nucleus_client::To::Others, 0, 0, &largest).unwrap();
    for room in [&web, &small] {
        let got = until(room, |event| match event {
            RoomEvent::Message { payload, .. } => Some(payload),
            _ => None,
        });
        assert_eq!(got.await, largest);
    }
}

async fn session(server: &TestServer, capabilities: Capabilities) -> RoomSession {
    let join = LobbyJoin::new(&server.token("plain"));
    LobbyJoin { capabilities, ..join }.session(server).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_says_what_holds_for_the_session() {
    let server = TestServer::with(|config| {
        config.limits.peer_events_per_s = 7;
        config.limits.peer_ttl = Duration::from_secs(12);
        config.limits.room_capacity = 9;
        config.limits.ticket_ttl = Duration::from_secs(100);
    })
    .await;
    let opening = |flags, largest_body| {
        let hello = Hello { oldest: 1, newest: 1, flags, agent: Vec::new(), features: Vec::new() };
        let join = session::encode(&Join {
            token: server.token("plain").into_bytes(),
            room: b"lobby".to_vec(),
            suites: vec![1],
            largest_body,
            ..Join::default()
        });
        [&[stream::CONTROL][..], &hello.encode(), &join].concat()
    };
    let wire = WireSession::open(&server, opening(0, 1_050)).await.unwrap();
    let settings = wire.settings();
    assert_eq!((settings.events_per_s, settings.event_burst), (7, 28));
    assert_eq!((settings.peer_ttl_ms, settings.capacity), (12_000, 9));
    assert_eq!((settings.max_body, settings.report_interval_ms), (1_050, 1_000));
    assert!((99..=100).contains(&settings.ticket_ttl_s), "{}", settings.ticket_ttl_s);
    assert_eq!(wire.joined.grant.len(), 1);
    let session_only = opening(NO_REALTIME_PORT, 1_050);
    assert_eq!(WireSession::open(&server, session_only).await.unwrap().joined.grant, []);
    assert_eq!(Code::Moved as u16, 39);
}

/// The client's capabilities decide about its link.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_as_its_client_can_use_it() {
    let server = TestServer::start().await;
    let small = Capabilities { largest_body: 1_050, ..Capabilities::default() };
    let link = session(&server, small).await.link_config().unwrap();
    assert_eq!((link.planes, link.max_body), (Planes::Both, 1_050));
    assert_eq!(link.report_interval, Duration::from_secs(1));
    assert_eq!(link.path.map(|path| path.remote), Some(server.on.realtime));
    let session_only = Capabilities { realtime_port: false, ..small };
    let link = session(&server, session_only).await.link_config().unwrap();
    assert_eq!((link.planes, link.max_body), (Planes::SessionOnly, 1_050));
    assert!(link.path.is_none(), "there are no keys for the realtime port");
}
