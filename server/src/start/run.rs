//! Runs the server with a configuration and bound sockets until it is told to stop.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use nucleus_control::PlanesHandle;
use nucleus_control::events::EventFeed;
use nucleus_control::history::{HistoryRecorder, RecorderHandle, RecorderSettings};
use nucleus_control::issuers::FreshKeys;
use nucleus_control::webhooks::WebhookSigner;
use nucleus_core::fanout::FanoutConfig;
use nucleus_core::ids::ServerInstanceId;
use nucleus_core::limits;
use nucleus_core::social::SocialConfig;
use nucleus_core::tenancy::TenantPolicies;
use nucleus_net::Clock;
use nucleus_protocol::session::{Code, Features};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

use super::acme::{self, AcmeError, AcmeKeeper};
use super::config::{Config, ServersSettings};
use super::console::{ConsoleSockets, console_settings};
use super::control::{ControlParts, ControlPlane, ControlPlaneError};
use super::data_dir::{DataDir, DataDirError};
use super::logging;
use super::process_watch::ProcessWatch;
use super::reload::{Reload, watch_validity};
use super::renewal::{Renewal, RenewalClock};
use super::sockets::{BindError, Sockets};
use super::tls::{Identity, ServedCertificate, TlsError, https_config, quic_config};
use crate::bans::BanStore;
use crate::edge::quic::{self, Endpoint, Handshakes};
use crate::edge::{self, ClosingPages, ServerEndpoints, SessionContext, SessionCounters, Unjoined};
use crate::health::Health;
use crate::http::{self, Demo};
use crate::metrics::{Metrics, ProcessFigures};
use crate::planes::PlanesShell;
use crate::random::random;
use crate::rooms::{
    BudgetStore, RoomDirectory, RoomRegistry, RoomTemplate, SocialDirectory, Tenants, TicketKey,
};
use crate::shard::{self, MisdirectedRouter, ShardHandle, ShardMail};
use crate::text_file;
use crate::token::{IssuerKeys, Minter, TokenKeyError, TokenVerifier, VerifierSettings};

/// The file in the data directory for the history that the database does not take.
const SPOOL_FILE: &str = "history-spool.jsonl";
/// Longest time at the stop for the end of the history: the spool on a slow disk, and the database.
const HISTORY_TIME: Duration = limits::HISTORY_FINISH_TIME.saturating_add(Duration::from_secs(1));

const _: () = assert!(
    limits::DRAIN_TIME.as_millis()
        + limits::BANS_CLOSE_TIME.as_millis()
        + HISTORY_TIME.as_millis()
        + limits::LOG_FINISH_TIME.as_millis()
        < limits::STOP_TIME.as_millis(),
    "a database that hangs never makes the stop late"
);

/// Why the server could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A UDP port cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The HTTP address cannot be bound.
    #[error(
        "cannot bind the HTTP address {addr}: {source}; choose another with --http, or --http off"
    )]
    Http {
        /// The configured address.
        addr: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What the settings of the certificate authority name cannot be used.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// The verification key of join tokens cannot be used.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// The control plane cannot start.
    #[error(transparent)]
    Control(#[from] ControlPlaneError),
    /// The cryptographic library refuses the key of resume tickets.
    #[error("the key of resume tickets cannot be used")]
    TicketKey,
    /// The system refuses a socket or a thread.
    #[error("cannot start the server: {0}")]
    Io(#[from] std::io::Error),
}

impl RunError {
    /// Whether the operator can mend the error by changing a setting. The exit code is 2 then.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, RunError::Io(_) | RunError::Control(ControlPlaneError::Io(_)))
    }
}

/// The addresses that a running server listens on.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The UDP address of the session plane.
    pub session: SocketAddr,
    /// The further UDP addresses of the session plane.
    pub session_also: Vec<SocketAddr>,
    /// The UDP address of the realtime plane.
    pub realtime: SocketAddr,
    /// The TCP address of health, metrics and the API; `None` if HTTP is off.
    pub http: Option<SocketAddr>,
    /// The TCP address of the same over TLS; `None` if HTTPS is off.
    pub https: Option<SocketAddr>,
    /// Whether HTTP has the demo page.
    pub demo: bool,
}

/// Runs the server until `shutdown` resolves and all clients have been told. Must be called in a
/// tokio runtime, which then runs the sessions. Calls `ready` once, when the server accepts
/// sessions.
///
/// # Errors
///
/// A key, a certificate or an address cannot be used, or the system refuses a socket or a thread.
pub async fn run(
    config: Config,
    dir: &DataDir,
    sockets: Sockets,
    ready: impl FnOnce(Listening),
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    run_in(Surroundings::default(), config, dir, sockets, ready, shutdown).await
}

/// What a server takes from the process around it.
pub struct Surroundings {
    /// Receives a message for each request to read the certificate and the token key again.
    pub reload: mpsc::Receiver<()>,
    /// The clock by which the certificate is checked and renewed.
    pub clock: RenewalClock,
}

impl Default for Surroundings {
    /// The system's clock, and nobody who requests a reload.
    fn default() -> Self {
        Self { reload: mpsc::channel(1).1, clock: RenewalClock::default() }
    }
}

/// Runs the server like [`run`], in the given surroundings.
///
/// # Errors
///
/// As for [`run`].
pub async fn run_in(
    surroundings: Surroundings,
    config: Config,
    dir: &DataDir,
    sockets: Sockets,
    ready: impl FnOnce(Listening),
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let _lock = dir.lock()?;
    let Surroundings { reload, clock: renewal_clock } = surroundings;
    if let Some(warning) = sockets.buffer_warning() {
        tracing::warn!("{warning}");
    }
    let clock = Clock::new();
    let (session, realtime) = (sockets.session_addr()?, sockets.realtime_addr()?);
    let session_also = sockets.session_also_addrs()?;
    let Secrets { verifier, issuers, tickets, quic, served, renewal, acme } =
        secrets(&config, dir)?;
    let server_instance = ServerInstanceId(random());
    let clock_epoch = u32::from_le_bytes(random());
    let StartedShards { handles: shards, threads } =
        start_shards(&config, clock, clock_epoch, sockets.realtime)?;
    let servers = server_endpoints(&config.servers);
    let (events, posted) = EventFeed::new();
    let spool = dir.path().join(SPOOL_FILE);
    let (recorder, history) =
        HistoryRecorder::new(RecorderSettings { feed: events.clone(), posted, spool });
    let template = RoomTemplate {
        limits: config.limits,
        second_device: config.second_device,
        server_instance,
        clock_epoch,
        tickets: tickets.clone(),
        entries: servers.entries.clone(),
        bans: BanStore::open(dir.path())?,
        events,
    };
    let policies: Arc<ArcSwap<TenantPolicies>> = Arc::default();
    let tenants = Tenants::new(config.limits, policies.clone());
    let registry = RoomRegistry::new(shards.clone(), clock, template, tenants);
    let directory = RoomDirectory::new(registry);
    let entries = servers.entries.to_vec();
    let social = SocialConfig { limits: config.limits, clock_epoch, server_instance, entries };
    let (fresh_keys, key_requests) = FreshKeys::new();
    let context = Arc::new(SessionContext {
        verifier,
        fresh_keys,
        social_directory: SocialDirectory::new(social, directory.clone()),
        directory,
        tickets,
        clock,
        server_id: dir.server_id().to_owned(),
        servers,
        origins: config.web.origins(config.tokens.is_none()),
        closing_pages: ClosingPages::default(),
        features: Features::SUPPORTED.without(config.hide_features),
        shutting_down: AtomicBool::new(false),
        realtime_port: realtime.port(),
        limits: config.limits,
        unjoined: Unjoined::new(config.limits.unjoined),
        full_windows: Arc::new(Semaphore::new(limits::FULL_WINDOWS)),
        budgets: BudgetStore::new(config.limits, clock),
        joined: Arc::new(Semaphore::new(config.limits.sessions as usize)),
        handshakes: Handshakes::start()?,
        counters: SessionCounters::default(),
    });
    let (now, interval) = (renewal_clock.now.clone(), renewal_clock.interval);
    // An operator's certificate is not pinned.
    let pins = renewal.as_ref().map(Renewal::token_pins).unwrap_or_default();
    let shown = served.clone();
    let is_reloaded = Arc::new(AtomicBool::new(true));
    let process = ProcessFigures {
        certificate: Box::new(move || shown.validity()),
        lost_log_lines: logging::lost_lines,
        is_reloaded: is_reloaded.clone(),
        history: history.figures(),
    };
    let metrics = Metrics::new(context.clone(), shards.clone(), process);
    let health = Health::new(&Handle::current(), context.handshakes.handle(), &shards);
    let api_minter = || Minter::for_api(&dir.development_key(), pins.clone());
    let not_bound = |addr: String| move |source| RunError::Http { addr, source };
    let http = http::bind(config.http).map_err(not_bound(config.http.to_string()))?;
    // Only development mode has a key that signs tokens, and certificates for every address. The page is for
    // browsers on this machine.
    let admits_demo = context.origins.admits(http::DEMO_TENANT, http::DEMO_ORIGIN);
    let is_development = config.tokens.is_none() && config.has_development_certificate();
    let has_demo = config.demo && is_development && admits_demo && http::is_local(http.as_ref());
    let minter = || Minter::new(&dir.development_key(), pins.clone());
    let demo = has_demo.then(|| Demo::new(minter(), session, now.clone()));
    let https = match config.https {
        None => None,
        Some(addr) => {
            let socket = TcpListener::bind(addr).map_err(not_bound(addr.to_string()))?;
            let tls = match &acme {
                Some(acme) => acme.https_config()?,
                None => https_config(served.clone(), &[])?,
            };
            Some((socket, Arc::new(tls)))
        }
    };
    let https_socket = https.as_ref().map(|(socket, _)| socket);
    let bound = ConsoleSockets {
        session,
        session_also: &session_also,
        realtime,
        https: https_socket,
        has_demo,
    };
    let console = console_settings(&config, dir, &bound)?;
    let surroundings = Arc::new(ProcessWatch::new(
        &config,
        dir.path(),
        health.clone(),
        served.clone(),
        is_reloaded.clone(),
        history.figures(),
    ));
    let (planes, planes_mail) = PlanesHandle::new();
    let drain_wanted = Arc::new(Notify::new());
    let control = ControlPlane::start(
        ControlParts {
            database: config.control.database.clone().map(|database| database.0),
            listed_only: config.control.listed_tenants_only,
            private_addresses: config.control.private_addresses,
            sign_in: config.sign_in.clone(),
            webhook_signer: WebhookSigner::new(dir.webhook_key()),
            audit_days: config.control.audit_days,
            products: config.products.clone(),
            minter: config.mints_tokens().then(api_minter),
            issuers,
            key_requests,
            http,
            https,
            policies,
            planes,
            recorder,
            history: history.clone(),
            history_days: config.control.history_days,
            console,
            surroundings,
            metrics,
            health: health.clone(),
            demo,
        },
        dir.path(),
    )
    .await?;
    let open = |(index, socket)| Endpoint::open(index, socket, quic.clone(), dir.reset_key());
    // A connection belongs to the same shard on every address.
    let groups = [sockets.session].into_iter().chain(sockets.session_also);
    let endpoints = groups
        .flat_map(|group| (0u8..).zip(group))
        .map(open)
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    let accept = |endpoint: &Endpoint| edge::accept(endpoint.clone(), context.clone());
    let mut tasks: Vec<_> = endpoints.iter().map(|e| tokio::spawn(accept(e))).collect();
    let hurry = acme.as_ref().map(AcmeKeeper::hurry);
    tasks.extend(acme.map(|acme| tokio::spawn(acme.run(renewal_clock.clone()))));
    tasks.extend(renewal.map(|renewal| tokio::spawn(renewal.run(renewal_clock))));
    tasks.push(tokio::spawn(watch_validity(served.clone(), now, interval)));
    let reloading = Reload::new(config.tls.clone(), served, context.clone(), is_reloaded, hurry);
    tasks.push(tokio::spawn(reloading.run(reload)));
    let answering = PlanesShell {
        context: context.clone(),
        shards: shards.clone(),
        started: Instant::now(),
        drain: drain_wanted.clone(),
    };
    tasks.push(tokio::spawn(answering.run(planes_mail)));
    health.set_accepting(true);
    let (http, https, demo) = (control.http, control.https, control.has_demo);
    ready(Listening { session, session_also, realtime, http, https, demo });

    tokio::select! {
        () = shutdown => {}
        () = drain_wanted.notified() => tracing::info!("an operator stops the server"),
    }
    health.set_accepting(false);
    // New connections are accepted until the endpoints close: their joins are refused with the
    // reason, and are told of other servers.
    context.shutting_down.store(true, Ordering::Relaxed);
    drain(&endpoints, &context).await;
    context.directory.registry().bans().close().await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    for shard in &shards {
        shard.post(ShardMail::Stop).await;
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a shard's thread has panicked");
        }
    }
    // The shards have told the last visits.
    finish(&history).await;
    Ok(())
}

/// Waits until the history of the last sessions is in the database or in the spool.
async fn finish(history: &RecorderHandle) {
    if tokio::time::timeout(HISTORY_TIME, history.finish(limits::HISTORY_FINISH_TIME))
        .await
        .is_err()
    {
        tracing::warn!("the end of the history was not written in time");
    }
}

/// The objects that the server makes from its keys and its certificate.
struct Secrets {
    verifier: TokenVerifier,
    /// The keys of tenants' issuers, which the control plane keeps.
    issuers: Arc<ArcSwap<IssuerKeys>>,
    tickets: Arc<TicketKey>,
    quic: quic::ServerConfig,
    served: Arc<ServedCertificate>,
    /// `None`: the certificate is the operator's.
    renewal: Option<Renewal>,
    /// `None`: the certificate is from no authority that the server asks.
    acme: Option<AcmeKeeper>,
}

/// Reads the keys and the certificate. Called before any thread starts, so that an operator's
/// mistake is reported first.
fn secrets(config: &Config, dir: &DataDir) -> Result<Secrets, RunError> {
    let issuers = Arc::new(ArcSwap::from_pointee(IssuerKeys::default()));
    let verifier = TokenVerifier::new(VerifierSettings {
        tokens: config.tokens.as_ref(),
        development: dir.development_key(),
        minted: config.mints_tokens(),
        products: config.products.clone(),
        issuers: issuers.clone(),
        read: text_file::read,
    })?;
    let tickets = TicketKey::new(dir.ticket_key()).map_err(|_| RunError::TicketKey)?;
    let served = ServedCertificate::new(identity(config, dir)?)?;
    let renewal = config.has_development_certificate().then(|| Renewal::new(dir, served.clone()));
    let acme = config.acme.as_ref();
    let acme = acme.map(|acme| AcmeKeeper::new(acme, dir.path(), served.clone())).transpose()?;
    let quic = quic::server_config(quic_config(served.clone())?, dir.address_token_key())
        .map_err(|error| TlsError::Quic(error.to_string()))?;
    Ok(Secrets { verifier, issuers, tickets: Arc::new(tickets), quic, served, renewal, acme })
}

/// Tells all clients that the server shuts down. Waits until they have confirmed it, at most
/// [`limits::DRAIN_TIME`].
async fn drain(endpoints: &[Endpoint], context: &SessionContext) {
    let code = Code::ShuttingDown;
    let closing = async {
        // Ends the sessions outside rooms first, so that their users are not told that the rooms of
        // their calls end.
        context.social_directory.shut_down(code).await;
        context.directory.registry().shut_down(code).await;
        // The sessions of users and of rooms have time to close by themselves, and joins in progress
        // to be refused. The endpoints then close what is left.
        tokio::time::sleep(limits::LAST_WORDS).await;
        let refused_by = Instant::now() + limits::LAST_REFUSALS;
        // Clients that have just been told come back within a second or two. Only if there are
        // other servers is it worth to wait for them, and to name these.
        let has_others = !context.servers.others.is_empty();
        let is_idle = || context.unjoined.taken() == 0;
        while Instant::now() < refused_by && (has_others || !is_idle()) {
            tokio::time::sleep(limits::CLOSING_PAUSE).await;
        }
        // A page learns the code only before its connection is closed. Each takes a limited time.
        while context.closing_pages.count() > 0 {
            tokio::time::sleep(limits::CLOSING_PAUSE).await;
        }
        for endpoint in endpoints {
            endpoint.close(code);
        }
        for endpoint in endpoints {
            endpoint.wait_idle().await;
        }
    };
    if tokio::time::timeout(limits::DRAIN_TIME, closing).await.is_err() {
        tracing::warn!("some clients did not confirm the shutdown in time");
    }
}

fn server_endpoints(settings: &ServersSettings) -> ServerEndpoints {
    let wire = |list: &[String]| list.iter().map(|s| s.clone().into_bytes()).collect::<Vec<_>>();
    ServerEndpoints {
        entries: wire(&settings.entries).into(),
        others: wire(&settings.others),
        moved_to: wire(&settings.moved_to),
    }
}

fn identity(config: &Config, dir: &DataDir) -> Result<Identity, TlsError> {
    if let Some(tls) = &config.tls {
        return Identity::from_files(&tls.cert_file, &tls.key_file);
    }
    let issued = dir.path().join(acme::CERTIFICATE_FILE);
    if config.acme.is_some() && issued.exists() {
        match Identity::from_files(&issued, &issued) {
            Ok(identity) => return Ok(identity),
            // A new one is ordered.
            Err(error) => tracing::warn!("{error}"),
        }
    }
    Identity::development(dir.certificates().in_service())
}

/// The handles and threads of the started shards.
#[derive(Default)]
struct StartedShards {
    handles: Vec<Arc<ShardHandle>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

fn start_shards(
    config: &Config,
    clock: Clock,
    clock_epoch: u32,
    sockets: Vec<nucleus_net::UdpSocket>,
) -> std::io::Result<StartedShards> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pinned = sockets.len() > 1;
    let mut started = StartedShards::default();
    let (router, mailboxes) = MisdirectedRouter::new(sockets.len())?;
    for (index, (socket, mailbox)) in sockets.into_iter().zip(mailboxes).enumerate() {
        let fanout = FanoutConfig {
            index: index as u8,
            tick: config.tick,
            limits: config.limits,
            clock_epoch,
        };
        // Leaves the first core to sessions. A single shard is not pinned.
        let core = pinned.then_some((index + 1) % cores);
        let (handle, thread) = shard::spawn(fanout, socket, clock, router.clone(), mailbox, core)?;
        started.handles.push(handle);
        started.threads.push(thread);
    }
    Ok(started)
}
