//! People who sign in to the dashboard. The database holds hashes of their passwords.

use serde::Serialize;
use utoipa::ToSchema;

use super::{AuditedChange, PageRequest, StoreError, audit, check_tenant, exists, read_page, time};
use crate::database::{Database, DatabaseError, Row};
use crate::people::PersonRole;
use crate::timestamp::Timestamp;

/// Somebody who signs in to the dashboard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Person {
    /// The id, a UUID.
    pub id: String,
    /// The id of the person's tenant; absent: the person is of the whole server.
    pub tenant: Option<String>,
    /// The email address, in lower case.
    pub email: String,
    /// The name, for people.
    pub name: String,
    /// What the person may do.
    pub role: PersonRole,
    /// Whether there is a password.
    pub has_password: bool,
    /// Whether signing in needs a code of an authenticator app.
    pub has_totp: bool,
    /// When the person was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the person last signed in; absent: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub signed_in_at: Option<Timestamp>,
    /// From when on the person may not sign in; absent: the person may.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled_at: Option<Timestamp>,
}

/// What verifies that somebody is a person.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PersonSecrets {
    /// The hash of the password; `None`: there is none.
    pub password_hash: Option<String>,
    /// The sealed secret of the authenticator app; `None`: there is none.
    pub totp: Option<String>,
    /// The newest time step of which a code was used.
    pub totp_step: Option<i64>,
}

/// Never shows a secret.
impl std::fmt::Debug for PersonSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonSecrets").finish_non_exhaustive()
    }
}

/// A person to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPerson {
    /// As [`Person::tenant`].
    pub tenant: Option<String>,
    /// As [`Person::email`].
    pub email: String,
    /// As [`Person::name`].
    pub name: String,
    /// As [`Person::role`].
    pub role: PersonRole,
    /// The hash of the password; `None`: a link will set one.
    pub password_hash: Option<String>,
}

/// What of a person is changed. `None`: it stays.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PersonChange {
    /// As [`Person::name`].
    pub name: Option<String>,
    /// As [`Person::role`]. Ends all sessions of the person.
    pub role: Option<PersonRole>,
    /// Whether the person may not sign in. Ends all sessions of the person.
    pub disabled: Option<bool>,
    /// Whether the authenticator app is taken away.
    pub remove_totp: bool,
}

pub(super) fn read(row: &Row) -> Result<Person, DatabaseError> {
    let role: String = row.get("role")?;
    Ok(Person {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        email: row.get("email")?,
        name: row.get("name")?,
        role: role.parse().map_err(|_| DatabaseError::Unreadable(format!("role is {role}")))?,
        has_password: row.get::<Option<String>>("password_hash")?.is_some(),
        has_totp: row.get::<Option<String>>("totp")?.is_some(),
        created_at: time(row, "created_at")?.unwrap_or(Timestamp::from_micros(0)),
        signed_in_at: time(row, "signed_in_at")?,
        disabled_at: time(row, "disabled_at")?,
    })
}

fn read_secrets(row: &Row) -> Result<PersonSecrets, DatabaseError> {
    Ok(PersonSecrets {
        password_hash: row.get("password_hash")?,
        totp: row.get("totp")?,
        totp_step: row.get("totp_step")?,
    })
}

/// Returns people in the order of their making: those of one tenant, or all.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list(
    database: &Database,
    tenant: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<Person>, StoreError> {
    let sql = "SELECT * FROM person WHERE ($1 IS NULL OR tenant = $1) AND id > $2 \
               ORDER BY id LIMIT $3";
    read_page(database, sql, tenant, page, read).await
}

/// Returns a person of `tenant`; `None`: of anybody.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn get(
    database: &Database,
    tenant: Option<&str>,
    id: &str,
) -> Result<Person, StoreError> {
    let sql = "SELECT * FROM person WHERE id = $1 AND ($2 IS NULL OR tenant = $2)";
    let rows = database.rows(sql, vec![id.into(), tenant.map(str::to_owned).into()]).await?;
    Ok(read(rows.first().ok_or(StoreError::NotFound("person"))?)?)
}

/// Returns the person with an email address, in lower case; `None`: there is none.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn find(
    database: &Database,
    email: &str,
) -> Result<Option<(Person, PersonSecrets)>, StoreError> {
    let rows = database.rows("SELECT * FROM person WHERE email = $1", vec![email.into()]).await?;
    let read = |row: &Row| Ok::<_, DatabaseError>((read(row)?, read_secrets(row)?));
    Ok(rows.first().map(read).transpose()?)
}

/// Returns the person whom a provider of single sign-on knows as `subject`; `None`: there is none.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn find_subject(
    change: &mut AuditedChange<'_>,
    issuer: &str,
    subject: &str,
) -> Result<Option<Person>, StoreError> {
    let sql = "SELECT * FROM person WHERE oidc_issuer = $1 AND oidc_subject = $2";
    let rows = change.transaction.rows(sql, vec![issuer.into(), subject.into()]).await?;
    Ok(rows.first().map(read).transpose()?)
}

/// Gives the person with an email address to a subject of a provider. `None`: there is no such person in the
/// tenant (`None`: of the whole server), another subject has it, or it is a super admin, whom no provider
/// makes.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn link_subject(
    change: &mut AuditedChange<'_>,
    issuer: &str,
    subject: &str,
    email: &str,
    tenant: Option<&str>,
) -> Result<Option<Person>, StoreError> {
    let sql = "UPDATE person SET oidc_issuer = $1, oidc_subject = $2 \
               WHERE email = $3 AND (tenant = $4 OR ($4 IS NULL AND tenant IS NULL)) \
               AND role <> 'super_admin' AND (oidc_subject IS NULL OR oidc_issuer <> $1) RETURNING *";
    let values =
        vec![issuer.into(), subject.into(), email.into(), tenant.map(str::to_owned).into()];
    let rows = change.transaction.rows(sql, values).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let person = read(row)?;
    let detail = format!("{}: single sign-on by {issuer}", person.email);
    audit::note(change, person.tenant.as_deref(), "person.change", &person.id, &detail).await?;
    Ok(Some(person))
}

/// Whether there is anybody.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn is_anybody(database: &Database) -> Result<bool, StoreError> {
    Ok(!database.rows("SELECT id FROM person LIMIT 1", vec![]).await?.is_empty())
}

/// Makes the first person.
///
/// # Errors
///
/// [`StoreError::Exists`] if there is somebody, or the database cannot be reached.
pub async fn create_first(
    change: &mut AuditedChange<'_>,
    new: &NewPerson,
) -> Result<Person, StoreError> {
    let rows = change.transaction.rows("SELECT id FROM person LIMIT 1", vec![]).await?;
    if !rows.is_empty() {
        return Err(StoreError::Exists("person"));
    }
    create(change, new, 1).await
}

/// Makes a person of a tenant, or of the whole server, that has fewer than `max`.
///
/// # Errors
///
/// [`StoreError::Exists`] if somebody has this email address, [`StoreError::NotFound`] if there is no such
/// tenant, [`StoreError::TooMany`], or the database cannot be reached.
pub async fn create(
    change: &mut AuditedChange<'_>,
    new: &NewPerson,
    max: u32,
) -> Result<Person, StoreError> {
    if let Some(tenant) = &new.tenant {
        check_tenant(change, tenant).await?;
    }
    let sql = "SELECT COUNT(*) AS people FROM person \
               WHERE tenant = $1 OR ($1 IS NULL AND tenant IS NULL)";
    let rows = change.transaction.rows(sql, vec![new.tenant.clone().into()]).await?;
    let others: i64 = rows.first().map(|row| row.get("people")).transpose()?.unwrap_or(0);
    if others >= i64::from(max) {
        return Err(StoreError::TooMany("people", max));
    }
    let sql = "INSERT INTO person (id, tenant, email, name, role, password_hash, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *";
    let values = vec![
        change.new_id()?.into(),
        new.tenant.clone().into(),
        new.email.as_str().into(),
        new.name.as_str().into(),
        new.role.name().into(),
        new.password_hash.clone().into(),
        change.now.micros().into(),
    ];
    let rows = change.transaction.rows(sql, values).await.map_err(exists("person"))?;
    let person = read(rows.first().ok_or(StoreError::NotFound("person"))?)?;
    let detail = format!("{}: {}", person.email, person.role);
    audit::note(change, person.tenant.as_deref(), "person.create", &person.id, &detail).await?;
    Ok(person)
}

/// Changes a person of `tenant`; `None`: of anybody.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn change(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    id: &str,
    to: &PersonChange,
) -> Result<Person, StoreError> {
    let sql = "UPDATE person SET name = COALESCE($3, name), role = COALESCE($4, role), \
               disabled_at = CASE WHEN $5 = 1 THEN COALESCE(disabled_at, $6) \
               WHEN $5 = 0 THEN NULL ELSE disabled_at END, \
               totp = CASE WHEN $7 = 1 THEN NULL ELSE totp END \
               WHERE id = $1 AND ($2 IS NULL OR tenant = $2) RETURNING *";
    let values = vec![
        id.into(),
        tenant.map(str::to_owned).into(),
        to.name.clone().into(),
        to.role.map(|role| role.name().to_owned()).into(),
        to.disabled.map(i64::from).into(),
        change.now.micros().into(),
        i64::from(to.remove_totp).into(),
    ];
    let rows = change.transaction.rows(sql, values).await?;
    let person = read(rows.first().ok_or(StoreError::NotFound("person"))?)?;
    if to.role.is_some() || to.disabled == Some(true) {
        end_sessions(change, id).await?;
        delete_links(change, id).await?;
    }
    let mut acts = Vec::new();
    acts.extend(to.name.as_ref().map(|_| "name".to_owned()));
    acts.extend(to.role.map(|role| role.to_string()));
    acts.extend(to.disabled.map(|off| if off { "disabled" } else { "enabled" }.to_owned()));
    acts.extend(to.remove_totp.then(|| "without authenticator app".to_owned()));
    let detail = format!("{}: {}", person.email, acts.join(", "));
    audit::note(change, person.tenant.as_deref(), "person.change", id, &detail).await?;
    Ok(person)
}

/// Deletes a person of `tenant` with all sessions; `None`: of anybody.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn delete(
    change: &mut AuditedChange<'_>,
    tenant: Option<&str>,
    id: &str,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM person WHERE id = $1 AND ($2 IS NULL OR tenant = $2) RETURNING *";
    let values = vec![id.into(), tenant.map(str::to_owned).into()];
    let rows = change.transaction.rows(sql, values).await?;
    let person = read(rows.first().ok_or(StoreError::NotFound("person"))?)?;
    audit::note(change, person.tenant.as_deref(), "person.delete", id, &person.email).await
}

/// Sets the password of a person, and ends all sessions of the person.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn set_password(
    change: &mut AuditedChange<'_>,
    id: &str,
    hash: &str,
) -> Result<Person, StoreError> {
    let sql = "UPDATE person SET password_hash = $2 WHERE id = $1 RETURNING *";
    let rows = change.transaction.rows(sql, vec![id.into(), hash.into()]).await?;
    let person = read(rows.first().ok_or(StoreError::NotFound("person"))?)?;
    end_sessions(change, id).await?;
    delete_links(change, id).await?;
    audit::note(change, person.tenant.as_deref(), "person.password", id, &person.email).await?;
    Ok(person)
}

/// Sets the sealed secret of a person's authenticator app, of which the code of `step` has been used.
///
/// # Errors
///
/// [`StoreError::NotFound`], or the database cannot be reached.
pub async fn set_totp(
    change: &mut AuditedChange<'_>,
    id: &str,
    sealed: &str,
    step: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE person SET totp = $2, totp_step = $3 WHERE id = $1 RETURNING *";
    let rows = change.transaction.rows(sql, vec![id.into(), sealed.into(), step.into()]).await?;
    let person = read(rows.first().ok_or(StoreError::NotFound("person"))?)?;
    audit::note(change, person.tenant.as_deref(), "person.totp", id, &person.email).await
}

/// Whether a person still has what was verified: the same password and authenticator app, and an account that
/// is not disabled. Until the change ends, nobody else changes the person.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn is_unchanged(
    change: &mut AuditedChange<'_>,
    person: &Person,
    verified: &PersonSecrets,
) -> Result<bool, StoreError> {
    // An update takes the row also on PostgreSQL.
    let sql = "UPDATE person SET name = name WHERE id = $1 RETURNING *";
    let rows = change.transaction.rows(sql, vec![person.id.as_str().into()]).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    let hash: Option<String> = row.get("password_hash")?;
    let totp: Option<String> = row.get("totp")?;
    let is_disabled = read(row)?.disabled_at.is_some();
    Ok(hash == verified.password_hash && totp == verified.totp && !is_disabled)
}

/// Notes that the code of a time step was used. Returns whether it had not been used before: of two requests
/// with the same code at the same time, one gets in.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn use_totp(
    change: &mut AuditedChange<'_>,
    id: &str,
    step: i64,
) -> Result<bool, StoreError> {
    let sql = "UPDATE person SET totp_step = $2 \
               WHERE id = $1 AND (totp_step IS NULL OR totp_step < $2)";
    Ok(change.transaction.run(sql, vec![id.into(), step.into()]).await? == 1)
}

/// Deletes the one-time link of a person: who made it may no longer act upon the person.
async fn delete_links(change: &mut AuditedChange<'_>, person: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM one_time_link WHERE person = $1";
    change.transaction.run(sql, vec![person.into()]).await?;
    Ok(())
}

/// Ends all sessions of a person with another change, which is in the audit.
async fn end_sessions(change: &mut AuditedChange<'_>, person: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM console_session WHERE person = $1";
    change.transaction.run(sql, vec![person.into()]).await?;
    Ok(())
}
