//! Databases that do not answer, are full or are of another server.

use std::sync::Arc;

use arc_swap::ArcSwap;
use nucleus_control::database::{Database, DatabaseAddress};
use nucleus_control::store::{AuditedChange, TenantSettings, tenants};
use nucleus_control::{SnapshotKeeper, SnapshotSettings, Timestamp};
use nucleus_core::ids::Product;
use nucleus_core::tenancy::{NotLicensed, TenantPolicies};

use crate::databases::{actor, databases, page};
use crate::tenants::named;

fn keeper(
    database: Database,
    copy: &std::path::Path,
    listed_only: bool,
) -> (Arc<SnapshotKeeper>, Arc<ArcSwap<TenantPolicies>>) {
    let policies: Arc<ArcSwap<TenantPolicies>> = Arc::default();
    let copy = copy.join("copy.json");
    let now = Arc::new(Timestamp::now);
    let settings =
        SnapshotSettings { database, policies: policies.clone(), listed_only, copy, now };
    (SnapshotKeeper::new(settings), policies)
}

/// A database that is not there: a directory stands in its place.
fn absent(dir: &std::path::Path) -> Database {
    let path = dir.join("absent.db");
    std::fs::create_dir(&path).unwrap();
    Database::open(&DatabaseAddress::Sqlite(path))
}

#[tokio::test]
async fn without_database_and_copy_listed_tenants_alone_means_nobody() {
    for (listed_only, expected) in [(true, Err(NotLicensed::Unknown)), (false, Ok(()))] {
        let dir = tempfile::tempdir().unwrap();
        let (keeper, policies) = keeper(absent(dir.path()), dir.path(), listed_only);
        keeper.start().await.unwrap();
        assert_eq!(keeper.newest().revision, -1, "nothing was read");
        assert!(!keeper.is_answered() && !keeper.is_informed());
        assert_eq!(policies.load().check("acme", Product::ATOM, "ada", 0), expected);
    }
}

#[tokio::test]
async fn a_start_without_the_database_goes_on_with_the_copy() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        let (actor, now) = (actor(), Timestamp::now());
        let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
        let wanted = TenantSettings { active: false, ..named("acme") };
        tenants::create(&mut change, &wanted).await.unwrap();
        change.commit().await.unwrap();
        let (first, _) = keeper(database, dir.path(), false);
        first.start().await.unwrap();
        assert!(first.is_answered());
        let copy = dir.path().join("copy.json");
        for _ in 0..500 {
            if copy.exists() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let (second, policies) = keeper(absent(dir.path()), dir.path(), false);
        second.start().await.unwrap();
        assert!(second.is_informed() && !second.is_answered(), "{}", fresh.kind);
        let refused = policies.load().check("acme", Product::ATOM, "ada", 0);
        assert_eq!(refused, Err(NotLicensed::Inactive), "{}", fresh.kind);
    }
}

/// SQLite ends a transaction by itself when its disk is full. The next change must work all the same.
#[tokio::test]
async fn a_full_disk_leaves_a_database_that_can_be_changed() {
    for (fresh, database) in databases().await {
        if fresh.kind != "SQLite" {
            continue;
        }
        let (actor, now) = (actor(), Timestamp::now());
        let mut change = database.begin().await.unwrap();
        change.rows("PRAGMA max_page_count = 40", vec![]).await.unwrap();
        let text = "x".repeat(100_000);
        let sql = "INSERT INTO meta (name, value) VALUES ($1, 1)";
        let mut result = Ok(0);
        for number in 0..10 {
            if result.is_ok() {
                result = change.run(sql, vec![format!("{number}{text}").into()]).await;
            }
        }
        assert!(result.is_err(), "the disk is full");
        drop(change);
        for name in ["acme", "beta"] {
            let mut change = AuditedChange::begin(&database, &actor, now).await.unwrap();
            match tenants::create(&mut change, &named(name)).await {
                Ok(_) => change.commit().await.unwrap(),
                Err(error) => panic!("{name}: {error}"),
            }
        }
        let found = tenants::list(&database, None, &page(None, 10)).await;
        assert!(matches!(found, Ok(found) if found.len() == 2));
    }
}

/// Waiting mends neither a damaged file nor a wrong address.
#[tokio::test]
async fn a_database_that_is_damaged_or_refuses_the_login_ends_the_start() {
    for (fresh, database) in databases().await {
        let dir = tempfile::tempdir().unwrap();
        let broken = match &fresh.address {
            DatabaseAddress::Sqlite(path) => {
                database.close().await;
                let mut bytes = std::fs::read(path).unwrap();
                // Leaves the first page, which says that it is a database.
                bytes[4_096..].fill(0x5a);
                std::fs::write(path, bytes).unwrap();
                fresh.address.clone()
            }
            DatabaseAddress::Postgres(options) => DatabaseAddress::Postgres(Box::new(
                (**options).clone().database("no_such_database"),
            )),
        };
        let (keeper, _) = keeper(Database::open(&broken), dir.path(), false);
        let error = keeper.start().await.unwrap_err();
        assert!(error.is_final(), "{}: {error}", fresh.kind);
        let text = error.to_string();
        let remedy = if fresh.kind == "SQLite" { "restore a backup" } else { "correct user" };
        assert!(text.contains(remedy) && !text.contains('\n'), "{}: {text}", fresh.kind);
    }
}
