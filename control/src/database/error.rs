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
    /// The file of the database is damaged, or holds something else.
    #[error("the file is damaged or no database ({0}): restore a backup with `nucleus restore`")]
    Damaged(#[source] sqlx::Error),
    /// The database server knows neither this user with this password nor this database.
    #[error(
        "the database server refuses the login ({0}): correct user, password and database in the address"
    )]
    NoEntry(#[source] sqlx::Error),
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
            sqlx::Error::Database(refused) if is_damage(refused.as_ref()) => Self::Damaged(error),
            sqlx::Error::Database(refused) if is_no_entry(refused.as_ref()) => Self::NoEntry(error),
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
        matches!(
            self,
            Self::Newer { .. } | Self::OtherSchema(_) | Self::Damaged(_) | Self::NoEntry(_)
        )
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
    if is_of_postgres(error) {
        return POSTGRES_REFUSALS.iter().any(|class| code.starts_with(class));
    }
    sqlite_code(error).is_some_and(|code| SQLITE_REFUSALS.contains(&code))
}

/// Whether SQLite says that its file is damaged.
fn is_damage(error: &dyn sqlx::error::DatabaseError) -> bool {
    sqlite_code(error).is_some_and(|code| SQLITE_DAMAGE.contains(&code))
}

/// Whether PostgreSQL lets the server in under no circumstances: waiting changes neither a password nor the
/// name of a database.
fn is_no_entry(error: &dyn sqlx::error::DatabaseError) -> bool {
    is_of_postgres(error) && error.code().is_some_and(|code| POSTGRES_NO_ENTRY.contains(&&*code))
}

fn is_of_postgres(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some()
}

/// Returns the primary code of an error of SQLite.
fn sqlite_code(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    let code = error.code().filter(|_| !is_of_postgres(error))?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

/// Classes of PostgreSQL's codes: wrong data, a constraint, a check of a view, a limit such as that of an
/// index row, and an exception of a trigger.
const POSTGRES_REFUSALS: [&str; 5] = ["22", "23", "44", "54", "P0001"];
/// SQLite's primary codes: TOOBIG, CONSTRAINT (also that of a trigger), MISMATCH and RANGE.
const SQLITE_REFUSALS: [u32; 4] = [18, 19, 20, 25];
/// SQLite's primary codes CORRUPT and NOTADB.
const SQLITE_DAMAGE: [u32; 2] = [11, 26];
/// PostgreSQL's codes: no such user or none that may log in from here, a wrong password, no such database.
const POSTGRES_NO_ENTRY: [&str; 3] = ["28000", "28P01", "3D000"];
