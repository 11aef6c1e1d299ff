//! The clients of both systems: so many joins, some at a time, each kept until all are measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use nucleus_client::RoomSelection;
use nucleus_client::session::{Session, SessionOptions, Trust, client_config};
use nucleus_net::process_cpu_seconds;
use nucleus_protocol::session::Code;
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::token::{Product, TokenRequest};
use quinn::{ClientConfig, Connection, Endpoint};

/// Clients that share a socket: one each would cost the generator more than the server.
const CLIENTS_PER_SOCKET: u32 = 50;
/// Headsets of a room.
const ROOM_SIZE: u32 = 10;
/// Joins before the measurement, in rooms of their own: threads start, memory is touched.
const WARM_UP: u32 = 100;
/// Behind the last join, still measured: roster updates go out within 100 ms, and their
/// acknowledgements come back.
const SETTLE: Duration = Duration::from_millis(250);
/// Behind the last close, before the other system is measured.
const REST: Duration = Duration::from_millis(250);
/// A bare handshake that takes longer has failed; as long as the client gives a join.
const PATIENCE: Duration = Duration::from_secs(10);
const HOST: &str = "localhost";
const TENANT: &str = "joins";

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// A whole join.
    Nucleus,
    /// The handshake alone.
    Bare,
}

impl System {
    pub(crate) const ALL: [System; 2] = [System::Nucleus, System::Bare];

    pub(crate) fn name(self) -> &'static str {
        match self {
            System::Nucleus => "nucleus",
            System::Bare => "bare",
        }
    }
}

/// A server that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) system: System,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("the server's keys cannot be used: {0}")]
    Keys(String),
    #[error("cannot start clients: {0}")]
    Start(#[from] std::io::Error),
    #[error("the server's CPU time cannot be read: {0}")]
    Cpu(std::io::Error),
    #[error("a join failed: {0}")]
    Join(String),
}

/// Certificate and tokens, made before anything is measured.
pub(crate) struct Passes {
    config: ClientConfig,
    /// By client.
    tokens: Vec<String>,
}

impl Passes {
    /// For `joins` clients of the server with this data directory, and those that warm it up.
    pub(crate) fn new(data_dir: &Path, joins: u32) -> Result<Self, ClientError> {
        let failed = |error: &dyn std::fmt::Display| ClientError::Keys(error.to_string());
        let dir = DataDir::open(data_dir).map_err(|e| failed(&e))?;
        let minter = dir.minter();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let token = |client| {
            let request = TokenRequest::new(Product::Atom, TENANT, format!("h{client}"));
            minter.mint(request, now).map_err(|e| failed(&e))
        };
        let tokens: Vec<String> = (0..WARM_UP + joins).map(token).collect::<Result<_, _>>()?;
        let pin = tokens.first().and_then(|token| nucleus_client::token::pin_in(token));
        let pin = pin.ok_or_else(|| failed(&"the tokens name no certificate"))?;
        let config = client_config(&Trust::Pin(pin)).map_err(|e| failed(&e))?;
        Ok(Passes { config, tokens })
    }
}

/// What so many joins took.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) joins: u32,
    /// The server's CPU time from the first join to [`SETTLE`] behind the last.
    pub(crate) cpu_s: f64,
    /// From the first join to the last.
    pub(crate) seconds: f64,
    /// µs that each join took.
    pub(crate) latency: Histogram<u64>,
    /// UDP datagrams to the server and from it.
    pub(crate) datagrams: [u64; 2],
}

/// Keeps a connection, and with it a session, open.
enum Kept {
    Session(Box<Session>),
    Connection(Connection),
}

impl Kept {
    fn connection(&self) -> &Connection {
        match self {
            Kept::Session(session) => session.connection(),
            Kept::Connection(connection) => connection,
        }
    }

    fn close(&self) {
        self.connection().close((Code::Leaving as u32).into(), b"");
    }
}

/// All clients of one system in one round.
struct Clients {
    server: Server,
    passes: Arc<Passes>,
    endpoints: Vec<Endpoint>,
    /// The client whose turn it is.
    next: AtomicU32,
}

/// Lets `joins` clients join, `at_once` at a time.
pub(crate) async fn measure(
    server: Server,
    passes: Arc<Passes>,
    joins: u32,
    at_once: u32,
) -> Result<Measurement, ClientError> {
    let sockets = (WARM_UP + joins).div_ceil(CLIENTS_PER_SOCKET);
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let endpoints = (0..sockets).map(|_| Endpoint::client(own)).collect::<Result<_, _>>()?;
    let clients = Arc::new(Clients { server, passes, endpoints, next: AtomicU32::new(0) });
    let mut kept = clients.join_until(WARM_UP, at_once).await?.0;
    tokio::time::sleep(SETTLE).await;

    let cpu = || process_cpu_seconds(Some(server.pid)).map_err(ClientError::Cpu);
    let (cpu_before, begin) = (cpu()?, Instant::now());
    clients.next.store(WARM_UP, Relaxed);
    let (joined, latency) = clients.join_until(WARM_UP + joins, at_once).await?;
    let seconds = begin.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let cpu_s = cpu()? - cpu_before;
    let mut datagrams = [0; 2];
    for stats in joined.iter().map(|one| one.connection().stats()) {
        datagrams[0] += stats.udp_tx.datagrams;
        datagrams[1] += stats.udp_rx.datagrams;
    }

    kept.extend(joined);
    kept.iter().for_each(Kept::close);
    for endpoint in &clients.endpoints {
        endpoint.wait_idle().await;
    }
    tokio::time::sleep(REST).await;
    Ok(Measurement { joins, cpu_s, seconds, latency, datagrams })
}

impl Clients {
    /// Lets everybody up to client `end` join; gives their sessions and how long each took, in µs.
    async fn join_until(
        self: &Arc<Self>,
        end: u32,
        at_once: u32,
    ) -> Result<(Vec<Kept>, Histogram<u64>), ClientError> {
        let tasks: Vec<_> =
            (0..at_once).map(|_| tokio::spawn(self.clone().join_in_turn(end))).collect();
        let (mut kept, mut latency) = (Vec::new(), histogram());
        for task in tasks {
            let joined = task.await.map_err(|e| ClientError::Join(e.to_string()))??;
            for (one, took) in joined {
                kept.push(one);
                latency.saturating_record(took.as_micros() as u64);
            }
        }
        Ok((kept, latency))
    }

    async fn join_in_turn(self: Arc<Self>, end: u32) -> Result<Vec<(Kept, Duration)>, ClientError> {
        let mut kept = Vec::new();
        loop {
            let client = self.next.fetch_add(1, Relaxed);
            if client >= end {
                return Ok(kept);
            }
            let begin = Instant::now();
            let one = match self.server.system {
                System::Nucleus => self.join(client).await?,
                System::Bare => self.shake_hands(client).await?,
            };
            kept.push((one, begin.elapsed()));
        }
    }

    fn endpoint(&self, client: u32) -> &Endpoint {
        &self.endpoints[(client / CLIENTS_PER_SOCKET) as usize]
    }

    async fn join(&self, client: u32) -> Result<Kept, ClientError> {
        let options = SessionOptions {
            server: self.server.address,
            server_name: HOST.into(),
            token: self.passes.tokens[client as usize].clone(),
            room: format!("room-{}", client / ROOM_SIZE),
            name: String::new(),
            selection: RoomSelection::capacity(ROOM_SIZE as u16),
            agent: concat!("nucleus-joins/", env!("CARGO_PKG_VERSION")).into(),
            resume: None,
        };
        let config = self.passes.config.clone();
        let joined = Session::join(self.endpoint(client), config, options).await;
        joined.map(|s| Kept::Session(Box::new(s))).map_err(|e| ClientError::Join(e.to_string()))
    }

    async fn shake_hands(&self, client: u32) -> Result<Kept, ClientError> {
        let failed = |error: &dyn std::fmt::Display| ClientError::Join(error.to_string());
        let (config, server) = (self.passes.config.clone(), self.server.address);
        let connecting = self.endpoint(client).connect_with(config, server, HOST);
        let connecting = connecting.map_err(|e| failed(&e))?;
        let accepted = async {
            let connection = connecting.await.map_err(|e| failed(&e))?;
            let mut stream = connection.accept_uni().await.map_err(|e| failed(&e))?;
            stream.read_exact(&mut [0]).await.map_err(|e| failed(&e))?;
            Ok(Kept::Connection(connection))
        };
        tokio::time::timeout(PATIENCE, accepted).await.unwrap_or_else(|e| Err(failed(&e)))
    }
}

/// For µs up to a minute, to three digits.
fn histogram() -> Histogram<u64> {
    let Ok(histogram) = Histogram::new_with_bounds(1, 60_000_000, 3) else {
        unreachable!("these are bounds of a histogram")
    };
    histogram
}
