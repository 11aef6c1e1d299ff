//! Deletes what is older than the operator wants to keep.

use std::time::Duration;

use super::query::delete_before;
use crate::database::{Database, DatabaseError};
use crate::timestamp::Timestamp;

/// Rows of a table that are deleted together: some ten milliseconds, for which no one else can write to
/// SQLite.
const ROWS: u32 = 1_000;
/// Pause between two such parts, in which others write.
const PAUSE: Duration = Duration::from_millis(100);
/// Time between two sweeps. A row lives longer by this at most.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// Deletes old rows of the history, now and once an hour. Never returns.
pub async fn sweep(database: Database, days: u32, now: fn() -> Timestamp) {
    loop {
        if let Err(error) = sweep_once(&database, days, now()).await {
            tracing::warn!(%error, "old rows of the history are not deleted");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Deletes the rows of the history that are older than so many days.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn sweep_once(
    database: &Database,
    days: u32,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let before = now.micros().saturating_sub(i64::from(days) * 86_400_000_000);
    while delete_before(database, Timestamp::from_micros(before), ROWS).await? {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
