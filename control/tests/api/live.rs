//! `live`: streams of figures.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;

use crate::stream::Sent;
use crate::world::{LOCAL, World};

const ACME: &str = "/live?room=0101010101010101";
const BETA: &str = "/live?room=0202020202020202";

fn kinds(events: &[Sent]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test]
async fn figures_of_the_server_come_each_second_with_rates() {
    let world = World::new().await;
    let begun = Instant::now();
    let mut stream = world.stream("/live", LOCAL, None).await;
    let events = stream.take(3).await;
    // Two seconds, and much slack for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(kinds(&events), ["server"; 3]);
    let mut plain = world.get("/server", LOCAL).await.json();
    let mut first = events[0].data.clone();
    assert!(first["rates"].is_null(), "nothing is known of the time before: {first}");
    let rate = events[2].data["rates"]["datagrams_in"].as_u64().unwrap();
    assert!((200..=1_100).contains(&rate), "1000 in each answer: {rate}");
    // The same as `server`, but for the rates and the counter of the test.
    first.as_object_mut().unwrap().remove("rates");
    for server in [&mut plain, &mut first] {
        server["shards"][0]["datagrams_in"] = json!(0);
    }
    assert_eq!(first, plain);
}

#[tokio::test]
async fn a_tenant_gets_its_own_figures_alone() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let key = world.key(Some(&acme), &["read"]).await;
    let mut stream = world.stream(ACME, &key, None).await;
    let events = stream.take(4).await;
    assert_eq!(kinds(&events), ["tenant", "room", "tenant", "room"]);
    assert_eq!(events[0].data, json!({"tenant": "acme", "sessions": 3, "rooms": 1}));
    let room = world.get("/rooms/0101010101010101/stats", &key).await.json();
    assert_eq!(events[1].data, room);
    let mut other = world.stream(BETA, LOCAL, None).await;
    assert_eq!(other.take(2).await[1].data["tenant"], "beta");
    assert!(world.planes.asked()[0] > 0, "the operator's stream asks for the server");
    // A room of another tenant looks as if there were none.
    for path in [BETA, "/live?room=0303030303030303", "/live?room=x"] {
        assert_eq!(world.get(path, &key).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let wrong = world.get("/live?rooms=true", &key).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong:?}");
    let more = stream.take(4).await;
    assert_eq!(kinds(&more), ["tenant", "room", "tenant", "room"]);
    assert!(more.iter().all(|event| !event.data.to_string().contains("beta")), "{more:?}");
}

#[tokio::test]
async fn the_end_of_a_room_is_told_once_and_the_stream_goes_on() {
    let world = World::new().await;
    let mut stream = world.stream(ACME, LOCAL, None).await;
    assert_eq!(kinds(&stream.take(2).await), ["server", "room"]);
    world.planes.have_ended.store(true, Ordering::Relaxed);
    let events = stream.take(4).await;
    let after: Vec<_> = kinds(&events).into_iter().filter(|kind| *kind != "room").collect();
    assert!(after.starts_with(&["server", "ended", "server"]), "{after:?}");
    let asked = world.planes.asked()[2];
    assert_eq!(kinds(&stream.take(2).await), ["server"; 2]);
    assert_eq!(world.planes.asked()[2], asked, "nobody asks for a room that has ended");
}

#[tokio::test]
async fn the_planes_are_asked_once_for_all_streams() {
    let world = World::new().await;
    let begun = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(world.stream(ACME, LOCAL, None).await);
        streams.push(world.stream(BETA, LOCAL, None).await);
    }
    // Each stream looks once whether there is its room.
    let opened = streams.len();
    for stream in &mut streams {
        assert_eq!(kinds(&stream.take(6).await), ["server", "room"].repeat(3));
    }
    let samples = begun.elapsed().as_secs() as usize + 2;
    let [server, _, rooms] = world.planes.asked();
    assert!(server <= samples, "{server} questions in {samples} s");
    assert!(rooms - opened <= 2 * samples, "{} questions in {samples} s", rooms - opened);
    drop(streams);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let before = world.planes.asked();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(world.planes.asked(), before, "nobody asks without a stream");
    // And again for the next one.
    let mut again = world.stream("/live", LOCAL, None).await;
    assert_eq!(kinds(&again.take(2).await), ["server"; 2]);
}
