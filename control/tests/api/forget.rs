//! Users who are forgotten, and entries of the audit that are too old.

use std::sync::Arc;

use axum::http::StatusCode;
use nucleus_control::{RetentionKeeper, RetentionSettings, Timestamp};
use serde_json::{Value, json};

use crate::world::{LOCAL, World};

#[tokio::test]
async fn a_user_is_forgotten_in_one_tenant_and_a_ban_in_force_stays() {
    let world = World::new().await;
    let (acme, beta) = (world.tenant("acme").await, world.tenant("beta").await);
    let manager = world.key(Some(&acme), &["read", "operate", "manage"]).await;
    let post = async |path: &str, key: &str, body: Value| world.ask("POST", path, key, body).await;
    for (user, tenant) in [("acme-user", &acme), ("acme-users", &acme), ("acme-user", &beta)] {
        let body = json!({"user": user, "tenant": tenant, "seconds": 60, "reason": user});
        assert_eq!(post("/bans", LOCAL, body).await.status, StatusCode::CREATED);
    }
    let peer = "/peers/0101010101010101-7/kick";
    assert_eq!(post(peer, &manager, json!({"ban_seconds": 5})).await.status, 204);

    crate::history::record(&world).await;
    let body = json!({"user": "acme-user"});
    let first = post("/forget", &manager, body.clone()).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let first = first.json();
    assert_eq!(first, json!({"sessions": 1, "audit_entries": 2, "bans": 0, "is_banned": true}));
    *world.now.lock().unwrap() += 60;
    let again = post("/forget", &manager, body.clone()).await.json();
    assert_eq!(again, json!({"sessions": 0, "audit_entries": 0, "bans": 1, "is_banned": false}));

    let history = world.get("/history/calls", &manager).await.text;
    assert!(history.contains("members") && !history.contains("acme-user"), "{history}");
    let audit = world.get("/audit", &manager).await.text;
    assert!(!audit.contains("acme-user\"") && audit.contains("acme-users\""), "{audit}");
    assert!(audit.contains("user.forget") && audit.contains("peer.kick"), "{audit}");
    assert!(!audit.contains(": acme-user"), "{audit}");
    assert!(world.get("/audit", LOCAL).await.text.contains("acme-user\""), "beta's stays");
    let foreign = post("/forget", &manager, json!({"user": "a", "tenant": beta})).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{foreign:?}");
    for (body, field) in [(json!({"user": "a"}), "tenant"), (json!({"user": ""}), "tenant")] {
        let refused = post("/forget", LOCAL, body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
        assert!(refused.text.contains(field), "{refused:?}");
    }
    let refused = post("/forget", &manager, json!({"user": "u".repeat(129)})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_entries_of_the_audit_are_deleted_in_small_steps() {
    const OLD: usize = 1_200;
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let mut transaction = world.database.begin().await.unwrap();
    for number in 0..OLD {
        // Entries of 10 days ago: their ids begin with the time.
        let millis = (1_800_000_000_u64 - 10 * 86_400) * 1_000;
        let id = format!("{:08x}-{:04x}-7000-8000-{number:012x}", millis >> 16, millis & 0xffff);
        let sql = "INSERT INTO audit (id, at, tenant, actor, action, target, detail, request_id, ip) \
                   VALUES ($1, 0, $2, 'a', 'old', '', '', '', '')";
        transaction.run(sql, vec![id.into(), acme.as_str().into()]).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let now = world.now.clone();
    let keep = async |audit_days: u32| {
        let (database, now) = (world.database.clone(), now.clone());
        let now = Arc::new(move || Timestamp::from_seconds(*now.lock().unwrap()));
        let (history_days, counters) = (1, Arc::default());
        let settings = RetentionSettings { database, audit_days, history_days, counters, now };
        RetentionKeeper::new(settings).delete().await.unwrap();
        let sql = "SELECT COUNT(*) AS entries FROM audit";
        let rows = world.database.rows(sql, vec![]).await.unwrap();
        usize::try_from(rows[0].get::<i64>("entries").unwrap()).unwrap()
    };
    assert_eq!(keep(11).await, OLD + 1);
    assert_eq!(keep(9).await, 1, "the entry of the new tenant");
    let left = world.get("/audit", LOCAL).await.json();
    assert_eq!(left["items"][0]["action"], "tenant.create");
}
