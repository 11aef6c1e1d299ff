//! Writes batches of events into the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::rows;
use crate::database::{Database, DatabaseError};
use crate::events::RecordedEvent;
use crate::store::StoreError;
use crate::store::deliveries::enqueue;
use crate::webhooks::{DeliveryOutcome, WebhookSettings};

/// Most events of a transaction.
pub(super) const BATCH: usize = 500;
/// Longest time of a transaction. A database that takes longer does not answer. Longer than the time for
/// which the database itself waits for a lock, so that its own error is seen.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// Writes batches of events into the database.
pub(super) struct BatchWriter {
    pub(super) database: Database,
    pub(super) webhooks: Arc<WebhookSettings>,
}

impl BatchWriter {
    /// Writes a batch, and what webhooks are to be told of it, in one transaction. Takes [`WRITE_TIME`] at
    /// most, and not longer than until `end`. May be dropped: then all or nothing of the batch is written.
    ///
    /// # Errors
    ///
    /// The database's.
    pub(super) async fn write(
        &self,
        events: &[RecordedEvent],
        end: Option<Instant>,
    ) -> Result<(), StoreError> {
        let writing = async {
            let mut transaction = self.database.begin().await?;
            rows::write(&mut transaction, events).await?;
            let now = (self.webhooks.now)();
            let overflowed = enqueue(&mut transaction, events, now, &self.webhooks.places).await?;
            transaction.commit().await?;
            Ok(overflowed)
        };
        let late = |_| DatabaseError::TimedOut(WRITE_TIME);
        let latest = Instant::now() + WRITE_TIME;
        let latest = end.map_or(latest, |end| end.min(latest));
        let overflowed: Result<_, StoreError> = timeout_at(latest, writing).await.map_err(late)?;
        self.webhooks.counters.add(DeliveryOutcome::Overflowed, overflowed?);
        self.webhooks.wake.notify_one();
        Ok(())
    }
}

/// How many events the next transaction has: fewer after one that failed, so that a slow database takes
/// some, and a row that it refuses is soon alone.
#[derive(Debug)]
pub(super) struct BatchSize(usize);

impl Default for BatchSize {
    fn default() -> Self {
        Self(BATCH)
    }
}

impl BatchSize {
    /// Returns the most events of the next transaction.
    pub(super) fn most(&self) -> usize {
        self.0
    }

    /// Notes that a transaction has succeeded.
    pub(super) fn grow(&mut self) {
        self.0 = (self.0 * 2).min(BATCH);
    }

    /// Notes that a transaction of `events` has failed.
    pub(super) fn halve(&mut self, events: usize) {
        self.0 = (events / 2).max(1);
    }
}
