//! Tests of configured rate limits: no event is lost, senders wait, and a sender that waits is
//! notified.

use std::time::{Duration, Instant};

use nucleus_client::{Room, RoomEvent, Throttle, To};

use crate::support::{TestServer, until};

/// Waits until `wanted` events have arrived. Returns whether the client was notified that it is
/// throttled.
async fn receive_events(room: &Room, wanted: usize) -> bool {
    let (mut received, mut throttled) = (0, false);
    until(room, |event| {
        received += usize::from(matches!(event, RoomEvent::Event { .. }));
        throttled |= event == RoomEvent::Throttled(Throttle::Events);
        (received == wanted).then_some(())
    })
    .await;
    throttled
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_has_one_rate_for_all_who_speak_in_it() {
    let server = TestServer::with(|config| config.limits.room_events_per_s = 10).await;
    let (a, b) = (server.join("a").await, server.join("b").await);
    let start = Instant::now();
    let send = async |room: &Room| {
        for n in 0..20_u8 {
            room.send_event(To::All, 0, &[n]).await.unwrap();
        }
    };
    let (.., a_throttled, b_throttled) =
        tokio::join!(send(&a), send(&b), receive_events(&a, 40), receive_events(&b, 40));
    assert!(start.elapsed().as_millis() >= 1_900, "20 at once, and 20 more at 10 a second");
    assert!(a_throttled || b_throttled, "a sender had to wait and was not notified");
    // Another room has its own limit.
    let other = server.options(server.token("c")).room("other");
    let c = nucleus_client::connect(other).await.unwrap();
    let start = Instant::now();
    tokio::join!(send(&c), receive_events(&c, 20));
    assert!(start.elapsed().as_millis() < 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_the_rate_that_is_set() {
    let server = TestServer::with(|config| {
        config.limits.peer_event_bytes_per_s = 32 << 10;
        config.limits.peer_messages_per_s = 10;
    })
    .await;
    let (a, b) = (server.join("a").await, server.join("b").await);
    let start = Instant::now();
    let send = async {
        for _ in 0..12 {
            a.send_event(To::Others, 0, &[7; 16 << 10]).await.unwrap();
        }
    };
    let ((), throttled) = tokio::join!(send, receive_events(&b, 12));
    // The limit admits 128 KiB without delay, and then 64 KiB at 32 KiB a second.
    assert!(start.elapsed().as_millis() >= 1_900 && !throttled);
    // The limit admits a burst, then realtime messages are dropped.
    let throttled =
        until(&a, |event| (event == RoomEvent::Throttled(Throttle::Realtime)).then_some(()));
    let tick = async {
        loop {
            a.send_unreliable(To::Others, 0, 0, b"x").unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = throttled => {}
        () = tick => {}
    }
}
