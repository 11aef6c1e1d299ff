//! Answers to requests that may be sent again.

use super::{AuditedChange, StoreError, exists};
use crate::database::{Database, DatabaseError, Row, Value};
use crate::timestamp::Timestamp;

/// How long an answer is kept, in microseconds: a day.
const KEPT: i64 = 86_400_000_000;
const DELETE_OLD: &str = "DELETE FROM kept_answer WHERE at <= $1";

/// The time of the newest answer that is too old at `now`.
fn oldest(now: Timestamp) -> Value {
    (now.micros() - KEPT).into()
}

/// An answer to an earlier request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The hash of the request.
    pub request: String,
    /// The body of the answer.
    pub answer: String,
}

/// Returns the answer that was kept under a key; `None`: there is none, or it is too old.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn find(
    database: &Database,
    key: &str,
    now: Timestamp,
) -> Result<Option<KeptAnswer>, StoreError> {
    let sql = "SELECT request, answer FROM kept_answer WHERE key_hash = $1 AND at > $2";
    let rows = database.rows(sql, vec![key.into(), oldest(now)]).await?;
    let read = |row: &Row| -> Result<_, DatabaseError> {
        Ok(KeptAnswer { request: row.get("request")?, answer: row.get("answer")? })
    };
    Ok(rows.first().map(read).transpose()?)
}

/// Keeps the answer to a request under a key, and forgets those that are too old.
///
/// # Errors
///
/// [`StoreError::Exists`] if the same request has been carried out meanwhile, or the database
/// cannot be reached.
pub async fn keep(
    change: &mut AuditedChange<'_>,
    key: &str,
    request: &str,
    answer: &str,
) -> Result<(), StoreError> {
    change.transaction.run(DELETE_OLD, vec![oldest(change.now)]).await?;
    let sql = "INSERT INTO kept_answer (key_hash, at, request, answer) VALUES ($1, $2, $3, $4)";
    let values = vec![key.into(), change.now.micros().into(), request.into(), answer.into()];
    change.transaction.run(sql, values).await.map_err(exists("request"))?;
    Ok(())
}

/// Forgets the answers that are too old, also if nobody sends a request.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn delete_old(database: &Database, now: Timestamp) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    transaction.run(DELETE_OLD, vec![oldest(now)]).await?;
    Ok(transaction.commit().await?)
}
