//! `events`: streams of what happens.

use std::time::{Duration, Instant};

use axum::http::{StatusCode, header};
use nucleus_core::limits::{STREAMS, STREAMS_OF_OPERATORS, STREAMS_OF_TENANT};
use serde_json::{Value, json};

use crate::history::Recording;
use crate::stream::{Sent, Stream};
use crate::world::{Answer, LOCAL, World};

/// Events that [`Recording::post`] makes of a tenant.
const OF_TENANT: usize = 5;
/// Events that are made so that earlier ones leave the ring.
const MORE_THAN_THE_RING: usize = 12_000;

fn kinds(events: &[Sent]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test]
async fn a_stream_tells_what_webhooks_are_told() {
    let world = World::new().await;
    let hook = json!({"name": "all", "url": "https://a.invalid/"});
    let hook = world.ask("POST", "/webhooks", LOCAL, hook).await.json();
    let recording = Recording::new(&world);
    let mut stream = world.stream("/events", LOCAL, None).await.begun().await;
    recording.post(&["acme"]);
    let events = stream.take(OF_TENANT).await;
    let expected = ["room.started", "peer.joined", "peer.left", "call.started", "call.ended"];
    assert_eq!(kinds(&events), expected);
    let path = format!("/webhooks/{}/deliveries", hook["id"].as_str().unwrap());
    let told = world.get(&path, LOCAL).await.json();
    let mut told: Vec<Sent> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| Sent {
            id: delivery["event"].as_str().unwrap().to_owned(),
            kind: delivery["type"].as_str().unwrap_or_default().to_owned(),
            data: Value::Null,
        })
        .collect();
    told.sort_by(|a, b| a.id.cmp(&b.id));
    let ids = |events: &[Sent]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&told), ids(&events));
    let left = &events[2].data;
    assert_eq!((&left["type"], &left["data"]["user"]), (&json!("peer.left"), &json!("acme-user")));
    assert!(left["timestamp"].is_string() && left["data"]["code"] == "timed_out", "{left}");
}

#[tokio::test]
async fn a_tenants_stream_has_nothing_of_another_tenant() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let key = world.key(Some(&acme), &["read"]).await;
    let recording = Recording::new(&world);
    // Events that were there before belong to nobody's stream, and their ids are not told either.
    recording.post(&["acme", "beta"]);
    recording.finish().await;
    let mut all = world.stream("/events", LOCAL, None).await.begun().await;
    let own = world.stream("/events", &key, None).await.begun().await;
    let foreign = world.stream("/events?tenant=beta", &key, None).await.begun().await;
    let mut filtered = world.stream("/events?tenant=beta", LOCAL, None).await.begun().await;
    recording.post(&["acme", "beta"]);
    recording.finish().await;
    let everything = all.take(2 * OF_TENANT).await;
    let of = |tenant: &str| -> Vec<Sent> {
        let is_of = |event: &&Sent| event.data["data"]["tenant"] == tenant;
        everything.iter().filter(is_of).cloned().collect()
    };
    assert_eq!(filtered.take(OF_TENANT).await, of("beta"));
    let quiet = Duration::from_millis(200);
    let (own, foreign) = (own.rest(quiet).await, foreign.rest(quiet).await);
    for event in of("acme") {
        assert!(own.contains(&event.id), "{own}");
    }
    for text in [own, foreign] {
        assert!(!text.contains("beta"), "{text}");
        for event in of("beta") {
            assert!(!text.contains(&event.id), "{text}");
        }
    }
    // Another tenant's event is no place to go on from: it looks as if there were none.
    let id = &of("beta")[0].id;
    let text = world.stream("/events", &key, Some(id)).await.rest(quiet).await;
    assert!(text.contains("event: missed") && !text.contains("acme"), "{text}");
}

#[tokio::test]
async fn a_stream_goes_on_without_loss_or_repeats() {
    let world = World::new().await;
    let recording = Recording::new(&world);
    let mut stream = world.stream("/events", LOCAL, None).await.begun().await;
    let mut seen: Vec<Sent> = Vec::new();
    for round in 0..20 {
        recording.post(&["acme", "beta"]);
        // Goes away in the middle of what comes, and before anything has come.
        seen.extend(stream.take(round % 4).await);
        let last = stream.last_id.clone();
        drop(stream);
        recording.post(&["acme"]);
        stream = world.stream("/events", LOCAL, Some(&last)).await;
    }
    recording.finish().await;
    let all = 20 * 3 * OF_TENANT;
    seen.extend(stream.take(all - seen.len()).await);
    let mut ids: Vec<_> = seen.iter().map(|event| event.id.clone()).collect();
    assert!(!kinds(&seen).contains(&"missed") && ids.is_sorted());
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[tokio::test]
async fn a_filtered_stream_goes_on_too() {
    let world = World::new().await;
    let recording = Recording::new(&world);
    let path = "/events?type=call.ended,room.started";
    let mut stream = world.stream(path, LOCAL, None).await.begun().await;
    recording.post(&["acme"]);
    assert_eq!(kinds(&stream.take(2).await), ["room.started", "call.ended"]);
    recording.post(&["acme"]);
    recording.finish().await;
    let mut again = world.stream(path, LOCAL, Some(&stream.last_id)).await;
    assert_eq!(again.take(2).await, stream.take(2).await);
    for wrong in ["?type=peer", "?type=", "?other=1", &format!("?tenant={}", "x".repeat(129))] {
        let answer = world.get(&format!("/events{wrong}"), LOCAL).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {answer:?}");
    }
}

/// A client that reads nothing for a while: its stream waits, is told that it has missed events, and goes
/// on.
#[tokio::test]
async fn who_is_too_slow_is_told_what_it_missed() {
    let world = World::new().await;
    let recording = Recording::new(&world);
    let mut stream = world.stream("/events", LOCAL, None).await.begun().await;
    let old = stream.last_id.clone();
    for _ in 0..MORE_THAN_THE_RING / OF_TENANT {
        recording.post(&["acme"]);
    }
    recording.finish().await;
    let mut seen = Vec::new();
    while kinds(&seen).last() != Some(&"missed") {
        seen.push(stream.next().await.unwrap());
    }
    assert!(seen.len() < MORE_THAN_THE_RING / 2, "{}", seen.len());
    let before = seen[seen.len() - 2].id.clone();
    assert_eq!(seen.last().unwrap().data["data"]["after"], *before);
    let next = stream.next().await.unwrap();
    assert!(next.kind != "missed" && next.id > before);
    // Who comes back too late is told at once, and gets what happens from then on.
    let mut late = world.stream("/events", LOCAL, Some(&old)).await;
    assert_eq!(late.next().await.unwrap().kind, "missed");
    recording.post(&["beta"]);
    assert_eq!(late.next().await.unwrap().data["data"]["tenant"], "beta");
    let unknown = world.stream("/events", LOCAL, Some("\u{e9}")).await.next().await;
    assert_eq!(unknown.unwrap().kind, "missed");
}

#[tokio::test]
async fn streams_are_limited_and_a_place_is_free_when_its_client_goes() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let key = world.key(Some(&acme), &["read"]).await;
    let mut own = Vec::new();
    for _ in 0..STREAMS_OF_TENANT {
        own.push(world.stream("/events", &key, None).await);
    }
    let refused = world.ask_stream("/events", &key, None).await;
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    let refused = Answer::of(refused).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
    assert_eq!(refused.kind, "application/problem+json");
    let mut of_server = Vec::new();
    for _ in 0..STREAMS_OF_OPERATORS {
        of_server.push(world.stream("/events", LOCAL, None).await);
    }
    assert_eq!(world.get("/events", LOCAL).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(own.len() + of_server.len() < STREAMS);
    own.pop();
    assert_eq!(world.get("/events", &key).await.status, StatusCode::OK);
}

/// Reads a stream to its end, which must come within two seconds; some slack is for a busy machine.
async fn ends_soon(mut stream: Stream, why: &str) {
    let begun = Instant::now();
    while stream.next().await.is_some() {}
    assert!(begun.elapsed() < Duration::from_secs(4), "{why}: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stream_ends_with_its_key_and_its_tenant() {
    let world = World::new().await;
    let recording = Recording::new(&world);
    let tenant = world.tenant("acme").await;
    let open = async |key: &str| world.stream("/events", key, None).await.begun().await;

    let revoked = world.key(Some(&tenant), &["read"]).await;
    let id = revoked.split('_').nth(1).unwrap();
    let stream = open(&revoked).await;
    world.ask("DELETE", &format!("/keys/{id}"), LOCAL, Value::Null).await;
    ends_soon(stream, "revoked").await;
    recording.post(&["acme"]);
    assert_eq!(world.get("/events", &revoked).await.status, StatusCode::UNAUTHORIZED);

    let end = "2027-01-15T08:01:00Z";
    let body = json!({"name": "a", "tenant": tenant, "scopes": ["read"], "expires_at": end});
    let expires = world.ask("POST", "/keys", LOCAL, body).await.json();
    let stream = open(expires["key"].as_str().unwrap()).await;
    *world.now.lock().unwrap() += 61;
    ends_soon(stream, "expired").await;

    for (what, set, again) in [
        ("switched off", json!({"name": "acme", "active": false}), json!({"name": "acme"})),
        ("ended", json!({"name": "acme", "ends_at": end}), json!({"name": "acme"})),
        ("renamed", json!({"name": "other"}), json!({"name": "acme"})),
    ] {
        let key = world.key(Some(&tenant), &["read"]).await;
        let stream = open(&key).await;
        let path = format!("/tenants/{tenant}");
        let done = world.ask("PUT", &path, LOCAL, set).await;
        assert_eq!(done.status, StatusCode::OK, "{done:?}");
        ends_soon(stream, what).await;
        if what != "renamed" {
            assert_eq!(world.get("/events", &key).await.status, StatusCode::FORBIDDEN, "{what}");
        }
        world.ask("PUT", &path, LOCAL, again).await;
        assert_eq!(world.get("/events", &key).await.status, StatusCode::OK, "{what}");
    }
}
