//! People over the API.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, World};

#[tokio::test]
async fn a_person_is_made_changed_and_deleted() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let body = json!({
        "email": " Ada@Example.com", "name": "Ada", "role": "partner_admin", "tenant": acme,
    });
    let made = world.ask("POST", "/people", LOCAL, body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let made = made.json();
    assert_eq!((&made["email"], &made["has_password"]), (&json!("ada@example.com"), &json!(false)));
    let twice = world.ask("POST", "/people", LOCAL, body).await;
    assert_eq!(twice.status, StatusCode::CONFLICT, "{twice:?}");
    let path = format!("/people/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(&path, LOCAL).await.json(), made);
    let patch = json!({"role": "viewer", "disabled": true, "name": "Ada L."});
    let changed = world.ask("PATCH", &path, LOCAL, patch).await.json();
    assert_eq!((&changed["role"], &changed["name"]), (&json!("viewer"), &json!("Ada L.")));
    assert_eq!(changed["disabled_at"], "2027-01-15T08:00:00Z");
    let link = world.ask("POST", &format!("{path}/link"), LOCAL, Value::Null).await;
    assert_eq!(link.status, StatusCode::CONFLICT, "nobody signs in who is disabled: {link:?}");
    let enabled = world.ask("PATCH", &path, LOCAL, json!({"disabled": false})).await.json();
    assert!(enabled["disabled_at"].is_null() && enabled["role"] == "viewer", "{enabled}");
    let deleted = world.ask("DELETE", &path, LOCAL, Value::Null).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get(&path, LOCAL).await.status, StatusCode::NOT_FOUND);
    let audit = world.get("/audit", LOCAL).await.json();
    let acts: Vec<_> = audit["items"].as_array().unwrap().iter().collect();
    let acts: Vec<_> = acts.iter().filter_map(|entry| entry["action"].as_str()).collect();
    let expected = ["person.delete", "person.change", "person.change", "person.create"];
    assert_eq!(acts[..4], expected, "{acts:?}");
    assert!(audit["items"].as_array().unwrap().iter().all(|entry| entry["tenant"] == *acme));
}

#[tokio::test]
async fn bad_values_are_refused_and_say_why() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    for (body, text) in [
        (json!({"email": "ada", "role": "viewer"}), "`email`"),
        (json!({"email": "a@b", "role": "partner_admin"}), "needs a `tenant`"),
        (json!({"email": "a@b", "role": "super_admin", "tenant": acme}), "cannot be super_admin"),
        (json!({"email": "a@b", "role": "root"}), "partner_admin"),
        (json!({"email": "a@b", "role": "viewer", "name": ""}), "`name`"),
        (json!({"email": "a@b", "role": "viewer", "password": "short"}), "12 characters"),
        (json!({"email": "a@b", "role": "viewer", "password": "my a@b password"}), "email"),
        (json!({"email": "a@b", "role": "viewer", "admin": true}), "admin"),
    ] {
        let answer = world.ask("POST", "/people", LOCAL, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {answer:?}");
        assert!(answer.text.contains(text), "{body}: {answer:?}");
    }
    let nowhere = json!({"email": "a@b", "role": "viewer", "tenant": "nobody"});
    let answer = world.ask("POST", "/people", LOCAL, nowhere).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    assert_eq!(world.get("/people", LOCAL).await.json()["items"], json!([]));
}

/// A password travels in a body. It must stand nowhere afterwards.
#[tokio::test]
async fn a_password_is_stored_as_a_hash_alone() {
    let world = World::new().await;
    person(&world, "ada@example.com", "viewer", None).await;
    let bytes = world.database_bytes();
    let contains = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(bytes.is_empty() || contains("$argon2id$"), "SQLite has the hash");
    assert!(!contains(PASSWORD));
}

#[tokio::test]
async fn nobody_gives_a_person_more_than_they_have() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let make = async |key: &str, role: &str, tenant: Option<&str>| {
        let email = format!("{}@example.com", role.replace('_', "."));
        let body = json!({"email": email, "role": role, "tenant": tenant});
        world.ask("POST", "/people", key, body).await
    };
    let manager = world.key(None, &["read", "manage"]).await;
    let more = make(&manager, "operator", None).await;
    assert_eq!(more.status, StatusCode::FORBIDDEN, "{more:?}");
    assert!(more.text.contains("`operate`"), "{more:?}");
    assert_eq!(make(&manager, "viewer", None).await.status, StatusCode::CREATED);
    // Nor by a link, which would set an administrator's password.
    let admin = make(LOCAL, "super_admin", None).await.json()["id"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        ("POST", format!("/people/{admin}/link"), Value::Null),
        ("PATCH", format!("/people/{admin}"), json!({"disabled": true})),
        ("DELETE", format!("/people/{admin}"), Value::Null),
        ("DELETE", format!("/people/{admin}/sessions"), Value::Null),
    ] {
        let answer = world.ask(method, &path, &manager, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}: {answer:?}");
    }
    // A tenant's key makes people of its tenant alone.
    let partner = world.key(Some(&acme), &["read", "operate", "tokens", "manage"]).await;
    assert_eq!(make(&partner, "super_admin", None).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(make(&partner, "operator", Some(&beta)).await.status, StatusCode::NOT_FOUND);
    let own = make(&partner, "operator", None).await.json();
    assert_eq!(own["tenant"], json!(acme));
    assert_eq!(world.get("/people", &partner).await.json()["items"].as_array().unwrap().len(), 1);
    let foreign = world.get(&format!("/people/{admin}"), &partner).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    // A key that ends gives nobody what lasts.
    let body =
        json!({"name": "a", "scopes": ["read", "manage"], "expires_at": "2027-02-01T00:00:00Z"});
    let short = world.ask("POST", "/keys", LOCAL, body).await.json();
    let short = make(short["key"].as_str().unwrap(), "viewer", Some(&acme)).await;
    assert_eq!(short.status, StatusCode::FORBIDDEN, "{short:?}");
}

/// A table of role, request and answer.
#[tokio::test]
async fn a_role_allows_what_it_says() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let [of_acme, of_beta] = ["0101010101010101", "0202020202020202"];
    let close = |room: &str| ("POST", format!("/rooms/{room}/close"), Value::Null);
    let body = |email: &str| json!({"email": email, "role": "viewer"});
    let requests = [
        ("GET", "/rooms".to_owned(), Value::Null),
        close(of_acme),
        close(of_beta),
        ("GET", "/people".to_owned(), Value::Null),
        ("POST", "/people".to_owned(), body("new@example.com")),
        ("GET", "/server".to_owned(), Value::Null),
        ("POST", "/tenants".to_owned(), json!({"name": "new"})),
        ("GET", format!("/tenants/{beta}"), Value::Null),
    ];
    for (role, tenant, expected) in [
        ("super_admin", None, [200, 204, 204, 200, 201, 200, 201, 200]),
        ("operator", None, [200, 204, 204, 403, 403, 200, 403, 200]),
        ("viewer", None, [200, 403, 403, 403, 403, 200, 403, 200]),
        ("partner_admin", Some(acme.as_str()), [200, 204, 404, 200, 409, 403, 403, 404]),
        ("operator", Some(acme.as_str()), [200, 204, 404, 403, 403, 403, 403, 404]),
        ("viewer", Some(acme.as_str()), [200, 403, 403, 403, 403, 403, 403, 404]),
    ] {
        let email = format!("{role}.{}@example.com", tenant.is_some());
        person(&world, &email, role, tenant).await;
        let mut browser = Browser::new(&world);
        assert_eq!(browser.sign_in(&email, PASSWORD, "").await, "/");
        for ((method, path, body), expected) in requests.iter().zip(expected) {
            let answer = browser.ask(method, path, body.clone()).await;
            let name = format!("{role} {tenant:?} {method} {path}: {answer:?}");
            assert_eq!(answer.status.as_u16(), expected, "{name}");
            assert!(tenant.is_none() || !answer.text.contains("beta lobby"), "{name}");
        }
    }
    let audit = world.get("/audit?limit=200", LOCAL).await.json();
    let acts = audit["items"].as_array().unwrap().iter();
    let closed = acts.filter(|entry| entry["action"] == "room.close");
    assert!(closed.clone().count() > 0);
    assert!(closed.clone().all(|entry| entry["actor"].as_str().unwrap().starts_with("person:")));
}

#[tokio::test]
async fn a_person_sees_and_ends_their_own_sessions_and_does_not_lock_themself_out() {
    let world = World::new().await;
    let ada = person(&world, "ada@example.com", "super_admin", None).await;
    let ben = person(&world, "ben@example.com", "viewer", None).await;
    let (mut one, mut two) = (Browser::new(&world), Browser::new(&world));
    one.sign_in("ben@example.com", PASSWORD, "").await;
    two.sign_in("ben@example.com", PASSWORD, "").await;
    let own = format!("/people/{ben}/sessions");
    let sessions = one.ask("GET", &own, Value::Null).await.json();
    let sessions = sessions["items"].as_array().unwrap().clone();
    assert_eq!((sessions.len(), &sessions[0]["agent"]), (2, &json!("a browser/1.0")));
    assert_eq!(sessions[0]["ip"], "192.0.2.1");
    let foreign = one.ask("GET", &format!("/people/{ada}/sessions"), Value::Null).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN, "{foreign:?}");
    let first = format!("{own}?session={}", sessions[0]["id"].as_str().unwrap());
    let ended = two.ask("DELETE", &first, Value::Null).await;
    assert_eq!(ended.json()["ended"], 1);
    assert_eq!(one.ask("GET", &own, Value::Null).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(two.ask("GET", &own, Value::Null).await.status, StatusCode::OK);
    // A new role ends them all.
    let path = format!("/people/{ben}");
    world.ask("PATCH", &path, LOCAL, json!({"role": "operator"})).await;
    assert_eq!(two.ask("GET", &own, Value::Null).await.status, StatusCode::UNAUTHORIZED);

    let mut admin = Browser::new(&world);
    admin.sign_in("ada@example.com", PASSWORD, "").await;
    let own = format!("/people/{ada}");
    for (method, path, body) in [
        ("PATCH", own.clone(), json!({"disabled": true})),
        ("PATCH", own.clone(), json!({"role": "viewer"})),
        ("PATCH", own.clone(), json!({"remove_totp": true})),
        ("DELETE", own.clone(), Value::Null),
        ("POST", format!("{own}/link"), Value::Null),
    ] {
        let answer = admin.ask(method, &path, body).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{method} {path}: {answer:?}");
    }
    let named = admin.ask("PATCH", &own, json!({"name": "Ada"})).await;
    assert_eq!(named.json()["name"], "Ada");
    let deleted = admin.ask("DELETE", &path, Value::Null).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
}
