//! No tenant sees or touches what belongs to another one: generated over every route of the document.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use nucleus_control::Timestamp;
use nucleus_core::ids::RoomInstanceId;
use nucleus_tokens::{CertificatePins, DevelopmentKey, Minter};
use serde_json::{Value, json};

use crate::world::{LOCAL, World};

const SCOPES: [&str; 4] = ["read", "operate", "tokens", "manage"];
/// Requests of one run.
const CALLS: u64 = 10_000;

/// A small generator of random numbers: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }

    fn of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The methods and paths of the document.
fn routes() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&nucleus_control::api::document()).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        routes
            .extend(methods.as_object().unwrap().keys().map(|m| (m.to_uppercase(), path.clone())));
    }
    routes
}

#[tokio::test]
async fn without_a_key_no_route_answers() {
    let world = World::new().await;
    for (method, path) in routes() {
        let path = path.replace("{id}", "0101010101010101").replace("{user}", "acme-kept-out");
        let answer = world.ask(&method, &path, "nobody", json!({"on": true})).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}: {answer:?}");
    }
}

/// Every route refuses a key that has all scopes but the one of the document.
#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let document: Value = serde_json::from_str(&nucleus_control::api::document()).unwrap();
    let world = World::new().await;
    for (method, path) in routes() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let scope = operation["security"][0]["key"][0].as_str().unwrap();
        let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let key = world.key(None, &others).await;
        let body = match operation["requestBody"] {
            Value::Null => Value::Null,
            _ if path.starts_with("/tenants") => json!({"name": "a"}),
            _ if path == "/people" => json!({"email": "a@b", "role": "viewer"}),
            _ if path.starts_with("/people") => json!({"name": "a"}),
            _ if path == "/keys" => json!({"name": "a", "scopes": ["read"]}),
            _ if path == "/issuers" => json!({"name": "a"}),
            _ if path == "/bans" || path == "/forget" => json!({"user": "a"}),
            _ if path == "/webhooks" => json!({"name": "a", "url": "https://a/"}),
            _ if path.ends_with("/replay") => json!({"since": "2026-01-01T00:00:00Z"}),
            _ if path == "/tokens" => json!({"product": "atom", "user": "a"}),
            _ if path.ends_with("/kick") => json!({}),
            _ => json!({"on": true}),
        };
        let path = match path.starts_with("/peers") {
            true => path.replace("{id}", "0101010101010101-7"),
            false => path.replace("{id}", "0101010101010101"),
        };
        let path = path.replace("{user}", "acme-kept-out");
        let answer = world.ask(&method, &path, &key, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}: {answer:?}");
        assert!(answer.text.contains(&format!("`{scope}`")), "{method} {path}: {answer:?}");
    }
    assert!(world.acts.lock().unwrap().is_empty());
}

/// A world whose API signs join tokens.
async fn minting_world() -> World {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = DevelopmentKey { signing_key: pair.serialized_der(), server_id: "a server" };
    let minter = Minter::for_api(&key, CertificatePins::default());
    World::with(|settings| settings.minter = Some(minter)).await
}

#[tokio::test]
async fn a_tenants_key_reaches_nothing_of_another_tenant() {
    let seed = std::env::var("NUCLEUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed | 1);
    let world = minting_world().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    crate::history::record(&world).await;
    let betas_key = world.key(Some(&beta), &["read"]).await;
    let betas_key = betas_key.split('_').nth(1).unwrap().to_owned();
    let mut keys = vec![world.key(Some(&acme), &SCOPES).await];
    for scope in SCOPES {
        keys.push(world.key(Some(&acme), &[scope]).await);
    }
    let public_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem();
    let issuer = json!({
        "name": "beta issuer", "tenant": beta, "algorithm": "EdDSA", "public_key": public_key,
    });
    let issuer = world.ask("POST", "/issuers", LOCAL, issuer).await.json();
    let issuers = world.get("/issuers", LOCAL).await.text;
    let ban = json!({"user": "beta-user", "tenant": beta});
    let ban = world.ask("POST", "/bans", LOCAL, ban).await.json();
    let bans = world.get("/bans", LOCAL).await.text;
    let webhook = json!({"name": "beta webhook", "tenant": beta, "url": "https://beta.invalid/"});
    let webhook = world.ask("POST", "/webhooks", LOCAL, webhook).await.json();
    let person = json!({"email": "beta-user@beta", "role": "operator", "tenant": beta});
    let person = world.ask("POST", "/people", LOCAL, person).await.json();
    let people = world.get("/people", LOCAL).await.text;
    let foreign = [
        person["id"].as_str().unwrap().to_owned(),
        webhook["id"].as_str().unwrap().to_owned(),
        issuer["id"].as_str().unwrap().to_owned(),
        ban["id"].as_str().unwrap().to_owned(),
        beta.clone(),
        betas_key.clone(),
        "0202020202020202".to_owned(),
        "0202020202020202-7".to_owned(),
    ];
    let own = [acme.clone(), "0101010101010101".to_owned(), "0101010101010101-7".to_owned()];
    let ids: Vec<&String> = foreign.iter().chain(&own).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let [from, to] = [now - 240, now + 240].map(|at| Timestamp::from_seconds(at).to_string());
    let ends = format!("?order=left&from={from}&to={to}");
    let queries = [
        "",
        &ends,
        "?tenant=beta",
        "?search=beta",
        "?limit=200",
        "?order=peers&tenant=beta",
        "?user=beta-user",
        "?room=beta%20lobby",
    ];
    let bodies = [
        Value::Null,
        json!({"on": true}),
        json!({"ban_seconds": 5}),
        json!({"email": "new@beta", "role": "viewer", "tenant": beta}),
        json!({"disabled": true, "role": "viewer"}),
        json!({"name": "beta"}),
        json!({"name": "mine", "scopes": ["read"], "tenant": beta}),
        json!({"name": "mine", "scopes": SCOPES}),
        json!({"name": "theirs", "tenant": beta, "algorithm": "EdDSA", "public_key": public_key}),
        json!({"product": "atom", "user": "a", "tenant": "beta"}),
        json!({"user": "beta-user", "tenant": beta}),
        json!({"name": "theirs", "tenant": beta, "url": "https://beta.invalid/"}),
        json!({"since": "2020-01-01T00:00:00Z"}),
    ];
    let routes = routes();
    let before = world.get("/tenants", LOCAL).await.text;
    for call in 0..CALLS {
        // The rate of requests is another test's.
        *world.now.lock().unwrap() += 1;
        let (method, path) = random.of(&routes).clone();
        let id = *random.of(&ids);
        let path = path.replace("{id}", id).replace("{user}", "beta-kept-out");
        let path = match method.as_str() {
            "GET" => format!("{path}{}", random.of(&queries)),
            _ => path,
        };
        let (key, body) = (random.of(&keys).clone(), random.of(&bodies).clone());
        // Its own keys may be revoked by its manager, and would then answer nothing any more.
        if method == "DELETE" && path.starts_with("/keys") && id != &betas_key {
            continue;
        }
        let answer = world.ask(&method, &path, &key, body.clone()).await;
        let name = format!("seed {seed}, call {call}: {method} {path} {body}: {answer:?}");
        assert!(!answer.status.is_server_error(), "{name}");
        // The answer may repeat the id that was asked for, and nothing else of the other tenant.
        for secret in [
            "beta lobby",
            "beta-user",
            "beta issuer",
            "beta webhook",
            "0202020202020202\"",
            betas_key.as_str(),
        ] {
            assert!(!answer.text.contains(secret), "{name}");
        }
        if path.starts_with("/tokens") {
            assert!(answer.status.is_client_error(), "every token would be of beta: {name}");
        }
        if foreign.contains(id) && path.contains(id.as_str()) {
            assert!(answer.status.is_client_error(), "{name}");
        }
    }
    let acts = world.acts.lock().unwrap().clone();
    assert!(!acts.is_empty(), "its own rooms obey");
    assert!(acts.iter().all(|(room, _)| *room == RoomInstanceId([1; 8])), "seed {seed}");
    assert_eq!(world.get("/tenants", LOCAL).await.text, before, "no tenant has changed");
    let after = world.get("/issuers", LOCAL).await.text;
    assert_eq!(after, issuers, "the other tenant's issuers are as they were");
    let after = world.get("/bans", LOCAL).await.text;
    assert_eq!(after, bans, "the other tenant's bans are as they were");
    let after = world.get("/people", LOCAL).await.text;
    assert_eq!(after, people, "the other tenant's people are as they were");
    let after = world.get("/webhooks", LOCAL).await.json();
    let betas: Vec<_> = after["items"].as_array().unwrap().iter().collect();
    let betas: Vec<_> = betas.iter().filter(|webhook| webhook["tenant"] == *beta).collect();
    assert!(betas.len() == 1 && betas[0]["on"] == true, "{after}");
    let keys = world.get("/keys?limit=200", LOCAL).await.json();
    let beta_keys = keys["items"].as_array().unwrap().iter().filter(|key| key["tenant"] == *beta);
    assert!(
        beta_keys.clone().count() == 1 && beta_keys.clone().all(|key| key["revoked_at"].is_null())
    );
}
