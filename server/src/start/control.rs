//! Starts the control plane: its thread, its database and what it serves.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use nucleus_control::api::{self, ApiSettings, ApiState, SignInSettings};
use nucleus_control::console::{self, ConsoleSettings, ConsoleState};
use nucleus_control::database::{Database, DatabaseAddress, DatabaseError};
use nucleus_control::history::{HistoryRecorder, RecorderHandle};
use nucleus_control::http::{HttpServer, Listener, Serving};
use nucleus_control::issuers::{IssuerKeeper, IssuerSettings, KeyRequest};
use nucleus_control::people::{PasswordWorker, SecretText, SignInCounters, SingleSignOn};
use nucleus_control::series::{SeriesKeeper, SeriesStore};
use nucleus_control::streams::EventRing;
use nucleus_control::webhooks::{WebhookSender, WebhookSettings, WebhookSigner, WebhookSweeper};
use nucleus_control::{
    BanFollower, PlanesHandle, RetentionKeeper, RetentionSettings, Snapshot, SnapshotKeeper,
    SnapshotSettings, Timestamp,
};
use nucleus_core::ids::Product;
use nucleus_core::tenancy::TenantPolicies;
use tokio::sync::mpsc;

use super::config::{OidcProvider, SignIn};
use super::process_watch::ProcessWatch;
use super::supervised::supervised;
use crate::health::Health;
use crate::http::{self, Demo};
use crate::local_access::LocalAccess;
use crate::metrics::Metrics;
use crate::text_file;
use crate::token::{IssuerKeys, Minter};

/// The file of SQLite in the data directory.
const DATABASE_FILE: &str = "nucleus.db";
/// The copy of tenants and keys in the data directory, for a start without the database.
const COPY_FILE: &str = "tenants-copy.json";

/// Why the control plane cannot start. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// The database cannot be used.
    #[error("the database {address}: {source}")]
    Database {
        /// Where it is.
        address: String,
        /// The database's error.
        source: DatabaseError,
    },
    /// The database is missing, and was there before.
    #[error(
        "the database {database} is missing or empty, and {copy} says that it had tenants, API keys or \
         bans: restore it from a backup, or delete {copy} to begin with an empty database",
        database = database.display(), copy = copy.display()
    )]
    LostDatabase {
        /// The file of the database.
        database: PathBuf,
        /// The copy of what it held.
        copy: PathBuf,
    },
    /// The system refuses a thread or a socket.
    #[error("cannot start the control plane: {0}")]
    Io(#[from] std::io::Error),
}

/// What the control plane is made of.
pub(super) struct ControlParts {
    /// The address of the database; `None`: SQLite in the data directory.
    pub(super) database: Option<DatabaseAddress>,
    /// Whether tenants that are not in the database are refused.
    pub(super) listed_only: bool,
    /// Whether addresses that tenants name may be inside this network.
    pub(super) private_addresses: bool,
    /// How people sign in.
    pub(super) sign_in: SignIn,
    /// Signs what webhooks are told.
    pub(super) webhook_signer: WebhookSigner,
    /// How many days the entries of the audit are kept.
    pub(super) audit_days: u32,
    /// The server's products.
    pub(super) products: Vec<Product>,
    /// Signs the join tokens of the API; `None`: it signs none.
    pub(super) minter: Option<Minter>,
    /// Where joins find the keys of tenants' issuers.
    pub(super) issuers: Arc<ArcSwap<IssuerKeys>>,
    /// Joins that wait for newer keys.
    pub(super) key_requests: mpsc::Receiver<KeyRequest>,
    /// The socket of plain HTTP; `None`: it is off.
    pub(super) http: Option<TcpListener>,
    /// The socket of HTTPS with its certificate; `None`: it is off.
    pub(super) https: Option<(TcpListener, Arc<rustls::ServerConfig>)>,
    /// Where joins read what tenants are allowed.
    pub(super) policies: Arc<ArcSwap<TenantPolicies>>,
    /// The way to the other planes.
    pub(super) planes: PlanesHandle,
    /// Writes the history.
    pub(super) recorder: HistoryRecorder,
    /// What the recorder has written, for streams of events.
    pub(super) history: RecorderHandle,
    /// How long the history is kept.
    pub(super) history_days: u32,
    /// What the dashboard says of the server.
    pub(super) console: ConsoleSettings,
    /// What alarms learn of this process.
    pub(super) surroundings: Arc<ProcessWatch>,
    /// Renders the page of metrics.
    pub(super) metrics: Metrics,
    /// Watched beside the connections.
    pub(super) health: Arc<Health>,
    /// The demo page, which plain HTTP on loopback serves.
    pub(super) demo: Option<Demo>,
}

/// A running control plane. Dropping it ends its thread.
pub(super) struct ControlPlane {
    _server: HttpServer,
    /// The file by which commands on this machine find the API. It is removed with this.
    _local: LocalAccess,
    pub(super) http: Option<SocketAddr>,
    pub(super) https: Option<SocketAddr>,
    pub(super) has_demo: bool,
}

impl ControlPlane {
    /// Starts the control plane of the data directory `dir`.
    ///
    /// # Errors
    ///
    /// The database is lost, damaged or of a newer server, or refuses the login, or the system refuses a
    /// thread.
    pub(super) async fn start(parts: ControlParts, dir: &Path) -> Result<Self, ControlPlaneError> {
        let address = |socket: &TcpListener| socket.local_addr();
        let http = parts.http.as_ref().map(address).transpose()?;
        let https = parts.https.as_ref().map(|(socket, _)| socket.local_addr()).transpose()?;
        let is_local = http::is_local(parts.http.as_ref());
        let local = LocalAccess::open(dir, http.filter(|_| is_local));
        let has_demo = parts.demo.is_some();
        let (dir, key) = (dir.to_owned(), local.key().to_owned());
        let server =
            HttpServer::start(async move { setup(parts, &dir, key, is_local).await }).await?;
        Ok(Self { _server: server, _local: local, http, https, has_demo })
    }
}

/// Checks that a database which held something was not lost: an empty one in its place would let in whom the
/// old one had banned, and would overwrite the copy, the last trace of it.
fn check_not_lost(address: &DatabaseAddress, copy: &Path) -> Result<(), ControlPlaneError> {
    let DatabaseAddress::Sqlite(file) = address else { return Ok(()) };
    let is_lost = match std::fs::metadata(file) {
        Ok(metadata) => metadata.is_file() && metadata.len() == 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_lost && Snapshot::has_copy(copy) {
        let (database, copy) = (file.clone(), copy.to_owned());
        return Err(ControlPlaneError::LostDatabase { database, copy });
    }
    Ok(())
}

/// Opens the database and makes what is served, on the thread of the control plane.
async fn setup(
    parts: ControlParts,
    dir: &Path,
    local_key: String,
    is_local: bool,
) -> Result<Serving, ControlPlaneError> {
    let public = http::health_router(parts.health.clone());
    let ControlParts {
        database: address,
        listed_only,
        private_addresses,
        sign_in,
        webhook_signer,
        audit_days,
        products,
        minter,
        issuers,
        key_requests,
        http,
        https,
        policies,
        planes,
        recorder,
        history,
        history_days,
        console,
        surroundings,
        metrics,
        health,
        demo,
    } = parts;
    let sqlite = || DatabaseAddress::Sqlite(dir.join(DATABASE_FILE));
    let address = address.unwrap_or_else(sqlite);
    let copy = dir.join(COPY_FILE);
    check_not_lost(&address, &copy)?;
    let failed = |source| ControlPlaneError::Database { address: address.to_string(), source };
    let database = Database::open(&address);
    let keeper = SnapshotKeeper::new(SnapshotSettings {
        database: database.clone(),
        policies,
        listed_only,
        copy,
        now: Arc::new(Timestamp::now),
    });
    keeper.start().await.map_err(failed)?;
    let informed = keeper.clone();
    health.watch_knowledge(move || informed.is_informed());
    let webhooks = Arc::new(WebhookSettings {
        database: database.clone(),
        signer: webhook_signer,
        private_addresses,
        now: Arc::new(Timestamp::now),
        wake: Arc::default(),
        counters: Arc::default(),
        places: Arc::default(),
    });
    let (answering, counters, tasks) = (keeper.clone(), webhooks.counters.clone(), health.clone());
    let sign_ins = Arc::<SignInCounters>::default();
    let counted = sign_ins.clone();
    let render = Arc::new(move || {
        metrics.render(answering.is_answered(), &counters, &counted, tasks.task_ends())
    });
    let router = http::router(render, health.clone());
    let keeping = IssuerKeeper::new(IssuerSettings {
        database: database.clone(),
        snapshot: keeper.clone(),
        keys: issuers,
        requests: key_requests,
        private_addresses,
        now: Arc::new(Timestamp::now),
    });
    let events = EventRing::new().map_err(std::io::Error::other)?;
    let (recent, batches) = (events.clone(), history.subscribe());
    drop(history);
    let recording = recorder.run(database.clone(), webhooks.clone());
    let bans = BanFollower::new(keeper.clone(), planes.clone());
    let now = Arc::new(Timestamp::now);
    let retention = RetentionKeeper::new(RetentionSettings {
        database: database.clone(),
        audit_days,
        history_days,
        counters: webhooks.counters.clone(),
        now,
    });
    let sweeping = WebhookSweeper::new(webhooks.clone());
    let local = http.as_ref().filter(|_| is_local).map(TcpListener::local_addr).transpose()?;
    // A link to loopback is worth nothing to a person who reaches the server over HTTPS.
    let sign_in = sign_in_settings(sign_in, local.filter(|_| https.is_none()), sign_ins)?;
    let has_sign_in = sign_in.is_some();
    let series = SeriesStore::new();
    let sampling = SeriesKeeper::new(series.clone(), planes.clone());
    let ending = database.clone();
    let state = ApiState::new(ApiSettings {
        database,
        snapshot: keeper.clone(),
        planes,
        now: Arc::new(Timestamp::now),
        local_key,
        products,
        minter,
        private_addresses,
        webhooks: webhooks.clone(),
        events,
        sign_in,
        series,
        surroundings,
    });
    let mut api = api::router(state.clone());
    if has_sign_in {
        api = api.merge(console::router(ConsoleState::new(state.clone(), console)));
    }
    let mut serving = Serving::default();
    if let Some(socket) = http {
        let mut router = router.clone();
        if is_local {
            router = router.merge(api.clone());
            if let Some(demo) = demo {
                router = router.merge(demo.router(socket.local_addr()?, !has_sign_in));
            }
        }
        serving.listeners.push(Listener { socket, tls: None, router });
    }
    if let Some((socket, tls)) = https {
        serving.listeners.push(Listener { socket, tls: Some(tls), router: public.merge(api) });
    }
    let watched = health.clone();
    serving.background = vec![
        supervised("the watch over threads", &health, async move { watched.watch().await }),
        supervised("the snapshot", &health, async move { keeper.run().await }),
        supervised("the issuers' keys", &health, keeping.run()),
        supervised("the bans", &health, bans.run()),
        supervised("the history", &health, recording),
        supervised("the recent events", &health, async move { recent.follow(batches).await }),
        supervised("the series", &health, sampling.run()),
        supervised("the deletion of old rows", &health, retention.run()),
        supervised("the deletion of deliveries", &health, sweeping.run()),
        supervised("the webhooks", &health, WebhookSender::new(webhooks).run()),
    ];
    let watching = api::keep_alarms(state.clone());
    serving.background.push(supervised("the alarms", &health, watching));
    if has_sign_in {
        let keeping = api::keep_sign_in(state);
        serving.background.push(supervised("the sign-in", &health, keeping));
    }
    // The file of SQLite is then the whole database: who copies it without its log loses nothing.
    serving.finish = Some(Box::pin(async move {
        if let Err(error) = ending.checkpoint().await {
            tracing::debug!(%error, "the log of the database stays beside it");
        }
    }));
    Ok(serving)
}

/// Starts what sign-ins need; `None`: nobody signs in. `local`: the address of the API on loopback.
fn sign_in_settings(
    config: SignIn,
    local: Option<SocketAddr>,
    counters: Arc<SignInCounters>,
) -> std::io::Result<Option<SignInSettings>> {
    if !config.on {
        return Ok(None);
    }
    let url = config.url.or_else(|| local.map(|addr| format!("http://{addr}")));
    let single_sign_on = config.oidc.map(provider).transpose()?.map(Arc::new);
    Ok(Some(SignInSettings { passwords: PasswordWorker::start()?, url, single_sign_on, counters }))
}

/// Reads the secret of the provider of single sign-on.
fn provider(oidc: OidcProvider) -> std::io::Result<SingleSignOn> {
    let OidcProvider { issuer, client_id, client_secret_file, label, domains } = oidc;
    let client_secret = client_secret_file.map(|path| {
        let unreadable = |error| {
            let path = path.display();
            std::io::Error::other(format!("sign_in.oidc.client_secret_file: {path}: {error}"))
        };
        let bytes = text_file::read(&path).map_err(unreadable)?;
        let text = String::from_utf8(bytes.trim_ascii_end().to_vec());
        let text = text.map_err(|_| unreadable(std::io::Error::other("it is not UTF-8")))?;
        Ok::<_, std::io::Error>(SecretText::from(text))
    });
    let client_secret = client_secret.transpose()?;
    let label = label.unwrap_or_else(|| issuer.clone());
    Ok(SingleSignOn { issuer, client_id, client_secret, label, domains })
}
