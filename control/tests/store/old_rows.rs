//! Rows that are too old or too many: how they are deleted, and what keeps them.

use std::sync::Arc;

use nucleus_control::database::{Database, Value};
use nucleus_control::store::{AuditedChange, StoreError, tenants, webhooks};
use nucleus_control::webhooks::{
    DeliveryCounters, DeliveryOutcome, WebhookSettings, WebhookSweeper,
};
use nucleus_control::{RetentionError, RetentionKeeper, RetentionSettings, Timestamp};

use crate::databases::{actor, databases};
use crate::history::{self, count};
use crate::tenants::named;

/// The time of the tests, in seconds since 1970.
const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

async fn run(database: &Database, sql: &'static str, values: Vec<Value>) {
    let mut change = database.begin().await.unwrap();
    change.run(sql, values).await.unwrap();
    change.commit().await.unwrap();
}

fn keeper(database: &Database, seconds: u64, counters: &Arc<DeliveryCounters>) -> RetentionKeeper {
    RetentionKeeper::new(RetentionSettings {
        database: database.clone(),
        audit_days: 1,
        history_days: 1,
        counters: counters.clone(),
        now: Arc::new(move || Timestamp::from_seconds(seconds)),
    })
}

/// Writes so many entries of the audit and sessions, of two days before [`NOW`].
async fn fill(database: &Database, rows: i64) {
    let audit = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < $1) \
                 INSERT INTO audit (id, at, tenant, actor, action, target, detail, request_id, ip) \
                 SELECT '00000000-0000-7000-8000-' || (100000000000 + n), $2, NULL, 'a', 'old', '', \
                 CAST(n AS TEXT), '', '' FROM number";
    let sessions = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < $1) \
                    INSERT INTO session_history (id, peer, room, tenant_name, product, room_name, user_id, \
                    name, role, joined_at) SELECT '00000000-0000-7000-8000-' || (100000000000 + n), \
                    CAST(n AS TEXT), 'r', 'acme', 'atom', 'r', 'u', 'u', 'm', $2 FROM number";
    let at = i64::try_from((NOW - 2 * DAY) * 1_000_000).unwrap();
    for sql in [audit, sessions] {
        run(database, sql, vec![rows.into(), at.into()]).await;
    }
}

/// Somebody's trigger forbids to delete two entries.
#[tokio::test]
async fn a_row_that_cannot_be_deleted_keeps_none_of_the_others() {
    for (fresh, database) in databases().await {
        fill(&database, 1_300).await;
        let refuse: &[&str] = match fresh.kind {
            "SQLite" => {
                &["CREATE TRIGGER kept BEFORE DELETE ON audit WHEN OLD.detail IN ('3', '900') \
                           BEGIN SELECT RAISE(ABORT, 'kept'); END"]
            }
            _ => &[
                "CREATE FUNCTION kept() RETURNS trigger AS 'BEGIN IF OLD.detail IN (''3'', ''900'') \
                 THEN RAISE EXCEPTION ''kept''; END IF; RETURN OLD; END' LANGUAGE plpgsql",
                "CREATE TRIGGER kept BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION kept()",
            ],
        };
        for sql in refuse {
            run(&database, sql, vec![]).await;
        }
        let counters = Arc::default();
        let deleted = keeper(&database, NOW, &counters).delete().await;
        let is_told = matches!(&deleted, Err(RetentionError::Store(error)) if error.is_refused());
        assert!(is_told, "{}: {deleted:?}", fresh.kind);
        assert_eq!(count(&database, "SELECT COUNT(*) AS n FROM audit").await, 2, "{}", fresh.kind);
        assert_eq!(count(&database, "SELECT COUNT(*) AS n FROM session_history").await, 0);
    }
}

#[tokio::test]
async fn a_clock_that_has_jumped_ahead_deletes_nothing() {
    for (fresh, database) in databases().await {
        fill(&database, 10).await;
        let (counters, audit) = (Arc::default(), "SELECT COUNT(*) AS n FROM audit");
        for seconds in [NOW + 3_650 * DAY, DAY] {
            let deleted = keeper(&database, seconds, &counters).delete().await;
            assert!(
                matches!(deleted, Err(RetentionError::Clock(_))),
                "{}: {deleted:?}",
                fresh.kind
            );
            assert_eq!(count(&database, audit).await, 10, "{}", fresh.kind);
        }
        // The time that was reached is known from then on, also without any row, and whatever rows a server
        // with a wrong clock writes.
        keeper(&database, NOW, &counters).delete().await.unwrap();
        assert_eq!(count(&database, audit).await, 0);
        fill(&database, 10).await;
        let late = i64::try_from((NOW + 3_650 * DAY) * 1_000_000).unwrap();
        run(&database, "UPDATE session_history SET joined_at = $1", vec![late.into()]).await;
        let deleted = keeper(&database, NOW + 3_650 * DAY, &counters).delete().await;
        assert!(matches!(deleted, Err(RetentionError::Clock(_))), "{}: {deleted:?}", fresh.kind);
        assert_eq!(count(&database, audit).await, 10, "{}", fresh.kind);
    }
}

/// Writes deliveries of a webhook with numbers from `from` to `to`.
async fn tell(database: &Database, webhook: &str, from: i64, to: i64, next_at: Option<i64>) {
    let sql = "WITH RECURSIVE number (n) AS (SELECT $2 UNION ALL SELECT n + 1 FROM number WHERE n < $3) \
               INSERT INTO webhook_delivery (id, webhook, event, kind, body, created_at, tries, next_at) \
               SELECT $1 || '-' || (1000000 + n), $1, CAST(n AS TEXT), '', '', $4, 0, $5 FROM number";
    let at = i64::try_from(NOW * 1_000_000).unwrap();
    run(database, sql, vec![webhook.into(), from.into(), to.into(), at.into(), next_at.into()])
        .await;
}

async fn hook(database: &Database, id: &str, tenant: Option<String>) {
    let sql = "INSERT INTO webhook (id, tenant, name, url, events, signer, created_at) \
               VALUES ($1, $2, 'a', 'https://example.com/', '[]', '', 0)";
    run(database, sql, vec![id.into(), tenant.into()]).await;
}

/// A sweeper at so many seconds behind [`NOW`].
fn sweeper(database: &Database, later: u64) -> WebhookSweeper {
    let now = Arc::new(move || Timestamp::from_seconds(NOW + later));
    let WebhookSettings { database, signer, private_addresses, wake, counters, places, .. } =
        Arc::into_inner(history::webhooks(database)).unwrap();
    let settings =
        WebhookSettings { database, signer, private_addresses, now, wake, counters, places };
    WebhookSweeper::new(Arc::new(settings))
}

const DELIVERIES: &str = "SELECT COUNT(*) AS n FROM webhook_delivery";

#[tokio::test]
async fn a_webhook_and_a_tenant_are_deleted_at_once_and_their_deliveries_later() {
    for (fresh, database) in databases().await {
        let (actor, now) = (actor(), Timestamp::from_seconds(NOW));
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let tenant = tenants::create(&mut change, &named("acme")).await.unwrap().id;
        change.commit().await.unwrap();
        hook(&database, "one", None).await;
        hook(&database, "two", Some(tenant.clone())).await;
        hook(&database, "other", None).await;
        tell(&database, "one", 1, 1_200, None).await;
        tell(&database, "two", 1, 1_200, Some(1)).await;
        tell(&database, "other", 1, 10, None).await;
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        webhooks::delete(&mut change, None, "one").await.unwrap();
        tenants::delete(&mut change, &tenant).await.unwrap();
        change.commit().await.unwrap();
        // No row of a delivery was touched.
        assert_eq!(count(&database, DELIVERIES).await, 2_410, "{}", fresh.kind);
        for webhook in ["one", "two"] {
            let gone = webhooks::get(&database, None, webhook).await;
            assert!(matches!(gone, Err(StoreError::NotFound(_))), "{}: {gone:?}", fresh.kind);
        }
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let again = webhooks::delete(&mut change, None, "one").await;
        assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
        drop(change);
        // A server that knew the webhook may still write for a moment.
        sweeper(&database, 0).sweep().await.unwrap();
        assert_eq!(count(&database, DELIVERIES).await, 10, "{}", fresh.kind);
        tell(&database, "one", 1, 3, None).await;
        let rows = "SELECT COUNT(*) AS n FROM webhook";
        assert_eq!(count(&database, rows).await, 3);
        sweeper(&database, 61).sweep().await.unwrap();
        assert_eq!((count(&database, rows).await, count(&database, DELIVERIES).await), (1, 10));
    }
}

/// PostgreSQL: a webhook is deleted while a batch of the history writes for it.
#[tokio::test]
async fn a_webhook_that_is_deleted_meanwhile_fails_no_batch() {
    for (fresh, database) in databases().await {
        if fresh.kind == "SQLite" {
            continue; // It has one writer at a time.
        }
        hook(&database, "one", None).await;
        let mut batch = database.begin().await.unwrap();
        batch.rows("SELECT id FROM webhook", vec![]).await.unwrap();
        let (actor, now) = (actor(), Timestamp::from_seconds(NOW));
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        webhooks::delete(&mut change, None, "one").await.unwrap();
        change.commit().await.unwrap();
        sweeper(&database, 30).sweep().await.unwrap();
        let sql = "INSERT INTO webhook_delivery (id, webhook, event, kind, body, created_at, tries) \
                   VALUES ('late', 'one', 'e', '', '', 0, 0)";
        batch.run(sql, vec![]).await.unwrap();
        batch.commit().await.unwrap();
        sweeper(&database, 61).sweep().await.unwrap();
        assert_eq!(count(&database, DELIVERIES).await, 0);
        assert_eq!(count(&database, "SELECT COUNT(*) AS n FROM webhook").await, 0);
    }
}

#[tokio::test]
async fn the_deliveries_of_a_webhook_are_bounded_and_those_that_wait_stay() {
    for (fresh, database) in databases().await {
        hook(&database, "one", None).await;
        tell(&database, "one", 1, 5, Some(1)).await;
        tell(&database, "one", 6, 1_300, None).await;
        tell(&database, "one", 1_301, 21_300, None).await;
        sweeper(&database, 0).sweep().await.unwrap();
        assert_eq!(count(&database, DELIVERIES).await, 20_005, "{}", fresh.kind);
        let waiting = "SELECT COUNT(*) AS n FROM webhook_delivery WHERE next_at IS NOT NULL";
        assert_eq!(count(&database, waiting).await, 5);
    }
}

#[tokio::test]
async fn deliveries_of_a_week_ago_are_deleted_and_those_that_waited_are_counted() {
    for (fresh, database) in databases().await {
        hook(&database, "one", None).await;
        tell(&database, "one", 1, 700, None).await;
        tell(&database, "one", 701, 1_300, Some(1)).await;
        let counters = Arc::default();
        keeper(&database, NOW + 6 * DAY, &counters).delete().await.unwrap();
        assert_eq!(count(&database, DELIVERIES).await, 1_300, "{}", fresh.kind);
        keeper(&database, NOW + 7 * DAY + 1, &counters).delete().await.unwrap();
        assert_eq!(count(&database, DELIVERIES).await, 0, "{}", fresh.kind);
        assert_eq!(counters.get(DeliveryOutcome::Expired), 600);
    }
}
