//! What an operator may set of rates: nothing is lost, everybody waits, and who waits is told.

use std::time::{Duration, Instant};

use nucleus_client::session::To;
use nucleus_client::{Room, RoomEvent, Target, Throttle};

use crate::support::{TestServer, until};

/// Until the payloads of so many events have come; whether the client was told that it is throttled.
async fn hear(room: &Room, wanted: usize) -> bool {
    let (mut heard, mut told) = (0, false);
    until(room, |event| {
        heard += usize::from(matches!(event, RoomEvent::Event { .. }));
        told |= event == RoomEvent::Throttled(Throttle::Events);
        (heard == wanted).then_some(())
    })
    .await;
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_has_one_rate_for_all_who_speak_in_it() {
    let server = TestServer::with(|config| config.limits.room_events_per_s = 10).await;
    let (a, b) = (server.join("a").await, server.join("b").await);
    let begun = Instant::now();
    let say = async |room: &Room| {
        for n in 0..20_u8 {
            room.send_event(To::All, 0, &[n]).await.unwrap();
        }
    };
    let (.., a_told, b_told) = tokio::join!(say(&a), say(&b), hear(&a, 40), hear(&b, 40));
    assert!(begun.elapsed().as_millis() >= 1_900, "20 at once, and 20 more at 10 a second");
    assert!(a_told || b_told, "somebody had to wait, and was not told");
    // Another room has its own.
    let other = server.options(server.token("c")).room("other");
    let c = nucleus_client::connect(other).await.unwrap();
    let begun = Instant::now();
    tokio::join!(say(&c), hear(&c, 20));
    assert!(begun.elapsed().as_millis() < 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_the_rate_that_is_set() {
    let server = TestServer::with(|config| {
        config.limits.peer_event_bytes_per_s = 32 << 10;
        config.limits.peer_messages_per_s = 10;
    })
    .await;
    let (a, b) = (server.join("a").await, server.join("b").await);
    let begun = Instant::now();
    let say = async {
        for _ in 0..12 {
            a.send_event(To::Others, 0, &[7; 16 << 10]).await.unwrap();
        }
    };
    let ((), told) = tokio::join!(say, hear(&b, 12));
    // 128 KiB at once, the next 64 at 32 a second.
    assert!(begun.elapsed().as_millis() >= 1_900 && !told);
    // Half a thousand at once, and no more for a while.
    let told = until(&a, |event| (event == RoomEvent::Throttled(Throttle::Realtime)).then_some(()));
    let tick = async {
        loop {
            a.send_unreliable(Target::Others, 0, 0, b"x").unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = told => {}
        () = tick => {}
    }
}
