//! Copies of a SQLite database that is written to meanwhile.

use nucleus_control::Timestamp;
use nucleus_control::database::{Database, DatabaseAddress};
use nucleus_control::store::{AuditedChange, tenants};

use crate::databases::{actor, open, page};
use crate::tenants::named;

/// Copies of one run.
const COPIES: usize = 20;

/// Each copy is the database as it was at one moment: whole, with each tenant that was there at its begin,
/// and each tenant with its entry of the audit.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_database_at_one_moment_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let address = DatabaseAddress::Sqlite(dir.path().join("nucleus.db"));
    let database = open(&address).await.unwrap();
    let writing = database.clone();
    let writer = tokio::spawn(async move {
        let actor = actor();
        for number in 0.. {
            let mut change =
                AuditedChange::begin(&writing, &actor, Timestamp::now()).await.unwrap();
            tenants::create(&mut change, &named(&format!("tenant {number}"))).await.unwrap();
            change.commit().await.unwrap();
        }
    });
    let count = async |database: &Database, table: &str| {
        let sql: &'static str = format!("SELECT COUNT(*) AS rows FROM {table}").leak();
        database.rows(sql, vec![]).await.unwrap()[0].get::<i64>("rows").unwrap()
    };
    // The command has connections of its own, beside those of the server.
    let command = Database::open(&address);
    for number in 0..COPIES {
        let before = count(&database, "tenant").await;
        let path = dir.path().join(format!("copy {number}.db"));
        std::fs::write(&path, "").unwrap();
        command.copy_into(&path).await.unwrap();
        let copy = Database::open(&DatabaseAddress::Sqlite(path));
        let check = copy.rows("PRAGMA integrity_check", vec![]).await.unwrap();
        assert_eq!(check[0].get::<String>("integrity_check").unwrap(), "ok", "copy {number}");
        let tenants = count(&copy, "tenant").await;
        assert!(tenants >= before, "copy {number}: {tenants} of {before}");
        assert_eq!(count(&copy, "audit").await, tenants, "copy {number}");
        assert!(tenants::list(&copy, None, &page(None, 10)).await.is_ok());
        copy.close().await;
    }
    assert!(count(&database, "tenant").await >= 10, "nobody wrote");
    writer.abort();
}

#[tokio::test]
async fn behind_a_checkpoint_the_file_alone_is_the_whole_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nucleus.db");
    let database = Database::open(&DatabaseAddress::Sqlite(path.clone()));
    database.migrate().await.unwrap();
    let log = dir.path().join("nucleus.db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0, "the log holds the tables");
    database.checkpoint().await.unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
    let other = dir.path().join("copy.db");
    std::fs::copy(&path, &other).unwrap();
    let copy = Database::open(&DatabaseAddress::Sqlite(other));
    let rows = copy.rows("SELECT COUNT(*) AS tenants FROM tenant", vec![]).await.unwrap();
    assert_eq!(rows[0].get::<i64>("tenants").unwrap(), 0);
    copy.close().await;
    database.close().await;
}
