//! Webhooks: addresses that are told of events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit;
use super::delivery_places::too_far;
use super::{
    AuditedChange, PageRequest, StoreError, check_tenant, json_list, read_page, time, to_json,
};
use crate::database::{Database, DatabaseError, Row};
use crate::timestamp::Timestamp;

/// Why a webhook is off that a person has switched off.
pub const SWITCHED_OFF: &str = "it was switched off";
/// Tries of a delivery after which its webhook counts as failing: it has not answered for five minutes.
const FAILING_TRIES: i64 = 3;

/// An address that is told of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// The id, a UUID.
    pub id: String,
    /// The id of the tenant whose events are told; absent: those of all tenants.
    pub tenant: Option<String>,
    /// What the webhook is for, for people.
    pub name: String,
    /// Where the events are sent.
    pub url: String,
    /// The kinds of events that are sent; empty: all.
    pub events: Vec<String>,
    /// Whether events are sent.
    pub on: bool,
    /// Why no events are sent; absent: they are.
    pub off_reason: Option<String>,
    /// What keeps this server from telling it, although it is on; absent: nothing.
    pub problem: Option<String>,
    /// When the webhook was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The name of the key that signs for it.
    #[serde(skip)]
    pub(crate) signer: String,
}

/// A webhook to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebhook {
    /// As [`Webhook::tenant`].
    pub tenant: Option<String>,
    /// As [`Webhook::name`].
    pub name: String,
    /// As [`Webhook::url`].
    pub url: String,
    /// As [`Webhook::events`].
    pub events: Vec<String>,
    /// The name of the key that signs for it.
    pub signer: String,
}

/// A webhook that is not told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentWebhook {
    /// As [`Webhook::id`].
    pub id: String,
    /// As [`Webhook::tenant`].
    pub tenant: Option<String>,
    /// As [`Webhook::name`].
    pub name: String,
    /// Why the server has switched it off; `None`: it is on, and its deliveries fail.
    pub off_reason: Option<String>,
}

fn read(row: &Row) -> Result<Webhook, DatabaseError> {
    let off_reason: Option<String> = row.get("off_reason")?;
    Ok(Webhook {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        name: row.get("name")?,
        url: row.get("url")?,
        events: json_list(row, "events")?,
        on: off_reason.is_none(),
        off_reason,
        problem: None,
        created_at: time(row, "created_at")?.unwrap_or(Timestamp::from_micros(0)),
        signer: row.get("signer")?,
    })
}

/// Reads a webhook, if it can be read: one that cannot keeps nobody else from being told.
fn read_or_skip(row: &Row) -> Option<Webhook> {
    read(row).inspect_err(|error| tracing::debug!(%error, "a webhook is told nothing")).ok()
}

/// Returns webhooks in the order of their making: those of one tenant, or all.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list(
    database: &Database,
    tenant: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<Webhook>, StoreError> {
    let sql = "SELECT * FROM webhook WHERE ($1 IS NULL OR tenant = $1) AND id > $2 \
               AND deleted_at IS NULL ORDER BY id LIMIT $3";
    read_page(database, sql, tenant, page, read).await
}

/// Returns a webhook of `tenant`; `None`: of anybody.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn get(
    database: &Database,
    tenant: Option<&str>,
    id: &str,
) -> Result<Webhook, StoreError> {
    let sql = "SELECT * FROM webhook WHERE id = $1 AND ($2 IS NULL OR tenant = $2) \
               AND deleted_at IS NULL";
    let rows = database.rows(sql, vec![id.into(), tenant.map(str::to_owned).into()]).await?;
    Ok(read(rows.first().ok_or(StoreError::NotFound("webhook"))?)?)
}

/// Makes a webhook of a tenant, or of the whole server, that has fewer than `max`.
///
/// # Errors
///
/// [`StoreError::NotFound`] if there is no such tenant, [`StoreError::TooMany`], or the database cannot
/// be reached.
pub async fn create(
    change: &mut AuditedChange<'_>,
    new: &NewWebhook,
    max: u32,
) -> Result<Webhook, StoreError> {
    if let Some(tenant) = &new.tenant {
        check_tenant(change, tenant).await?;
    }
    let sql = "SELECT COUNT(*) AS webhooks FROM webhook \
               WHERE (tenant = $1 OR ($1 IS NULL AND tenant IS NULL)) AND deleted_at IS NULL";
    let rows = change.transaction.rows(sql, vec![new.tenant.clone().into()]).await?;
    let others: i64 = rows.first().map(|row| row.get("webhooks")).transpose()?.unwrap_or(0);
    if others >= i64::from(max) {
        let whose = match new.tenant {
            Some(_) => "webhooks of the tenant",
            None => "webhooks of the whole server",
        };
        return Err(StoreError::TooMany(whose, max));
    }
    let sql = "INSERT INTO webhook (id, tenant, name, url, events, signer, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *";
    let values = vec![
        change.new_id()?.into(),
        new.tenant.clone().into(),
        new.name.as_str().into(),
        new.url.as_str().into(),
        to_json(&new.events).into(),
        new.signer.as_str().into(),
        change.now.micros().into(),
    ];
    let rows = change.transaction.rows(sql, values).await?;
    let webhook = read(rows.first().ok_or(StoreError::NotFound("webhook"))?)?;
    let tenant = new.tenant.as_deref();
    audit::note(change, tenant, "webhook.create", &webhook.id, &webhook.name).await?;
    Ok(webhook)
}

/// Deletes a webhook of `tenant`; `None`: of anybody. It is not there any more from then on. Its deliveries,
/// perhaps very many, are deleted later in small steps, and its row behind them: by then no server writes
/// deliveries for it.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn delete(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    id: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE webhook SET deleted_at = $3, off_reason = 'deleted' WHERE id = $1 \
               AND ($2 IS NULL OR tenant = $2) AND deleted_at IS NULL RETURNING *";
    let now = change.now.micros();
    let values = vec![id.into(), tenant.map(str::to_owned).into(), now.into()];
    let rows = change.transaction.rows(sql, values).await?;
    let webhook = read(rows.first().ok_or(StoreError::NotFound("webhook"))?)?;
    let tenant = webhook.tenant.as_deref();
    audit::note(change, tenant, "webhook.delete", id, &webhook.name).await
}

/// Deletes all webhooks of a tenant that is deleted, as [`delete`] does. They belong to nobody then, so that
/// the tenant's row can go at once.
///
/// # Errors
///
/// The database cannot be reached.
pub(super) async fn delete_of_tenant(
    change: &mut AuditedChange<'_>,
    tenant: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE webhook SET deleted_at = COALESCE(deleted_at, $2), off_reason = 'deleted', \
               tenant = NULL WHERE tenant = $1";
    let now = change.now.micros();
    change.transaction.run(sql, vec![tenant.into(), now.into()]).await?;
    Ok(())
}

/// A webhook that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedWebhook {
    /// The id.
    pub id: String,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// Returns webhooks that were deleted and whose rows are still there.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn deleted(database: &Database) -> Result<Vec<DeletedWebhook>, StoreError> {
    let sql = "SELECT id, deleted_at FROM webhook WHERE deleted_at IS NOT NULL ORDER BY id";
    let read = |row: &Row| -> Result<_, DatabaseError> {
        let deleted_at = time(row, "deleted_at")?.unwrap_or(Timestamp::from_micros(0));
        Ok(DeletedWebhook { id: row.get("id")?, deleted_at })
    };
    Ok(database.rows(sql, vec![]).await?.iter().map(read).collect::<Result<_, _>>()?)
}

/// Removes the row of a webhook that was deleted and has no deliveries any more.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn remove(database: &Database, id: &str) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = "DELETE FROM webhook WHERE id = $1 AND deleted_at IS NOT NULL \
               AND NOT EXISTS (SELECT 1 FROM webhook_delivery WHERE webhook = $1)";
    transaction.run(sql, vec![id.into()]).await?;
    Ok(transaction.commit().await?)
}

/// Returns the ids of all webhooks that were not deleted.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn ids(database: &Database) -> Result<Vec<String>, StoreError> {
    let rows = database.rows("SELECT id FROM webhook WHERE deleted_at IS NULL", vec![]).await?;
    Ok(rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?)
}

/// Returns webhooks that are not told of events, at most `limit`: those that the server has switched off, and
/// those whose deliveries fail for the third time or more. What a person has switched off is left out. The first
/// one of each tenant comes before the second one of any, so that no tenant's webhooks hide those of another.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn silent(database: &Database, limit: usize) -> Result<Vec<SilentWebhook>, StoreError> {
    let sql = "SELECT id, tenant, name, off_reason FROM (SELECT id, tenant, name, off_reason, \
               ROW_NUMBER() OVER (PARTITION BY tenant ORDER BY id) AS place \
               FROM webhook WHERE deleted_at IS NULL AND \
               (off_reason <> $1 OR (off_reason IS NULL AND EXISTS \
               (SELECT 1 FROM webhook_delivery AS due WHERE due.webhook = webhook.id \
               AND due.next_at IS NOT NULL AND due.tries >= $2)))) AS silent \
               ORDER BY place, id LIMIT $3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = vec![SWITCHED_OFF.into(), FAILING_TRIES.into(), limit.into()];
    let rows = database.rows(sql, values).await?;
    let facts = |row: &Row| -> Result<_, DatabaseError> {
        Ok(SilentWebhook {
            id: row.get("id")?,
            tenant: row.get("tenant")?,
            name: row.get("name")?,
            off_reason: row.get("off_reason")?,
        })
    };
    Ok(rows.iter().map(facts).collect::<Result<_, _>>()?)
}

/// Switches a webhook of `tenant` on, or off for a reason; `None`: of anybody.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn switch(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    id: &str,
    off_reason: Option<&str>,
) -> Result<Webhook, StoreError> {
    let sql = "UPDATE webhook SET off_reason = $3 \
               WHERE id = $1 AND ($2 IS NULL OR tenant = $2) AND deleted_at IS NULL RETURNING *";
    let values =
        vec![id.into(), tenant.map(str::to_owned).into(), off_reason.map(str::to_owned).into()];
    let rows = change.transaction.rows(sql, values).await?;
    let webhook = read(rows.first().ok_or(StoreError::NotFound("webhook"))?)?;
    let action = if webhook.on { "webhook.on" } else { "webhook.off" };
    audit::note(change, webhook.tenant.as_deref(), action, id, &webhook.name).await?;
    Ok(webhook)
}

/// Returns the webhooks that are on and have deliveries due at `now`, for servers with the key `signer`.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn with_due(
    database: &Database,
    signer: &str,
    now: Timestamp,
) -> Result<Vec<Webhook>, StoreError> {
    let sql = "SELECT * FROM webhook WHERE off_reason IS NULL AND deleted_at IS NULL AND signer = $1 AND \
               (EXISTS (SELECT 1 FROM webhook_delivery AS due \
               WHERE due.webhook = webhook.id AND due.next_at <= $2) \
               OR EXISTS (SELECT 1 FROM webhook_delivery AS due \
               WHERE due.webhook = webhook.id AND due.next_at > $3))";
    let far = too_far(now);
    let values = vec![signer.into(), now.micros().into(), far.micros().into()];
    let rows = database.rows(sql, values).await?;
    Ok(rows.iter().filter_map(read_or_skip).collect())
}

/// Returns the number of webhooks that servers with the key `signer` cannot sign for.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn count_of_other_signers(database: &Database, signer: &str) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) AS webhooks FROM webhook WHERE signer <> $1 AND deleted_at IS NULL";
    let rows = database.rows(sql, vec![signer.into()]).await?;
    Ok(rows.first().map(|row| row.get("webhooks")).transpose()?.unwrap_or(0))
}
