//! The database of tenants, keys, bans and the audit: SQLite in the data directory, or PostgreSQL.
//!
//! Both take the same text of every statement: `$1` for a value, TEXT, BIGINT and BOOLEAN for a
//! column, times as microseconds since 1970, JSON as TEXT. Nothing on the session or realtime plane
//! asks the database.
//!
//! Every statement ends within a bounded time (`time_limits`), so no request waits for ever and no
//! connection is lost to the pool.

mod address;
mod error;
mod file_copy;
mod migrations;
mod row;
mod time_limits;
mod value;

use std::path::Path;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, PgPool, Postgres, SqlSafeStr, Sqlite, SqlitePool};

pub use address::{AddressError, DatabaseAddress};
pub use error::DatabaseError;
pub use row::Row;
use time_limits::{MIGRATION_TIME, WAIT, within};
pub use value::Value;

/// Most connections to a PostgreSQL server, and most connections that read SQLite. The API is the only
/// user, and its statements take a millisecond or two.
const CONNECTIONS: u32 = 4;
/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database(Pools);

#[derive(Clone, Debug)]
enum Pools {
    /// SQLite has one writer. Its transactions begin as writes: a transaction that reads first and
    /// then writes would fail, however long it waited.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

impl Database {
    /// Opens the database. It is reached at its first use, so that a server starts without it, too.
    /// Must be called in a tokio runtime, which then runs the connections.
    pub fn open(address: &DatabaseAddress) -> Self {
        match address {
            DatabaseAddress::Sqlite(path) => {
                // A file that cannot be made cannot be opened either, which the first use reports.
                let _made = address::make_private(path);
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .journal_mode(SqliteJournalMode::Wal)
                    // A revoked key must stay revoked after a power failure.
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .busy_timeout(WAIT);
                let pool = |most| PoolOptions::<Sqlite>::new().max_connections(most);
                // SQLite itself ends a transaction whose disk is full. sqlx then believes that it goes
                // on, and could begin no other one.
                let writer = pool(1).after_release(|connection, _| {
                    Box::pin(async move {
                        connection.ping().await?;
                        Ok(!connection.is_in_transaction())
                    })
                });
                let writer = writer.acquire_timeout(WAIT).connect_lazy_with(options.clone());
                let readers = pool(CONNECTIONS).acquire_timeout(WAIT).connect_lazy_with(options);
                Self(Pools::Sqlite { writer, readers })
            }
            DatabaseAddress::Postgres(options) => {
                let pool = PoolOptions::<Postgres>::new().max_connections(CONNECTIONS);
                let pool = time_limits::of_postgres(pool.acquire_timeout(WAIT));
                Self(Pools::Postgres(pool.connect_lazy_with((**options).clone())))
            }
        }
    }

    /// Brings the tables up to date. Must be called before anything else is asked.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Newer`] or [`DatabaseError::OtherSchema`] if the tables are not those of this
    /// server. Otherwise the database cannot be reached.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let migrating = async {
            match &self.0 {
                Pools::Sqlite { writer, .. } => {
                    let mut connection = writer.acquire().await?;
                    time_limits::lift_sqlite(&mut connection).await?;
                    migrations::run(&mut *connection).await
                }
                Pools::Postgres(pool) => {
                    // A lock of the migrations ends with its connection, also after an error.
                    let mut connection = pool.acquire().await?.detach();
                    time_limits::lift_postgres(&mut connection).await?;
                    let migrated = migrations::run(&mut connection).await;
                    connection.close().await?;
                    migrated
                }
            }
        };
        let late = |_| DatabaseError::TimedOut(MIGRATION_TIME);
        tokio::time::timeout(MIGRATION_TIME, migrating).await.map_err(late)?
    }

    /// Returns the rows of a statement that changes nothing.
    ///
    /// # Errors
    ///
    /// The database cannot be reached, refuses the statement, or does not end it in time.
    pub async fn rows(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, DatabaseError> {
        match &self.0 {
            Pools::Sqlite { readers, .. } => {
                let mut connection = readers.acquire().await?;
                let query = sqlx::query_with(sql, value::sqlite(values)?);
                let rows = within(async {
                    let _waits = time_limits::limit_sqlite(&mut connection).await?;
                    query.fetch_all(&mut *connection).await
                });
                Ok(rows.await?.into_iter().map(Row::Sqlite).collect())
            }
            Pools::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                let query = sqlx::query_with(sql, value::postgres(values)?);
                let rows = within(query.fetch_all(&mut *connection)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Begins a transaction. Waits while another one writes to SQLite.
    ///
    /// # Errors
    ///
    /// The database cannot be reached, or stays locked.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DatabaseError> {
        Ok(DatabaseTransaction(match &self.0 {
            Pools::Sqlite { writer, .. } => {
                let begin = |connection| {
                    sqlx::Transaction::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str()))
                };
                OpenTransaction::Sqlite(within(begin(writer.acquire().await?)).await?)
            }
            Pools::Postgres(pool) => {
                let begin = |connection| sqlx::Transaction::begin(connection, None);
                OpenTransaction::Postgres(within(begin(pool.acquire().await?)).await?)
            }
        }))
    }

    /// Writes a copy of a SQLite database to an empty file, while others read and write. The copy is as
    /// the database was at one moment. For a process of its own, which closes the database then: to close
    /// a file gives up all locks of its process on it.
    ///
    /// # Errors
    ///
    /// The file is not empty or cannot be written, or the database is PostgreSQL, which has its own programs
    /// for this.
    pub async fn copy_into(&self, path: &Path) -> Result<(), DatabaseError> {
        let unsupported =
            || sqlx::Error::Configuration("the database is PostgreSQL: use pg_dump".into());
        let Pools::Sqlite { writer, readers } = &self.0 else { return Err(unsupported().into()) };
        let text = path.to_str().ok_or_else(|| sqlx::Error::Configuration("not UTF-8".into()))?;
        if file_copy::copy(writer, readers, path).await? {
            return Ok(());
        }
        // Slower, and never in anybody's way.
        let values = value::sqlite(vec![text.into()])?;
        let mut connection = readers.acquire().await?;
        time_limits::lift_sqlite(&mut connection).await?;
        sqlx::query_with("VACUUM INTO $1", values).execute(&mut *connection).await?;
        Ok(())
    }

    /// Writes all that the log of SQLite holds into its file, and empties the log. Other connections may go on.
    /// Does nothing with PostgreSQL.
    ///
    /// # Errors
    ///
    /// The database cannot be reached.
    pub async fn checkpoint(&self) -> Result<(), DatabaseError> {
        let Pools::Sqlite { writer, .. } = &self.0 else { return Ok(()) };
        let mut connection = writer.acquire().await?;
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        within(sqlx::raw_sql(sql).execute(&mut *connection)).await.map(drop)
    }

    /// Closes all connections. Waits for running statements.
    pub async fn close(&self) {
        match &self.0 {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

/// Changes that are made together. Dropping it undoes them.
#[derive(Debug)]
pub struct DatabaseTransaction(OpenTransaction);

#[derive(Debug)]
enum OpenTransaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl DatabaseTransaction {
    /// Carries out a statement. Returns the number of rows that it has changed.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Exists`] if a row with the same key exists. Otherwise the database cannot be
    /// reached, or refuses the statement.
    pub async fn run(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<u64, DatabaseError> {
        Ok(match &mut self.0 {
            OpenTransaction::Sqlite(open) => {
                let query = sqlx::query_with(sql, value::sqlite(values)?);
                let done = within(async {
                    let _waits = time_limits::limit_sqlite(open).await?;
                    query.execute(&mut **open).await
                });
                done.await?.rows_affected()
            }
            OpenTransaction::Postgres(open) => {
                let query = sqlx::query_with(sql, value::postgres(values)?);
                within(query.execute(&mut **open)).await?.rows_affected()
            }
        })
    }

    /// Returns the rows of a statement.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub async fn rows(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, DatabaseError> {
        Ok(match &mut self.0 {
            OpenTransaction::Sqlite(open) => {
                let query = sqlx::query_with(sql, value::sqlite(values)?);
                let rows = within(async {
                    let _waits = time_limits::limit_sqlite(open).await?;
                    query.fetch_all(&mut **open).await
                });
                rows.await?.into_iter().map(Row::Sqlite).collect()
            }
            OpenTransaction::Postgres(open) => {
                let query = sqlx::query_with(sql, value::postgres(values)?);
                let rows = within(query.fetch_all(&mut **open));
                rows.await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Makes the changes lasting.
    ///
    /// # Errors
    ///
    /// The database cannot be reached, or its disk is full: nothing is changed then, unless the
    /// connection broke, or the time ended, after the database had taken the changes.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        match self.0 {
            OpenTransaction::Sqlite(open) => within(open.commit()).await,
            OpenTransaction::Postgres(open) => within(open.commit()).await,
        }
    }
}
