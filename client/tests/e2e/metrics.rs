//! Tests of the page of metrics.

use crate::support::{TestServer, until};
use nucleus_client::connect;
use nucleus_client::{Pose, Room, RoomEvent, Transform};

/// Rooms that begin and end.
const ROOMS: usize = 300;
/// Most series of a server with one shard. Each further shard adds those with its number.
const MOST_SERIES: usize = 220;

/// Returns the series of the page, with their labels and without their values.
fn series(page: &str) -> Vec<String> {
    let body = page.split_once("\r\n\r\n").unwrap().1;
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

async fn join(server: &TestServer, user: &str, room: String) -> Room {
    connect(server.options(server.token(user)).room(room)).await.unwrap()
}

/// Rooms and their peers leave nothing on the page.
#[tokio::test(flavor = "multi_thread")]
async fn the_series_do_not_depend_on_the_rooms() {
    let server = TestServer::with(|config| config.shards = 1).await;
    let before = series(&server.http("/metrics"));
    assert!(before.len() <= MOST_SERIES, "{} series", before.len());
    for n in 0..ROOMS {
        let room = join(&server, &format!("user-{n}"), format!("room-{n}")).await;
        if n % 100 == 0 {
            assert!(server.metric("nucleus_rooms") >= 1.0);
        }
        room.leave().await;
    }
    assert_eq!(server.metric("nucleus_session_joins_total{outcome=\"joined\"}"), ROOMS as f64);
    assert_eq!(series(&server.http("/metrics")), before);
}

/// The figures that an operator looks at first follow what happens.
#[tokio::test(flavor = "multi_thread")]
async fn the_histograms_follow_the_messages() {
    let server = TestServer::start().await;
    let ada = join(&server, "ada", "den".to_owned()).await;
    let bob = join(&server, "bob", "den".to_owned()).await;
    let head = Transform { position: [0.0, 1.6, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    let pose = Pose { head, left: None, right: None };
    let send = async {
        loop {
            ada.send_pose(&pose).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let heard = async {
        for _ in 0..50 {
            until(&bob, |event| matches!(event, RoomEvent::Pose { .. }).then_some(())).await;
        }
    };
    tokio::select! {
        () = send => {}
        () = heard => {}
    }
    // Shards publish their figures four times a second.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let metric = |name: &str| server.metric(name);
    let relayed = metric("nucleus_realtime_relay_latency_seconds_count");
    assert!(relayed >= 50.0, "{relayed}");
    let mean = metric("nucleus_realtime_relay_latency_seconds_sum") / relayed;
    assert!(mean > 0.0 && mean < 0.25, "{mean} s");
    let datagrams = metric("nucleus_realtime_messages_per_datagram_count");
    let messages = metric("nucleus_realtime_messages_per_datagram_sum");
    assert!(datagrams >= 50.0 && messages >= datagrams, "{messages} in {datagrams}");
    assert_eq!(messages, metric("nucleus_realtime_messages_out_total"));
    assert!(metric("nucleus_realtime_tick_seconds_count") > 0.0);
    assert!(metric("nucleus_realtime_cpu_seconds_total") > 0.0);
    assert_eq!(metric("nucleus_session_join_duration_seconds_count"), 2.0);
    assert_eq!(metric("nucleus_database_up"), 1.0);
    assert_eq!(metric("nucleus_config_last_reload_success"), 1.0);
    assert!(metric("process_cpu_seconds_total") > 0.0);
}
