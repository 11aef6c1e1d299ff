//! `series`: how the server's figures ran.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use nucleus_control::series::SeriesStore;
use nucleus_core::control::{SeriesFigures, ServerStatus, ShardStatus};
use nucleus_core::fanout::FanoutHistograms;
use nucleus_core::ids::{PeerId, Product, ProductKey, RoomId, RoomInstanceId};
use nucleus_core::traffic::{LinkLosses, LinkTraffic, RoomTraffic};
use serde_json::{Value, json};

use crate::browser::signed_in;
use crate::world::{LOCAL, World};

/// A store with two readings, the second one now.
fn store() -> Arc<SeriesStore> {
    let store = SeriesStore::new();
    for reading in 0..2 {
        store.record(Duration::from_secs(10 * reading), &figures(reading));
    }
    store
}

fn figures(reading: u64) -> SeriesFigures {
    let shard = ShardStatus { bytes_in: 5_000 * reading, ..ShardStatus::default() };
    let status = ServerStatus { sessions: 7, shards: vec![shard; 2], ..ServerStatus::default() };
    let room = |(number, tenant): (u8, &str)| {
        let owner = ProductKey { tenant: tenant.to_owned(), product: Product::ATOM };
        RoomTraffic {
            instance: RoomInstanceId([number; 8]),
            shard: 0,
            key: Arc::new(owner.room(format!("{tenant} lobby"))),
            peers: number.into(),
            links: vec![LinkTraffic {
                room: RoomId(number.into()),
                peer: PeerId(1),
                bytes_in: 0,
                bytes_out: 900 * reading,
                losses: LinkLosses::default(),
            }],
        }
    };
    SeriesFigures {
        status,
        cpu: vec![Duration::ZERO; 2],
        joins: 3 * reading,
        failed_joins: 0,
        relay_latency: FanoutHistograms::default().relay_latency,
        losses: vec![Some(LinkLosses::default()), None],
        rooms: [(1, "acme"), (2, "beta")].map(room).to_vec(),
    }
}

#[tokio::test]
async fn lines_are_asked_for_by_their_names() {
    let world = World::with(|settings| settings.series = store()).await;
    let all = world.get("/series", LOCAL).await.json();
    assert_eq!(all["lines"].as_array().unwrap().len(), 10 + 2 * 5);
    let answer = world.get("/series?names=headsets,joins,loss_in,bytes_in", LOCAL).await.json();
    assert_eq!((&answer["step_seconds"], &answer["silent_shards"]), (&json!(10), &json!([1])));
    let lines = answer["lines"].as_array().unwrap();
    let described: Vec<_> = lines
        .iter()
        .map(|line| (line["name"].clone(), line["unit"].clone(), line["shard"].clone()))
        .collect();
    let line = |name: &str, unit: &str, shard: Value| (json!(name), json!(unit), shard);
    let expected = [
        line("headsets", "count", Value::Null),
        line("joins", "per_step", Value::Null),
        line("loss_in", "ppm", Value::Null),
        line("bytes_in", "per_second", json!(0)),
        line("bytes_in", "per_second", json!(1)),
    ];
    assert_eq!(described, expected);
    for line in lines {
        assert_eq!(line["values"].as_array().unwrap().len(), 360);
    }
    let day = world.get("/series?names=headsets&span=24h", LOCAL).await.json();
    assert_eq!(day["step_seconds"], 120);
    assert_eq!(day["lines"][0]["values"].as_array().unwrap().len(), 720);
    for wrong in ["names=headset", "names=", "span=2h", "other=1"] {
        let answer = world.get(&format!("/series?{wrong}"), LOCAL).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {answer:?}");
    }
    let acme = world.tenant("acme").await;
    let key = world.key(Some(&acme), &["read"]).await;
    let refused = world.get("/series", &key).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "the whole server's figures: {refused:?}");
}

#[tokio::test]
async fn a_tenant_sees_the_lines_of_its_own_rooms() {
    let world = World::with(|settings| settings.series = store()).await;
    let rooms = |answer: Value| {
        let rooms = answer["rooms"].as_array().unwrap().iter();
        rooms.map(|room| room["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = world.get("/series/rooms", LOCAL).await.json();
    for line in ["peers", "loss_out_ppm", "worst_loss_in_ppm", "worst_loss_out_ppm"] {
        assert_eq!(all["rooms"][0][line].as_array().unwrap().len(), 60, "{line}");
    }
    assert_eq!(all["silent_shards"], json!([1]));
    assert_eq!(rooms(all), ["beta lobby", "acme lobby"], "the fullest first");
    let one = world.get("/series/rooms?limit=1", LOCAL).await.json();
    assert_eq!(rooms(one), ["beta lobby"]);
    let asked = world.get("/series/rooms?ids=0101010101010101,0303030303030303", LOCAL).await;
    assert_eq!(rooms(asked.json()), ["acme lobby"]);
    let acme = world.tenant("acme").await;
    let key = world.key(Some(&acme), &["read"]).await;
    let both = "/series/rooms?ids=0101010101010101,0202020202020202";
    for path in ["/series/rooms", both] {
        assert_eq!(rooms(world.get(path, &key).await.json()), ["acme lobby"], "{path}");
    }
    let many = vec!["0101010101010101"; 201].join(",");
    for wrong in ["ids=x", "ids=", "limit=0", "limit=201", &format!("ids={many}")] {
        let answer = world.get(&format!("/series/rooms?{wrong}"), LOCAL).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn rooms_are_ordered_by_their_worst_link() {
    let world = World::new().await;
    let by_loss = world.get("/rooms?order=loss", LOCAL).await;
    assert_eq!(by_loss.status, StatusCode::OK, "{by_loss:?}");
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    let page = browser.get("/rooms?sort=loss").await.text;
    let heading = "aria-sort=\"descending\"><a href=\"/rooms?sort=loss\">Worst link</a>";
    assert!(page.contains(heading), "{page}");
    for path in ["/rooms?sort=size", "/rooms.csv?sort=size", "/live/rooms?sort=Loss"] {
        let refused = browser.get(path).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
        let why = "`sort` must be one of name, peers, loss, age.";
        assert!(refused.text.contains(why), "{path}: {refused:?}");
    }
}
