//! How many deliveries of a webhook may wait, and for how long.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::database::{DatabaseError, DatabaseTransaction};
use crate::timestamp::Timestamp;

/// Most deliveries of a webhook that wait. Those of further events are given up: a receiver that is down
/// for days must not fill the disk. 10,000 of 500 bytes are 5 MB. Each server of a database counts by
/// itself, so that several may together exceed it by as much again.
const MAX_WAITING: i64 = 10_000;
/// The longest time for which a delivery waits, in microseconds: a day and a tenth, the longest pause between
/// tries, and some for clocks of servers that differ.
const LONGEST_WAIT: i64 = 27 * 3_600_000_000;
/// Least time between two counts of the waiting deliveries of a webhook, each a millisecond at most.
const COUNT_PAUSE: Duration = Duration::from_secs(1);
/// The waiting deliveries of a webhook, counted up to a limit in the index `webhook_delivery_due` alone.
const COUNT_WAITING: &str = "SELECT COUNT(*) AS waiting FROM (SELECT 1 FROM webhook_delivery \
                             WHERE webhook = $1 AND next_at IS NOT NULL LIMIT $2) AS counted";

/// How many further deliveries of each webhook may wait, as far as this server knows. So the waiting ones
/// are counted once for up to 10,000 new ones, and not for each batch.
#[derive(Debug, Default)]
pub struct DeliveryPlaces(Mutex<HashMap<String, FreePlaces>>);

#[derive(Clone, Copy, Debug)]
struct FreePlaces {
    free: i64,
    counted: Instant,
}

impl DeliveryPlaces {
    /// Takes up to `wanted` places of a webhook. Returns how many. Counts the waiting deliveries only if too
    /// few places are known to be free, and once a second at most.
    ///
    /// # Errors
    ///
    /// The database cannot be reached.
    pub(super) async fn take(
        &self,
        transaction: &mut DatabaseTransaction,
        webhook: &str,
        wanted: i64,
    ) -> Result<i64, DatabaseError> {
        if let Some(taken) = self.take_known(webhook, wanted) {
            return Ok(taken);
        }
        let values = vec![webhook.into(), MAX_WAITING.into()];
        let rows = transaction.rows(COUNT_WAITING, values).await?;
        let waiting: i64 = rows.first().map_or(Ok(0), |row| row.get("waiting"))?;
        let places = FreePlaces { free: MAX_WAITING - waiting, counted: Instant::now() };
        self.lock().insert(webhook.to_owned(), places);
        Ok(self.take_known(webhook, wanted).unwrap_or(0))
    }

    /// As [`take`](Self::take); `None`: the waiting deliveries must be counted first.
    fn take_known(&self, webhook: &str, wanted: i64) -> Option<i64> {
        let mut known = self.lock();
        let places = known.get_mut(webhook)?;
        if places.free < wanted && places.counted.elapsed() >= COUNT_PAUSE {
            return None;
        }
        let taken = places.free.min(wanted);
        places.free -= taken;
        Some(taken)
    }

    /// Forgets webhooks that are off or deleted. One that comes back is counted anew.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().retain(|webhook, _| is_there(webhook));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, FreePlaces>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the time behind which no delivery waits unless the clock was set back: such a one is due.
pub(super) fn too_far(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.micros().saturating_add(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, DatabaseAddress};

    /// The cost of a batch does not grow with what waits: it is counted once, and then in its index alone.
    #[tokio::test]
    async fn what_waits_is_counted_once_for_many_batches_and_by_the_index() {
        let dir = tempfile::tempdir().unwrap();
        let address = DatabaseAddress::Sqlite(dir.path().join("nucleus.db"));
        let database = Database::open(&address);
        database.migrate().await.unwrap();
        let mut change = database.begin().await.unwrap();
        let sql = "INSERT INTO webhook (id, name, url, events, signer, created_at) \
                   VALUES ('hook', 'a', 'http://127.0.0.1:1/', '[]', '', 0)";
        change.run(sql, vec![]).await.unwrap();
        let sql = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 9000) \
                   INSERT INTO webhook_delivery (id, webhook, event, kind, body, created_at, tries, next_at) \
                   SELECT 'a' || n, 'hook', 'e' || n, '', '', 0, 0, 1 FROM number";
        change.run(sql, vec![]).await.unwrap();
        let places = DeliveryPlaces::default();
        assert_eq!(places.take(&mut change, "hook", 10).await.unwrap(), 10);
        // Nothing that waits is looked at again.
        change.run("DELETE FROM webhook_delivery", vec![]).await.unwrap();
        for _ in 0..99 {
            assert_eq!(places.take(&mut change, "hook", 10).await.unwrap(), 10);
        }
        assert_eq!(places.take(&mut change, "hook", 10).await.unwrap(), 0, "it is full");
        tokio::time::sleep(COUNT_PAUSE).await;
        assert_eq!(places.take(&mut change, "hook", 10).await.unwrap(), 10, "counted anew");
        places.retain(|_| false);
        assert!(places.lock().is_empty());

        let plan = format!("EXPLAIN QUERY PLAN {COUNT_WAITING}").leak();
        let rows = change.rows(plan, vec!["hook".into(), 1_i64.into()]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail").unwrap()).collect();
        let plan = plan.join("; ");
        assert!(plan.contains("USING COVERING INDEX webhook_delivery_due (webhook=?"), "{plan}");
        assert!(!plan.contains("SCAN webhook_delivery"), "{plan}");
    }
}
