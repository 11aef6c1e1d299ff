//! Opening databases: new ones, old ones, broken ones and those of newer servers.

use nucleus_control::database::{DatabaseAddress, DatabaseError};

use crate::databases::open;
use crate::fresh::fresh;

#[tokio::test]
async fn a_database_opens_again_and_a_newer_one_is_refused_in_one_line() {
    for fresh in fresh().await {
        for _ in 0..2 {
            open(&fresh.address).await.unwrap().close().await;
        }
        let database = open(&fresh.address).await.unwrap();
        let mut newer = database.begin().await.unwrap();
        let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                   SELECT 999, 'newer', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
        newer.run(sql, vec![]).await.unwrap();
        newer.commit().await.unwrap();
        database.close().await;
        let refused = open(&fresh.address).await.expect_err(fresh.kind);
        assert!(matches!(refused, DatabaseError::Newer { found: 999, .. }), "{refused}");
        assert!(!refused.to_string().contains('\n'));
    }
}

#[tokio::test]
async fn foreign_tables_do_not_matter() {
    for fresh in fresh().await {
        let database = open(&fresh.address).await.unwrap();
        let mut foreign = database.begin().await.unwrap();
        foreign.run("CREATE TABLE replication_slot_state (id BIGINT)", vec![]).await.unwrap();
        foreign.commit().await.unwrap();
        database.close().await;
        open(&fresh.address).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nucleus.db");
    std::fs::write(&path, "not a database, and long enough to have a header of its own".repeat(9))
        .unwrap();
    let address = DatabaseAddress::Sqlite(path.clone());
    let refused = open(&address).await.expect_err("it is no database");
    assert!(refused.is_final(), "{refused}");
    assert!(!refused.to_string().contains('\n'), "{refused}");
    let missing = DatabaseAddress::Sqlite(dir.path().join("no such directory/nucleus.db"));
    assert!(open(&missing).await.is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let address = DatabaseAddress::Sqlite(dir.path().join("nucleus.db"));
    let database = open(&address).await.unwrap();
    let mut change = database.begin().await.unwrap();
    change.run("DELETE FROM audit", vec![]).await.unwrap();
    change.commit().await.unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", file.file_name());
    }
}
