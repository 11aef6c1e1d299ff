//! What the database says of tenants and keys, in memory: all that a join or a request needs.
//!
//! A task reads it again within a second after any change, also those of other servers on the same
//! database. While the database does not answer, the newest snapshot stays in force, for a day (`age`). A
//! server that starts meanwhile begins with a copy in a file (`copy`).

mod age;
mod copy;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use nucleus_core::ids::Product;
use nucleus_core::tenancy::{TenantPolicies, TenantPolicy};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use age::SnapshotAge;

use crate::database::{Database, DatabaseError};
use crate::store::{
    self, ApiKey, IssuerWithKeys, StoreError, Tenant, TenantBan, api_keys, bans, issuers, tenants,
};
use crate::timestamp::Timestamp;

/// How often the database is asked for changes of other servers.
const POLL: Duration = Duration::from_secs(1);
/// How long a start waits for the database.
const START_TIME: Duration = Duration::from_secs(5);
/// Longest time since the newest answer of a database that counts as answering: four polls, and a wait for
/// another writer.
const ANSWER_TIME: Duration = Duration::from_secs(7);
/// Longest time between two writes of the copy while nothing changes: its age is that of the newest
/// answer of the database.
const COPY_EVERY: Duration = Duration::from_secs(60);

/// The revision of a snapshot without keys and issuers.
const NOTHING_READ: i64 = -1;

/// What the database said at some time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The number of the newest change in it. -1: nothing has been read, or not for a day.
    pub revision: i64,
    /// The tenants by their ids.
    pub tenants: HashMap<String, Tenant>,
    /// The API keys by their ids, each with the hash of its secret.
    pub api_keys: HashMap<String, (ApiKey, String)>,
    /// The issuers of join tokens.
    #[serde(default)]
    pub issuers: Vec<IssuerWithKeys>,
    /// The bans that had not ended when this was read.
    #[serde(default)]
    pub bans: Vec<TenantBan>,
}

impl Snapshot {
    /// Returns whether a file is a copy of what a database held, or a copy that cannot be read. A copy of an
    /// empty database is none.
    pub fn has_copy(file: &Path) -> bool {
        copy::holds_something(file)
    }

    /// Reads all tenants and keys.
    async fn read(database: &Database, now: Timestamp) -> Result<Self, StoreError> {
        // Read first: a change in between makes the snapshot look too old, and it is read again.
        let revision = store::revision(database).await?;
        let tenants = tenants::all(database).await?;
        let api_keys = api_keys::all(database).await?;
        let issuers = issuers::all(database).await?;
        let bans = bans::all(database, now).await?;
        Ok(Self {
            revision,
            tenants: tenants.into_iter().map(|tenant| (tenant.id.clone(), tenant)).collect(),
            api_keys: api_keys.into_iter().map(|key| (key.0.id.clone(), key)).collect(),
            issuers,
            bans,
        })
    }

    /// Returns the tenant of this name.
    pub fn tenant_named(&self, name: &str) -> Option<&Tenant> {
        self.tenants.values().find(|tenant| tenant.name == name)
    }

    /// Returns what stays of a snapshot that is void: what restricts tenants and users. What lets somebody
    /// in is gone: API keys and issuers.
    fn voided(&self) -> Self {
        let (tenants, bans) = (self.tenants.clone(), self.bans.clone());
        Self { revision: NOTHING_READ, tenants, bans, ..Self::default() }
    }

    /// Returns what joins need. With `listed_only`, tenants that are not in the database are refused.
    fn policies(&self, listed_only: bool) -> TenantPolicies {
        let mut bans: HashMap<&str, HashMap<String, u64>> = HashMap::new();
        for ban in &self.bans {
            let end = ban.ends_at.map_or(u64::MAX, Timestamp::seconds);
            bans.entry(&ban.tenant).or_default().insert(ban.user.clone(), end);
        }
        let named = |tenant: &Tenant| {
            let bans = bans.remove(tenant.id.as_str()).unwrap_or_default();
            (tenant.name.clone(), TenantPolicy { bans, ..policy(tenant) })
        };
        TenantPolicies::new(self.tenants.values().map(named).collect(), listed_only)
    }
}

/// Translates a tenant for joins. A product that this server does not have admits to nothing.
fn policy(tenant: &Tenant) -> TenantPolicy {
    let products: Vec<_> = tenant.products.iter().filter_map(|name| Product::parse(name)).collect();
    TenantPolicy {
        // An empty list means all products, so a list without a known one must not become empty.
        active: tenant.active && products.is_empty() == tenant.products.is_empty(),
        products,
        starts_at: tenant.starts_at.map(Timestamp::seconds),
        ends_at: tenant.ends_at.map(Timestamp::seconds),
        max_sessions: tenant.max_sessions,
        max_rooms: tenant.max_rooms,
        max_kept_rooms: tenant.max_kept_rooms,
        bans: HashMap::new(),
    }
}

/// What a [`SnapshotKeeper`] is made of.
pub struct SnapshotSettings {
    /// The database.
    pub database: Database,
    /// Where joins read their part of the snapshot.
    pub policies: Arc<ArcSwap<TenantPolicies>>,
    /// Whether tenants that are not in the database are refused.
    pub listed_only: bool,
    /// The file of the copy.
    pub copy: PathBuf,
    /// Returns the time of day.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Keeps the newest snapshot.
pub struct SnapshotKeeper {
    settings: SnapshotSettings,
    newest: ArcSwap<Snapshot>,
    /// Counts the snapshots, for the tasks that follow them.
    changes: watch::Sender<u64>,
    /// Held while the database is read and the answer published, so that no older answer replaces a
    /// newer one.
    reading: Mutex<()>,
    /// Whether the copy is being written.
    copying: Arc<AtomicBool>,
    /// Whether the tables are those of this server.
    is_migrated: AtomicBool,
    /// Whether tenants and bans were known at some time since the start.
    is_informed: AtomicBool,
    /// When the database answered last.
    answered: ArcSwapOption<Instant>,
    /// How old the newest snapshot is; `None`: there is none, or it is void.
    age: ArcSwapOption<SnapshotAge>,
}

impl SnapshotKeeper {
    /// Makes a keeper that has read nothing yet.
    pub fn new(settings: SnapshotSettings) -> Arc<Self> {
        let nothing = Snapshot { revision: NOTHING_READ, ..Snapshot::default() };
        // Until the database answers, no tenant is on the list.
        settings.policies.store(Arc::new(nothing.policies(settings.listed_only)));
        Arc::new(Self {
            settings,
            newest: ArcSwap::from_pointee(nothing),
            changes: watch::Sender::new(0),
            reading: Mutex::default(),
            copying: Arc::default(),
            is_migrated: AtomicBool::new(false),
            is_informed: AtomicBool::new(false),
            answered: ArcSwapOption::empty(),
            age: ArcSwapOption::empty(),
        })
    }

    /// Reads the first snapshot: from the database, or from the copy if the database does not
    /// answer.
    ///
    /// # Errors
    ///
    /// The database is damaged, is that of another server or refuses the login, so that waiting mends
    /// nothing.
    pub async fn start(&self) -> Result<(), DatabaseError> {
        let now = self.now();
        let why = match timeout(START_TIME, self.read(now)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(StoreError::Database(error))) if error.is_final() => return Err(error),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {START_TIME:?}"),
        };
        tracing::warn!("the server starts without its database: {why}");
        match copy::read(&self.settings.copy, now) {
            Ok((snapshot, age)) => {
                self.age.store(Some(Arc::new(age)));
                self.publish(snapshot);
            }
            Err(error) => tracing::error!(
                "bans, licences and API keys are not known until the database answers, so banned users \
                 may join: {error}"
            ),
        }
        Ok(())
    }

    /// Returns the newest snapshot.
    pub fn newest(&self) -> Arc<Snapshot> {
        self.newest.load_full()
    }

    /// Returns whether the database answers: whether it has within the last few seconds.
    pub fn is_answered(&self) -> bool {
        self.answered.load().as_ref().is_some_and(|at| at.elapsed() < ANSWER_TIME)
    }

    /// Returns whether bans and licences are known: whether the database has answered since the start, or
    /// there was a copy.
    pub fn is_informed(&self) -> bool {
        self.is_informed.load(Ordering::Acquire)
    }

    /// Returns what changes with each new snapshot.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads the database again. Called after every change of this server, so that its next request
    /// sees the change.
    ///
    /// # Errors
    ///
    /// The database cannot be reached. The task tries again within a second.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.read(self.now()).await
    }

    /// Follows the changes of other servers. Never returns.
    pub async fn run(&self) {
        let mut failing = false;
        let mut copied = Instant::now();
        loop {
            tokio::time::sleep(POLL).await;
            let result = self.follow(self.now(), &mut copied).await;
            if result.is_err() {
                self.expire(self.now());
            }
            match result {
                Err(error) if !failing => {
                    tracing::warn!(%error, "tenants and keys cannot be read again; those known stay in force");
                    failing = true;
                }
                Ok(()) if failing => {
                    tracing::info!("tenants and keys are read again");
                    failing = false;
                }
                _ => {}
            }
        }
    }

    async fn follow(&self, now: Timestamp, copied: &mut Instant) -> Result<(), StoreError> {
        let is_migrated = self.is_migrated.load(Ordering::Relaxed);
        if !is_migrated
            || store::revision(&self.settings.database).await? != self.newest.load().revision
        {
            self.read(now).await?;
            *copied = Instant::now();
        } else if copied.elapsed() >= COPY_EVERY {
            *copied = Instant::now();
            self.write_copy(now);
        }
        self.note_answer(now);
        Ok(())
    }

    async fn read(&self, now: Timestamp) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        if !self.is_migrated.load(Ordering::Relaxed) {
            self.settings.database.migrate().await?;
            self.is_migrated.store(true, Ordering::Relaxed);
        }
        let snapshot = Snapshot::read(&self.settings.database, now).await?;
        self.publish(snapshot);
        self.note_answer(now);
        self.write_copy(now);
        Ok(())
    }

    fn note_answer(&self, now: Timestamp) {
        let steady = Instant::now();
        self.answered.store(Some(Arc::new(steady)));
        self.age.store(Some(Arc::new(SnapshotAge::new(now, steady))));
    }

    fn now(&self) -> Timestamp {
        (self.settings.now)()
    }

    /// Takes back what a snapshot without an answer of the database for a day lets in.
    fn expire(&self, now: Timestamp) {
        // While somebody reads, the database may answer yet.
        let Ok(_reading) = self.reading.try_lock() else { return };
        if !self.age.load().as_ref().is_some_and(|age| age.is_void(now, Instant::now())) {
            return;
        }
        self.age.store(None);
        self.publish(self.newest().voided());
        tracing::error!(
            "the database has not answered for a day: API keys and tenants' issuers are refused until it does"
        );
    }

    fn publish(&self, snapshot: Snapshot) {
        let listed_only = self.settings.listed_only;
        // A list that is void admits nobody.
        let policies = if listed_only && snapshot.revision == NOTHING_READ {
            TenantPolicies::new(HashMap::new(), listed_only)
        } else {
            snapshot.policies(listed_only)
        };
        self.settings.policies.store(Arc::new(policies));
        self.newest.store(Arc::new(snapshot));
        self.is_informed.store(true, Ordering::Release);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Begins to write the copy, unless it is being written: a disk that hangs holds up nobody. A copy
    /// that cannot be written is missed only at a start without the database.
    fn write_copy(&self, now: Timestamp) {
        if self.copying.swap(true, Ordering::AcqRel) {
            return;
        }
        let (path, snapshot) = (self.settings.copy.clone(), self.newest());
        let copying = self.copying.clone();
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = copy::write(&path, &snapshot, now) {
                tracing::warn!("cannot write {}: {error}", path.display());
            }
            copying.store(false, Ordering::Release);
        }));
    }
}
