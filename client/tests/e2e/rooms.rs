//! Tests of poses, voice, messages and events from client to client.

use std::time::Duration;

use crate::support::{TestServer, until};
use nucleus_client::{Room, RoomEvent, To};
use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::session::Code;

fn pose(x: f32) -> Pose {
    let head = Transform { position: [x, 1.6, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    Pose { head, left: None, right: None }
}

/// Sends poses until the other client receives one. The first ones may be lost, before the path is
/// known.
async fn exchange_pose(mover: &Room, watcher: &Room) {
    let from = mover.me();
    let send = async {
        for step in 0.. {
            mover.send_pose(&pose(step as f32 * 0.01)).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let seen = until(watcher, |event| match event {
        RoomEvent::Pose { from: sender, pose, .. } if sender == from => Some(pose.head.position[1]),
        _ => None,
    });
    tokio::select! {
        () = send => {}
        height = seen => assert!((height - 1.6).abs() < 0.001),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_meet_move_speak_and_part() {
    let server = TestServer::start().await;
    let ada = server.join("ada").await;
    let grace = server.join("grace").await;
    let joined = until(&ada, |event| match event {
        RoomEvent::PeerJoined(peer) => Some(peer),
        _ => None,
    });
    let joined = joined.await;
    assert_eq!((joined.id, joined.user.as_str()), (grace.me(), "grace"));
    assert_eq!(grace.peers().iter().map(|p| p.id).collect::<Vec<_>>(), [ada.me()]);

    exchange_pose(&ada, &grace).await;
    exchange_pose(&grace, &ada).await;

    let voice = Voice { level: 30, speaking: true, flags: 1, opus: &[1, 2, 3] };
    ada.send_voice(&voice).unwrap();
    let received = until(&grace, |event| match event {
        RoomEvent::Voice { voice, .. } => Some(voice),
        _ => None,
    });
    assert_eq!(received.await.opus, [1, 2, 3]);

    ada.send_unreliable(To::Peer(grace.me()), 7, 9, b"hint").unwrap();
    let message = until(&grace, |event| match event {
        RoomEvent::Message { channel, key, payload, .. } => Some((channel, key, payload)),
        _ => None,
    });
    assert_eq!(message.await, (7, 9, b"hint".to_vec()));

    let ada_id = ada.me();
    ada.leave().await;
    let left = until(&grace, |event| match event {
        RoomEvent::PeerLeft { peer, code } => Some((peer.id, code)),
        _ => None,
    });
    let left = tokio::time::timeout(Duration::from_secs(1), left).await;
    assert_eq!(left.expect("the leave was not reported in time"), (ada_id, Some(Code::Left)));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_whom_they_are_for_in_order_and_once() {
    let server = TestServer::start().await;
    let (a, b, c) = (server.join("a").await, server.join("b").await, server.join("c").await);
    for n in 0..50u8 {
        a.send_event(To::Others, 1, &[n]).await.unwrap();
        a.send_event(To::Peers(vec![c.me()]), 2, &[n]).await.unwrap();
        a.send_event(To::All, 3, &[n]).await.unwrap();
    }
    let collect = async |room: &Room, count: usize| {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(
                until(room, |event| match event {
                    RoomEvent::Event { from, channel, payload, .. } => {
                        Some((from, channel, payload[0]))
                    }
                    _ => None,
                })
                .await,
            );
        }
        events
    };
    let expect = |channels: &[u8]| {
        let me = a.me();
        let each = |n: u8| channels.iter().map(move |channel| (me, *channel, n));
        (0..50u8).flat_map(each).collect::<Vec<_>>()
    };
    assert_eq!(collect(&a, 50).await, expect(&[3]));
    assert_eq!(collect(&b, 100).await, expect(&[1, 3]));
    assert_eq!(collect(&c, 150).await, expect(&[1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_message_is_an_error_at_its_sender() {
    let server = TestServer::start().await;
    let room = server.join("a").await;
    assert!(room.send_event(To::All, 0, &vec![0; 16 * 1024 + 1]).await.is_err());
    assert!(room.send_unreliable(To::Others, 0, 0, &[0; 901]).is_err());
    // The session still works.
    room.send_event(To::All, 0, &vec![7; 16 * 1024]).await.unwrap();
    let echo = until(&room, |event| match event {
        RoomEvent::Event { payload, .. } => Some(payload.len()),
        _ => None,
    });
    assert_eq!(echo.await, 16 * 1024);
    for channel in [240, 255] {
        let sent = room.send_event(To::All, channel, b"mine").await;
        assert!(
            matches!(sent, Err(nucleus_client::SendError::ReservedChannel(reserved)) if reserved == channel)
        );
    }
}

/// Numbers that would become others on the way are errors. The room goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_cannot_be_sent_is_an_error_at_its_sender() {
    use nucleus_client::{PoseError, SendError};
    let server = TestServer::start().await;
    let (sender, listener) = (server.join("a").await, server.join("b").await);
    exchange_pose(&sender, &listener).await;
    let faults = [
        (pose(f32::NAN), PoseError::NotFinite),
        (pose(20_000.0), PoseError::HeadOutOfRange),
        (without_rotation(), PoseError::Rotation),
        (Pose { left: Some(pose(9.0).head), ..pose(1.0) }, PoseError::HandOutOfRange),
    ];
    for (faulty, error) in faults {
        assert_eq!(sender.send_pose(&faulty), Err(SendError::Pose(error)));
    }
    let voice = |level, flags| Voice { level, speaking: true, flags, opus: &[1] };
    assert_eq!(sender.send_voice(&voice(128, 0)), Err(SendError::VoiceLevel(128)));
    assert_eq!(sender.send_voice(&voice(0, 4)), Err(SendError::VoiceFlags(4)));
    sender.send_pose(&pose(3.0)).unwrap();
    let last = until(&listener, |event| match event {
        RoomEvent::Pose { pose, .. } => Some(pose.head.position[0]).filter(|x| *x > 2.0),
        _ => None,
    });
    assert!((last.await - 3.0).abs() < 0.001, "no other pose came");
}

fn without_rotation() -> Pose {
    let Pose { head, .. } = pose(1.0);
    Pose { head: Transform { rotation: [0.0; 4], ..head }, ..pose(1.0) }
}

/// No clock can show the end of the longest duration.
#[tokio::test(flavor = "multi_thread")]
async fn endless_patience_is_no_panic() {
    let server = TestServer::start().await;
    let options = server.options(server.token("a")).patience(Duration::MAX);
    let room = nucleus_client::connect(options).await.unwrap();
    let _server = server.restart().await;
    until(&room, |event| matches!(event, RoomEvent::Rejoined { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_and_tenants_do_not_hear_each_other() {
    use nucleus_server::token::{Product, TokenRequest};
    let server = TestServer::start().await;
    let listener = server.join("listener").await;
    let other_room =
        nucleus_client::connect(server.options(server.token("x")).room("elsewhere")).await.unwrap();
    let stranger = server.token_with(TokenRequest::new(Product::ATOM, "other", "y"));
    let other_tenant = nucleus_client::connect(server.options(stranger)).await.unwrap();
    let product = server.token_with(TokenRequest::new(Product::ASSIST, "tenant", "z"));
    let other_product = nucleus_client::connect(server.options(product)).await.unwrap();
    for outsider in [&other_room, &other_tenant, &other_product] {
        assert!(outsider.peers().is_empty());
        outsider.send_event(To::All, 0, b"psst").await.unwrap();
        outsider.send_pose(&pose(1.0)).unwrap();
    }
    let event = tokio::time::timeout(Duration::from_millis(700), listener.next()).await;
    assert!(event.is_err(), "received {event:?}");
}

/// The last events arrive, although they and the leave are sent on different streams.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_leaving_arrives() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    for _ in 0..5 {
        let leaver = server.join("leaver").await;
        for n in 0..20u8 {
            leaver.send_event(To::Others, 0, &[n; 3_000]).await.unwrap();
        }
        leaver.leave().await;
        for n in 0..20u8 {
            let received = until(&watcher, |event| match event {
                RoomEvent::Event { payload, .. } => Some(payload[0]),
                _ => None,
            });
            assert_eq!(received.await, n);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejoining_makes_a_new_link() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    for _ in 0..3 {
        let again = server.join("again").await;
        exchange_pose(&again, &watcher).await;
        exchange_pose(&watcher, &again).await;
        again.leave().await;
    }
    assert_eq!(server.metric("nucleus_session_joins_total{outcome=\"joined\"}"), 4.0);
    assert_eq!(server.metric("nucleus_session_join_duration_seconds_count"), 4.0);
}

/// The kernel delivers each datagram to the shard that its connection id names.
#[tokio::test(flavor = "multi_thread")]
async fn several_shards_carry_their_rooms() {
    for shards in [1, 2, 4] {
        let server = TestServer::with(|config| config.shards = shards).await;
        let _rooms = talk_in_six_rooms(&server).await;
        assert_eq!(server.metric("nucleus_realtime_handed_over_total"), 0.0);
        for reason in ["misdirected", "unknown_id"] {
            assert_eq!(server.drops(reason), 0.0, "{reason}");
        }
        let page = server.http("/metrics");
        let links = page.lines().filter(|l| l.starts_with("nucleus_realtime_links{"));
        let with_links = links.filter(|l| !l.ends_with(" 0")).count();
        assert_eq!(with_links, usize::from(shards), "{page}");
    }
}

/// Without steering by the kernel, a shard hands misdirected datagrams over to the right shard.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_the_wrong_shard_is_handed_over() {
    let server = TestServer::with_all_on_one_shard().await;
    let _rooms = talk_in_six_rooms(&server).await;
    assert!(server.metric("nucleus_realtime_handed_over_total") > 10.0);
    assert_eq!(server.drops("misdirected"), 0.0);
}

async fn talk_in_six_rooms(server: &TestServer) -> Vec<(Room, Room)> {
    let mut rooms = Vec::new();
    for n in 0..6 {
        let name = format!("room-{n}");
        let join = async |user: &str| {
            let options = server.options(server.token(user)).room(name.clone());
            nucleus_client::connect(options).await.unwrap()
        };
        rooms.push((join("a").await, join("b").await));
    }
    for (a, b) in &rooms {
        exchange_pose(a, b).await;
        exchange_pose(b, a).await;
    }
    // The shards publish their metrics four times a second.
    tokio::time::sleep(Duration::from_millis(600)).await;
    rooms
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_tells_everybody_why_and_ends() {
    let mut server = TestServer::start().await;
    let (a, b) = (server.join("a").await, server.join("b").await);
    server.stop().await.unwrap();
    for room in [&a, &b] {
        let code = until(room, |event| match event {
            RoomEvent::Interrupted { code, .. } => Some(code),
            _ => None,
        });
        assert_eq!(code.await, Some(Code::ShuttingDown));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_is_away() {
    use nucleus_client::roster::Presence;
    let server = TestServer::with(|config| {
        config.limits.away_after = Duration::from_secs(1);
        config.limits.peer_ttl = Duration::from_secs(2);
    })
    .await;
    let watcher = server.join("watcher").await;
    // Run the client in its own runtime. Stopping the runtime stops the client without a close,
    // like an empty battery stops a headset.
    let options = server.options(server.token("sleeper"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let sleeper = runtime.spawn(nucleus_client::connect(options)).await.unwrap().unwrap();
    let id = sleeper.me();
    std::mem::forget(sleeper);
    runtime.shutdown_background();
    let away = until(&watcher, |event| match event {
        // The watcher sends nothing either, so it may become away too.
        RoomEvent::PresenceChanged { peer, presence: Presence::Away } if peer == id => Some(()),
        _ => None,
    });
    away.await;
}
