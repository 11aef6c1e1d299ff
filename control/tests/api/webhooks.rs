//! Webhooks: who may make them, what they are told, and what happens when they do not listen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use nucleus_control::Timestamp;
use nucleus_control::api::ApiSettings;
use nucleus_control::events::RecordedEvent;
use nucleus_control::store::deliveries;
use nucleus_control::webhooks::{DeliveryOutcome, WebhookSender, WebhookSettings};
use nucleus_core::ids::{Product, ProductKey, RoomInstanceId};
use nucleus_core::plane_event::{PlaneEvent, RoomRef};
use serde_json::{Value, json};

use crate::world::{LOCAL, World};

/// A receiver that answers with a status.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    pub(crate) status: Arc<Mutex<u16>>,
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Receiver {
    /// Starts it. Returns its address.
    pub(crate) async fn start(&self, status: u16) -> String {
        *self.status.lock().unwrap() = status;
        let take = async |State(own): State<Self>, headers: HeaderMap, body: String| {
            own.got.lock().unwrap().push((headers, body));
            StatusCode::from_u16(*own.status.lock().unwrap()).unwrap()
        };
        let router = axum::Router::new().fallback(take).with_state(self.clone());
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", socket.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(socket, router).await });
        url
    }

    /// Waits until it has got a number of deliveries.
    pub(crate) async fn has(&self, count: usize) -> Vec<(HeaderMap, String)> {
        for _ in 0..1_000 {
            let got = self.got.lock().unwrap().clone();
            if got.len() >= count {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} of {count} deliveries", self.got.lock().unwrap().len());
    }
}

/// Lets tenants name addresses of this machine.
pub(crate) fn inside(settings: &mut ApiSettings) {
    let WebhookSettings { database, signer, now, wake, counters, places, .. } = &*settings.webhooks;
    settings.webhooks = Arc::new(WebhookSettings {
        database: database.clone(),
        signer: signer.clone(),
        private_addresses: true,
        now: now.clone(),
        wake: wake.clone(),
        counters: counters.clone(),
        places: places.clone(),
    });
}

/// An event of a tenant's room.
pub(crate) fn event(number: u8, tenant: &str) -> RecordedEvent {
    let owner = ProductKey { tenant: tenant.to_owned(), product: Product::ATOM };
    let room = RoomRef {
        instance: RoomInstanceId([number; 8]),
        key: Arc::new(owner.room(format!("{tenant} lobby"))),
    };
    RecordedEvent {
        id: format!("event-{number}"),
        at: Timestamp::from_seconds(1_800_000_000),
        what: PlaneEvent::RoomStarted(room),
    }
}

/// Records events, as the recorder does.
pub(crate) async fn record(world: &World, events: &[RecordedEvent]) -> u64 {
    let mut transaction = world.webhooks.database.begin().await.unwrap();
    let now = (world.webhooks.now)();
    let given_up = deliveries::enqueue(&mut transaction, events, now, &world.webhooks.places);
    let given_up = given_up.await.unwrap();
    transaction.commit().await.unwrap();
    world.webhooks.wake.notify_one();
    given_up
}

pub(crate) async fn hook(world: &World, tenant: Option<&str>, url: &str, events: &[&str]) -> Value {
    let body = json!({"name": "a test", "tenant": tenant, "url": url, "events": events});
    let made = world.ask("POST", "/webhooks", LOCAL, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.json()
}

pub(crate) fn id(of: &Value) -> &str {
    of["id"].as_str().unwrap()
}

pub(crate) async fn deliveries_of(world: &World, hook: &Value) -> Vec<Value> {
    let answer = world.get(&format!("/webhooks/{}/deliveries", id(hook)), LOCAL).await;
    answer.json()["items"].as_array().unwrap().clone()
}

/// Waits until the newest delivery of a webhook has been tried.
pub(crate) async fn tried(world: &World, hook: &Value, tries: u64) -> Value {
    for _ in 0..1_000 {
        let newest = deliveries_of(world, hook).await.remove(0);
        if newest["tries"].as_u64().unwrap() >= tries {
            return newest;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not tried {tries} times: {:?}", deliveries_of(world, hook).await);
}

pub(crate) fn start(world: &World) {
    tokio::spawn(WebhookSender::new(world.webhooks.clone()).run());
}

#[tokio::test]
async fn a_webhook_is_told_the_events_of_its_tenant_signed() {
    let world = World::with(inside).await;
    let (acme, _beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let (acmes, all, calls) = (Receiver::default(), Receiver::default(), Receiver::default());
    let acmes_hook = hook(&world, Some(&acme), &acmes.start(204).await, &[]).await;
    let all_hook = hook(&world, None, &all.start(200).await, &[]).await;
    let calls_hook = hook(&world, None, &calls.start(200).await, &["call.ended"]).await;
    assert_ne!(acmes_hook["secret"], all_hook["secret"]);
    start(&world);
    record(&world, &[event(1, "acme"), event(2, "beta")]).await;
    record(&world, &[event(1, "acme")]).await;
    let of_all = all.has(2).await;
    assert!(of_all[0].1.contains("acme lobby") && of_all[1].1.contains("beta lobby"));
    let got = acmes.has(1).await;
    let (headers, body) = &got[0];
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let told: Value = serde_json::from_str(body).unwrap();
    let data = json!({
        "room": "0101010101010101", "tenant": "acme", "product": "atom", "name": "acme lobby",
    });
    let expected =
        json!({"type": "room.started", "timestamp": "2027-01-15T08:00:00Z", "data": data});
    assert_eq!(told, expected);
    assert_eq!(text("webhook-id"), "event-1");
    let secret = acmes_hook["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret).unwrap());
    let signed = format!("event-1.{}.{body}", text("webhook-timestamp"));
    let tag = STANDARD.decode(text("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&key, signed.as_bytes(), &tag).unwrap();

    let delivered = tried(&world, &acmes_hook, 1).await;
    assert_eq!((&delivered["answer"], &delivered["next_at"]), (&json!("status 204"), &json!(null)));
    assert!(delivered["delivered_at"].is_string());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((got.len(), acmes.has(0).await.len()), (1, 1), "an event is told once");
    assert!(calls.has(0).await.is_empty(), "it wants other events");
    assert!(deliveries_of(&world, &calls_hook).await.is_empty());
}

#[tokio::test]
async fn what_is_refused_comes_again_and_ends_after_ten_tries() {
    let world = World::new().await;
    let receiver = Receiver::default();
    let hook = hook(&world, None, &receiver.start(500).await, &[]).await;
    start(&world);
    record(&world, &[event(1, "acme")]).await;
    for tries in 1..=9 {
        let delivery = tried(&world, &hook, tries).await;
        assert_eq!(delivery["answer"], "status 500");
        let next = Timestamp::parse(delivery["next_at"].as_str().unwrap()).unwrap();
        let mut now = world.now.lock().unwrap();
        assert!(next.seconds() >= *now + 5, "{delivery}");
        *now = next.seconds() + 1;
        drop(now);
        world.webhooks.wake.notify_one();
    }
    let last = tried(&world, &hook, 10).await;
    assert_eq!((&last["next_at"], &last["delivered_at"]), (&json!(null), &json!(null)), "{last}");
    let counters = &world.webhooks.counters;
    assert_eq!(counters.get(DeliveryOutcome::Retried), 9);
    assert_eq!(counters.get(DeliveryOutcome::GivenUp), 1);

    // Somebody mends the receiver, and has it sent again.
    *receiver.status.lock().unwrap() = 200;
    let path = format!("/webhooks/{}/replay", id(&hook));
    let later = json!({"since": "2029-01-01T00:00:00Z"});
    assert_eq!(world.ask("POST", &path, LOCAL, later).await.json()["deliveries"], 0);
    let all = json!({"since": "2020-01-01T00:00:00Z"});
    assert_eq!(world.ask("POST", &path, LOCAL, all.clone()).await.json()["deliveries"], 1);
    receiver.has(11).await;
    while tried(&world, &hook, 1).await["delivered_at"].is_null() {}
    assert_eq!(world.ask("POST", &path, LOCAL, all).await.json()["deliveries"], 0, "it is there");
    let one = json!({"delivery": last["id"]});
    assert_eq!(world.ask("POST", &path, LOCAL, one).await.json()["deliveries"], 1);
    receiver.has(12).await;
    let unknown = json!({"delivery": "0190a5f2-0000-7000-8000-000000000001"});
    assert_eq!(world.ask("POST", &path, LOCAL, unknown).await.status, StatusCode::NOT_FOUND);
    let neither = world.ask("POST", &path, LOCAL, json!({})).await;
    assert_eq!(neither.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_switched_off() {
    let world = World::new().await;
    let receiver = Receiver::default();
    let hook = hook(&world, None, &receiver.start(410).await, &[]).await;
    start(&world);
    record(&world, &[event(1, "acme"), event(2, "acme")]).await;
    let switched = async || {
        let hooks = world.get("/webhooks", LOCAL).await.json();
        hooks["items"][0].clone()
    };
    let is_off = async {
        while switched().await["on"] == true {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_off).await.unwrap();
    assert!(switched().await["off_reason"].as_str().unwrap().contains("410"));
    record(&world, &[event(3, "acme")]).await;
    let kept = deliveries_of(&world, &hook).await;
    assert_eq!(kept.len(), 2, "nothing is kept for it");
    assert!(kept.iter().all(|delivery| delivery["next_at"].is_null()), "{kept:?}");
    let audit = world.get("/audit", LOCAL).await.text;
    assert_eq!(audit.matches("webhook.off").count(), 1, "{audit}");
    assert!(audit.contains("\"server\""), "{audit}");
    assert_eq!(receiver.has(1).await.len(), 1, "it is asked no more");

    *receiver.status.lock().unwrap() = 200;
    let path = format!("/webhooks/{}/switch", id(&hook));
    let on = world.ask("POST", &path, LOCAL, json!({"on": true})).await;
    assert_eq!(on.json()["on"], true, "{on:?}");
    record(&world, &[event(4, "acme")]).await;
    let got = receiver.has(2).await;
    assert_eq!(got[1].0["webhook-id"], "event-4");
}

#[tokio::test]
async fn one_that_is_silent_holds_up_nobody_else() {
    let world = World::new().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    for _ in 0..7 {
        hook(&world, None, &url, &[]).await;
    }
    let receiver = Receiver::default();
    hook(&world, None, &receiver.start(200).await, &[]).await;
    start(&world);
    record(&world, &(1..=30).map(|number| event(number, "acme")).collect::<Vec<_>>()).await;
    let got = tokio::time::timeout(Duration::from_secs(8), receiver.has(30)).await.unwrap();
    let ids: Vec<_> = got.iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    let expected: Vec<_> = (1..=30).map(|number| format!("event-{number}")).collect();
    assert_eq!(ids, expected, "in their order");
}

#[tokio::test]
async fn a_test_says_what_came_of_it() {
    let world = World::new().await;
    let receiver = Receiver::default();
    let good = hook(&world, None, &receiver.start(202).await, &[]).await;
    let path = format!("/webhooks/{}/test", id(&good));
    let answer = world.ask("POST", &path, LOCAL, Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["answer"], "status 202");
    assert!(receiver.has(1).await[0].1.contains("webhook.test"));

    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    drop(socket);
    let bad = hook(&world, None, &url, &[]).await;
    let path = format!("/webhooks/{}/test", id(&bad));
    let answer = world.ask("POST", &path, LOCAL, Value::Null).await.json();
    assert!(answer["answer"].as_str().unwrap().contains("refused"), "{answer}");
    assert!(answer["next_at"].is_string(), "{answer}");
}

#[tokio::test]
async fn wrong_webhooks_are_named() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let manager = world.key(Some(&acme), &["manage"]).await;
    let good = json!({"name": "a", "url": "https://example.com/hook"});
    for (field, value, named) in [
        ("name", json!(""), "`name`"),
        ("url", json!("http://example.com/"), "https://"),
        ("url", json!("ftp://example.com/"), "https://"),
        ("url", json!("https://"), "https://"),
        ("url", json!("example.com"), "https://"),
        ("url", json!("https://a:b@example.com/"), "no user"),
        ("url", json!(format!("https://example.com/{}", "a".repeat(600))), "512 bytes"),
        ("events", json!(["room.opened"]), "room.opened is none of room.started"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let refused = world.ask("POST", "/webhooks", &manager, body.clone()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {refused:?}");
        assert!(refused.text.contains(named), "{body}: {refused:?}");
    }
    for _ in 0..8 {
        let made = world.ask("POST", "/webhooks", &manager, good.clone()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        assert_eq!(made.json()["tenant"], json!(acme));
    }
    let ninth = world.ask("POST", "/webhooks", &manager, good.clone()).await;
    assert_eq!(ninth.status, StatusCode::CONFLICT, "{ninth:?}");

    // What a tenant learns of the operator's network: nothing.
    let beta = world.tenant("beta").await;
    let manager = world.key(Some(&beta), &["manage"]).await;
    let mut answers = Vec::new();
    for name in ["no-such-host.invalid", "nor-this.invalid"] {
        let body = json!({"name": "a", "url": format!("https://{name}/")});
        let made = world.ask("POST", "/webhooks", &manager, body).await.json();
        assert!(made["problem"].as_str().unwrap().contains("no address"), "{made}");
        let path = format!("/webhooks/{}/test", id(&made));
        let tested = world.ask("POST", &path, &manager, Value::Null).await.json();
        answers.push(tested["answer"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    // What everybody knows to be inside is refused, also if the operator makes the tenant's webhook.
    for host in ["127.0.0.1:1", "localhost:1", "10.0.0.1", "[::1]", "169.254.169.254"] {
        for key in [&*manager, LOCAL] {
            let body = json!({"name": "a", "tenant": beta, "url": format!("https://{host}/")});
            let refused = world.ask("POST", "/webhooks", key, body).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{host}: {refused:?}");
            assert!(refused.text.contains("not on the public internet"), "{refused:?}");
        }
    }
    let plain = json!({"name": "a", "tenant": beta, "url": "http://192.0.43.8/"});
    let refused = world.ask("POST", "/webhooks", LOCAL, plain).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
    // The operator's own webhooks may be inside the operator's network.
    hook(&world, None, "http://127.0.0.1:1/", &[]).await;
    let body = json!({"name": "a", "url": "ftp://example.com/"});
    let refused = world.ask("POST", "/webhooks", LOCAL, body).await;
    assert!(refused.text.contains("https:// or http://"), "{refused:?}");
    for _ in 0..7 {
        hook(&world, None, "http://127.0.0.1:1/", &[]).await;
    }
    let body = json!({"name": "a", "url": "http://127.0.0.1:1/"});
    let ninth = world.ask("POST", "/webhooks", LOCAL, body).await;
    assert!(ninth.text.contains("8 webhooks of the whole server"), "{ninth:?}");
}

#[tokio::test]
async fn what_waits_for_its_next_try_is_sent_at_once() {
    let world = World::new().await;
    let receiver = Receiver::default();
    let hook = hook(&world, None, &receiver.start(500).await, &[]).await;
    start(&world);
    record(&world, &[event(1, "acme")]).await;
    let path = format!("/webhooks/{}/replay", id(&hook));
    let mut sent = 1;
    receiver.has(sent).await;
    for by_id in [true, false] {
        let waiting = tried(&world, &hook, 1).await;
        assert!(waiting["next_at"].is_string(), "{waiting}");
        let body = match by_id {
            true => json!({"delivery": waiting["id"]}),
            false => json!({"since": "2020-01-01T00:00:00Z"}),
        };
        let replayed = world.ask("POST", &path, LOCAL, body).await;
        assert_eq!(replayed.json()["deliveries"], 1, "{replayed:?}");
        sent += 1;
        receiver.has(sent).await;
    }
}

#[tokio::test]
async fn what_waits_is_limited() {
    let world = World::new().await;
    let made = hook(&world, None, "http://127.0.0.1:1/", &[]).await;
    let mut events: Vec<_> = (0..10_000).map(|_| event(1, "acme")).collect();
    for (number, event) in events.iter_mut().enumerate() {
        event.id = format!("many-{number}");
    }
    assert_eq!(record(&world, &events).await, 0);
    assert_eq!(record(&world, &[event(1, "acme"), event(2, "acme")]).await, 2);
    let path = format!("/webhooks/{}", id(&made));
    assert_eq!(world.ask("DELETE", &path, LOCAL, Value::Null).await.status, 204);
    assert_eq!(record(&world, &[event(1, "acme")]).await, 0, "nobody is told");
}
