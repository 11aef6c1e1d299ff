//! Join tokens that the API signs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::StatusCode;
use nucleus_core::ids::{Product, RoomPattern};
use nucleus_tokens::{CertificatePins, DevelopmentKey, Minter, TokenVerifier, VerifierSettings};
use serde_json::json;

use crate::world::{LOCAL, World};

const NOW: u64 = 1_800_000_000;

fn signing_key() -> Vec<u8> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    pair.serialized_der().to_vec()
}

fn development(signing_key: &[u8]) -> DevelopmentKey<'_> {
    DevelopmentKey { signing_key, server_id: "a server" }
}

async fn world(key: &[u8]) -> World {
    let minter = Minter::for_api(&development(key), CertificatePins::default());
    World::with(|settings| settings.minter = Some(minter)).await
}

#[tokio::test]
async fn a_minted_token_is_what_was_asked_for() {
    let key = signing_key();
    let world = world(&key).await;
    let acme = world.tenant("acme").await;
    let minting = world.key(Some(&acme), &["tokens"]).await;
    let body = json!({
        "product": "assist", "user": "ada", "name": "Ada L.", "room": "lab-*", "role": "expert",
        "grants": ["moderate"], "valid_s": 60,
    });
    let made = world.ask("POST", "/tokens", &minting, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.json()["expires_at"], "2027-01-15T08:01:00Z");
    let verifier = TokenVerifier::new(VerifierSettings {
        tokens: None,
        development: development(&key),
        minted: true,
        products: vec![Product::ASSIST],
        issuers: Arc::new(ArcSwap::default()),
        read: |_| Err(std::io::ErrorKind::NotFound.into()),
    });
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let verified = verifier.unwrap().verify(&token, NOW).unwrap();
    assert_eq!((&*verified.tenant, verified.product), ("acme", Product::ASSIST));
    assert_eq!((&*verified.user, &*verified.name, &*verified.role), ("ada", "Ada L.", "expert"));
    assert_eq!(verified.room, RoomPattern::Prefix("lab-".to_owned()));
    assert_eq!(verified.grants, ["moderate"]);
    let noted = world.get("/audit", LOCAL).await.json();
    assert_eq!(noted["items"][0]["action"], "token.create");
    assert_eq!(noted["items"][0]["target"], "ada");
    assert!(!noted.to_string().contains(&token), "the audit has no token");
}

#[tokio::test]
async fn a_tenants_key_mints_for_its_tenant_alone_and_within_limits() {
    let world = world(&signing_key()).await;
    let (acme, _) = (world.tenant("acme").await, world.tenant("beta").await);
    let minting = world.key(Some(&acme), &["tokens"]).await;
    let minted = async |key: &str, changes: serde_json::Value| {
        let mut body = json!({"product": "atom", "user": "ada"});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let answer = world.ask("POST", "/tokens", key, body).await;
        (answer.status.as_u16(), answer.text)
    };
    assert_eq!(minted(&minting, json!({})).await.0, 201);
    assert_eq!(minted(&minting, json!({"tenant": "acme"})).await.0, 201);
    assert_eq!(minted(&minting, json!({"tenant": "beta"})).await.0, 403);
    assert_eq!(minted(LOCAL, json!({"tenant": "beta"})).await.0, 201);
    assert_eq!(minted(LOCAL, json!({})).await.0, 422, "whose?");
    for (changes, named) in [
        (json!({"product": "vrtrain"}), "none of assist, atom"),
        (json!({"user": ""}), "user"),
        (json!({"room": "a*b"}), "room"),
        (json!({"valid_s": 0}), "valid_s"),
        (json!({"valid_s": 86_401}), "valid_s"),
        (json!({"grants": vec!["g"; 33]}), "grant"),
        (json!({"role": "r".repeat(65)}), "role"),
    ] {
        let (status, text) = minted(&minting, changes.clone()).await;
        assert_eq!(status, 422, "{changes}: {text}");
        assert!(text.contains(named), "{changes}: {text}");
    }
}

#[tokio::test]
async fn a_server_that_signs_no_tokens_says_what_to_do() {
    let world = World::new().await;
    let body = json!({"product": "atom", "user": "ada", "tenant": "acme"});
    let refused = world.ask("POST", "/tokens", LOCAL, body).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(refused.text.contains("mint_tokens = true"), "{refused:?}");
}
