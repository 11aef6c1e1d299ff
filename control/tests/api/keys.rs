//! API keys over the API.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::world::{LOCAL, World};

#[tokio::test]
async fn a_key_works_until_it_is_revoked_or_ends() {
    let world = World::new().await;
    let key = world.key(None, &["read"]).await;
    assert_eq!(world.get("/tenants", &key).await.status, StatusCode::OK);
    let refused = world.ask("POST", "/tenants", &key, json!({"name": "acme"})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    assert!(refused.text.contains("`manage`"), "{refused:?}");

    let id = key.split('_').nth(1).unwrap();
    let used = world.get("/keys", LOCAL).await.json()["items"][0]["last_used_at"].clone();
    assert_eq!(used, "2027-01-15T08:00:00Z");
    let revoked = world.ask("DELETE", &format!("/keys/{id}"), LOCAL, Value::Null).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
    assert_eq!(world.get("/tenants", &key).await.status, StatusCode::UNAUTHORIZED);

    let body = json!({"name": "short", "scopes": ["read"], "expires_at": "2027-01-15T08:01:00Z"});
    let short = world.ask("POST", "/keys", LOCAL, body).await.json();
    let short = short["key"].as_str().unwrap();
    assert_eq!(world.get("/tenants", short).await.status, StatusCode::OK);
    *world.now.lock().unwrap() += 60;
    assert_eq!(world.get("/tenants", short).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let manager = world.key(Some(&acme), &["read", "manage"]).await;
    let make = async |body: Value| world.ask("POST", "/keys", &manager, body).await;
    let more = make(json!({"name": "a", "scopes": ["operate"]})).await;
    assert_eq!(more.status, StatusCode::FORBIDDEN, "{more:?}");
    let foreign = make(json!({"name": "a", "scopes": ["read"], "tenant": beta})).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{foreign:?}");
    let own = make(json!({"name": "a", "scopes": ["read"]})).await;
    assert_eq!(own.status, StatusCode::CREATED, "{own:?}");
    assert_eq!(own.json()["tenant"], json!(acme), "a tenant's key makes keys of its tenant");
    let none = make(json!({"name": "a", "scopes": []})).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY, "{none:?}");
    let unknown = make(json!({"name": "a", "scopes": ["root"]})).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY, "{unknown:?}");
}

#[tokio::test]
async fn the_list_shows_no_secret() {
    let world = World::new().await;
    let key = world.key(None, &["read"]).await;
    let list = world.get("/keys", LOCAL).await.text;
    let secret = key.rsplit_once('_').unwrap().1;
    assert!(!list.contains(secret) && !list.contains("hash"), "{list}");
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let world = World::new().await;
    let key = world.key(None, &["read"]).await;
    let other = world.key(None, &["read"]).await;
    let (id, secret) = (key.split('_').nth(1).unwrap(), other.rsplit_once('_').unwrap().1);
    let swapped = format!("nuk_{id}_{secret}");
    for wrong in ["", "x", "nuk_", &key[..key.len() - 1], &format!("{key}x"), &swapped] {
        let answer = world.get("/tenants", wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}: {answer:?}");
        assert_eq!(answer.kind, "application/problem+json");
    }
}
