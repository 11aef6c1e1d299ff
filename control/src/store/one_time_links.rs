//! Links that work once: to set a password, and to make the first administrator.

use super::{AuditedChange, StoreError};
use crate::database::{Database, DatabaseError, Row};
use crate::people::LINK_TIME;
use crate::timestamp::Timestamp;

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OneTimeLink {
    /// Makes the first administrator.
    FirstAdmin,
    /// Sets the password of the person with this id.
    Password(String),
}

const FIRST_ADMIN: &str = "first_admin";
const PASSWORD: &str = "password";

fn read(row: &Row) -> Result<OneTimeLink, DatabaseError> {
    let purpose: String = row.get("purpose")?;
    match (purpose.as_str(), row.get::<Option<String>>("person")?) {
        (FIRST_ADMIN, None) => Ok(OneTimeLink::FirstAdmin),
        (PASSWORD, Some(person)) => Ok(OneTimeLink::Password(person)),
        _ => Err(DatabaseError::Unreadable(format!("purpose is {purpose}"))),
    }
}

/// Makes a link, which takes the place of an earlier one of the same person. Returns its end.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn create(
    change: &mut AuditedChange<'_>,
    link: &OneTimeLink,
    hash: &str,
) -> Result<Timestamp, StoreError> {
    let (purpose, person) = match link {
        OneTimeLink::FirstAdmin => (FIRST_ADMIN, None),
        OneTimeLink::Password(person) => (PASSWORD, Some(person.clone())),
    };
    let sql = "DELETE FROM one_time_link WHERE ends_at <= $1 OR person = $2";
    let now = change.now.micros();
    change.transaction.run(sql, vec![now.into(), person.clone().into()]).await?;
    let end = Timestamp::from_micros(now.saturating_add(LINK_TIME));
    let sql = "INSERT INTO one_time_link (hash, person, purpose, created_at, ends_at) \
               VALUES ($1, $2, $3, $4, $5)";
    let values = vec![hash.into(), person.into(), purpose.into(), now.into(), end.micros().into()];
    change.transaction.run(sql, values).await?;
    Ok(end)
}

/// Returns the link with this hash that holds at `now`; `None`: there is none.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn find(
    database: &Database,
    hash: &str,
    now: Timestamp,
) -> Result<Option<OneTimeLink>, StoreError> {
    let sql = "SELECT purpose, person FROM one_time_link WHERE hash = $1 AND ends_at > $2";
    let rows = database.rows(sql, vec![hash.into(), now.micros().into()]).await?;
    Ok(rows.first().map(read).transpose()?)
}

/// Takes the link with this hash, so that it works no more.
///
/// # Errors
///
/// [`StoreError::NotFound`]: it was used meanwhile, or has ended. Otherwise the database cannot be reached.
pub async fn take(change: &mut AuditedChange<'_>, hash: &str) -> Result<OneTimeLink, StoreError> {
    let sql = "DELETE FROM one_time_link WHERE hash = $1 AND ends_at > $2 RETURNING *";
    let rows = change.transaction.rows(sql, vec![hash.into(), change.now.micros().into()]).await?;
    Ok(read(rows.first().ok_or(StoreError::NotFound("link"))?)?)
}

/// Deletes the links to make the first administrator, once there is one.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn delete_first_admin(change: &mut AuditedChange<'_>) -> Result<(), StoreError> {
    let sql = "DELETE FROM one_time_link WHERE person IS NULL";
    change.transaction.run(sql, vec![]).await?;
    Ok(())
}
