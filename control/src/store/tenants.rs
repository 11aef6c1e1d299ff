//! Tenants: customers, with their products, the dates of their licence and their limits.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AuditedChange, PageRequest, StoreError, exists, json_list, read_page, time, to_json};
use super::{audit, webhooks};
use crate::database::{Database, DatabaseError, Row, Value};
use crate::timestamp::Timestamp;

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// The id, a UUID.
    pub id: String,
    /// The name that join tokens carry in the claim `tenant`.
    pub name: String,
    /// The products that the tenant has; empty: all of the server.
    pub products: Vec<String>,
    /// Begin of the licence; absent: it has begun.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// End of the licence; absent: it does not end. From then on nobody joins; running sessions stay.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// Most sessions at a time; absent: as many as the server's configuration says.
    pub max_sessions: Option<u32>,
    /// Most rooms at a time; absent: as many as the server's configuration says.
    pub max_rooms: Option<u32>,
    /// Most rooms that do not end when they are empty; absent: as many as the configuration says.
    pub max_kept_rooms: Option<u32>,
    /// Whether the tenant's users may join.
    pub active: bool,
    /// When the tenant was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What of a tenant may be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// As [`Tenant::name`].
    pub name: String,
    /// As [`Tenant::products`].
    pub products: Vec<String>,
    /// As [`Tenant::starts_at`].
    pub starts_at: Option<Timestamp>,
    /// As [`Tenant::ends_at`].
    pub ends_at: Option<Timestamp>,
    /// As [`Tenant::max_sessions`].
    pub max_sessions: Option<u32>,
    /// As [`Tenant::max_rooms`].
    pub max_rooms: Option<u32>,
    /// As [`Tenant::max_kept_rooms`].
    pub max_kept_rooms: Option<u32>,
    /// As [`Tenant::active`].
    pub active: bool,
}

impl TenantSettings {
    /// The values of the columns `name` to `active`, in the order of the statements below.
    fn values(&self) -> Vec<Value> {
        vec![
            self.name.as_str().into(),
            to_json(&self.products).into(),
            self.starts_at.map(Timestamp::micros).into(),
            self.ends_at.map(Timestamp::micros).into(),
            self.max_sessions.into(),
            self.max_rooms.into(),
            self.max_kept_rooms.into(),
            self.active.into(),
        ]
    }
}

pub(super) fn read(row: &Row) -> Result<Tenant, DatabaseError> {
    Ok(Tenant {
        id: row.get("id")?,
        name: row.get("name")?,
        products: json_list(row, "products")?,
        starts_at: time(row, "starts_at")?,
        ends_at: time(row, "ends_at")?,
        max_sessions: row.number("max_sessions")?,
        max_rooms: row.number("max_rooms")?,
        max_kept_rooms: row.number("max_kept_rooms")?,
        active: row.get("active")?,
        created_at: time(row, "created_at")?.unwrap_or(Timestamp::from_micros(0)),
    })
}

/// Returns tenants in the order of their making: the one with the id `only`, or all.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list(
    database: &Database,
    only: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<Tenant>, StoreError> {
    let sql = "SELECT * FROM tenant WHERE ($1 IS NULL OR id = $1) AND id > $2 \
               ORDER BY id LIMIT $3";
    read_page(database, sql, only, page, read).await
}

/// Returns a tenant.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn get(database: &Database, id: &str) -> Result<Tenant, StoreError> {
    let rows = database.rows("SELECT * FROM tenant WHERE id = $1", vec![id.into()]).await?;
    Ok(read(rows.first().ok_or(StoreError::NotFound("tenant"))?)?)
}

/// Makes a tenant.
///
/// # Errors
///
/// [`StoreError::Exists`] if a tenant has this name, or the database cannot be reached.
pub async fn create(
    change: &mut AuditedChange<'_>,
    wanted: &TenantSettings,
) -> Result<Tenant, StoreError> {
    let sql = "INSERT INTO tenant (id, created_at, name, products, starts_at, ends_at, \
               max_sessions, max_rooms, max_kept_rooms, active) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *";
    let mut values = vec![change.new_id()?.into(), change.now.micros().into()];
    values.extend(wanted.values());
    let rows = change.transaction.rows(sql, values).await.map_err(exists("tenant"))?;
    let tenant = read(rows.first().ok_or(StoreError::NotFound("tenant"))?)?;
    audit::note(change, Some(&tenant.id), "tenant.create", &tenant.id, &tenant.name).await?;
    Ok(tenant)
}

/// Sets everything of a tenant that may be set.
///
/// # Errors
///
/// [`StoreError::NotFound`], [`StoreError::Exists`] if another tenant has this name, or the
/// database cannot be reached.
pub async fn set(
    change: &mut AuditedChange<'_>,
    id: &str,
    to: &TenantSettings,
) -> Result<Tenant, StoreError> {
    let sql = "UPDATE tenant SET name = $2, products = $3, starts_at = $4, ends_at = $5, \
               max_sessions = $6, max_rooms = $7, max_kept_rooms = $8, active = $9 \
               WHERE id = $1 RETURNING *";
    let before = "SELECT * FROM tenant WHERE id = $1";
    let rows = change.transaction.rows(before, vec![id.into()]).await?;
    let before = read(rows.first().ok_or(StoreError::NotFound("tenant"))?)?;
    let mut values = vec![id.into()];
    values.extend(to.values());
    let rows = change.transaction.rows(sql, values).await.map_err(exists("tenant"))?;
    let tenant = read(rows.first().ok_or(StoreError::NotFound("tenant"))?)?;
    let detail = format!("{}{}", tenant.name, differences(&before, &tenant));
    audit::note(change, Some(id), "tenant.change", id, &detail).await?;
    Ok(tenant)
}

/// Describes for the audit what has changed of a tenant. No colon is in it, by which the audit finds users.
fn differences(before: &Tenant, after: &Tenant) -> String {
    let time = |at: Option<Timestamp>| at.map_or("none".to_owned(), |at| at.to_string());
    let limit = |limit: Option<u32>| limit.map_or("none".to_owned(), |limit| limit.to_string());
    let products = |names: &[String]| match names {
        [] => "all".to_owned(),
        names => names.join(" "),
    };
    let fields = |of: &Tenant| {
        [
            ("name", of.name.clone()),
            ("products", products(&of.products)),
            ("starts_at", time(of.starts_at)),
            ("ends_at", time(of.ends_at)),
            ("max_sessions", limit(of.max_sessions)),
            ("max_rooms", limit(of.max_rooms)),
            ("max_kept_rooms", limit(of.max_kept_rooms)),
            ("active", of.active.to_string()),
        ]
    };
    let pairs = fields(before).into_iter().zip(fields(after));
    let changed = pairs.filter(|(before, after)| before != after);
    changed.map(|((name, old), (_, new))| format!(", {name} from {old} to {new}")).collect()
}

/// Deletes a tenant with its people, keys, issuers, bans and webhooks. The audit stays. What its webhooks were told is
/// deleted later, in small steps.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn delete(change: &mut AuditedChange<'_>, id: &str) -> Result<(), StoreError> {
    webhooks::delete_of_tenant(change, id).await?;
    let rows = change
        .transaction
        .rows("DELETE FROM tenant WHERE id = $1 RETURNING name", vec![id.into()])
        .await?;
    let name: String = rows.first().ok_or(StoreError::NotFound("tenant"))?.get("name")?;
    audit::note(change, Some(id), "tenant.delete", id, &name).await
}

/// Returns all tenants.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn all(database: &Database) -> Result<Vec<Tenant>, StoreError> {
    let rows = database.rows("SELECT * FROM tenant", vec![]).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
