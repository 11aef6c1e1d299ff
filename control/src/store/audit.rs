//! The audit: who did what, when and from where. Entries are written with the change itself, and are
//! never changed.

use serde::Serialize;
use utoipa::ToSchema;

use super::{AuditedChange, PageRequest, StoreError, time};
use crate::database::{Database, DatabaseError, Row};
use crate::timestamp::Timestamp;

/// Who makes a request, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name in the audit, as `key:<id>` or `local`.
    pub name: String,
    /// The network address of the request; empty: the request came from this process.
    pub ip: String,
    /// The id of the request.
    pub request_id: String,
}

/// An entry of the audit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// The id.
    pub id: String,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The id of the tenant that the act was about; absent: the whole server.
    pub tenant: Option<String>,
    /// Who did it, as `key:<id>` or `local`.
    pub actor: String,
    /// What was done, as `tenant.create`.
    pub action: String,
    /// The id of what it was done to.
    pub target: String,
    /// What else there is to know, for people.
    pub detail: String,
    /// The id of the request.
    pub request_id: String,
    /// The network address that the request came from.
    pub ip: String,
}

/// Notes an act in the audit.
///
/// # Errors
///
/// The database cannot be reached, or the system has no random bytes.
pub async fn note(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    action: &'static str,
    target: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (id, at, tenant, actor, action, target, detail, request_id, ip) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (actor, now) = (change.actor, change.now.micros());
    let values = vec![
        change.new_id()?.into(),
        now.into(),
        tenant.map(str::to_owned).into(),
        actor.name.as_str().into(),
        action.into(),
        target.into(),
        detail.into(),
        actor.request_id.as_str().into(),
        actor.ip.as_str().into(),
    ];
    change.transaction.run(sql, values).await?;
    Ok(())
}

/// Returns entries of the audit, the newest first: those of one tenant, or all.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn entries(
    database: &Database,
    tenant: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<AuditEntry>, StoreError> {
    let before = page.after.clone().unwrap_or_else(|| super::BEHIND_ALL_IDS.to_owned());
    let sql = "SELECT * FROM audit WHERE ($1 IS NULL OR tenant = $1) AND id < $2 \
               ORDER BY id DESC LIMIT $3";
    let values =
        vec![tenant.map(str::to_owned).into(), before.into(), i64::from(page.limit).into()];
    let rows = database.rows(sql, values).await?;
    let entry = |row: &Row| -> Result<_, DatabaseError> {
        Ok(AuditEntry {
            id: row.get("id")?,
            at: time(row, "at")?.unwrap_or(Timestamp::from_micros(0)),
            tenant: row.get("tenant")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            target: row.get("target")?,
            detail: row.get("detail")?,
            request_id: row.get("request_id")?,
            ip: row.get("ip")?,
        })
    };
    Ok(rows.iter().map(entry).collect::<Result<_, _>>()?)
}
