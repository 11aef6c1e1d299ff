//! Tests of group events, kept events and voice through the client's API.

use nucleus_client::{Group, PeerId, Room, RoomEvent, SendError, Throttle, To, Voice, connect};
use nucleus_server::token::{Product, TokenRequest};

use crate::support::{TestServer, until};

fn group(number: u8) -> Group {
    Group::new(number).unwrap()
}

async fn event(room: &Room) -> (PeerId, Vec<u8>) {
    until(room, |event| match event {
        RoomEvent::Event { from, payload, .. } => Some((from, payload)),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_find_the_host_and_a_group() {
    let server = TestServer::start().await;
    let (a, b, c) = (server.join("a").await, server.join("b").await, server.join("c").await);
    b.subscribe([group(0), group(239)]).await.unwrap();
    c.send_event(To::Group(group(239)), 0, b"to b").await.unwrap();
    c.send_event(To::Group(group(238)), 0, b"to nobody").await.unwrap();
    c.send_event(To::Host, 0, b"to a").await.unwrap();
    c.send_event(To::Others, 0, b"to both").await.unwrap();
    for (room, payload) in [(&a, &b"to a"[..]), (&a, b"to both"), (&b, b"to b"), (&b, b"to both")] {
        assert_eq!(event(room).await, (c.me(), payload.to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_hears_what_was_kept_for_it() {
    let server = TestServer::start().await;
    let role = |user: &str, role: &str| {
        let base = TokenRequest::new(Product::ATOM, "tenant", user);
        server.options(server.token_with(TokenRequest { role: role.into(), ..base }))
    };
    let host = connect(role("host", "host")).await.unwrap();
    let observer = connect(role("observer", "observer")).await.unwrap();
    for line in [&b"one"[..], b"two"] {
        host.send_event(To::OthersAndLater, 1, line).await.unwrap();
        host.send_event(To::Others, 1, b"now").await.unwrap();
    }
    observer.send_event(To::OthersAndLater, 1, b"not kept").await.unwrap();
    for line in [&b"one"[..], b"now", b"two", b"now"] {
        assert_eq!(event(&observer).await.1, line);
    }
    assert_eq!(event(&host).await.1, b"not kept");
    let late = server.join("late").await;
    host.send_event(To::All, 1, b"new").await.unwrap();
    for line in [&b"one"[..], b"two", b"new"] {
        assert_eq!(event(&late).await, (host.me(), line.to_vec()));
    }
    host.clear().await.unwrap();
    let later = server.join("later").await;
    host.send_event(To::All, 1, b"newer").await.unwrap();
    assert_eq!(event(&later).await.1, b"newer");
    let refused = host.send_bulk(To::OthersAndLater, 1, b"large").await;
    assert_eq!(refused, Err(SendError::NotKept));
}

#[tokio::test(flavor = "multi_thread")]
async fn voice_to_a_group_is_heard_there_alone() {
    let server = TestServer::start().await;
    let (a, b, c) = (server.join("a").await, server.join("b").await, server.join("c").await);
    b.subscribe([group(9)]).await.unwrap();
    let next_voice = |room| {
        until(room, |event| match event {
            RoomEvent::Voice { voice, .. } => Some(voice.opus[0]),
            _ => None,
        })
    };
    let send = async {
        for n in 0.. {
            // The packet to the group is always sent before the packet to the others.
            let (to, opus) = if n % 2 == 0 { (To::Group(group(9)), 1) } else { (To::Others, 2) };
            let voice = Voice { level: 30, speaking: true, flags: 0, opus: &[opus] };
            a.send_voice_to(to, &voice).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let listen = async {
        while next_voice(&b).await != 1 {}
        for _ in 0..10 {
            assert_eq!(next_voice(&c).await, 2);
        }
    };
    tokio::select! {
        () = send => {}
        () = listen => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_more_events_than_are_read_is_told() {
    let server = TestServer::start().await;
    let a = server.join("a").await;
    let sending = async {
        for n in 0..500_u32 {
            a.send_event(To::Others, 0, &n.to_le_bytes()).await.unwrap();
        }
    };
    let throttled = until(&a, |event| match event {
        RoomEvent::Throttled(what) => Some(what),
        _ => None,
    });
    let ((), what) = tokio::join!(sending, throttled);
    assert_eq!(what, Throttle::Events);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_is_seen_and_who_is_muted_is_not_heard() {
    let server = TestServer::start().await;
    let host =
        TokenRequest { role: "host".into(), ..TokenRequest::new(Product::ATOM, "tenant", "host") };
    let host = connect(server.options(server.token_with(host))).await.unwrap();
    let speaker = server.join("speaker").await;
    let talk = async {
        loop {
            let voice = Voice { level: 33, speaking: true, flags: 0, opus: &[1] };
            speaker.send_voice(&voice).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let speaks = |wanted: bool| {
        until(&host, move |event| match event {
            RoomEvent::Speaking { speaking, level, .. } if speaking == wanted => Some(level),
            _ => None,
        })
    };
    let me = speaker.me();
    let flags = || host.peer(me).map(|peer| (peer.muted, peer.self_muted)).unwrap();
    let changed = || {
        until(&host, |event| match event {
            RoomEvent::PeerChanged(peer) => Some(peer.id),
            _ => None,
        })
    };
    let listen = async {
        assert_eq!(speaks(true).await, 33);
        assert_eq!(host.speaking(), [(me, 33)]);
        host.mute(me).await.unwrap();
        assert_eq!(changed().await, me);
        assert_eq!(flags(), (true, false));
        speaks(false).await;
        assert_eq!(host.speaking(), []);
        host.mute_all(false).await.unwrap();
        speaks(true).await;
        // A client that mutes itself stops sending at once.
        speaker.set_muted(true).await.unwrap();
        speaks(false).await;
        assert_eq!(flags(), (false, true));
        speaker.set_muted(false).await.unwrap();
        speaks(true).await;
        assert!(server.drops("muted") > 0.0);
    };
    tokio::select! {
        () = talk => {}
        () = listen => {}
    }
    let throttled = until(&speaker, |event| match event {
        RoomEvent::Throttled(what) => Some(what),
        _ => None,
    });
    assert_eq!(throttled.await, Throttle::Muted);
}
