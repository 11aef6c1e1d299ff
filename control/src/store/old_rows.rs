//! Rows that are too old, which are deleted in small steps.

use crate::database::{Database, DatabaseError, Value};
use crate::timestamp::Timestamp;

/// A part of the rows of a table that are too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldRows {
    /// Rows from before this time are too old.
    pub end: Timestamp,
    /// Most rows of the part.
    pub most: u32,
    /// The oldest rows that are left out, because the database refuses to delete them.
    pub skipped: u32,
}

impl OldRows {
    /// The values `$1` to `$3`.
    pub(crate) fn values(&self) -> Vec<Value> {
        self.values_from(self.end.micros().into())
    }

    /// As [`values`](Self::values), with another form of the time.
    pub(crate) fn values_from(&self, end: Value) -> Vec<Value> {
        vec![end, i64::from(self.most).into(), i64::from(self.skipped).into()]
    }

    /// Deletes them by a statement of the values `$1` to `$3`, in one transaction. Returns how many.
    pub(crate) async fn delete(
        &self,
        database: &Database,
        sql: &'static str,
    ) -> Result<u64, DatabaseError> {
        let mut transaction = database.begin().await?;
        let deleted = transaction.run(sql, self.values()).await?;
        transaction.commit().await?;
        Ok(deleted)
    }
}
