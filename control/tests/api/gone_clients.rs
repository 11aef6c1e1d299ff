//! Clients that go away before their answer.

use std::pin::pin;
use std::task::Poll;

use axum::http::StatusCode;
use serde_json::json;

use crate::world::{LOCAL, World};

/// More steps than a request has.
const MOST_STEPS: u32 = 500;

/// Carries a request out up to a number of steps, and gives it up then. A step goes from one wait of the
/// request to the next. Returns whether it had its answer before.
async fn give_up_after(steps: u32, request: impl Future<Output = crate::world::Answer>) -> bool {
    let (mut request, mut left) = (pin!(request), steps);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match request.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A request is given up at each of its waits, one after the other: it has then changed everything or nothing,
/// and the next one works.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_open_transaction() {
    let world = World::new().await;
    let mut given_up = 0;
    for steps in 0..MOST_STEPS {
        *world.now.lock().unwrap() += 1;
        let body = json!({"name": format!("tenant {steps}")});
        let asked = world.ask("POST", "/tenants", LOCAL, body);
        let has_answer = give_up_after(steps, asked).await;
        let next = json!({"name": format!("next {steps}")});
        let answer = world.ask("POST", "/tenants", LOCAL, next).await;
        assert_eq!(answer.status, StatusCode::CREATED, "after {steps}: {answer:?}");
        if has_answer {
            break;
        }
        given_up += 1;
    }
    // A transaction alone waits five times: for its begin, three statements and its end. PostgreSQL may have
    // answered before this test looks again, on a busy machine most times.
    let is_sqlite = !world.database_bytes().is_empty();
    let least = if is_sqlite { 5 } else { 1 };
    assert!((least..MOST_STEPS).contains(&given_up), "given up at {given_up} waits");
    let list = async |path: &str, field: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = world.get(&format!("{path}?limit=200{cursor}"), LOCAL).await.json();
            let items = page["items"].as_array().unwrap();
            found.extend(items.iter().map(|item| item[field].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        found.sort_unstable();
        found
    };
    let (names, noted) = (list("/tenants", "name").await, list("/audit", "detail").await);
    assert_eq!(names, noted, "each tenant has its entry of the audit, and the other way round");
    let made = names.iter().filter(|name| name.starts_with("tenant")).count();
    // The file of SQLite is changed on another thread, for which each statement waits. On PostgreSQL the waits
    // that are seen are too few to demand it.
    let is_undone = made < given_up as usize;
    assert!(!is_sqlite || is_undone, "{made} of {given_up} were carried out all the same");
    assert!(names.len() > given_up as usize);
}
