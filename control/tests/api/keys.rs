//! API keys over the API.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
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
    // The use is noted by a task of its own.
    let mut used = Value::Null;
    for _ in 0..500 {
        used = world.get("/keys", LOCAL).await.json()["items"][0]["last_used_at"].clone();
        if !used.is_null() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
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
async fn a_key_of_a_tenant_that_is_switched_off_or_ended_is_refused() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let key = world.key(Some(&acme), &["read"]).await;
    let path = format!("/tenants/{acme}");
    let change = async |body: Value| world.ask("PUT", &path, LOCAL, body).await.status;
    let asked = async || world.get("/tenants", &key).await;
    assert_eq!(asked().await.status, StatusCode::OK);
    assert_eq!(change(json!({"name": "acme", "active": false})).await, StatusCode::OK);
    let refused = asked().await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    assert!(refused.text.contains("switched off"), "{refused:?}");
    let back = json!({"name": "acme", "active": true, "ends_at": "2027-01-15T08:01:00Z"});
    assert_eq!(change(back).await, StatusCode::OK);
    assert_eq!(asked().await.status, StatusCode::OK, "the key is the same");
    *world.now.lock().unwrap() += 60;
    assert_eq!(asked().await.status, StatusCode::FORBIDDEN);
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
async fn a_key_that_ends_makes_none_that_outlives_it() {
    let world = World::new().await;
    let make = async |key: &str, end: Value| {
        let body = json!({"name": "a", "scopes": ["manage"], "expires_at": end});
        world.ask("POST", "/keys", key, body).await
    };
    let own = make(LOCAL, json!("2027-02-01T00:00:00Z")).await.json();
    let own = own["key"].as_str().unwrap();
    assert_eq!(make(own, Value::Null).await.status, StatusCode::FORBIDDEN);
    assert_eq!(make(own, json!("2027-02-01T00:00:01Z")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(make(own, json!("2027-02-01T00:00:00Z")).await.status, StatusCode::CREATED);
}

/// The key of commands on the server's machine, sent from another machine.
#[tokio::test]
async fn the_local_key_works_on_this_machine_alone() {
    let world = World::new().await;
    let from = async |address: &str| {
        let request = Request::get("/api/v1/tenants")
            .header(header::AUTHORIZATION, format!("Bearer {LOCAL}"))
            .extension(ConnectInfo(address.parse::<SocketAddr>().unwrap()));
        world.send(request.body(Body::empty()).unwrap()).await.status
    };
    for local in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
        assert_eq!(from(local).await, StatusCode::OK, "{local}");
    }
    for other in ["192.0.2.1:5", "[2001:db8::1]:5"] {
        assert_eq!(from(other).await, StatusCode::UNAUTHORIZED, "{other}");
    }
}

#[tokio::test]
async fn the_list_shows_no_secret() {
    let world = World::new().await;
    let key = world.key(None, &["read"]).await;
    let list = world.get("/keys", LOCAL).await.text;
    // A secret may have underscores.
    let secret = key.splitn(3, '_').nth(2).unwrap();
    assert!(!list.contains(secret) && !list.contains("hash"), "{list}");
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let world = World::new().await;
    let key = world.key(None, &["read"]).await;
    let other = world.key(None, &["read"]).await;
    let (id, secret) = (key.split('_').nth(1).unwrap(), other.splitn(3, '_').nth(2).unwrap());
    let swapped = format!("nuk_{id}_{secret}");
    for wrong in ["", "x", "nuk_", &key[..key.len() - 1], &format!("{key}x"), &swapped] {
        let answer = world.get("/tenants", wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}: {answer:?}");
        assert_eq!(answer.kind, "application/problem+json");
    }
}

/// Answers that are kept for requests that are sent again hold new keys and secrets: nobody reads them in the
/// database.
#[tokio::test]
async fn kept_answers_are_sealed() {
    let world = World::new().await;
    let hook = json!({"name": "a", "url": "https://example.com/"});
    let key = json!({"name": "a", "scopes": ["read"]});
    for (path, body, field) in [("/keys", key, "key"), ("/webhooks", hook, "secret")] {
        let send = async || {
            let request = Request::post(format!("/api/v1{path}"))
                .header(header::AUTHORIZATION, format!("Bearer {LOCAL}"))
                .header(header::CONTENT_TYPE, "application/json")
                .header("idempotency-key", path)
                .body(Body::from(body.to_string()));
            world.send(request.unwrap()).await
        };
        let first = send().await;
        assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
        // That of a new key is kept without the key.
        let again = send().await.json();
        assert_eq!(again["id"], first.json()["id"], "the same answer: {again}");
        assert!(again[field].is_null() || again == first.json(), "{again}");
        let secret = first.json()[field].as_str().unwrap().to_owned();
        // Behind `nuk_ID_` or `whsec_`.
        let parts = if field == "key" { 3 } else { 2 };
        let secret = secret.splitn(parts, '_').last().unwrap().to_owned();
        assert!(secret.len() > 20, "{secret}");
        let rows = world.database.rows("SELECT answer FROM kept_answer", vec![]).await.unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            assert!(!row.get::<String>("answer").unwrap().contains(&secret), "{path}");
        }
        let bytes = world.database_bytes();
        let is_there = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!is_there(&secret), "{path}: it stands in the file");
        assert!(bytes.is_empty() || is_there(first.json()["id"].as_str().unwrap_or("kept_answer")));
    }
    // An older server has kept an answer as it is.
    let mut change = world.database.begin().await.unwrap();
    change.run("UPDATE kept_answer SET answer = '{\"old\":1}'", vec![]).await.unwrap();
    change.commit().await.unwrap();
    let request = Request::post("/api/v1/keys")
        .header(header::AUTHORIZATION, format!("Bearer {LOCAL}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", "/keys")
        .body(Body::from(json!({"name": "a", "scopes": ["read"]}).to_string()));
    assert_eq!(world.send(request.unwrap()).await.json(), json!({"old": 1}));
}
