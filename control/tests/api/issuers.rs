//! Issuers of join tokens over the API.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use crate::world::{LOCAL, World};

fn public_key(kind: &'static rcgen::SignatureAlgorithm) -> String {
    rcgen::KeyPair::generate_for(kind).unwrap().public_key_pem()
}

/// A web server on this machine: with keys, with none, and with redirects to itself.
async fn web_server() -> SocketAddr {
    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let routes = Router::new()
        .route("/keys", get(async || KEYS))
        .route("/empty", get(async || r#"{"keys":[]}"#))
        .route("/large", get(async || " ".repeat(1 << 20)))
        .route("/away", get(async || axum::response::Redirect::to("/keys")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

#[tokio::test]
async fn a_tenants_key_manages_its_own_issuers_alone() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let manager = world.key(Some(&acme), &["read", "manage", "tokens"]).await;
    let lesser = world.key(Some(&acme), &["read", "manage"]).await;
    let pem = public_key(&rcgen::PKCS_ED25519);
    let body = |tenant: Option<&str>| json!({"name": "web", "tenant": tenant, "algorithm": "EdDSA", "public_key": pem});
    let foreign = world.ask("POST", "/issuers", &manager, body(Some(&beta))).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{foreign:?}");
    let refused = world.ask("POST", "/issuers", &lesser, body(None)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "it may make no tokens: {refused:?}");
    let own = world.ask("POST", "/issuers", &manager, body(None)).await;
    assert_eq!(own.status, StatusCode::CREATED, "{own:?}");
    assert_eq!(own.json()["tenant"], json!(acme));
    let betas = world.ask("POST", "/issuers", LOCAL, body(Some(&beta))).await.json();
    assert_eq!(world.ask("POST", "/issuers", LOCAL, body(None)).await.status, 422, "whose?");

    let seen = world.get("/issuers", &manager).await.json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 1, "{seen}");
    let path = |issuer: &Value| format!("/issuers/{}", issuer["id"].as_str().unwrap());
    let gone = world.ask("DELETE", &path(&betas), &manager, Value::Null).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND, "{gone:?}");
    let gone = world.ask("DELETE", &path(&own.json()), &manager, Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    let left = world.get("/issuers", LOCAL).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left}");
    let actions = world.get("/audit", &manager).await.text;
    assert!(actions.contains("issuer.create") && actions.contains("issuer.delete"), "{actions}");
    assert!(!actions.contains(&beta), "{actions}");
}

#[tokio::test]
async fn a_tenant_has_eight_issuers_at_most() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let pem = public_key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let mut body = json!({"name": "a", "tenant": acme, "algorithm": "ES256", "public_key": pem});
    for _ in 0..3 {
        assert_eq!(world.ask("POST", "/issuers", LOCAL, body.clone()).await.status, 201);
    }
    let fourth = world.ask("POST", "/issuers", LOCAL, body.clone()).await;
    assert_eq!(fourth.status, StatusCode::CONFLICT, "{fourth:?}");
    assert!(fourth.text.contains("give `kid`"), "{fourth:?}");
    for kid in 3..8 {
        body["kid"] = json!(kid.to_string());
        assert_eq!(world.ask("POST", "/issuers", LOCAL, body.clone()).await.status, 201);
    }
    let ninth = world.ask("POST", "/issuers", LOCAL, body).await;
    assert_eq!(ninth.status, StatusCode::CONFLICT, "{ninth:?}");
    assert!(ninth.text.contains("8 issuers of the tenant"), "{ninth:?}");
}

#[tokio::test]
async fn wrong_keys_and_addresses_are_named() {
    let web = web_server().await;
    let url = |path: &str| json!(format!("http://{web}{path}"));
    let (ed, ec) = (public_key(&rcgen::PKCS_ED25519), public_key(&rcgen::PKCS_ECDSA_P256_SHA256));
    let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    for (inside, body, named) in [
        (true, json!({}), "either"),
        (true, json!({"algorithm": "EdDSA"}), "either"),
        (true, json!({"algorithm": "EdDSA", "public_key": ed, "jwks_url": url("/keys")}), "either"),
        (true, json!({"algorithm": "EdDSA", "public_key": ec}), "EdDSA is expected"),
        (true, json!({"algorithm": "ES256", "public_key": ed}), "ES256 is expected"),
        (true, json!({"algorithm": "EdDSA", "public_key": private}), "BEGIN PUBLIC KEY"),
        (true, json!({"algorithm": "HS256", "public_key": ed}), "EdDSA, ES256 or RS256"),
        (true, json!({"algorithm": "EdDSA", "public_key": ed.repeat(20)}), "2048 bytes"),
        (true, json!({"algorithm": "EdDSA", "public_key": ed, "kid": ""}), "`kid`"),
        (true, json!({"jwks_url": url("/keys"), "kid": "1"}), "`kid`"),
        (true, json!({"jwks_url": url("/empty")}), "no key in it"),
        (true, json!({"jwks_url": url("/large")}), "too large"),
        (true, json!({"jwks_url": url("/away")}), "status 303"),
        (true, json!({"jwks_url": url("/none")}), "status 404"),
        (true, json!({"jwks_url": "http://a@127.0.0.1/"}), "no user"),
        (true, json!({"jwks_url": format!("https://a/{}", "a".repeat(600))}), "512 bytes"),
        (false, json!({"jwks_url": url("/keys")}), "must begin with https://"),
        (false, json!({"jwks_url": "https://127.0.0.1:1/"}), "not on the public internet"),
        (false, json!({"jwks_url": "https://[::1]:1/"}), "not on the public internet"),
        (false, json!({"jwks_url": "https://localhost:1/"}), "not on the public internet"),
        (false, json!({"jwks_url": "https://169.254.169.254/"}), "not on the public internet"),
    ] {
        let world = World::with(|settings| settings.private_addresses = inside).await;
        let acme = world.tenant("acme").await;
        let mut body = body;
        body["name"] = json!("web");
        body["tenant"] = json!(acme);
        let refused = world.ask("POST", "/issuers", LOCAL, body.clone()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {refused:?}");
        assert!(refused.text.contains(named), "{body}: {refused:?}");
    }
    let world = World::with(|settings| settings.private_addresses = true).await;
    let body =
        json!({"name": "web", "tenant": world.tenant("acme").await, "jwks_url": url("/keys")});
    let made = world.ask("POST", "/issuers", LOCAL, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.json()["keys_at"], "2027-01-15T08:00:00Z");
}

/// What a tenant's key learns of the operator's network: nothing.
#[tokio::test]
async fn a_tenant_cannot_look_around_in_the_network() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let manager = world.key(Some(&acme), &["manage", "tokens"]).await;
    let mut texts = Vec::new();
    for host in ["127.0.0.1:1", "localhost:1", "10.0.0.1", "no-such-host.invalid"] {
        let body = json!({"name": "web", "jwks_url": format!("https://{host}/")});
        let refused = world.ask("POST", "/issuers", &manager, body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{host}: {refused:?}");
        texts.push(refused.text);
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}
