//! How long the database may take.
//!
//! | what hangs | what ends it |
//! |---|---|
//! | a statement of PostgreSQL, such as one that waits for a lock | PostgreSQL itself, after [`DATABASE_TIME`] |
//! | a long statement of SQLite | SQLite itself, after [`DATABASE_TIME`] or once nobody waits for it |
//! | a lock of SQLite that another process holds | SQLite itself, after [`WAIT`] |
//! | a connection to PostgreSQL on which nothing comes any more | the wait for it, after [`STATEMENT_TIME`] |
//! | a broken connection that goes back to the pool or comes out of it | the test of it, after [`TEST_TIME`] |
//!
//! The disk of SQLite cannot be interrupted. While it hangs, the caller has its error after
//! [`STATEMENT_TIME`], and the connection stays with its thread, so that no further threads come to hang.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolOptions;
use sqlx::{Connection, PgConnection, Postgres, SqliteConnection};
use tokio::time::timeout;

use super::DatabaseError;

/// Longest wait for a connection, and for another process's lock on SQLite. A request to the API must
/// fail in time for a person to see it.
pub(super) const WAIT: Duration = Duration::from_secs(3);
/// Longest time in which the database may work on a statement. Those of the API take a millisecond or two,
/// and may wait for another one's lock.
const DATABASE_TIME: Duration = Duration::from_secs(4);
/// Longest wait for the end of a statement. Longer than the database's own limit, whose error says more
/// and leaves the connection usable.
pub(super) const STATEMENT_TIME: Duration = Duration::from_secs(5);
/// Longest test of a connection: one round trip. All connections of the pool can be tested within [`WAIT`].
const TEST_TIME: Duration = Duration::from_millis(600);
/// Longest time for all migrations: an index over a large table takes minutes.
pub(super) const MIGRATION_TIME: Duration = Duration::from_secs(600);
/// Instructions of SQLite between two looks at the clock: well below a millisecond.
const SQLITE_STEPS: i32 = 10_000;
/// Sets the limits of a connection to PostgreSQL, in milliseconds. The last one frees the rows that a
/// server has locked whose machine is gone.
const POSTGRES_LIMITS: &str = "SET statement_timeout = 4000; SET lock_timeout = 4000; \
                               SET idle_in_transaction_session_timeout = 30000";
/// Lifts them.
const NO_POSTGRES_LIMITS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; \
                                  SET idle_in_transaction_session_timeout = 0";

const _: () = assert!(DATABASE_TIME.as_millis() == 4_000, "as in POSTGRES_LIMITS");
const _: () = assert!(WAIT.as_millis() < DATABASE_TIME.as_millis());
const _: () = assert!(DATABASE_TIME.as_millis() < STATEMENT_TIME.as_millis());
const _: () = assert!(TEST_TIME.as_millis() * (super::CONNECTIONS as u128) < WAIT.as_millis());

/// Waits for the end of a statement.
///
/// # Errors
///
/// The statement's, or [`DatabaseError::TimedOut`].
pub(super) async fn within<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DatabaseError> {
    let late = |_| DatabaseError::TimedOut(STATEMENT_TIME);
    Ok(timeout(STATEMENT_TIME, statement).await.map_err(late)??)
}

/// Bounds the statements of a pool, and the tests of its connections.
pub(super) fn of_postgres(pool: PoolOptions<Postgres>) -> PoolOptions<Postgres> {
    pool.after_connect(|connection, _| Box::pin(run(connection, POSTGRES_LIMITS)))
        // In place of sqlx's own test, which waits without a limit.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(test(connection)))
        // A request that was given up may have left a statement that still waits.
        .after_release(|connection, _| Box::pin(test(connection)))
}

async fn test(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match timeout(TEST_TIME, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        // An error closes the connection without a farewell, which could hang too.
        Err(_) => Err(sqlx::Error::Protocol("a connection does not answer".to_owned())),
    }
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

/// Lifts the limits of a connection to PostgreSQL.
pub(super) async fn lift_postgres(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    run(connection, NO_POSTGRES_LIMITS).await
}

/// Bounds the next statement of a connection to SQLite. Dropping the result ends the statement, so that a
/// request that was given up holds no connection.
pub(super) async fn limit_sqlite(
    connection: &mut SqliteConnection,
) -> Result<Arc<()>, sqlx::Error> {
    let (end, waits) = (Instant::now() + DATABASE_TIME, Arc::new(()));
    let is_waited_for = Arc::downgrade(&waits);
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(SQLITE_STEPS, move || {
        Instant::now() < end && is_waited_for.strong_count() > 0
    });
    Ok(waits)
}

/// Lifts the limit of a connection to SQLite.
pub(super) async fn lift_sqlite(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    connection.lock_handle().await?.remove_progress_handler();
    Ok(())
}
