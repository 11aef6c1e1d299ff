//! Copies the file of a SQLite database while others read and write.
//!
//! While a reader's snapshot is exactly the content of the file, SQLite writes nothing to the file: changes
//! go to the log beside it (WAL). So the file is copied as it is, which is faster than to read all rows and
//! write them again. To get such a snapshot, writers are stopped for the moment in which the rest of the log
//! goes into the file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{SqlSafeStr, Sqlite, SqliteConnection, SqlitePool};

use super::time_limits;

/// Tries to get the snapshot. One fails while another reader still sees an older state.
const TRIES: u32 = 20;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of one piece. Each is on the disk before the next is read: a disk that has a whole database to
/// write at once holds up the writers.
const PIECE: usize = 4 << 20;

/// A snapshot that is the content of the file, as long as it is held.
struct FileSnapshot {
    reader: PoolConnection<Sqlite>,
}

/// Copies the database to an empty file. Returns whether it could: a reader that holds an old state for
/// seconds prevents it.
///
/// # Errors
///
/// The database cannot be read, or the file cannot be written.
pub(super) async fn copy(
    writer: &SqlitePool,
    readers: &SqlitePool,
    to: &Path,
) -> Result<bool, sqlx::Error> {
    let Some(mut snapshot) = take(writer, readers).await? else { return Ok(false) };
    let (from, to) = (file_of(&mut snapshot.reader).await?, to.to_owned());
    let copied = tokio::task::spawn_blocking(move || copy_file(&from, &to)).await;
    // Closing the file has given up this process's lock on it, so the connection is of no more use.
    snapshot.reader.close().await?;
    copied.map_err(|_| sqlx::Error::WorkerCrashed)??;
    Ok(true)
}

async fn take(
    writer: &SqlitePool,
    readers: &SqlitePool,
) -> Result<Option<FileSnapshot>, sqlx::Error> {
    let mut reader = readers.acquire().await?;
    time_limits::lift_sqlite(&mut reader).await?;
    let mut checkpointer = readers.acquire().await?;
    time_limits::lift_sqlite(&mut checkpointer).await?;
    for _ in 0..TRIES {
        // Most of the log, while others write.
        is_all_in_file(&mut checkpointer).await?;
        let mut writing = writer.begin_with("BEGIN IMMEDIATE").await?;
        time_limits::lift_sqlite(&mut writing).await?;
        if is_all_in_file(&mut checkpointer).await? {
            run(&mut reader, "BEGIN").await?;
            run(&mut reader, "SELECT COUNT(*) FROM sqlite_schema").await?;
            writing.rollback().await?;
            return Ok(Some(FileSnapshot { reader }));
        }
        writing.rollback().await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(None)
}

/// Brings the log into the file. Returns whether all of it is there.
async fn is_all_in_file(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let sql = "PRAGMA wal_checkpoint(PASSIVE)";
    let (busy, log, done): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok(busy == 0 && log == done && log >= 0)
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql.into_sql_str()).execute(connection).await.map(drop)
}

/// Returns the file of a connection.
async fn file_of(connection: &mut SqliteConnection) -> Result<PathBuf, sqlx::Error> {
    let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    let (file,): (String,) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok(PathBuf::from(file))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::options().append(true).open(to)?);
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            return to.sync_all();
        }
        to.write_all(&piece[..length])?;
        to.sync_data()?;
    }
}
