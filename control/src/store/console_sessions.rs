//! Browsers in which somebody is signed in.

use serde::Serialize;
use utoipa::ToSchema;

use super::people::{self, Person};
use super::{AuditedChange, StoreError, audit, time};
use crate::database::{Database, DatabaseError, Row};
use crate::people::{SESSIONS_OF_PERSON, is_session_live, oldest_live, session_end};
use crate::timestamp::Timestamp;

/// A browser in which somebody is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConsoleSession {
    /// The id, a UUID. It is not the secret of the cookie.
    pub id: String,
    /// When the person signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the last request came, up to a minute late.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
    /// When the session ends, whatever the person does.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The network address of the sign-in.
    pub ip: String,
    /// What the browser says it is.
    pub agent: String,
}

/// A session to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConsoleSession {
    /// The hash of the cookie's secret.
    pub id_hash: String,
    /// As [`ConsoleSession::agent`].
    pub agent: String,
    /// How the person has signed in, for the audit.
    pub way: &'static str,
}

fn read(row: &Row, id: &str) -> Result<ConsoleSession, DatabaseError> {
    let at =
        |column| Ok::<_, DatabaseError>(time(row, column)?.unwrap_or(Timestamp::from_micros(0)));
    Ok(ConsoleSession {
        id: row.get(id)?,
        created_at: at("began_at")?,
        seen_at: at("seen_at")?,
        expires_at: at("expires_at")?,
        ip: row.get("ip")?,
        agent: row.get("agent")?,
    })
}

/// Begins a session of a person. Ends the oldest ones of the person beyond [`SESSIONS_OF_PERSON`].
///
/// # Errors
///
/// The database cannot be reached.
pub async fn begin(
    change: &mut AuditedChange<'_>,
    person: &Person,
    new: &NewConsoleSession,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO console_session \
               (id, id_hash, person, created_at, seen_at, expires_at, ip, agent) \
               VALUES ($1, $2, $3, $4, $4, $5, $6, $7)";
    let values = vec![
        change.new_id()?.into(),
        new.id_hash.as_str().into(),
        person.id.as_str().into(),
        change.now.micros().into(),
        session_end(change.now).micros().into(),
        change.actor.ip.as_str().into(),
        new.agent.as_str().into(),
    ];
    change.transaction.run(sql, values).await?;
    let sql = "DELETE FROM console_session WHERE person = $1 AND id NOT IN \
               (SELECT id FROM console_session WHERE person = $1 ORDER BY id DESC LIMIT $2)";
    let values = vec![person.id.as_str().into(), i64::from(SESSIONS_OF_PERSON).into()];
    change.transaction.run(sql, values).await?;
    let sql = "UPDATE person SET signed_in_at = $2 WHERE id = $1";
    change
        .transaction
        .run(sql, vec![person.id.as_str().into(), change.now.micros().into()])
        .await?;
    let detail = format!("{}, {}", person.email, new.way);
    audit::note(change, person.tenant.as_deref(), "person.sign_in", &person.id, &detail).await
}

/// Returns the live session with this hash and its person, who may sign in; `None`: there is none.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn find(
    database: &Database,
    id_hash: &str,
    now: Timestamp,
) -> Result<Option<(ConsoleSession, Person)>, StoreError> {
    let sql = "SELECT person.*, console_session.id AS session, \
               console_session.created_at AS began_at, seen_at, expires_at, ip, agent \
               FROM console_session JOIN person ON person.id = console_session.person \
               WHERE id_hash = $1 AND disabled_at IS NULL";
    let rows = database.rows(sql, vec![id_hash.into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let session = read(row, "session")?;
    let is_live = is_session_live(session.seen_at, session.expires_at, now);
    Ok(if is_live { Some((session, people::read(row)?)) } else { None })
}

/// Notes a request of a session at `now`.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn note_use(database: &Database, id: &str, now: Timestamp) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = "UPDATE console_session SET seen_at = $2 WHERE id = $1";
    transaction.run(sql, vec![id.into(), now.micros().into()]).await?;
    Ok(transaction.commit().await?)
}

/// Returns the live sessions of a person, the newest last. There are [`SESSIONS_OF_PERSON`] at most.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn list(
    database: &Database,
    person: &str,
    now: Timestamp,
) -> Result<Vec<ConsoleSession>, StoreError> {
    let sql = "SELECT id, created_at AS began_at, seen_at, expires_at, ip, agent \
               FROM console_session WHERE person = $1 ORDER BY id";
    let rows = database.rows(sql, vec![person.into()]).await?;
    let mut sessions = Vec::new();
    for row in &rows {
        let session = read(row, "id")?;
        if is_session_live(session.seen_at, session.expires_at, now) {
            sessions.push(session);
        }
    }
    Ok(sessions)
}

/// Ends all sessions of a person, or the one with the id `only`. Returns how many.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn end(
    change: &mut AuditedChange<'_>,
    person: &Person,
    only: Option<&str>,
) -> Result<u64, StoreError> {
    let sql = "DELETE FROM console_session WHERE person = $1 AND ($2 IS NULL OR id = $2)";
    let values = vec![person.id.as_str().into(), only.map(str::to_owned).into()];
    let ended = change.transaction.run(sql, values).await?;
    if ended == 0 {
        return Ok(0);
    }
    let detail = format!("{}, sessions ended: {ended}", person.email);
    audit::note(change, person.tenant.as_deref(), "person.sign_out", &person.id, &detail).await?;
    Ok(ended)
}

/// Ends all sessions of a person but the one with the id `kept`, with another change that the audit has.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn end_others(
    change: &mut AuditedChange<'_>,
    person: &str,
    kept: &str,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM console_session WHERE person = $1 AND id <> $2";
    change.transaction.run(sql, vec![person.into(), kept.into()]).await?;
    Ok(())
}

/// Ends the session with this hash because its browser begins another one. The audit has the new one.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn replace(change: &mut AuditedChange<'_>, id_hash: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM console_session WHERE id_hash = $1";
    change.transaction.run(sql, vec![id_hash.into()]).await?;
    Ok(())
}

/// Deletes the sessions that have ended by their age. There are few: [`SESSIONS_OF_PERSON`] for each person.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn delete_ended(database: &Database, now: Timestamp) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let sql = "DELETE FROM console_session WHERE expires_at <= $1 OR seen_at <= $2";
    let values = vec![now.micros().into(), oldest_live(now).micros().into()];
    transaction.run(sql, values).await?;
    Ok(transaction.commit().await?)
}
