//! Tests of bulk messages and events together, through the client's API.

use std::time::Duration;

use nucleus_client::{Room, RoomEvent, SendError, To, Voice};

use crate::client::{LobbyJoin, send_bulk, send_event};
use crate::support::{TestServer, until};

const LARGEST: usize = 64 << 10;
/// How long a client tries to come back: longer than any test.
const PATIENCE: Duration = Duration::from_secs(60);

fn pattern(n: u8) -> Vec<u8> {
    (0..LARGEST).map(|at| (at as u8).wrapping_mul(7) ^ n).collect()
}

async fn bulk(room: &Room) -> Vec<u8> {
    until(room, |event| match event {
        RoomEvent::Bulk { payload, .. } => Some(payload),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_arrives_whole_and_no_event_waits_for_it() {
    let server = TestServer::start().await;
    let (a, b) = (server.join("a").await, server.join("b").await);
    let too_large = a.send_bulk(To::All, 0, &vec![0; LARGEST + 1]).await;
    assert_eq!(too_large, Err(SendError::TooLarge { len: LARGEST + 1, limit: LARGEST }));
    // The rate limit admits four messages without delay and then one a second, so events overtake
    // the later messages.
    for n in 0..6 {
        a.send_bulk(To::Others, 5, &pattern(n)).await.unwrap();
    }
    a.send_event(To::Others, 1, b"now").await.unwrap();
    let (mut large, mut overtaken) = (0, None);
    while large < 6 {
        let event = until(&b, |event| match event {
            RoomEvent::Bulk { channel, payload, .. } => Some((channel, payload)),
            RoomEvent::Event { channel, payload, .. } => Some((channel, payload)),
            _ => None,
        });
        match event.await {
            (5, payload) => {
                assert!(payload == pattern(large), "message {large} differs");
                large += 1;
            }
            (channel, payload) => {
                assert_eq!((channel, payload.as_slice()), (1, &b"now"[..]));
                overtaken = Some(large);
            }
        }
    }
    assert!(overtaken.is_some_and(|large| large < 6), "{overtaken:?}");
    assert_eq!(b.stats().bulk_dropped, 0);
}

/// While one participant loses its connection again and again, everything that it sends on both
/// lanes arrives once, in order and complete.
#[tokio::test(flavor = "multi_thread")]
async fn both_lanes_deliver_exactly_once_over_resumes() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let join = LobbyJoin::new(&server.token("a"));
    let mut sender = LobbyJoin { patience: PATIENCE, ..join }.driven(&server).await;
    let me = sender.client.read().me();
    let sending = {
        let client = sender.client.clone();
        tokio::spawn(async move {
            for n in 0..12 {
                send_bulk(&client, &pattern(n)[..40_000]).await;
                send_event(&client, &[n]).await;
            }
        })
    };
    let resuming = async {
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            sender.lose_connection();
            let came_back = sender.until(|event| match event {
                // The log may have dropped the first pieces, none of which are for their sender.
                RoomEvent::Resumed { .. } => Some(()),
                RoomEvent::Rejoined { .. } => panic!("the client has become a new peer"),
                _ => None,
            });
            came_back.await;
        }
    };
    let listening = async {
        let (mut events, mut large) = (0, 0);
        while events < 12 || large < 12 {
            let received = until(&watcher, |event| match event {
                RoomEvent::Bulk { payload, .. } => Some(Err(payload)),
                RoomEvent::Event { payload, .. } => Some(Ok(payload)),
                _ => None,
            });
            match received.await {
                Ok(event) => {
                    assert_eq!(event, [events]);
                    events += 1;
                }
                Err(payload) => {
                    assert!(payload == pattern(large)[..40_000], "message {large} differs");
                    large += 1;
                }
            }
        }
    };
    // The last session stays until everything has arrived.
    tokio::join!(resuming, listening);
    sending.await.unwrap();
    assert_eq!(sender.client.read().me(), me);
    assert_eq!(watcher.stats().bulk_dropped, 0);
}

/// A peer that joins in the middle of a message does not receive the rest of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_message_is_nothing_to_a_newcomer() {
    let server = TestServer::start().await;
    let a = server.join("a").await;
    // The first messages use up the rate limit, so that the next one comes in pieces with pauses.
    let sending = async {
        for n in 0..6 {
            a.send_bulk(To::All, 0, &pattern(n)).await.unwrap();
        }
    };
    let joining = async {
        while bulk(&a).await != pattern(3) {}
        server.join("b").await
    };
    let ((), b) = tokio::join!(sending, joining);
    let first = bulk(&b).await;
    assert!((4..6).any(|n| first == pattern(n)), "the message is incomplete");
}

/// Voice is not delayed by large messages to the same peer.
#[tokio::test(flavor = "multi_thread")]
async fn voice_goes_on_beside_large_messages() {
    let server = TestServer::start().await;
    let (a, b) = (server.join("a").await, server.join("b").await);
    let sent = std::cell::Cell::new(0);
    let sending = async {
        for n in 0..6 {
            a.send_bulk(To::Others, 5, &pattern(n)).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let talking = async {
        loop {
            a.send_voice(&Voice { level: 30, speaking: true, flags: 0, opus: &[1] }).unwrap();
            sent.set(sent.get() + 1);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let listening = async {
        let (mut voice_packets, mut large) = (0, 0);
        while large < 6 {
            match b.next().await.unwrap() {
                RoomEvent::Voice { .. } => voice_packets += 1,
                RoomEvent::Bulk { .. } => large += 1,
                _ => {}
            }
        }
        voice_packets
    };
    let voice_packets = tokio::select! {
        () = sending => 0,
        () = talking => 0,
        voice_packets = listening => voice_packets,
    };
    // The last two messages wait one second each for the rate limit. Most voice packets arrive
    // meanwhile.
    assert!(
        sent.get() > 20 && voice_packets * 10 > sent.get() * 8,
        "{voice_packets} of {}",
        sent.get()
    );
}
