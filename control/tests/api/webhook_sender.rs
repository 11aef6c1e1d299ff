//! How webhooks are told: connections, places, clocks and keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use nucleus_control::store::{PageRequest, deliveries};
use nucleus_control::webhooks::DeliveryOutcome;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::webhooks::{Receiver, deliveries_of, event, hook, id, inside, record, start, tried};
use crate::world::{LOCAL, World};

/// A receiver that answers so many requests on a connection, and then closes it without a word.
struct FrugalReceiver {
    url: String,
    connections: Arc<AtomicU32>,
}

impl FrugalReceiver {
    async fn start(answers: u32) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", socket.local_addr().unwrap());
        let connections = Arc::new(AtomicU32::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = socket.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut got = Vec::new();
                    for _ in 0..answers {
                        // A head, and a body whose end is that of the JSON.
                        while !(got.ends_with(b"}}")
                            && got.windows(4).any(|part| part == b"\r\n\r\n"))
                        {
                            if stream.read_buf(&mut got).await.unwrap_or(0) == 0 {
                                return;
                            }
                        }
                        got.clear();
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        stream.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        Self { url, connections }
    }
}

async fn delivered(world: &World, count: u64) {
    let counters = &world.webhooks.counters;
    for _ in 0..2_000 {
        if counters.get(DeliveryOutcome::Delivered) == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} of {count} delivered", counters.get(DeliveryOutcome::Delivered));
}

#[tokio::test]
async fn many_deliveries_share_a_connection_and_its_end_loses_none() {
    for (answers, most) in [(u32::MAX, 2), (7, 12), (1, 60)] {
        let world = World::new().await;
        let receiver = FrugalReceiver::start(answers).await;
        let hook = hook(&world, None, &receiver.url, &[]).await;
        start(&world);
        let events: Vec<_> = (1..=60).map(|number| event(number, "acme")).collect();
        record(&world, &events).await;
        delivered(&world, 60).await;
        let connections = receiver.connections.load(Ordering::Relaxed);
        assert!(connections <= most, "{answers} answers: {connections} connections");
        for delivery in deliveries_of(&world, &hook).await {
            assert_eq!((&delivery["tries"], &delivery["next_at"]), (&json!(1), &Value::Null));
        }
        assert_eq!(world.webhooks.counters.get(DeliveryOutcome::Retried), 0);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_no_delivery() {
    let world = World::new().await;
    let receiver = Receiver::default();
    let hook = hook(&world, None, &receiver.start(500).await, &[]).await;
    start(&world);
    record(&world, &[event(1, "acme")]).await;
    tried(&world, &hook, 1).await;
    *receiver.status.lock().unwrap() = 200;
    // The next try is 5 s later, by a clock that shows two hours less.
    *world.now.lock().unwrap() -= 7_200;
    receiver.has(2).await;
    tried(&world, &hook, 2).await;
    // A server that has started after its clock was set back by years does not know it.
    let mut change = world.database.begin().await.unwrap();
    let far = i64::try_from((*world.now.lock().unwrap() + 400 * 86_400) * 1_000_000).unwrap();
    let sql = "UPDATE webhook_delivery SET next_at = $1, delivered_at = NULL";
    change.run(sql, vec![far.into()]).await.unwrap();
    change.commit().await.unwrap();
    world.webhooks.wake.notify_one();
    receiver.has(3).await;
}

#[tokio::test]
async fn a_webhook_of_another_key_says_what_keeps_it() {
    let world = World::new().await;
    let (own, other) = (
        hook(&world, None, "http://127.0.0.1:1/", &[]).await,
        hook(&world, None, "http://127.0.0.1:1/", &[]).await,
    );
    assert_eq!(own["problem"], Value::Null);
    let mut change = world.database.begin().await.unwrap();
    let sql = "UPDATE webhook SET signer = 'other' WHERE id = $1";
    change.run(sql, vec![id(&other).into()]).await.unwrap();
    change.commit().await.unwrap();
    let hooks = world.get("/webhooks", LOCAL).await.json();
    assert_eq!(hooks["items"][0]["problem"], Value::Null);
    let problem = hooks["items"][1]["problem"].as_str().unwrap();
    assert!(problem.contains("webhook-key"), "{problem}");
    let path = format!("/webhooks/{}/switch", id(&other));
    let switched = world.ask("POST", &path, LOCAL, json!({"on": true})).await.json();
    assert_eq!(switched["problem"], problem);
}

/// The web servers of one tenant hang: another tenant still tries its webhook.
#[tokio::test]
async fn one_tenant_takes_no_more_than_its_share_of_the_places() {
    let world = World::with(inside).await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}/", silent.local_addr().unwrap());
    let (slow, receiver) = (hook(&world, Some(&acme), &hanging, &[]).await, Receiver::default());
    let good = hook(&world, Some(&beta), &receiver.start(200).await, &[]).await;
    let acmes = world.key(Some(&acme), &["manage"]).await;
    let betas = world.key(Some(&beta), &["manage"]).await;
    let test = async |hook: &Value, key: &str| {
        let path = format!("/webhooks/{}/test", id(hook));
        world.ask("POST", &path, key, Value::Null).await.status
    };
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let third = test(&slow, &acmes).await;
        (third, test(&good, &betas).await)
    };
    tokio::select! {
        _first = test(&slow, &acmes) => panic!("it hangs"),
        _second = test(&slow, &acmes) => panic!("it hangs"),
        (third, of_beta) = others => {
            assert_eq!(third, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(of_beta, StatusCode::OK);
        }
    }
    // Those that were given up have left their places.
    assert_eq!(test(&good, &betas).await, StatusCode::OK);
}

/// Somebody asks for a replay while the last try is under way, and then this try fails.
#[tokio::test]
async fn a_replay_is_not_lost_to_a_try_that_fails_meanwhile() {
    let world = World::with(inside).await;
    let hook = hook(&world, None, "http://127.0.0.1:1/hook", &[]).await;
    record(&world, &[event(1, "acme")]).await;
    let page = PageRequest { after: None, limit: 1 };
    let mut under_way =
        deliveries::list(&world.database, id(&hook), &page).await.unwrap().remove(0);
    for tries in 1..10 {
        under_way.tries = tries;
        deliveries::note_tries(&world.database, &[under_way.clone()]).await.unwrap();
    }
    assert_eq!(deliveries_of(&world, &hook).await[0]["tries"], 9);

    let path = format!("/webhooks/{}/replay", id(&hook));
    let replayed = world.ask("POST", &path, LOCAL, json!({"delivery": under_way.id})).await;
    assert_eq!(replayed.status, StatusCode::OK, "{replayed:?}");
    (under_way.tries, under_way.next_at) = (10, None);
    deliveries::note_tries(&world.database, &[under_way]).await.unwrap();
    let after = deliveries_of(&world, &hook).await.remove(0);
    assert!(after["tries"] == 0 && after["next_at"].is_string(), "it is given up: {after}");
}
