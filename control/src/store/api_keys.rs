//! The keys of programs that use the API. The database holds only their hashes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit;
use super::{
    AuditedChange, PageRequest, StoreError, check_tenant, json_list, read_page, time, to_json,
};
use crate::database::{Database, DatabaseError, Row};
use crate::timestamp::Timestamp;

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// The id, a UUID.
    pub id: String,
    /// The id of the key's tenant; absent: the key is for the whole server.
    pub tenant: Option<String>,
    /// What the key is for, for people.
    pub name: String,
    /// What the key allows: `read`, `operate`, `tokens`, `manage`.
    pub scopes: Vec<String>,
    /// When the key was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it is refused; absent: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, up to a minute late; absent: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked; absent: it was not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiKey {
    /// As [`ApiKey::id`]. The key's text names it.
    pub id: String,
    /// As [`ApiKey::tenant`].
    pub tenant: Option<String>,
    /// As [`ApiKey::name`].
    pub name: String,
    /// The hash of the key's secret.
    pub hash: String,
    /// As [`ApiKey::scopes`].
    pub scopes: Vec<String>,
    /// As [`ApiKey::expires_at`].
    pub expires_at: Option<Timestamp>,
}

pub(super) fn read(row: &Row) -> Result<ApiKey, DatabaseError> {
    Ok(ApiKey {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        name: row.get("name")?,
        scopes: json_list(row, "scopes")?,
        created_at: time(row, "created_at")?.unwrap_or(Timestamp::from_micros(0)),
        expires_at: time(row, "expires_at")?,
        last_used_at: time(row, "last_used_at")?,
        revoked_at: time(row, "revoked_at")?,
    })
}

/// Returns keys in the order of their making: those of one tenant, or all.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list(
    database: &Database,
    tenant: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<ApiKey>, StoreError> {
    let sql = "SELECT * FROM api_key WHERE ($1 IS NULL OR tenant = $1) AND id > $2 \
               ORDER BY id LIMIT $3";
    read_page(database, sql, tenant, page, read).await
}

/// Returns the keys of the whole server, which have no tenant, in the order of their making.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list_of_server(
    database: &Database,
    page: &PageRequest,
) -> Result<Vec<ApiKey>, StoreError> {
    let sql = "SELECT * FROM api_key WHERE $1 IS NULL AND tenant IS NULL AND id > $2 \
               ORDER BY id LIMIT $3";
    read_page(database, sql, None, page, read).await
}

/// Returns a key with the hash of its secret.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn get(database: &Database, id: &str) -> Result<(ApiKey, String), StoreError> {
    let sql = "SELECT * FROM api_key WHERE id = $1";
    let rows = database.rows(sql, vec![id.into()]).await?;
    let row = rows.first().ok_or(StoreError::NotFound("API key"))?;
    Ok((read(row)?, row.get("hash")?))
}

/// Notes that a key was used at `now`.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn note_use(database: &Database, id: &str, now: Timestamp) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = "UPDATE api_key SET last_used_at = $2 WHERE id = $1";
    transaction.run(sql, vec![id.into(), now.micros().into()]).await?;
    Ok(transaction.commit().await?)
}

/// Makes a key.
///
/// # Errors
///
/// [`StoreError::NotFound`] if there is no such tenant, or the database cannot be reached.
pub async fn create(change: &mut AuditedChange<'_>, new: &NewApiKey) -> Result<ApiKey, StoreError> {
    if let Some(tenant) = &new.tenant {
        check_tenant(change, tenant).await?;
    }
    let sql = "INSERT INTO api_key (id, tenant, name, hash, scopes, created_at, expires_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *";
    let values = vec![
        new.id.as_str().into(),
        new.tenant.clone().into(),
        new.name.as_str().into(),
        new.hash.as_str().into(),
        to_json(&new.scopes).into(),
        change.now.micros().into(),
        new.expires_at.map(Timestamp::micros).into(),
    ];
    let rows = change.transaction.rows(sql, values).await?;
    let key = read(rows.first().ok_or(StoreError::NotFound("API key"))?)?;
    let detail = format!("{}: {}", key.name, key.scopes.join(", "));
    audit::note(change, key.tenant.as_deref(), "key.create", &key.id, &detail).await?;
    Ok(key)
}

/// Revokes a key of `tenant`; `None`: of anybody. Revoking it again changes nothing.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn revoke(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    id: &str,
) -> Result<ApiKey, StoreError> {
    let sql = "UPDATE api_key SET revoked_at = COALESCE(revoked_at, $3) \
               WHERE id = $1 AND ($2 IS NULL OR tenant = $2) RETURNING *";
    let values = vec![id.into(), tenant.map(str::to_owned).into(), change.now.micros().into()];
    let rows = change.transaction.rows(sql, values).await?;
    let key = read(rows.first().ok_or(StoreError::NotFound("API key"))?)?;
    audit::note(change, key.tenant.as_deref(), "key.revoke", id, &key.name).await?;
    Ok(key)
}

/// Returns all keys that are not revoked, each with the hash of its secret.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn all(database: &Database) -> Result<Vec<(ApiKey, String)>, StoreError> {
    let rows = database.rows("SELECT * FROM api_key WHERE revoked_at IS NULL", vec![]).await?;
    let read = |row: &Row| Ok::<_, DatabaseError>((read(row)?, row.get("hash")?));
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}
