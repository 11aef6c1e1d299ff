//! Issuers of join tokens: whose signatures the server takes for a tenant.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit;
use super::{AuditedChange, PageRequest, StoreError, check_tenant, read_page, time};
use crate::database::{Database, DatabaseError, Row};
use crate::timestamp::Timestamp;

/// An issuer of a tenant's join tokens: one public key, or an address at which it publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Issuer {
    /// The id, a UUID.
    pub id: String,
    /// The id of the tenant. The issuer signs for this one alone.
    pub tenant: String,
    /// What the issuer is, for people.
    pub name: String,
    /// The algorithm of the key: `EdDSA`, `ES256` or `RS256`; absent: each published key has its own.
    pub algorithm: Option<String>,
    /// The id that tokens must name as `kid`; absent: the key verifies whatever they name.
    pub kid: Option<String>,
    /// The public key, PEM; absent: the keys are published.
    pub public_key: Option<String>,
    /// Where the keys are published (JWK Set); absent: there is one key.
    pub jwks_url: Option<String>,
    /// The audience that the tokens must name in `aud`; absent: that of the server.
    pub audience: Option<String>,
    /// When the published keys were last fetched; absent: there are none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub keys_at: Option<Timestamp>,
    /// When the issuer was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// An issuer to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIssuer {
    /// As [`Issuer::tenant`].
    pub tenant: String,
    /// As [`Issuer::name`].
    pub name: String,
    /// As [`Issuer::algorithm`].
    pub algorithm: Option<String>,
    /// As [`Issuer::kid`].
    pub kid: Option<String>,
    /// As [`Issuer::public_key`].
    pub public_key: Option<String>,
    /// As [`Issuer::jwks_url`].
    pub jwks_url: Option<String>,
    /// As [`Issuer::audience`].
    pub audience: Option<String>,
    /// The published keys (JWK Set, JSON), as they are now.
    pub keys: Option<String>,
}

/// An issuer with the keys that it has published (JWK Set, JSON).
pub type IssuerWithKeys = (Issuer, Option<String>);

fn read(row: &Row) -> Result<Issuer, DatabaseError> {
    Ok(Issuer {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        name: row.get("name")?,
        algorithm: row.get("alg")?,
        kid: row.get("kid")?,
        public_key: row.get("public_key")?,
        jwks_url: row.get("jwks_url")?,
        audience: row.get("audience")?,
        keys_at: time(row, "keys_at")?,
        created_at: time(row, "created_at")?.unwrap_or(Timestamp::from_micros(0)),
    })
}

/// Returns issuers in the order of their making: those of one tenant, or all.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list(
    database: &Database,
    tenant: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<Issuer>, StoreError> {
    let sql = "SELECT id, tenant, name, alg, kid, public_key, jwks_url, audience, keys_at, created_at \
               FROM issuer WHERE ($1 IS NULL OR tenant = $1) AND id > $2 ORDER BY id LIMIT $3";
    read_page(database, sql, tenant, page, read).await
}

/// Makes an issuer of a tenant that has fewer than `max`.
///
/// # Errors
///
/// [`StoreError::NotFound`] if there is no such tenant, [`StoreError::TooMany`], or the database cannot
/// be reached.
pub async fn create(
    change: &mut AuditedChange<'_>,
    new: &NewIssuer,
    max: u32,
) -> Result<Issuer, StoreError> {
    let tenant = new.tenant.as_str();
    check_tenant(change, tenant).await?;
    let sql = "SELECT id FROM issuer WHERE tenant = $1";
    let rows = change.transaction.rows(sql, vec![tenant.into()]).await?;
    if rows.len() >= max as usize {
        return Err(StoreError::TooMany("issuers of the tenant", max));
    }
    let sql = "INSERT INTO issuer (id, tenant, name, alg, kid, public_key, jwks_url, audience, keys, \
               keys_at, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING *";
    let now = change.now.micros();
    let values = vec![
        change.new_id()?.into(),
        tenant.into(),
        new.name.as_str().into(),
        new.algorithm.clone().into(),
        new.kid.clone().into(),
        new.public_key.clone().into(),
        new.jwks_url.clone().into(),
        new.audience.clone().into(),
        new.keys.clone().into(),
        new.keys.as_ref().map(|_| now).into(),
        now.into(),
    ];
    let rows = change.transaction.rows(sql, values).await?;
    let issuer = read(rows.first().ok_or(StoreError::NotFound("issuer"))?)?;
    audit::note(change, Some(tenant), "issuer.create", &issuer.id, &issuer.name).await?;
    Ok(issuer)
}

/// Deletes an issuer of `tenant`; `None`: of anybody.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn delete(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    id: &str,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM issuer WHERE id = $1 AND ($2 IS NULL OR tenant = $2) RETURNING *";
    let values = vec![id.into(), tenant.map(str::to_owned).into()];
    let rows = change.transaction.rows(sql, values).await?;
    let issuer = read(rows.first().ok_or(StoreError::NotFound("issuer"))?)?;
    audit::note(change, Some(&issuer.tenant), "issuer.delete", id, &issuer.name).await
}

/// Returns all issuers with their published keys.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn all(database: &Database) -> Result<Vec<IssuerWithKeys>, StoreError> {
    let rows = database.rows("SELECT * FROM issuer ORDER BY id", vec![]).await?;
    let read = |row: &Row| Ok::<_, DatabaseError>((read(row)?, row.get("keys")?));
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Notes what an issuer published at `now`, for the next start of a server.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn keep_keys(
    database: &Database,
    id: &str,
    keys: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = "UPDATE issuer SET keys = $2, keys_at = $3 WHERE id = $1";
    transaction.run(sql, vec![id.into(), keys.into(), now.micros().into()]).await?;
    Ok(transaction.commit().await?)
}
