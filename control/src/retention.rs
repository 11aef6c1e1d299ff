//! Deletes what is too old: entries of the audit, the history, what webhooks were told, and answers to
//! requests that may be sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock_guard::{ClockDoubt, ClockGuard};
use crate::database::{Database, DatabaseError};
use crate::history;
use crate::store::{OldRows, StoreError, answers, audit, deliveries, known_time, set_known_time};
use crate::timestamp::Timestamp;
use crate::webhooks::{DeliveryCounters, DeliveryOutcome};

/// Time from a start to the first deletion: joins and commands have their turn first.
const AFTER_START: Duration = Duration::from_secs(60);
/// Time from one deletion to the next.
const EVERY: Duration = Duration::from_secs(86_400);
/// Time to the next try after the database did not answer, or the clock was doubted.
const RETRY: Duration = Duration::from_secs(3_600);
/// Pause between two transactions, in which others have their turn.
const PAUSE: Duration = Duration::from_millis(50);
/// Rows that one transaction deletes: some ten milliseconds, for which no one else can write to SQLite.
const BATCH: u32 = 500;
/// Most rows of a table that are left out because the database refuses to delete them.
const MAX_SKIPPED: u32 = 100;
/// How many days deliveries to webhooks are kept, for people who look for one and for `replay`: longer than
/// the tries go on.
const DELIVERY_DAYS: u32 = 7;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Why not everything that is too old was deleted.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The clock may be wrong.
    #[error(transparent)]
    Clock(#[from] ClockDoubt),
    /// The database cannot be reached, or refuses to delete rows.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a keeper is made of.
pub struct RetentionSettings {
    /// The database.
    pub database: Database,
    /// How many days the entries of the audit are kept.
    pub audit_days: u32,
    /// How many days the history is kept.
    pub history_days: u32,
    /// Counts deliveries that waited until they were too old.
    pub counters: Arc<DeliveryCounters>,
    /// Returns the time of day.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Deletes once a day what is too old.
pub struct RetentionKeeper {
    settings: RetentionSettings,
    guard: ClockGuard,
}

/// The tables with rows that become too old.
#[derive(Clone, Copy, Debug)]
enum AgingTable {
    Answers,
    Audit,
    Calls,
    Sessions,
    Rooms,
    Deliveries,
}

impl AgingTable {
    const ALL: [Self; 6] =
        [Self::Answers, Self::Audit, Self::Calls, Self::Sessions, Self::Rooms, Self::Deliveries];
}

impl RetentionKeeper {
    /// Makes a keeper.
    pub fn new(settings: RetentionSettings) -> Self {
        Self { settings, guard: ClockGuard::default() }
    }

    /// Deletes once a day. Never returns.
    pub async fn run(mut self) {
        tokio::time::sleep(AFTER_START).await;
        loop {
            let deleted = self.delete().await;
            if let Err(error) = &deleted {
                tracing::warn!(%error, "what is too old is not deleted yet");
            }
            tokio::time::sleep(if deleted.is_ok() { EVERY } else { RETRY }).await;
        }
    }

    /// Deletes what is too old now, in many small transactions. A table whose rows cannot be deleted keeps
    /// none of the others.
    ///
    /// # Errors
    ///
    /// [`RetentionError`], the last one. What was deleted before stays deleted.
    pub async fn delete(&mut self) -> Result<(), RetentionError> {
        let (database, now) = (&self.settings.database, (self.settings.now)());
        self.guard.check(now, Instant::now(), known_time(database).await?)?;
        set_known_time(database, now).await?;
        let mut result = Ok(());
        for table in AgingTable::ALL {
            if let Err(error) = self.delete_of(table, now).await {
                tracing::debug!(%error, ?table, "rows that are too old cannot be deleted");
                result = Err(error.into());
            }
        }
        result
    }

    /// Deletes the rows of a table, a batch at a time: fewer if the database refuses to delete one of them,
    /// or takes too long. A row that it refuses to delete stays, and keeps none of the others.
    async fn delete_of(&self, table: AgingTable, now: Timestamp) -> Result<(), StoreError> {
        let mut old = OldRows { end: self.end(table, now), most: BATCH, skipped: 0 };
        let mut result = Ok(());
        loop {
            match self.delete_batch(table, &old).await {
                Ok(deleted) if deleted < u64::from(old.most) => return result,
                Ok(_) => old.most = (old.most * 2).min(BATCH),
                Err(error) if old.most > 1 && may_take_fewer(&error) => old.most /= 2,
                Err(error) if error.is_refused() && old.skipped < MAX_SKIPPED => {
                    old.skipped += 1;
                    result = Err(error);
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns the time from before which rows are too old.
    fn end(&self, table: AgingTable, now: Timestamp) -> Timestamp {
        let days = match table {
            AgingTable::Answers => return answers::oldest(now),
            AgingTable::Audit => self.settings.audit_days,
            AgingTable::Calls | AgingTable::Sessions | AgingTable::Rooms => {
                self.settings.history_days
            }
            AgingTable::Deliveries => DELIVERY_DAYS,
        };
        Timestamp::from_micros(now.micros().saturating_sub(i64::from(days) * DAY))
    }

    async fn delete_batch(&self, table: AgingTable, old: &OldRows) -> Result<u64, StoreError> {
        let database = &self.settings.database;
        Ok(match table {
            AgingTable::Answers => answers::delete_old(database, old).await?,
            AgingTable::Audit => audit::delete_old(database, old).await?,
            AgingTable::Calls => history::delete_old_calls(database, old).await?,
            AgingTable::Sessions => history::delete_old_sessions(database, old).await?,
            AgingTable::Rooms => history::delete_old_rooms(database, old).await?,
            AgingTable::Deliveries => {
                let deleted = deliveries::delete_old(database, old).await?;
                self.settings.counters.add(DeliveryOutcome::Expired, deleted.waiting);
                deleted.all
            }
        })
    }
}

/// Whether fewer rows may be deleted although these were not.
fn may_take_fewer(error: &StoreError) -> bool {
    error.is_refused() || matches!(error, StoreError::Database(DatabaseError::TimedOut(_)))
}
