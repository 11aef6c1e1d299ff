//! The running server: sockets and configuration in, until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::directory::Directory;
use crate::hall::HallConfig;
use crate::hall::registry::Halls;
use crate::http::Http;
use crate::limits;
use crate::metrics::Metrics;
use crate::room::{Quota, RoomConfig, RoomRate, Terms};
use crate::session::runtime::Handshakes;
use crate::session::ticket::TicketKey;
use crate::session::{PeerRates, SessionContext, SessionCounters, endpoint};
use crate::shard::ShardConfig;
use crate::shard::handle::{ShardHandle, ShardMail};
use crate::shard::strays::Neighbours;
use crate::shard::thread;
use crate::sockets::{BindError, Sockets};
use crate::tenants::{TenantLimits, Tenants};
use crate::tls::{Identity, TlsError};
use crate::token::{TokenKeyError, Verifier};

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

/// Runs the server, its sessions in the runtime that this is called in, until `shutdown` resolves and everybody has been told. `ready` is called once,
/// when it accepts sessions.
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
    let epoch = clock_epoch();
    let (session, realtime) = (sockets.session_addr()?, sockets.realtime_addr()?);
    let verifier = Verifier::new(&config, dir)?;
    let tls = identity(&config, dir)?.quic()?;
    let (shards, threads) = start_shards(&config, clock, epoch, sockets.realtime)?;
    let room = RoomConfig {
        capacity: config.limits.room_capacity,
        peer_ttl: config.limits.peer_ttl,
        second_device: config.second_device,
        epoch,
        clock_epoch: epoch,
        quota: Quota {
            objects: config.limits.room_objects as usize,
            owned: config.limits.peer_objects as usize,
            bytes: config.limits.room_state_bytes as usize,
        },
        rate: RoomRate {
            messages: config.limits.room_events_per_s,
            bytes: config.limits.room_event_bytes_per_s,
        },
        terms: Terms::default(),
    };
    let tenants = Tenants::new(TenantLimits {
        rooms: config.limits.tenant_rooms,
        kept_rooms: config.limits.kept_rooms,
        sessions: config.limits.tenant_sessions,
        user_sessions: config.limits.user_sessions,
    });
    let hall = HallConfig {
        ring_time: config.limits.ring_time,
        calls: config.limits.tenant_calls as usize,
        clock_epoch: epoch,
    };
    let max_rooms = config.limits.rooms as usize;
    let tickets = TicketKey::new(dir.ticket_key()).map_err(|_| RunError::TicketKey)?;
    let tickets = Arc::new(tickets);
    let places = (tickets.clone(), tenants);
    let directory = Directory::new(shards.clone(), clock, max_rooms, room, places);
    let context = Arc::new(SessionContext {
        verifier,
        halls: Halls::new(hall, clock, directory.clone()),
        directory,
        tickets,
        run: epoch,
        clock,
        server_id: dir.server_id().to_owned(),
        realtime_port: realtime.port(),
        empty_room_ttl: config.limits.empty_room_ttl,
        rates: PeerRates {
            events: config.limits.peer_events_per_s,
            event_bytes: config.limits.peer_event_bytes_per_s,
            bulk_bytes: config.limits.peer_bulk_bytes_per_s,
            requests: config.limits.peer_requests_per_s,
            messages: config.limits.peer_messages_per_s,
        },
        unjoined_timeout: config.limits.unjoined_timeout,
        unjoined: Arc::new(Semaphore::new(config.limits.unjoined as usize)),
        joined: Arc::new(Semaphore::new(config.limits.sessions as usize)),
        handshakes: Handshakes::start()?,
        counters: SessionCounters::default(),
    });
    let metrics = Metrics::new(context.clone(), shards.clone());
    let is_ready = Arc::new(AtomicBool::new(false));
    let http = Http::start(config.http, Arc::new(move || metrics.render()), is_ready.clone())
        .map_err(|e| RunError::Http(config.http.to_string(), e))?;
    let quic = endpoint::server_config(tls, dir.address_token_key());
    let sessions = sockets.session.into_iter().enumerate();
    let endpoints = sessions
        .map(|(index, socket)| endpoint::open(index as u8, socket, quic.clone(), dir))
        .collect::<Result<Vec<_>, _>>()?;
    let accept = |endpoint: &quinn::Endpoint| endpoint::accept(endpoint.clone(), context.clone());
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

/// Tells everybody why, and waits until they know or a moment has passed.
async fn drain(endpoints: &[quinn::Endpoint], context: &SessionContext) {
    let code = Code::ShuttingDown;
    let told = async {
        // Halls first: the end of their calls' rooms is no news to anybody then.
        context.halls.shut_down(code).await;
        context.directory.shut_down(code).await;
        // Sessions of the ended rooms and halls close by themselves; whoever had not joined is told here.
        tokio::time::sleep(limits::LAST_WORDS).await;
        for endpoint in endpoints {
            endpoint.close((code as u32).into(), code.name().as_bytes());
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
    clock_epoch: u32,
    sockets: Vec<nucleus_net::UdpSocket>,
) -> std::io::Result<Shards> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let several = sockets.len() > 1;
    let mut started = Shards::default();
    let (neighbours, mailboxes) = Neighbours::new(sockets.len())?;
    for (index, (socket, mailbox)) in sockets.into_iter().zip(mailboxes).enumerate() {
        let shard = ShardConfig {
            index: index as u8,
            tick: config.tick,
            away_after: config.limits.away_after,
            egress_bits_per_s: config.limits.egress_bits_per_s,
            messages_per_s: config.limits.peer_messages_per_s,
            speakers: config.limits.speakers,
            clock_epoch,
        };
        // The first core is left to sessions; a single shard goes where the kernel finds room.
        let core = several.then_some((index + 1) % cores);
        let place = (neighbours.clone(), mailbox);
        let (handle, thread) = thread::spawn(shard, socket, clock, place, core)?;
        started.0.push(handle);
        started.1.push(thread);
    }
    Ok(started)
}

/// Differs from that of the run before: seconds since 1970.
fn clock_epoch() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |s| s.as_secs() as u32)
}
