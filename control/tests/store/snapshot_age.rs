//! A snapshot that the database has not confirmed for a day.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use nucleus_control::database::{Database, DatabaseAddress};
use nucleus_control::store::{
    AuditedChange, NewApiKey, NewIssuer, NewTenantBan, api_keys, bans, issuers, tenants,
};
use nucleus_control::{Snapshot, SnapshotKeeper, SnapshotSettings, Timestamp};
use nucleus_core::ids::Product;
use nucleus_core::tenancy::{NotLicensed, TenantPolicies};

use crate::databases::{actor, databases};
use crate::tenants::named;

const START: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

struct Kept {
    keeper: Arc<SnapshotKeeper>,
    policies: Arc<ArcSwap<TenantPolicies>>,
    clock: Arc<AtomicU64>,
}

fn kept(database: Database, dir: &Path, listed_only: bool) -> Kept {
    let clock = Arc::new(AtomicU64::new(START));
    let policies: Arc<ArcSwap<TenantPolicies>> = Arc::default();
    let reads = clock.clone();
    let keeper = SnapshotKeeper::new(SnapshotSettings {
        database,
        policies: policies.clone(),
        listed_only,
        copy: dir.join("copy.json"),
        now: Arc::new(move || Timestamp::from_seconds(reads.load(Ordering::Relaxed))),
    });
    Kept { keeper, policies, clock }
}

impl Kept {
    fn set(&self, seconds: u64) {
        self.clock.store(START + seconds, Ordering::Relaxed);
    }

    /// Waits for a snapshot, over some looks at the database.
    async fn until(&self, is_wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        for _ in 0..2_000 {
            let newest = self.keeper.newest();
            if is_wanted(&newest) {
                return newest;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it has not come: {:?}", self.keeper.newest());
    }

    fn check(&self, user: &str) -> Result<(), NotLicensed> {
        self.policies.load().check("acme", Product::ATOM, user, START)
    }
}

/// Makes a tenant with an issuer, a key and a banned user, "eve".
async fn fill(database: &Database) {
    let (actor, now) = (actor(), Timestamp::from_seconds(START));
    let mut change = AuditedChange::begin(database, &actor, now).await.unwrap();
    let acme = tenants::create(&mut change, &named("acme")).await.unwrap().id;
    let key = NewApiKey {
        id: "00000000-0000-7000-8000-000000000001".to_owned(),
        tenant: Some(acme.clone()),
        name: "key".to_owned(),
        hash: "h".repeat(64),
        scopes: vec!["read".to_owned()],
        expires_at: None,
    };
    api_keys::create(&mut change, &key).await.unwrap();
    let issuer = NewIssuer {
        tenant: acme.clone(),
        name: "issuer".to_owned(),
        algorithm: Some("EdDSA".to_owned()),
        kid: None,
        public_key: Some("PEM".to_owned()),
        jwks_url: None,
        audience: None,
        keys: None,
    };
    issuers::create(&mut change, &issuer, 1).await.unwrap();
    let (user, reason) = ("eve".to_owned(), String::new());
    let ban = NewTenantBan { tenant: acme, user, reason, ends_at: None };
    bans::create(&mut change, &ban, 1).await.unwrap();
    change.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_without_the_database_keys_and_issuers_let_nobody_in() {
    for (fresh, database) in databases().await {
        fill(&database).await;
        for listed_only in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let database = Database::open(&fresh.address);
            let kept = kept(database.clone(), dir.path(), listed_only);
            kept.keeper.start().await.unwrap();
            let keeper = kept.keeper.clone();
            let running = tokio::spawn(async move { keeper.run().await });
            database.close().await;
            kept.set(DAY - 1);
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            let newest = kept.keeper.newest();
            assert_eq!((newest.api_keys.len(), newest.issuers.len()), (1, 1), "{}", fresh.kind);
            assert_eq!((kept.check("ada"), kept.check("eve")), (Ok(()), Err(NotLicensed::Banned)));

            kept.set(DAY);
            let void = kept.until(|snapshot| snapshot.revision == -1).await;
            assert!(void.api_keys.is_empty() && void.issuers.is_empty(), "{}", fresh.kind);
            let (ada, eve) = (kept.check("ada"), kept.check("eve"));
            if listed_only {
                assert_eq!(ada, Err(NotLicensed::Unknown), "{}", fresh.kind);
            } else {
                // What restricts stays.
                assert_eq!((ada, eve), (Ok(()), Err(NotLicensed::Banned)), "{}", fresh.kind);
            }
            running.abort();
        }
    }
}

/// The age of the copy counts, and the first answer of the database ends it all.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_ageing_until_the_database_answers() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Database::open(&DatabaseAddress::Sqlite(dir.path().join("whole.db")));
    whole.migrate().await.unwrap();
    fill(&whole).await;
    kept(whole.clone(), dir.path(), false).keeper.start().await.unwrap();
    let copy = dir.path().join("copy.json");
    while !copy.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // All of it is in one file then.
    whole.close().await;
    let absent = dir.path().join("absent.db");
    std::fs::create_dir(&absent).unwrap();
    let database = Database::open(&DatabaseAddress::Sqlite(absent.clone()));
    let kept = kept(database, dir.path(), false);
    kept.set(DAY - 60);
    kept.keeper.start().await.unwrap();
    assert_eq!(kept.keeper.newest().issuers.len(), 1);
    let keeper = kept.keeper.clone();
    let running = tokio::spawn(async move { keeper.run().await });
    kept.set(DAY);
    kept.until(|snapshot| snapshot.revision == -1).await;
    std::fs::remove_dir(&absent).unwrap();
    std::fs::rename(dir.path().join("whole.db"), &absent).unwrap();
    let read = kept.until(|snapshot| snapshot.revision >= 0).await;
    assert_eq!((read.api_keys.len(), read.issuers.len()), (1, 1));
    running.abort();
}
