//! Bans: users of a tenant who may join no room.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit;
use super::{AuditedChange, PageRequest, StoreError, check_tenant, time};
use crate::database::{Database, DatabaseError, Row};
use crate::timestamp::Timestamp;

/// A user who may join no room of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantBan {
    /// The id, a UUID.
    pub id: String,
    /// The id of the tenant.
    pub tenant: String,
    /// The user, as in the claim `sub` of join tokens.
    pub user: String,
    /// Why, for people.
    pub reason: String,
    /// From when on the user may join again; absent: once the ban is lifted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// When the ban was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A ban to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTenantBan {
    /// As [`TenantBan::tenant`].
    pub tenant: String,
    /// As [`TenantBan::user`].
    pub user: String,
    /// As [`TenantBan::reason`].
    pub reason: String,
    /// As [`TenantBan::ends_at`].
    pub ends_at: Option<Timestamp>,
}

fn read(row: &Row) -> Result<TenantBan, DatabaseError> {
    Ok(TenantBan {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        user: row.get("user_id")?,
        reason: row.get("reason")?,
        ends_at: time(row, "ends_at")?,
        created_at: time(row, "created_at")?.unwrap_or(Timestamp::from_micros(0)),
    })
}

/// Returns bans in the order of their making, also those that have ended: those of one tenant, or all; those
/// of one user, or of all.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list(
    database: &Database,
    tenant: Option<&str>,
    user: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<TenantBan>, StoreError> {
    let sql = "SELECT * FROM ban WHERE ($1 IS NULL OR tenant = $1) AND ($4 IS NULL OR user_id = $4) \
               AND id > $2 ORDER BY id LIMIT $3";
    let values = vec![
        tenant.map(str::to_owned).into(),
        page.after.clone().unwrap_or_default().into(),
        i64::from(page.limit).into(),
        user.map(str::to_owned).into(),
    ];
    let rows = database.rows(sql, values).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Bans a user of a tenant that has fewer than `max` bans. A ban of the same user is replaced; bans that
/// have ended are removed.
///
/// # Errors
///
/// [`StoreError::NotFound`] if there is no such tenant, [`StoreError::TooMany`], or the database cannot
/// be reached.
pub async fn create(
    change: &mut AuditedChange<'_>,
    new: &NewTenantBan,
    max: u32,
) -> Result<TenantBan, StoreError> {
    let tenant = new.tenant.as_str();
    check_tenant(change, tenant).await?;
    let sql = "DELETE FROM ban WHERE tenant = $1 AND (user_id = $2 OR ends_at <= $3)";
    let now = change.now.micros();
    change.transaction.run(sql, vec![tenant.into(), new.user.as_str().into(), now.into()]).await?;
    let sql = "SELECT COUNT(*) AS bans FROM ban WHERE tenant = $1";
    let rows = change.transaction.rows(sql, vec![tenant.into()]).await?;
    let bans: i64 = rows.first().map(|row| row.get("bans")).transpose()?.unwrap_or(0);
    if bans >= i64::from(max) {
        return Err(StoreError::TooMany("bans of the tenant", max));
    }
    let sql = "INSERT INTO ban (id, tenant, user_id, reason, ends_at, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6) RETURNING *";
    let values = vec![
        change.new_id()?.into(),
        tenant.into(),
        new.user.as_str().into(),
        new.reason.as_str().into(),
        new.ends_at.map(Timestamp::micros).into(),
        now.into(),
    ];
    let rows = change.transaction.rows(sql, values).await?;
    let ban = read(rows.first().ok_or(StoreError::NotFound("ban"))?)?;
    audit::note(change, Some(tenant), "ban.create", &ban.user, &ban.reason).await?;
    Ok(ban)
}

/// Lifts a ban of `tenant`; `None`: of anybody.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn delete(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    id: &str,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM ban WHERE id = $1 AND ($2 IS NULL OR tenant = $2) RETURNING *";
    let values = vec![id.into(), tenant.map(str::to_owned).into()];
    let rows = change.transaction.rows(sql, values).await?;
    let ban = read(rows.first().ok_or(StoreError::NotFound("ban"))?)?;
    audit::note(change, Some(&ban.tenant), "ban.delete", &ban.user, &ban.reason).await
}

/// Deletes the ban of a user if it has ended. Returns how many were deleted, and whether one is in force.
///
/// # Errors
///
/// The database cannot be reached.
pub(crate) async fn forget_user(
    change: &mut AuditedChange<'_>,
    tenant: &str,
    user: &str,
) -> Result<(u64, bool), StoreError> {
    let sql = "DELETE FROM ban WHERE tenant = $1 AND user_id = $2 AND ends_at <= $3";
    let values = vec![tenant.into(), user.into(), change.now.micros().into()];
    let deleted = change.transaction.run(sql, values).await?;
    let sql = "SELECT id FROM ban WHERE tenant = $1 AND user_id = $2";
    let left = change.transaction.rows(sql, vec![tenant.into(), user.into()]).await?;
    Ok((deleted, !left.is_empty()))
}

/// Returns all bans that hold at `now` or later.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn all(database: &Database, now: Timestamp) -> Result<Vec<TenantBan>, StoreError> {
    let sql = "SELECT * FROM ban WHERE ends_at IS NULL OR ends_at > $1";
    let rows = database.rows(sql, vec![now.micros().into()]).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
