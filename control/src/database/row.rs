//! A row that the database has returned.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use super::DatabaseError;

/// A row that the database has returned.
#[derive(Debug)]
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// Returns the value of a column.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Unreadable`]: there is no such column, or it has another type.
    pub fn get<T>(&self, column: &str) -> Result<T, DatabaseError>
    where
        T: for<'r> Decode<'r, Sqlite>
            + Type<Sqlite>
            + for<'r> Decode<'r, Postgres>
            + Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// Returns the number of a column that is not negative and may be missing.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub fn number<T: TryFrom<i64>>(&self, column: &str) -> Result<Option<T>, DatabaseError> {
        let Some(number) = self.get::<Option<i64>>(column)? else { return Ok(None) };
        let out_of_range = |_| DatabaseError::Unreadable(format!("{column} is {number}"));
        T::try_from(number).map(Some).map_err(out_of_range)
    }
}
