//! The running server: sockets and configuration in, until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nucleus_core::fanout::FanoutConfig;
use nucleus_core::limits;
use nucleus_core::social::SocialConfig;
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use tokio::sync::Semaphore;

use super::config::Config;
use super::data_dir::{DataDir, DataDirError};
use super::sockets::{BindError, Sockets};
use super::tls::{Identity, TlsError};
use crate::edge::quic::{self, Endpoint, Handshakes};
use crate::edge::{self, SessionContext, SessionCounters};
use crate::http::Http;
use crate::metrics::Metrics;
use crate::rooms::{Directory, Registry, RoomTemplate, SocialDirectory, Tenants, TicketKey};
use crate::shard::{self, MisdirectedRouter, ShardHandle, ShardMail};
use crate::token::{TokenKeyError, TokenVerifier};

/// Why the server did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The HTTP port could not be had.
    #[error("cannot bind the http address {0}: {1}; choose another with --http, or turn it off")]
    Http(String, std::io::Error),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The token keys cannot be used.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// The system's cryptography refused the key of resume tickets.
    #[error("the key of resume tickets cannot be used")]
    TicketKey,
    /// The system refused something.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl RunError {
    /// Whether the operator must change a setting: exit code 2.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, RunError::Io(_))
    }
}

/// Where a started server listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// QUIC.
    pub session: SocketAddr,
    /// Realtime.
    pub realtime: SocketAddr,
    /// HTTP, unless it is off.
    pub http: Option<SocketAddr>,
}

/// Runs the server, its sessions in the runtime that this is called in, until `shutdown` resolves and
/// everybody has been told. `ready` is called once, when it accepts sessions.
pub async fn run(
    config: Config,
    dir: &DataDir,
    sockets: Sockets,
    ready: impl FnOnce(Listening),
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    if let Some(warning) = sockets.buffer_warning() {
        tracing::warn!("{warning}");
    }
    let clock = Clock::new();
    let (session, realtime) = (sockets.session_addr()?, sockets.realtime_addr()?);
    let Secrets { verifier, tickets, quic } = secrets(&config, dir)?;
    let instance = server_instance();
    let (shards, threads) = start_shards(&config, clock, instance, sockets.realtime)?;
    let limits = config.limits;
    let template = RoomTemplate {
        limits,
        second_device: config.second_device,
        server_instance: instance,
        tickets: tickets.clone(),
    };
    let registry = Registry::new(shards.clone(), clock, template, Tenants::new(limits));
    let directory = Directory::new(registry);
    let social = SocialConfig { limits, clock_epoch: instance };
    let context = Arc::new(SessionContext {
        verifier,
        social_directory: SocialDirectory::new(social, directory.clone()),
        directory,
        tickets,
        server_instance: instance,
        clock,
        server_id: dir.server_id().to_owned(),
        realtime_port: realtime.port(),
        limits,
        unjoined: Arc::new(Semaphore::new(limits.unjoined as usize)),
        joined: Arc::new(Semaphore::new(limits.sessions as usize)),
        handshakes: Handshakes::start()?,
        counters: SessionCounters::default(),
    });
    let metrics = Metrics::new(context.clone(), shards.clone());
    let is_ready = Arc::new(AtomicBool::new(false));
    let http = Http::start(config.http, Arc::new(move || metrics.render()), is_ready.clone())
        .map_err(|e| RunError::Http(config.http.to_string(), e))?;
    let open = |(index, socket)| Endpoint::open(index, socket, quic.clone(), dir.reset_key());
    let endpoints =
        (0u8..).zip(sockets.session).map(open).collect::<Result<Vec<_>, std::io::Error>>()?;
    let accept = |endpoint: &Endpoint| edge::accept(endpoint.clone(), context.clone());
    let accepting: Vec<_> = endpoints.iter().map(|e| tokio::spawn(accept(e))).collect();
    is_ready.store(true, Ordering::Relaxed);
    ready(Listening { session, realtime, http: http.addr() });

    shutdown.await;
    is_ready.store(false, Ordering::Relaxed);
    // Those who are just joining go on: they are told with everybody else.
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    drain(&endpoints, &context).await;
    for shard in &shards {
        shard.post(ShardMail::Stop).await;
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a shard's thread had panicked");
        }
    }
    Ok(())
}

/// What is made of keys and certificates.
struct Secrets {
    verifier: TokenVerifier,
    tickets: Arc<TicketKey>,
    quic: quic::ServerConfig,
}

/// Whatever an operator may have to mend here is found before any thread starts.
fn secrets(config: &Config, dir: &DataDir) -> Result<Secrets, RunError> {
    let verifier = TokenVerifier::new(config.tokens.as_ref(), &dir.development_key())?;
    let tickets = TicketKey::new(dir.ticket_key()).map_err(|_| RunError::TicketKey)?;
    let quic = quic::server_config(identity(config, dir)?.quic()?, dir.address_token_key())
        .map_err(|error| TlsError::Quic(error.to_string()))?;
    Ok(Secrets { verifier, tickets: Arc::new(tickets), quic })
}

/// Tells everybody why, and waits until they know or a moment has passed.
async fn drain(endpoints: &[Endpoint], context: &SessionContext) {
    let code = Code::ShuttingDown;
    let told = async {
        // Users outside rooms first: the end of their calls' rooms is no news to anybody then.
        context.social_directory.shut_down(code).await;
        context.directory.registry().shut_down(code).await;
        // Sessions of the ended rooms and of those users close by themselves; whoever had not joined is told here.
        tokio::time::sleep(limits::LAST_WORDS).await;
        for endpoint in endpoints {
            endpoint.close(code);
        }
        for endpoint in endpoints {
            endpoint.wait_idle().await;
        }
    };
    if tokio::time::timeout(limits::DRAIN_TIME, told).await.is_err() {
        tracing::warn!("some sessions did not confirm the end in time");
    }
}

fn identity(config: &Config, dir: &DataDir) -> Result<Identity, TlsError> {
    match &config.tls {
        Some(tls) => Identity::from_files(&tls.cert_file, &tls.key_file),
        None => Identity::development(dir),
    }
}

type Shards = (Vec<Arc<ShardHandle>>, Vec<std::thread::JoinHandle<()>>);

fn start_shards(
    config: &Config,
    clock: Clock,
    server_instance: u32,
    sockets: Vec<nucleus_net::UdpSocket>,
) -> std::io::Result<Shards> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let several = sockets.len() > 1;
    let mut started = Shards::default();
    let (router, mailboxes) = MisdirectedRouter::new(sockets.len())?;
    for (index, (socket, mailbox)) in sockets.into_iter().zip(mailboxes).enumerate() {
        let fanout = FanoutConfig {
            index: index as u8,
            tick: config.tick,
            limits: config.limits,
            clock_epoch: server_instance,
        };
        // The first core is left to sessions; a single shard goes where the kernel finds room.
        let core = several.then_some((index + 1) % cores);
        let (handle, thread) = shard::spawn(fanout, socket, clock, router.clone(), mailbox, core)?;
        started.0.push(handle);
        started.1.push(thread);
    }
    Ok(started)
}

/// Tells this run of the server from the one before: seconds since 1970.
fn server_instance() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |s| s.as_secs() as u32)
}
