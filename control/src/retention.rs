//! Deletes what is too old: entries of the audit, the history, what webhooks were told, and answers to requests that may
//! be sent again.

use std::sync::Arc;
use std::time::Duration;

use crate::database::Database;
use crate::history;
use crate::store::{StoreError, answers, audit, deliveries};
use crate::timestamp::Timestamp;

/// Time from a start to the first deletion: joins and commands have their turn first.
const AFTER_START: Duration = Duration::from_secs(60);
/// Time from one deletion to the next.
const EVERY: Duration = Duration::from_secs(86_400);
/// Time to the next try after the database did not answer.
const RETRY: Duration = Duration::from_secs(3_600);
/// Pause between two transactions, in which others have their turn.
const PAUSE: Duration = Duration::from_millis(50);
/// How many days deliveries to webhooks are kept, for people who look for one and for `replay`: longer than
/// the tries go on.
const DELIVERY_DAYS: u32 = 7;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Deletes once a day what is too old.
pub struct RetentionKeeper {
    /// The database.
    pub database: Database,
    /// How many days the entries of the audit are kept.
    pub audit_days: u32,
    /// How many days the history is kept.
    pub history_days: u32,
    /// Returns the time of day.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl RetentionKeeper {
    /// Deletes once a day. Never returns.
    pub async fn run(self) {
        tokio::time::sleep(AFTER_START).await;
        loop {
            let deleted = self.delete().await;
            if let Err(error) = &deleted {
                tracing::warn!(%error, "what is too old cannot be deleted yet");
            }
            tokio::time::sleep(if deleted.is_ok() { EVERY } else { RETRY }).await;
        }
    }

    /// Deletes what is too old now, in many small transactions.
    ///
    /// # Errors
    ///
    /// The database cannot be reached. What was deleted before stays deleted.
    pub async fn delete(&self) -> Result<(), StoreError> {
        let now = (self.now)();
        answers::delete_old(&self.database, now).await?;
        let before = |days: u32| Timestamp::from_micros(now.micros() - i64::from(days) * DAY);
        while audit::delete_before(&self.database, before(self.audit_days)).await? {
            tokio::time::sleep(PAUSE).await;
        }
        while history::delete_before(&self.database, before(self.history_days)).await? {
            tokio::time::sleep(PAUSE).await;
        }
        while deliveries::delete_before(&self.database, before(DELIVERY_DAYS)).await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
