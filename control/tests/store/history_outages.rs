//! The recorder of the history when the database refuses rows or hangs, and when the disk is full.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nucleus_control::database::{Database, DatabaseAddress};
use nucleus_control::webhooks::DeliveryOutcome;

use crate::databases::{databases, open};
use crate::history::{LONG, OTHERS, Recording, check, count, webhooks};

async fn change(database: &Database, sql: &'static str) {
    let mut change = database.begin().await.unwrap();
    change.run(sql, vec![]).await.unwrap();
    change.commit().await.unwrap();
}

/// Has the database refuse the rows of one user.
async fn refuse(database: &Database, kind: &str) {
    let sql = match kind {
        "SQLite" => {
            "CREATE TRIGGER refused BEFORE INSERT ON session_history WHEN NEW.user_id = 'user 13' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        _ => "ALTER TABLE session_history ADD CONSTRAINT refused CHECK (user_id <> 'user 13')",
    };
    change(database, sql).await;
}

#[tokio::test]
async fn a_row_that_the_database_refuses_is_lost_alone() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        refuse(&database, fresh.kind).await;
        let recording = Recording::start(&database, dir.path());
        recording.post(1, 300);
        recording.handle.finish(LONG).await;
        recording.spooled(0).await;
        check(&database, 1, 299, fresh.kind).await;
        assert_eq!(recording.handle.figures().dropped(), 2, "its join and its leave");
    }
}

#[tokio::test]
async fn a_refused_row_in_the_spool_does_not_hold_up_the_others() {
    let fresh = crate::fresh::fresh().await.remove(0);
    let database = open(&fresh.address).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    refuse(&database, fresh.kind).await;
    let lock = Database::open(&fresh.address).begin().await.unwrap();
    let recording = Recording::start(&database, dir.path());
    recording.post(1, 400);
    recording.spooled(800 + OTHERS).await;
    drop(lock);
    let start = Instant::now();
    recording.spooled(0).await;
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "the parts do not wait: {:?}",
        start.elapsed()
    );
    check(&database, 1, 399, fresh.kind).await;
    assert_eq!(recording.handle.figures().dropped(), 2);
    recording.post(2, 10);
    recording.handle.finish(LONG).await;
    assert_eq!(count(&database, "SELECT COUNT(*) AS n FROM session_history").await, 409);
}

/// The spool cannot be written, as on a full disk, and the database is well.
#[tokio::test]
async fn a_stop_without_a_spool_writes_into_the_database() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("spool.jsonl")).unwrap();
        let recording = Recording::start(&database, dir.path());
        recording.post(1, 3_000);
        recording.handle.finish(LONG).await;
        check(&database, 1, 3_000, fresh.kind).await;
        let figures = recording.handle.figures();
        assert_eq!((figures.spool_rows(), figures.dropped()), (0, 0), "{}", fresh.kind);
    }
}

/// A webhook whose row cannot be read is told nothing, and keeps no event from the history and the others.
#[tokio::test]
async fn a_webhook_that_cannot_be_read_holds_up_nothing() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        for (id, events) in [("broken", "no list"), ("good", "[]")] {
            let sql = "INSERT INTO webhook (id, name, url, events, signer, created_at) \
                       VALUES ($1, 'a', 'http://127.0.0.1:1/', $2, '', 0)";
            let mut change = database.begin().await.unwrap();
            change.run(sql, vec![id.into(), events.into()]).await.unwrap();
            change.commit().await.unwrap();
        }
        let recording = Recording::start(&database, dir.path());
        recording.post(1, 10);
        recording.handle.finish(LONG).await;
        check(&database, 1, 10, fresh.kind).await;
        let told = "SELECT COUNT(*) AS n FROM webhook_delivery WHERE webhook = 'good'";
        assert_eq!(count(&database, told).await, 20 + OTHERS as i64, "{}", fresh.kind);
        assert_eq!(recording.handle.figures().dropped(), 0);
    }
}

/// The server stops while the database hangs, with a batch in the database's hands.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_a_database_that_hangs_is_in_time_and_loses_nothing() {
    let fresh = crate::fresh::fresh().await.remove(0);
    let database = open(&fresh.address).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lock = Database::open(&fresh.address).begin().await.unwrap();
    let first = Recording::start(&database, dir.path());
    first.post(1, 300);
    tokio::time::sleep(Duration::from_millis(600)).await;
    first.post(2, 3_000);
    let start = Instant::now();
    first.handle.finish(Duration::from_secs(1)).await;
    assert!(start.elapsed() < Duration::from_millis(2_500), "{:?}", start.elapsed());
    assert_eq!(first.handle.figures().spool_rows(), 6_600 + 2 * OTHERS);
    first.task.abort();
    drop(lock);
    let second = Recording::start(&database, dir.path());
    second.handle.finish(LONG).await;
    check(&database, 2, 3_300, fresh.kind).await;
    assert_eq!(second.handle.figures().dropped() + first.handle.figures().dropped(), 0);
}

/// What the spool tells again after a kill changes nothing, also of what webhooks are told.
#[tokio::test]
async fn a_spool_that_is_told_again_tells_no_webhook_again() {
    let fresh = crate::fresh::fresh().await.remove(0);
    let database = open(&fresh.address).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let sql = "INSERT INTO webhook (id, name, url, events, signer, created_at) \
               VALUES ('hook', 'a', 'http://127.0.0.1:1/', '[]', '', 0)";
    change(&database, sql).await;
    let lock = Database::open(&fresh.address).begin().await.unwrap();
    let first = Recording::start(&database, dir.path());
    first.post(1, 50);
    first.spooled(100 + OTHERS).await;
    let spool = dir.path().join("spool.jsonl");
    let copy = std::fs::read(&spool).unwrap();
    drop(lock);
    first.spooled(0).await;
    first.task.abort();
    change(&database, "UPDATE webhook_delivery SET next_at = NULL, delivered_at = 1").await;
    std::fs::write(&spool, copy).unwrap();
    let second = Recording::start(&database, dir.path());
    second.handle.finish(LONG).await;
    check(&database, 1, 50, fresh.kind).await;
    let all = "SELECT COUNT(*) AS n FROM webhook_delivery";
    assert_eq!(count(&database, all).await, 100 + OTHERS as i64);
    let due = "SELECT COUNT(*) AS n FROM webhook_delivery WHERE next_at IS NOT NULL";
    assert_eq!(count(&database, due).await, 0);
    let overflowed = webhooks(&database).counters.get(DeliveryOutcome::Overflowed);
    assert_eq!(overflowed, 0);
}

/// A small disk; `None` without root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options.as_str(), "tmpfs"])
            .arg(dir.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: SQLite may still have its files open.
        let _status = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// SQLite and the spool share a disk that is full for a while.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_while_the_feed_takes_it() {
    let Some(disk) = SmallDisk::new("24m") else { return };
    let address = DatabaseAddress::Sqlite(disk.path().join("nucleus.db"));
    let database = open(&address).await.unwrap();
    let recording = Recording::start(&database, disk.path());
    recording.post(1, 20);
    recording.handle.finish(LONG).await;
    let ballast = disk.path().join("ballast");
    let full = std::fs::write(&ballast, vec![1; 24 << 20]);
    assert!(full.is_err(), "the disk is full");
    recording.post(2, 2_000);
    let start = Instant::now();
    while recording.handle.figures().spool_rows() == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Several attempts fail.
    tokio::time::sleep(Duration::from_secs(4)).await;
    recording.post(3, 20);
    assert_eq!(recording.handle.figures().dropped(), 0);
    let sessions = "SELECT COUNT(*) AS n FROM session_history WHERE left_at IS NOT NULL";
    assert!(count(&database, sessions).await < 2_020);
    std::fs::remove_file(&ballast).unwrap();
    recording.handle.finish(LONG).await;
    recording.spooled(0).await;
    assert_eq!(count(&database, sessions).await, 2_040);
    assert_eq!(recording.handle.figures().dropped(), 0);
}
