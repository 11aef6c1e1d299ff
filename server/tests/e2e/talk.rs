//! Groups, the host and voice through the client's own API.

use nucleus_client::session::To;
use nucleus_client::{Group, PeerId, Room, RoomEvent, Target, Voice};

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
async fn voice_to_a_group_is_heard_there_alone() {
    let server = TestServer::start().await;
    let (a, b, c) = (server.join("a").await, server.join("b").await, server.join("c").await);
    b.subscribe([group(9)]).await.unwrap();
    let heard = |room| {
        until(room, |event| match event {
            RoomEvent::Voice { voice, .. } => Some(voice.opus[0]),
            _ => None,
        })
    };
    let say = async {
        for n in 0.. {
            // The group's packet is always the first of two.
            let (to, opus) =
                if n % 2 == 0 { (Target::Group(group(9)), 1) } else { (Target::Others, 2) };
            let voice = Voice { level: 30, speaking: true, flags: 0, opus: &[opus] };
            a.send_voice_to(to, &voice).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let listen = async {
        while heard(&b).await != 1 {}
        for _ in 0..10 {
            assert_eq!(heard(&c).await, 2);
        }
    };
    tokio::select! {
        () = say => {}
        () = listen => {}
    }
}
