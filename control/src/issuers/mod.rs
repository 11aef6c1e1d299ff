//! The issuers of tenants: keeps the keys by which joins verify their tokens.
//!
//! The snapshot says which issuers there are (`snapshot`), the cache when published keys are fetched and
//! how long they hold (`key_cache`), and joins ask for newer ones (`fresh_keys`).

mod fresh_keys;
mod key_cache;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use nucleus_protocol::time::Time;
use nucleus_tokens::{
    IssuerKey, IssuerKeys, PublishedKey, PublishedKeys, TokenAlgorithm, VerificationKey, read_jwks,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use fresh_keys::{FreshKeys, KeyAnswers, KeyRequest};
use key_cache::{DueFetch, KeyCache, Now};

use crate::database::Database;
use crate::fetch::{Fetch, FetchError, fetch};
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
    fetching: JoinSet<(String, Result<PublishedKeys, KeysError>)>,
    /// Fetches that wait for a place.
    waiting: VecDeque<DueFetch>,
    /// By the id of the issuer that is being fetched: the joins that wait for it.
    joins: HashMap<String, Vec<mpsc::Sender<()>>>,
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
            waiting: VecDeque::new(),
            joins: HashMap::new(),
        }
    }

    /// Keeps the keys. Never returns.
    pub async fn run(mut self) {
        let mut changes = self.settings.snapshot.changes();
        let mut ticks = tokio::time::interval(POLL);
        loop {
            self.follow();
            let due = self.cache.due(self.now());
            self.begin(due);
            tokio::select! {
                Some(request) = self.settings.requests.recv() => self.request(request),
                Some(Ok((id, answer))) = self.fetching.join_next() => self.take(id, answer),
                Ok(()) = changes.changed() => {}
                // Keys become void as time passes.
                _ = ticks.tick() => self.publish(),
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
        self.publish();
    }

    /// Gives joins the keys that hold now.
    fn publish(&self) {
        let Some(snapshot) = &self.seen else { return };
        let now = self.now();
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
            let published = self.cache.keys(&issuer.id, now);
            published.iter().for_each(|PublishedKey { id, key }| add(id.clone(), key));
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
                joins.push(request.answered.clone());
            }
        }
    }

    /// Begins fetches, as many as there are places.
    fn begin(&mut self, due: Vec<DueFetch>) {
        self.waiting.extend(due);
        while self.fetching.len() < AT_ONCE
            && let Some(DueFetch { id, url }) = self.waiting.pop_front()
        {
            let private = self.settings.private_addresses;
            self.fetching.spawn(async move { (id, fetch_keys(&url, private).await) });
        }
    }

    /// Takes the answer of a fetch.
    fn take(&mut self, id: String, answer: Result<PublishedKeys, KeysError>) {
        let now = self.now();
        let (keys, text) = match answer {
            Ok(PublishedKeys { keys, text }) => (Some(keys), text),
            Err(error) => {
                if self.cache.fetched(&id, None, now) {
                    let issuer = &id;
                    tracing::warn!(
                        issuer,
                        "the keys of a tenant's issuer cannot be fetched: {error}"
                    );
                }
                (None, String::new())
            }
        };
        let is_new = keys.is_some();
        if is_new {
            self.cache.fetched(&id, keys, now);
            self.publish();
        }
        for join in self.joins.remove(&id).unwrap_or_default() {
            // Fails if the join has given up.
            let _told = join.try_send(());
        }
        self.begin(Vec::new());
        if is_new {
            let (database, at) = (self.settings.database.clone(), now.wall);
            drop(tokio::spawn(async move {
                if let Err(error) = issuers::keep_keys(&database, &id, &text, at).await {
                    tracing::debug!(%error, "the keys of an issuer cannot be kept");
                }
            }));
        }
    }
}

/// Reads the name of an algorithm of public keys.
pub(crate) fn algorithm(name: &str) -> Option<TokenAlgorithm> {
    let all = [TokenAlgorithm::EdDSA, TokenAlgorithm::ES256, TokenAlgorithm::RS256];
    all.into_iter().find(|algorithm| algorithm.to_string() == name)
}

/// Why an issuer's keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The address must not be used, or nobody answers there.
    #[error("{0}")]
    Unreachable(#[from] FetchError),
    /// The address is none of TLS.
    #[error("the address must begin with https://")]
    InTheClear,
    /// What answers publishes no keys.
    #[error("{0}")]
    NoKeys(String),
}

/// Fetches the keys that an issuer publishes. There may be none that can verify join tokens.
///
/// # Errors
///
/// [`KeysError`]
pub(crate) async fn fetch_keys(
    url: &str,
    private_addresses: bool,
) -> Result<PublishedKeys, KeysError> {
    if !private_addresses && !url.starts_with("https://") {
        return Err(KeysError::InTheClear);
    }
    let request = Fetch {
        method: "GET",
        url,
        headers: &[("accept", "application/json".to_owned())],
        body: Vec::new(),
        time: FETCH_TIME,
        max_answer: MAX_SET,
        public_only: !private_addresses,
        tls: None,
    };
    let answer = fetch(request).await?;
    if answer.status != 200 {
        return Err(KeysError::NoKeys(format!(
            "the address answers with status {}",
            answer.status
        )));
    }
    read_jwks(&answer.body).map_err(|error| KeysError::NoKeys(error.to_string()))
}
