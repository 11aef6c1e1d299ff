//! The issuers of tenants: keeps the keys by which joins verify their tokens.
//!
//! The snapshot says which issuers there are (`snapshot`), the cache when published keys are fetched and
//! how long they hold (`key_cache`), and joins ask for newer ones (`fresh_keys`).

mod fresh_keys;
mod key_cache;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use nucleus_protocol::time::Time;
use nucleus_tokens::{IssuerKey, IssuerKeys, TokenAlgorithm, VerificationKey, read_jwks};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use fresh_keys::{FreshKeys, KeyRequest};
use key_cache::{DueFetch, KeyCache, Now, PublishedKey};

use crate::database::Database;
use crate::fetch::{Fetch, fetch};
use crate::snapshot::{Snapshot, SnapshotKeeper};
use crate::store::{Issuer, issuers};
use crate::timestamp::Timestamp;

/// How often the clock is looked at.
const POLL: Duration = Duration::from_secs(1);
/// Longest time for an issuer's answer. A join that needs it waits half of it.
const FETCH_TIME: Duration = Duration::from_secs(5);
/// Largest set of keys: a hundred keys with their certificates.
const MAX_SET: usize = 128 << 10;
/// Most joins that wait for one issuer. Further ones are refused at once.
const MAX_WAITING: usize = 1_024;
/// Most fetches at a time, so that many issuers that do not answer hold few sockets.
const AT_ONCE: usize = 32;

/// What an [`IssuerKeeper`] is made of.
pub struct IssuerSettings {
    /// The database, which keeps published keys for the next start.
    pub database: Database,
    /// Says which issuers there are.
    pub snapshot: Arc<SnapshotKeeper>,
    /// Where joins find the keys.
    pub keys: Arc<ArcSwap<IssuerKeys>>,
    /// What joins request.
    pub requests: mpsc::Receiver<KeyRequest>,
    /// Whether addresses of keys may be inside this network.
    pub private_addresses: bool,
    /// Returns the time of day.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Keeps the keys of all issuers.
pub struct IssuerKeeper {
    settings: IssuerSettings,
    started: Instant,
    cache: KeyCache,
    /// The keys of issuers that have one, by their ids.
    fixed: HashMap<String, VerificationKey>,
    /// The snapshot that the keys are of.
    seen: Option<Arc<Snapshot>>,
    /// The fetches under way, with the issuers' ids.
    fetching: JoinSet<(String, Result<FetchedSet, String>)>,
    /// Fetches that wait for a place.
    waiting: Vec<DueFetch>,
    /// By the id of the issuer that is being fetched: the joins that wait for it.
    joins: HashMap<String, Vec<mpsc::Sender<Infallible>>>,
}

impl IssuerKeeper {
    /// Makes a keeper.
    pub fn new(settings: IssuerSettings) -> Self {
        Self {
            settings,
            started: Instant::now(),
            cache: KeyCache::default(),
            fixed: HashMap::new(),
            seen: None,
            fetching: JoinSet::new(),
            waiting: Vec::new(),
            joins: HashMap::new(),
        }
    }

    /// Keeps the keys. Never returns.
    pub async fn run(mut self) {
        let snapshots = self.settings.snapshot.clone();
        loop {
            self.follow();
            let due = self.cache.due(self.now());
            self.begin(due);
            self.publish();
            tokio::select! {
                Some(request) = self.settings.requests.recv() => self.request(request),
                Some(Ok((id, answer))) = self.fetching.join_next() => self.take(id, answer),
                () = snapshots.changed() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    fn now(&self) -> Now {
        let steady = Time::from_micros(self.started.elapsed().as_micros() as u64);
        Now { wall: (self.settings.now)(), steady }
    }

    /// Takes over the issuers of a new snapshot.
    fn follow(&mut self) {
        let newest = self.settings.snapshot.newest();
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &newest)) {
            return;
        }
        self.cache.follow(&newest.issuers, self.now());
        let fixed = |issuer: &Issuer| {
            let algorithm = algorithm(issuer.algorithm.as_deref()?)?;
            let pem = issuer.public_key.as_ref()?;
            let key = VerificationKey::from_public_pem(algorithm, pem.as_bytes()).ok()?;
            Some((issuer.id.clone(), key))
        };
        self.fixed = newest.issuers.iter().filter_map(|(issuer, _)| fixed(issuer)).collect();
        self.seen = Some(newest);
    }

    /// Gives joins the keys that hold now.
    fn publish(&self) {
        let Some(snapshot) = &self.seen else { return };
        let now = (self.settings.now)();
        let mut keys = IssuerKeys::default();
        for (issuer, _) in &snapshot.issuers {
            let Some(tenant) = snapshot.tenants.get(&issuer.tenant) else { continue };
            let mut add = |id: Option<String>, key: &VerificationKey| {
                let (key, audience) = (key.clone(), issuer.audience.clone());
                keys.add(&tenant.name, IssuerKey { id, key, audience });
            };
            if let Some(key) = self.fixed.get(&issuer.id) {
                add(issuer.kid.clone(), key);
            }
            self.cache.keys(&issuer.id, now).iter().for_each(|(id, key)| add(id.clone(), key));
            if issuer.jwks_url.is_some() {
                keys.publishes(&tenant.name);
            }
        }
        self.settings.keys.store(Arc::new(keys));
    }

    /// Has the keys of a tenant fetched for a join that waits, if they may be fetched now.
    fn request(&mut self, request: KeyRequest) {
        self.follow();
        let Some(snapshot) = &self.seen else { return };
        let Some(tenant) = snapshot.tenant_named(&request.tenant).map(|tenant| tenant.id.clone())
        else {
            return;
        };
        let due = self.cache.requested(&tenant, self.now());
        self.begin(due);
        for id in self.cache.being_fetched(&tenant) {
            let joins = self.joins.entry(id).or_default();
            if joins.len() < MAX_WAITING {
                joins.push(request.done.clone());
            }
        }
    }

    /// Begins fetches, as many as there are places.
    fn begin(&mut self, due: Vec<DueFetch>) {
        self.waiting.extend(due);
        while self.fetching.len() < AT_ONCE
            && let Some(DueFetch { id, url }) = self.waiting.pop()
        {
            let private = self.settings.private_addresses;
            self.fetching.spawn(async move { (id, fetch_keys(&url, private).await) });
        }
    }

    /// Takes the answer of a fetch.
    fn take(&mut self, id: String, answer: Result<FetchedSet, String>) {
        let now = self.now();
        let (set, keys, error) = match answer {
            Ok(FetchedSet { text, keys }) => (Some(text), Some(keys), String::new()),
            Err(error) => (None, None, error),
        };
        if self.cache.fetched(&id, keys, now) {
            tracing::warn!(issuer = id, "the keys of a tenant's issuer cannot be fetched: {error}");
        }
        self.publish();
        // The joins look again as soon as their senders are gone.
        self.joins.remove(&id);
        self.begin(Vec::new());
        let Some(set) = set else { return };
        let (database, at) = (self.settings.database.clone(), now.wall);
        drop(tokio::spawn(async move {
            if let Err(error) = issuers::keep_keys(&database, &id, &set, at).await {
                tracing::debug!(%error, "the keys of an issuer cannot be kept");
            }
        }));
    }
}

/// Reads the name of an algorithm of public keys.
pub(crate) fn algorithm(name: &str) -> Option<TokenAlgorithm> {
    let all = [TokenAlgorithm::EdDSA, TokenAlgorithm::ES256, TokenAlgorithm::RS256];
    all.into_iter().find(|algorithm| algorithm.to_string() == name)
}

/// What an issuer publishes.
pub(crate) struct FetchedSet {
    /// The set as it is, JSON.
    pub(crate) text: String,
    /// The keys in it that can verify join tokens.
    keys: Vec<PublishedKey>,
}

/// Fetches the keys that an issuer publishes.
///
/// # Errors
///
/// Why there are none, for people.
pub(crate) async fn fetch_keys(url: &str, private_addresses: bool) -> Result<FetchedSet, String> {
    if !private_addresses && !url.starts_with("https://") {
        return Err("the address must begin with https://".to_owned());
    }
    let request = Fetch {
        method: "GET",
        url,
        headers: &[("accept", "application/json".to_owned())],
        body: Vec::new(),
        time: FETCH_TIME,
        max_answer: MAX_SET,
        public_only: !private_addresses,
    };
    let answer = fetch(request).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("the address answers with status {}", answer.status));
    }
    let keys = read_jwks(&answer.body).map_err(|error| error.to_string())?;
    let text = String::from_utf8(answer.body).map_err(|_| "the answer is no UTF-8".to_owned())?;
    Ok(FetchedSet { text, keys })
}
