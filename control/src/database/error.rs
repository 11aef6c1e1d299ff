//! Why the database did not do what it was asked.

use std::time::Duration;

use sqlx::migrate::MigrateError;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A row with the same key exists.
    #[error("there is a row with this key already")]
    Exists,
    /// A newer server has changed the tables.
    #[error(
        "the database has schema {found}, and this server knows schemas up to {known}: start a newer \
         server, or restore a backup of this version"
    )]
    Newer {
        /// The number of the database's schema.
        found: i64,
        /// The number of the newest schema that this server knows.
        known: i64,
    },
    /// A server with other tables of the same number has made the tables.
    #[error("the database has another schema {0} than this server")]
    OtherSchema(i64),
    /// The database cannot be reached, is locked, full or read-only, or has lost a connection. The same
    /// statement may succeed later.
    #[error("the database does not answer: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database refuses a statement for its values, and will refuse it each time.
    #[error("the database refuses a statement: {0}")]
    Refused(#[source] sqlx::Error),
    /// A statement has not ended within its time.
    #[error("the database does not answer: a statement has not ended within {0:?}")]
    TimedOut(Duration),
    /// A row has not the columns that its reader needs.
    #[error("a row of the database cannot be read: {0}")]
    Unreadable(String),
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refused) if refused.is_unique_violation() => Self::Exists,
            sqlx::Error::Database(refused) if is_for_good(refused.as_ref()) => Self::Refused(error),
            sqlx::Error::Encode(_) => Self::Refused(error),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                Self::Unreadable(error.to_string())
            }
            _ => Self::Unavailable(error),
        }
    }
}

impl DatabaseError {
    /// Whether the server must not start: waiting mends nothing.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Newer { .. } | Self::OtherSchema(_))
            || matches!(self, Self::Unavailable(sqlx::Error::Database(refused))
                if refused.code().is_some_and(|code| code == "26"))
    }

    /// Whether the same statement will fail each time, so that whoever repeats it must leave a row out.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Exists | Self::Refused(_) | Self::Unreadable(_))
    }

    /// The error of a migration, by a server that knows schemas up to `known`.
    pub(super) fn of_migration(error: MigrateError, known: i64) -> Self {
        match error {
            MigrateError::VersionMissing(found) if found > known => Self::Newer { found, known },
            MigrateError::VersionMissing(other) | MigrateError::VersionMismatch(other) => {
                Self::OtherSchema(other)
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

/// Whether an error comes from the values of the statement. A missing table, or a row of another table that
/// was deleted meanwhile (a foreign key), is not for good: the next attempt may find it otherwise.
fn is_for_good(error: &dyn sqlx::error::DatabaseError) -> bool {
    if error.is_foreign_key_violation() {
        return false;
    }
    let Some(code) = error.code() else { return false };
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return POSTGRES_REFUSALS.iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| SQLITE_REFUSALS.contains(&(code & 0xff)))
}

/// Classes of PostgreSQL's codes: wrong data, a constraint, a check of a view, a limit such as that of an
/// index row, and an exception of a trigger.
const POSTGRES_REFUSALS: [&str; 5] = ["22", "23", "44", "54", "P0001"];
/// SQLite's primary codes: TOOBIG, CONSTRAINT (also that of a trigger), MISMATCH and RANGE.
const SQLITE_REFUSALS: [u32; 4] = [18, 19, 20, 25];
