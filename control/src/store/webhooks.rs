//! Webhooks: addresses that are told of events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit;
use super::{
    AuditedChange, PageRequest, StoreError, check_tenant, json_list, read_page, time, to_json,
};
use crate::database::{Database, DatabaseError, Row};
use crate::timestamp::Timestamp;

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
        created_at: time(row, "created_at")?.unwrap_or(Timestamp::from_micros(0)),
        signer: row.get("signer")?,
    })
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
               ORDER BY id LIMIT $3";
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
    let sql = "SELECT * FROM webhook WHERE id = $1 AND ($2 IS NULL OR tenant = $2)";
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
               WHERE tenant = $1 OR ($1 IS NULL AND tenant IS NULL)";
    let rows = change.transaction.rows(sql, vec![new.tenant.clone().into()]).await?;
    let others: i64 = rows.first().map(|row| row.get("webhooks")).transpose()?.unwrap_or(0);
    if others >= i64::from(max) {
        return Err(StoreError::TooMany("webhooks", max));
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

/// Deletes a webhook of `tenant`, with its deliveries; `None`: of anybody.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn delete(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    id: &str,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM webhook WHERE id = $1 AND ($2 IS NULL OR tenant = $2) RETURNING *";
    let values = vec![id.into(), tenant.map(str::to_owned).into()];
    let rows = change.transaction.rows(sql, values).await?;
    let webhook = read(rows.first().ok_or(StoreError::NotFound("webhook"))?)?;
    let tenant = webhook.tenant.as_deref();
    audit::note(change, tenant, "webhook.delete", id, &webhook.name).await
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
               WHERE id = $1 AND ($2 IS NULL OR tenant = $2) RETURNING *";
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
    let sql = "SELECT * FROM webhook WHERE off_reason IS NULL AND signer = $1 AND EXISTS \
               (SELECT 1 FROM webhook_delivery AS due WHERE due.webhook = webhook.id AND due.next_at <= $2)";
    let rows = database.rows(sql, vec![signer.into(), now.micros().into()]).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
