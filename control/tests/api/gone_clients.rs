//! Clients that go away before their answer.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::world::{LOCAL, World};

/// Requests that are given up, each a little later than the one before.
const GIVEN_UP: u64 = 100;

/// A request is given up at any moment of its transaction: it has then changed everything or nothing, and
/// the next one works.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_open_transaction() {
    let world = World::new().await;
    let mut is_given_up = 0;
    for number in 0..GIVEN_UP {
        *world.now.lock().unwrap() += 1;
        let body = json!({"name": format!("tenant {number}")});
        let asked = world.ask("POST", "/tenants", LOCAL, body);
        let given_up = timeout(Duration::from_micros(100 * number), asked).await;
        is_given_up += usize::from(given_up.is_err());
        let next = json!({"name": format!("next {number}")});
        let answer = world.ask("POST", "/tenants", LOCAL, next).await;
        assert_eq!(answer.status, StatusCode::CREATED, "after {number}: {answer:?}");
    }
    assert!(is_given_up > 0, "the requests were too fast");
    let tenants = world.get("/tenants?limit=200", LOCAL).await.json()["items"].clone();
    let mut names: Vec<Value> =
        tenants.as_array().unwrap().iter().map(|tenant| tenant["name"].clone()).collect();
    let audit = world.get("/audit?limit=200", LOCAL).await.json()["items"].clone();
    let mut noted: Vec<Value> =
        audit.as_array().unwrap().iter().map(|entry| entry["detail"].clone()).collect();
    names.sort_by_key(Value::to_string);
    noted.sort_by_key(Value::to_string);
    assert_eq!(names, noted, "each tenant has its entry of the audit, and the other way round");
    assert!(names.len() >= usize::try_from(GIVEN_UP).unwrap());
}
