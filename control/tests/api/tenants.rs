//! Tenants over the API.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::world::{LOCAL, World};

#[tokio::test]
async fn a_tenant_is_made_read_replaced_and_deleted() {
    let world = World::new().await;
    let body = json!({"name": "acme", "products": ["atom"], "ends_at": "2030-01-01T00:00:00Z"});
    let made = world.ask("POST", "/tenants", LOCAL, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let made = made.json();
    let path = format!("/tenants/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(&path, LOCAL).await.json(), made);
    assert_eq!(made["ends_at"], "2030-01-01T00:00:00Z");
    assert_eq!((&made["active"], &made["max_rooms"]), (&json!(true), &Value::Null));

    let twice = world.ask("POST", "/tenants", LOCAL, json!({"name": "acme"})).await;
    assert_eq!(twice.status, StatusCode::CONFLICT, "{twice:?}");

    let replaced = world.ask("PUT", &path, LOCAL, json!({"name": "acme", "active": false})).await;
    assert_eq!((replaced.status, &replaced.json()["active"]), (StatusCode::OK, &json!(false)));
    assert_eq!(replaced.json()["ends_at"], Value::Null, "what is left out gets its default");

    assert_eq!(world.ask("DELETE", &path, LOCAL, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get(&path, LOCAL).await.status, StatusCode::NOT_FOUND);
    let acts = world.get("/audit", LOCAL).await.json();
    let acts: Vec<_> = acts["items"].as_array().unwrap().iter().map(|e| &e["action"]).collect();
    assert_eq!(acts, ["tenant.delete", "tenant.change", "tenant.create"]);
    let entry = world.get("/audit", LOCAL).await.json()["items"][1].clone();
    let changed = "acme, products from atom to all, ends_at from 2030-01-01T00:00:00Z to none, \
                   active from true to false";
    assert_eq!(entry["detail"], changed);
}

#[tokio::test]
async fn values_out_of_range_are_named() {
    let world = World::new().await;
    for (body, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "a".repeat(65)}), "name"),
        (json!({"name": "a\u{202e}b"}), "name"),
        (json!({"name": " a"}), "space"),
        (json!({"name": "a "}), "space"),
        (json!({"name": "a", "products": ["chess"]}), "products"),
        (json!({"name": "a", "max_rooms": 2_000_000}), "max_rooms"),
        (json!({"name": "a", "max_rooms": -1}), "`max_rooms` must be a whole number"),
        (json!({"name": "a", "colour": "red"}), "colour"),
        (json!({"name": "a", "ends_at": "soon"}), "2026-11-29T12:00:00Z"),
        (
            json!({"name": "a", "starts_at": "2030-01-01T00:00:00Z", "ends_at": "2029-01-01T00:00:00Z"}),
            "ends_at",
        ),
        (json!({}), "name"),
    ] {
        let answer = world.ask("POST", "/tenants", LOCAL, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(field), "{answer:?}");
    }
    assert_eq!(world.get("/tenants", LOCAL).await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_carried_out_once() {
    let world = World::new().await;
    let send = async |name: &str, key: &str| {
        let request = Request::post("/api/v1/tenants")
            .header(header::AUTHORIZATION, format!("Bearer {LOCAL}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(json!({"name": name}).to_string()));
        world.send(request.unwrap()).await
    };
    let first = send("acme", "one").await;
    let again = send("acme", "one").await;
    assert_eq!((again.status, again.json()), (StatusCode::CREATED, first.json()));
    let other = send("beta", "one").await;
    assert_eq!(other.status, StatusCode::CONFLICT, "the key belongs to another request");
    assert_eq!(send("acme", "two").await.status, StatusCode::CONFLICT, "the name is taken");
    assert_eq!(world.get("/tenants", LOCAL).await.json()["items"].as_array().unwrap().len(), 1);
    // A day later the key is free again.
    *world.now.lock().unwrap() += 86_401;
    assert_eq!(send("beta", "one").await.status, StatusCode::CREATED);
    let empty = send("gamma", "").await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST, "{empty:?}");
}

#[tokio::test]
async fn pages_follow_each_other() {
    let world = World::new().await;
    for number in 0..7 {
        *world.now.lock().unwrap() += 1;
        world.tenant(&format!("tenant {number}")).await;
    }
    let (mut names, mut path) = (Vec::new(), "/tenants?limit=3".to_owned());
    loop {
        let page = world.get(&path, LOCAL).await.json();
        names.extend(page["items"].as_array().unwrap().iter().map(|t| t["name"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/tenants?limit=3&cursor={next}");
    }
    assert_eq!(names.len(), 7);
    assert_eq!(names[6], "tenant 6");
    for wrong in ["limit=0", "limit=201", "limit=x", "cursor=1", "colour=red", "cursor=' OR 1"] {
        let path = format!("/tenants?{}", wrong.replace(' ', "%20"));
        let answer = world.get(&path, LOCAL).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {answer:?}");
    }
}
