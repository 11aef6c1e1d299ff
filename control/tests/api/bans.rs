//! Bans over the API.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::browser::signed_in;
use crate::world::{LOCAL, World};

#[tokio::test]
async fn a_tenants_key_bans_its_own_users_alone() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let operator = world.key(Some(&acme), &["read", "operate"]).await;
    let ban = async |key: &str, body: Value| world.ask("POST", "/bans", key, body).await;
    let foreign = ban(&operator, json!({"user": "eve", "tenant": beta})).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{foreign:?}");
    assert_eq!(ban(LOCAL, json!({"user": "eve"})).await.status, 422, "whose?");
    let betas = ban(LOCAL, json!({"user": "eve", "tenant": beta})).await.json();
    let own = ban(&operator, json!({"user": "eve", "reason": "noise", "seconds": 60})).await;
    assert_eq!(own.status, StatusCode::CREATED, "{own:?}");
    assert_eq!(own.json()["tenant"], json!(acme));
    assert_eq!(own.json()["ends_at"], "2027-01-15T08:01:00Z");
    let listed = world.get("/bans", &operator).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");

    // Another ban of the same user replaces the first.
    let longer = ban(&operator, json!({"user": "eve"})).await.json();
    let listed = world.get("/bans", &operator).await.json();
    assert_eq!((&listed["items"][0]["id"], listed["items"][1].is_null()), (&longer["id"], true));
    assert!(listed["items"][0]["ends_at"].is_null());

    let path = |ban: &Value| format!("/bans/{}", ban["id"].as_str().unwrap());
    let lift = async |ban: &Value| world.ask("DELETE", &path(ban), &operator, Value::Null).await;
    assert_eq!(lift(&betas).await.status, StatusCode::NOT_FOUND);
    assert_eq!(lift(&longer).await.status, StatusCode::NO_CONTENT);
    assert_eq!(lift(&longer).await.status, StatusCode::NOT_FOUND);
    let audit = world.get("/audit", &operator).await.text;
    assert!(audit.contains("ban.create") && audit.contains("ban.delete"), "{audit}");
}

#[tokio::test]
async fn wrong_bans_are_named() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    for (mut body, named) in [
        (json!({"user": ""}), "`user`"),
        (json!({"user": "u".repeat(129)}), "`user`"),
        (json!({"user": "a", "reason": "r".repeat(257)}), "`reason`"),
        (json!({"user": "a", "seconds": 0}), "`seconds`"),
        (json!({"user": "a", "seconds": 5, "ends_at": "2028-01-01T00:00:00Z"}), "`ends_at` or"),
        (json!({"user": "a", "ends_at": "2027-01-15T08:00:00Z"}), "`ends_at` is past"),
    ] {
        body["tenant"] = json!(acme);
        let refused = world.ask("POST", "/bans", LOCAL, body.clone()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {refused:?}");
        assert!(refused.text.contains(named), "{body}: {refused:?}");
    }
}

#[tokio::test]
async fn a_kick_may_keep_out_of_every_room() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "operator", None).await;
    let room = "/rooms/0101010101010101";
    // Without the tenant in the database nobody can be banned from it.
    let page = browser.get(room).await.text;
    assert!(page.contains("id=\"kick-last\"") && !page.contains("name=\"where\""), "{page}");
    world.tenant("acme").await;
    let page = browser.get(room).await.text;
    assert!(page.contains("data-dialog=\"kick-last\""), "one user is in the room: {page}");
    assert!(page.contains("Nobody else is in the room: it ends now"), "{page}");
    let last = page.split("id=\"kick-last\"").nth(1).unwrap().split("</dialog>").next().unwrap();
    assert!(last.contains("value=\"tenant\" selected"), "{last}");
    assert_eq!(page.matches("value=\"tenant\" selected").count(), 1, "of the last one alone");

    let kick = format!("{room}/peers/0101010101010101-7/kick");
    let odd = browser.post(&kick, &[("where", "moon"), ("ban_seconds", "900")]).await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST, "{odd:?}");
    let kicked = browser.post(&kick, &[("where", "tenant"), ("ban_seconds", "900")]).await;
    assert_eq!(kicked.location, "/rooms?done=kicked-everywhere", "{kicked:?}");
    let bans = world.get("/bans", LOCAL).await.json();
    let ban = &bans["items"][0];
    assert_eq!(
        (&ban["user"], &ban["ends_at"]),
        (&json!("acme-user"), &json!("2027-01-15T08:15:00Z"))
    );
    let audit = world.get("/audit", LOCAL).await.text;
    assert!(audit.contains("ban.create") && !audit.contains("peer.kick"), "{audit}");

    // No time is a kick alone, wherever it would have been.
    let kicked = browser.post(&kick, &[("where", "tenant"), ("ban_seconds", "0")]).await;
    assert_eq!(kicked.location, "/rooms?done=kicked", "{kicked:?}");
    assert!(world.get("/audit", LOCAL).await.text.contains("peer.kick"));
}
