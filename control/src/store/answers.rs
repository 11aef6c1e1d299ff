//! Answers to requests that may be sent again.

use super::{AuditedChange, OldRows, StoreError, exists};
use crate::database::{Database, DatabaseError, Row};
use crate::timestamp::Timestamp;

/// How long an answer is kept, in microseconds: a day.
const KEPT: i64 = 86_400_000_000;
/// Old answers that a request forgets: more than it adds.
const FORGOTTEN: u32 = 10;
const DELETE_OLD: &str = "DELETE FROM kept_answer WHERE key_hash IN \
                          (SELECT key_hash FROM kept_answer WHERE at <= $1 \
                          ORDER BY at, key_hash LIMIT $2 OFFSET $3)";

/// The time of the newest answer that is too old at `now`.
pub fn oldest(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.micros().saturating_sub(KEPT))
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
    let rows = database.rows(sql, vec![key.into(), oldest(now).micros().into()]).await?;
    let read = |row: &Row| -> Result<_, DatabaseError> {
        Ok(KeptAnswer { request: row.get("request")?, answer: row.get("answer")? })
    };
    Ok(rows.first().map(read).transpose()?)
}

/// Keeps the answer to a request under a key, and forgets some of those that are too old.
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
    // Kept behind others that the database refuses to delete, answers still become void.
    let old = OldRows { end: oldest(change.now), most: FORGOTTEN, skipped: 0 };
    change.transaction.run(DELETE_OLD, old.values()).await?;
    let sql = "INSERT INTO kept_answer (key_hash, at, request, answer) VALUES ($1, $2, $3, $4)";
    let values = vec![key.into(), change.now.micros().into(), request.into(), answer.into()];
    change.transaction.run(sql, values).await.map_err(exists("request"))?;
    Ok(())
}

/// Forgets answers that are too old, also if nobody sends a request. Returns how many.
///
/// # Errors
///
/// The database cannot be reached, or refuses to delete one of them.
pub async fn delete_old(database: &Database, old: &OldRows) -> Result<u64, StoreError> {
    Ok(old.delete(database, DELETE_OLD).await?)
}
