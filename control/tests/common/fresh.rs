//! Empty databases for tests: SQLite, and PostgreSQL if `NUCLEUS_TEST_POSTGRES` names a server.

use std::sync::atomic::{AtomicU32, Ordering};

use nucleus_control::database::DatabaseAddress;

/// An empty database of one kind.
pub(crate) struct Fresh {
    /// The kind, for messages.
    pub(crate) kind: &'static str,
    pub(crate) address: DatabaseAddress,
    _dir: tempfile::TempDir,
}

/// Returns an empty database of each kind that is at hand.
pub(crate) async fn fresh() -> Vec<Fresh> {
    let dir = tempfile::tempdir().unwrap();
    let address = DatabaseAddress::Sqlite(dir.path().join("nucleus.db"));
    let mut databases = vec![Fresh { kind: "SQLite", address, _dir: dir }];
    if let Ok(server) = std::env::var("NUCLEUS_TEST_POSTGRES") {
        let address = empty_postgres(&server).await;
        databases.push(Fresh { kind: "PostgreSQL", address, _dir: tempfile::tempdir().unwrap() });
    }
    databases
}

/// Makes a database of its own on a PostgreSQL server.
async fn empty_postgres(server: &str) -> DatabaseAddress {
    use sqlx::Connection;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("nucleus_test_{}_{number}", std::process::id());
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    for statement in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
        let sql = sqlx::AssertSqlSafe(format!("{statement} {name}"));
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
    let (host, _) = server.rsplit_once('/').unwrap();
    format!("{host}/{name}").parse().unwrap()
}
