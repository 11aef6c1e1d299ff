//! Deletes of the history what is too old or belongs to a user who must be forgotten, in transactions of a
//! bounded size.

use crate::database::{Database, DatabaseError, Row, Value};
use crate::store::{OldRows, json_list};

/// Calls or sessions of a user that one transaction changes: some ten milliseconds, for which no one else can
/// write to SQLite.
const BATCH: u32 = 500;

/// A user of a tenant who is to be forgotten.
#[derive(Clone, Copy, Debug)]
pub struct UserOfTenant<'a> {
    /// The id of the tenant.
    pub tenant: &'a str,
    /// The tenant's name. It finds only rows without an id of a tenant: another tenant may have had the name,
    /// and rows keep the name that the tenant had then.
    pub tenant_name: &'a str,
    /// The user.
    pub user: &'a str,
}

impl UserOfTenant<'_> {
    /// Returns the values of `$1` to `$4`: the tenant, its name, the user, and the size of a batch.
    fn values(&self) -> Vec<Value> {
        let Self { tenant, tenant_name, user } = *self;
        vec![tenant.into(), tenant_name.into(), user.into(), i64::from(BATCH).into()]
    }
}

/// Deletes what the history says of a user of a tenant, 500 rows at a time, each lasting. Calls stay
/// without the user's name. Events of the user that wait in the spool at this moment are not deleted.
/// Returns the number of sessions that were deleted.
///
/// # Errors
///
/// The database cannot be reached. What was deleted before stays deleted.
pub async fn forget(database: &Database, of: UserOfTenant<'_>) -> Result<u64, DatabaseError> {
    while forget_calls(database, of).await? >= u64::from(BATCH) {}
    let mut sessions = 0;
    loop {
        let mut transaction = database.begin().await?;
        let sql = "DELETE FROM session_history WHERE id IN (SELECT id FROM session_history \
                   WHERE user_id = $3 AND COALESCE(tenant = $1, tenant_name = $2) \
                   ORDER BY id LIMIT $4)";
        let deleted = transaction.run(sql, of.values()).await?;
        transaction.commit().await?;
        sessions += deleted;
        if deleted < u64::from(BATCH) {
            return Ok(sessions);
        }
    }
}

/// Takes the user out of a batch of calls. Returns their number. A call has the id of its tenant, a party only the
/// name.
async fn forget_calls(database: &Database, of: UserOfTenant<'_>) -> Result<u64, DatabaseError> {
    let user = of.user;
    let mut transaction = database.begin().await?;
    let sql = "SELECT party.call AS call, caller, members, missed FROM call_party AS party \
               LEFT JOIN call_history AS past ON past.call = party.call WHERE party.user_id = $3 \
               AND COALESCE(past.tenant = $1, party.tenant_name = $2) ORDER BY party.call LIMIT $4";
    let rows = transaction.rows(sql, of.values()).await?;
    for row in &rows {
        let call: String = row.get("call")?;
        // A party may outlive its call.
        if let Some(caller) = row.get::<Option<String>>("caller")? {
            let values = vec![
                call.as_str().into(),
                Some(caller).filter(|caller| caller != user).unwrap_or_default().into(),
                without(row, "members", user)?.into(),
                without(row, "missed", user)?.into(),
            ];
            let sql =
                "UPDATE call_history SET caller = $2, members = $3, missed = $4 WHERE call = $1";
            transaction.run(sql, values).await?;
        }
        let sql = "DELETE FROM call_party WHERE call = $1 AND user_id = $2";
        transaction.run(sql, vec![call.into(), user.into()]).await?;
    }
    transaction.commit().await?;
    Ok(rows.len() as u64)
}

/// Returns a list of users without one.
fn without(row: &Row, list: &str, user: &str) -> Result<String, DatabaseError> {
    let mut names = json_list(row, list)?;
    names.retain(|name| name != user);
    Ok(serde_json::Value::from(names).to_string())
}

/// Deletes calls that began before a time, with their parties. Returns how many.
///
/// # Errors
///
/// The database cannot be reached, or refuses to delete one of them.
pub async fn delete_old_calls(database: &Database, old: &OldRows) -> Result<u64, DatabaseError> {
    let mut transaction = database.begin().await?;
    let sql = "DELETE FROM call_history WHERE id IN (SELECT id FROM call_history \
               WHERE started_at < $1 ORDER BY started_at, id LIMIT $2 OFFSET $3) RETURNING call";
    let deleted = transaction.rows(sql, old.values()).await?;
    for row in &deleted {
        let call: String = row.get("call")?;
        transaction.run("DELETE FROM call_party WHERE call = $1", vec![call.into()]).await?;
    }
    transaction.commit().await?;
    Ok(deleted.len() as u64)
}

/// Deletes sessions that began before a time. Returns how many.
///
/// # Errors
///
/// The database cannot be reached, or refuses to delete one of them.
pub async fn delete_old_sessions(database: &Database, old: &OldRows) -> Result<u64, DatabaseError> {
    let sql = "DELETE FROM session_history WHERE id IN (SELECT id FROM session_history \
               WHERE joined_at < $1 ORDER BY joined_at, id LIMIT $2 OFFSET $3)";
    old.delete(database, sql).await
}

/// Deletes rooms that began before a time. Returns how many.
///
/// # Errors
///
/// The database cannot be reached, or refuses to delete one of them.
pub async fn delete_old_rooms(database: &Database, old: &OldRows) -> Result<u64, DatabaseError> {
    let sql = "DELETE FROM room_history WHERE id IN (SELECT id FROM room_history \
               WHERE started_at < $1 ORDER BY started_at, id LIMIT $2 OFFSET $3)";
    old.delete(database, sql).await
}
