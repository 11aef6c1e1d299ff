//! Deliveries: what webhooks are to be told and were told. They are written together with the events, so
//! that none is lost, and each is told at least once.

use serde::Serialize;
use utoipa::ToSchema;

use super::audit;
use super::delivery_places::{DeliveryPlaces, too_far};
use super::{AuditedChange, OldRows, PageRequest, StoreError, json_list, time};
use crate::database::{Database, DatabaseError, DatabaseTransaction, Row, Value};
use crate::events::RecordedEvent;
use crate::id;
use crate::timestamp::Timestamp;

/// Deliveries that one statement deletes: a batch holds the writer of SQLite for milliseconds.
const BATCH: i64 = 500;
/// Deliveries of a webhook that are kept, with those that wait: 10 MB for a receiver that is told of a
/// hundred events a second, and seven days of one that is told of two a minute. So a tenant with eight
/// webhooks has 80 MB.
const MAX_KEPT: i64 = 20_000;

/// A delivery of an event to a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WebhookDelivery {
    /// The id, a UUID.
    pub id: String,
    /// The id of the webhook.
    pub webhook: String,
    /// The id of the event, which the receiver finds in `webhook-id`. The same event has the same id
    /// however often it comes.
    pub event: String,
    /// The kind of the event, as `peer.joined`.
    pub kind: String,
    /// When the event was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// How often it was sent.
    pub tries: u32,
    /// When it is sent next; absent: it was delivered, or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// When the receiver has taken it; absent: it has not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
    /// What came of the last try, as `status 204`; absent: there was none.
    pub answer: Option<String>,
    /// What is sent.
    #[serde(skip)]
    pub(crate) body: String,
}

/// The columns of a delivery that lists show.
fn read(row: &Row) -> Result<WebhookDelivery, DatabaseError> {
    Ok(WebhookDelivery {
        id: row.get("id")?,
        webhook: row.get("webhook")?,
        event: row.get("event")?,
        kind: row.get("kind")?,
        created_at: time(row, "created_at")?.unwrap_or(Timestamp::from_micros(0)),
        tries: row.number("tries")?.unwrap_or(0),
        next_at: time(row, "next_at")?,
        delivered_at: time(row, "delivered_at")?,
        answer: row.get("answer")?,
        body: row.get("body")?,
    })
}

/// What a webhook is told.
#[derive(Serialize)]
struct Body<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: Timestamp,
    data: T,
}

/// Writes what a webhook is told of an event.
pub(crate) fn body(kind: &str, timestamp: Timestamp, data: impl Serialize) -> String {
    // The types of data can always be written.
    serde_json::to_string(&Body { kind, timestamp, data }).unwrap_or_default()
}

/// A webhook that wants events of a batch.
struct WantingWebhook<'a> {
    webhook: String,
    wanted: Vec<&'a RecordedEvent>,
}

impl<'a> WantingWebhook<'a> {
    fn read(row: &Row, events: &'a [RecordedEvent]) -> Result<Self, DatabaseError> {
        let (webhook, tenant): (String, Option<String>) = (row.get("id")?, row.get("tenant_name")?);
        let kinds = json_list(row, "events")?;
        let wanted = events.iter().filter(|event| {
            tenant.as_ref().is_none_or(|tenant| event.tenant() == tenant)
                && (kinds.is_empty() || kinds.iter().any(|kind| kind == event.kind().name()))
        });
        Ok(Self { webhook, wanted: wanted.collect() })
    }
}

/// Writes deliveries of events to all webhooks that want them. Events that were written before, also by
/// an earlier run of the server, are skipped, and so is a webhook whose row cannot be read. Returns the
/// number of deliveries that found too many waiting.
///
/// # Errors
///
/// The database cannot be reached or refuses a row, or the system has no random bytes.
pub async fn enqueue(
    transaction: &mut DatabaseTransaction,
    events: &[RecordedEvent],
    now: Timestamp,
    places: &DeliveryPlaces,
) -> Result<u64, StoreError> {
    let sql = "SELECT webhook.id, webhook.events, tenant.name AS tenant_name \
               FROM webhook LEFT JOIN tenant ON tenant.id = webhook.tenant \
               WHERE webhook.off_reason IS NULL AND webhook.deleted_at IS NULL";
    let mut wanting = Vec::new();
    for row in transaction.rows(sql, vec![]).await? {
        match WantingWebhook::read(&row, events) {
            Ok(webhook) => wanting.push(webhook),
            Err(error) => tracing::debug!(%error, "a webhook is told nothing"),
        }
    }
    places.retain(|webhook| wanting.iter().any(|one| one.webhook == webhook));
    let mut given_up = 0;
    for WantingWebhook { webhook, wanted } in wanting {
        if wanted.is_empty() {
            continue;
        }
        let count = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
        let taken = places.take(transaction, &webhook, count).await?;
        let taken = usize::try_from(taken).unwrap_or(0);
        given_up += (wanted.len() - taken) as u64;
        for event in &wanted[..taken] {
            let kind = event.kind().name();
            let body = body(kind, event.at, event.data());
            add(transaction, &webhook, &event.id, kind, body, now, now).await?;
        }
    }
    Ok(given_up)
}

/// Writes one delivery, unless the webhook has one of this event.
async fn add(
    transaction: &mut DatabaseTransaction,
    webhook: &str,
    event: &str,
    kind: &str,
    body: String,
    now: Timestamp,
    next_at: Timestamp,
) -> Result<Vec<Row>, StoreError> {
    let sql = "INSERT INTO webhook_delivery (id, webhook, event, kind, body, created_at, tries, next_at) \
               VALUES ($1, $2, $3, $4, $5, $6, 0, $7) ON CONFLICT (webhook, event) DO NOTHING \
               RETURNING *";
    let values = vec![
        id::new(now)?.into(),
        webhook.into(),
        event.into(),
        kind.into(),
        body.into(),
        now.micros().into(),
        next_at.micros().into(),
    ];
    Ok(transaction.rows(sql, values).await?)
}

/// Writes a delivery that its caller sends at once. It is due at `next_at` if the caller does not come to
/// it.
///
/// # Errors
///
/// The database cannot be reached, or the system has no random bytes.
pub async fn add_claimed(
    change: &mut AuditedChange<'_>,
    webhook: &str,
    kind: &str,
    next_at: Timestamp,
) -> Result<WebhookDelivery, StoreError> {
    let (event, now) = (change.new_id()?, change.now);
    let body = body(kind, now, serde_json::json!({}));
    let transaction = &mut change.transaction;
    let rows = add(transaction, webhook, &event, kind, body, now, next_at).await?;
    Ok(read(rows.first().ok_or(StoreError::NotFound("delivery"))?)?)
}

/// Takes deliveries that are due, or that wait for a time so late that only a clock that was set back explains
/// it. Each of the two has its own search, so that the database finds both by its index. The time is asked
/// twice: PostgreSQL looks again at a row that another server has just taken, and then only at the outer
/// condition.
const CLAIM: &str = "UPDATE webhook_delivery SET next_at = $3 \
    WHERE (next_at <= $2 OR next_at > $5) AND id IN (SELECT id FROM (\
    SELECT id FROM webhook_delivery WHERE webhook = $1 AND next_at <= $2 \
    UNION ALL SELECT id FROM webhook_delivery WHERE webhook = $1 AND next_at > $5) AS due \
    ORDER BY id LIMIT $4) RETURNING *";

/// Takes up to `limit` deliveries that are due at `now`, the oldest first. No other server takes them
/// before `until`.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn claim(
    database: &Database,
    webhook: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<WebhookDelivery>, StoreError> {
    let values = vec![
        webhook.into(),
        now.micros().into(),
        until.micros().into(),
        i64::from(limit).into(),
        too_far(now).micros().into(),
    ];
    let mut transaction = database.begin().await?;
    let rows = transaction.rows(CLAIM, values).await?;
    transaction.commit().await?;
    // One that cannot be read keeps none of the others.
    let read =
        |row| read(row).inspect_err(|error| tracing::debug!(%error, "a delivery is not sent"));
    let mut claimed: Vec<_> = rows.iter().filter_map(|row| read(row).ok()).collect();
    claimed.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    Ok(claimed)
}

/// Makes a batch of the deliveries due that wait for a time behind `now`, after the clock was set back. So one
/// try comes too early, and none too late. Returns whether there may be more.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn make_due(database: &Database, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE webhook_delivery SET next_at = $1 WHERE id IN \
               (SELECT id FROM webhook_delivery WHERE next_at > $1 LIMIT $2)";
    change_batch(database, sql, vec![now.micros().into(), BATCH.into()]).await
}

/// Gives back deliveries that were taken and not sent.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn release(
    database: &Database,
    deliveries: &[WebhookDelivery],
    next_at: Timestamp,
) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    for delivery in deliveries {
        let sql = "UPDATE webhook_delivery SET next_at = $2 WHERE id = $1 AND next_at IS NOT NULL";
        transaction.run(sql, vec![delivery.id.as_str().into(), next_at.micros().into()]).await?;
    }
    Ok(transaction.commit().await?)
}

/// Writes what came of tries, in one transaction. If the database refuses one of them, each is written by
/// itself, and that one without the words of the answer.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn note_tries(database: &Database, tried: &[WebhookDelivery]) -> Result<(), StoreError> {
    match note_together(database, tried).await {
        Err(error) if error.is_refused() => {
            for one in tried {
                let noted = note_together(database, std::slice::from_ref(one)).await;
                if noted.is_err() {
                    let without = WebhookDelivery { answer: None, ..one.clone() };
                    note_together(database, &[without]).await?;
                }
            }
            Ok(())
        }
        result => result,
    }
}

async fn note_together(database: &Database, tried: &[WebhookDelivery]) -> Result<(), StoreError> {
    // A replay during the try has begun its tries anew: a failure does not undo it.
    let sql = "UPDATE webhook_delivery SET tries = $2, next_at = $3, delivered_at = $4, answer = $5 \
               WHERE id = $1 AND next_at IS NOT NULL AND ($4 IS NOT NULL OR tries = $2 - 1)";
    let mut transaction = database.begin().await?;
    for one in tried {
        let values = vec![
            one.id.as_str().into(),
            i64::from(one.tries).into(),
            Value::Int(one.next_at.map(Timestamp::micros)),
            Value::Int(one.delivered_at.map(Timestamp::micros)),
            one.answer.clone().into(),
        ];
        transaction.run(sql, values).await?;
    }
    Ok(transaction.commit().await?)
}

/// Switches a webhook off whose receiver has said that it is gone, and gives its deliveries up.
///
/// # Errors
///
/// The database cannot be reached, or the system has no random bytes.
pub async fn switch_off(
    change: &mut AuditedChange<'_>,
    webhook: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE webhook_delivery SET next_at = NULL \
               WHERE webhook = $1 AND next_at IS NOT NULL";
    change.transaction.run(sql, vec![webhook.into()]).await?;
    super::webhooks::switch(change, None, webhook, Some(reason)).await.map(drop)
}

/// Returns the deliveries of a webhook, the newest first.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list(
    database: &Database,
    webhook: &str,
    page: &PageRequest,
) -> Result<Vec<WebhookDelivery>, StoreError> {
    let before = page.after.clone().unwrap_or_else(|| super::BEHIND_ALL_IDS.to_owned());
    let sql = "SELECT * FROM webhook_delivery WHERE webhook = $1 AND id < $2 \
               ORDER BY id DESC LIMIT $3";
    let values = vec![webhook.into(), before.into(), i64::from(page.limit).into()];
    let rows = database.rows(sql, values).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Makes deliveries of a webhook due at once that were not delivered: one, or all of events since some time,
/// given up or waiting for their next try. Their tries are counted anew. One that is being sent just now may
/// arrive twice. Returns their number.
///
/// # Errors
///
/// The database cannot be reached, or the system has no random bytes.
pub async fn replay(
    change: &mut AuditedChange<'_>,
    webhook: &super::Webhook,
    delivery: Option<&str>,
    since: Option<Timestamp>,
) -> Result<u64, StoreError> {
    // One delivery is sent again also if the receiver has taken it: it may have lost it.
    let sql = "UPDATE webhook_delivery SET next_at = $2, tries = 0, delivered_at = NULL \
               WHERE webhook = $1 \
               AND (id = $3 OR ($3 IS NULL AND delivered_at IS NULL AND created_at >= $4))";
    let values = vec![
        webhook.id.as_str().into(),
        change.now.micros().into(),
        delivery.map(str::to_owned).into(),
        since.map_or(0, Timestamp::micros).into(),
    ];
    let count = change.transaction.run(sql, values).await?;
    let detail = format!("{count} deliveries");
    audit::note(change, webhook.tenant.as_deref(), "webhook.replay", &webhook.id, &detail).await?;
    Ok(count)
}

/// What was deleted of the deliveries that are too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeletedDeliveries {
    /// All of them.
    pub all: u64,
    /// Those that still waited.
    pub waiting: u64,
}

/// Deletes deliveries of events that were recorded too long ago.
///
/// # Errors
///
/// The database cannot be reached, or refuses to delete one of them.
pub async fn delete_old(
    database: &Database,
    old: &OldRows,
) -> Result<DeletedDeliveries, StoreError> {
    let sql = "DELETE FROM webhook_delivery WHERE id IN \
               (SELECT id FROM webhook_delivery WHERE created_at < $1 \
               ORDER BY created_at, id LIMIT $2 OFFSET $3) RETURNING next_at";
    let mut transaction = database.begin().await?;
    let rows = transaction.rows(sql, old.values()).await?;
    let mut deleted = DeletedDeliveries { all: rows.len() as u64, waiting: 0 };
    for row in &rows {
        deleted.waiting += u64::from(time(row, "next_at")?.is_some());
    }
    transaction.commit().await?;
    Ok(deleted)
}

/// Returns the id of the newest delivery of a webhook that is one too many: behind the newest
/// 20,000. It and all older ones may go that do not wait.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn newest_of_too_many(
    database: &Database,
    webhook: &str,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT id FROM webhook_delivery WHERE webhook = $1 \
               ORDER BY id DESC LIMIT 1 OFFSET $2";
    let rows = database.rows(sql, vec![webhook.into(), MAX_KEPT.into()]).await?;
    Ok(rows.first().map(|row| row.get("id")).transpose()?)
}

/// Deletes a batch of the deliveries of a webhook up to the id `last` that do not wait. Returns whether there
/// may be more.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn delete_done(
    database: &Database,
    webhook: &str,
    last: &str,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM webhook_delivery WHERE id IN (SELECT id FROM webhook_delivery \
               WHERE webhook = $1 AND id <= $2 AND next_at IS NULL ORDER BY id LIMIT $3)";
    change_batch(database, sql, vec![webhook.into(), last.into(), BATCH.into()]).await
}

/// Deletes a batch of the deliveries of a webhook that was deleted. Returns whether there may be more.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn delete_all(database: &Database, webhook: &str) -> Result<bool, StoreError> {
    let sql = "DELETE FROM webhook_delivery WHERE id IN \
               (SELECT id FROM webhook_delivery WHERE webhook = $1 ORDER BY id LIMIT $2)";
    change_batch(database, sql, vec![webhook.into(), BATCH.into()]).await
}

async fn change_batch(
    database: &Database,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<bool, StoreError> {
    let mut transaction = database.begin().await?;
    let changed = transaction.run(sql, values).await?;
    transaction.commit().await?;
    Ok(changed >= BATCH.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::DatabaseAddress;

    #[tokio::test]
    async fn a_claim_looks_at_no_delivery_that_does_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&DatabaseAddress::Sqlite(dir.path().join("nucleus.db")));
        database.migrate().await.unwrap();
        let mut change = database.begin().await.unwrap();
        let plan = format!("EXPLAIN QUERY PLAN {CLAIM}").leak();
        let values = vec!["hook".into(), 1_i64.into(), 2_i64.into(), 3_i64.into(), 4_i64.into()];
        let rows = change.rows(plan, values).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail").unwrap()).collect();
        let by_time = |step: &&String| step.contains("webhook_delivery_due (webhook=? AND next_at");
        assert_eq!(plan.iter().filter(by_time).count(), 2, "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("webhook_delivery_by_webhook")), "{plan:?}");
    }
}
