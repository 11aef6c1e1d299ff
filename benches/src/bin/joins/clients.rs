//! The clients of both systems. A limited number of clients joins at the same time. All clients
//! stay connected until the measurement ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use nucleus_client::RoomSelection;
use nucleus_client::session::{
    Capabilities, ClientOptions, ResolvedServer, RoomJoin, RoomSession, ServerNames,
    SessionNetwork, SessionSockets, Trust, client_config, offered_suites,
};
use nucleus_net::process_cpu_seconds;
use nucleus_protocol::session::Code;
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::token::{Product, TokenRequest};
use quinn::{Connection, Endpoint};

/// Number of clients that share a socket. With a socket for each client, the clients would need
/// more CPU time than the server.
const CLIENTS_PER_SOCKET: u32 = 50;
/// Number of clients in a room.
const ROOM_SIZE: u32 = 10;
/// Number of joins before the measurement, in rooms of their own. After them the server has started
/// its threads and touched its memory.
const WARM_UP: u32 = 100;
/// The time after the last join that is still measured. Roster updates are sent within 100 ms, and
/// their acknowledgements take a little longer.
const SETTLE: Duration = Duration::from_millis(250);
/// The pause between the last close and the measurement of the other system.
const REST: Duration = Duration::from_millis(250);
/// Longest time for a bare handshake, the same as the client allows for a join. A handshake that
/// takes longer has failed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HOST: &str = "localhost";
const TENANT: &str = "joins";

/// The servers that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Nucleus, with complete joins.
    Nucleus,
    /// The bare server, with handshakes only.
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

/// A running server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) system: System,
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

/// The error of a failed measurement.
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

/// The certificate and the tokens, created before the measurement.
pub(crate) struct Credentials {
    config: quinn::ClientConfig,
    /// The token of each client.
    tokens: Vec<String>,
}

impl Credentials {
    /// Creates the credentials for the warm-up and `joins` clients of the server with this data
    /// directory.
    ///
    /// # Errors
    ///
    /// If the server's keys cannot be used.
    pub(crate) fn new(data_dir: &Path, joins: u32) -> Result<Self, ClientError> {
        let failed = |error: &dyn std::fmt::Display| ClientError::Keys(error.to_string());
        let dir = DataDir::open(data_dir).map_err(|e| failed(&e))?;
        let minter = dir.minter();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let token = |client| {
            let request = TokenRequest::new(Product::ATOM, TENANT, format!("h{client}"));
            minter.mint(request, now).map_err(|e| failed(&e))
        };
        let tokens: Vec<String> = (0..WARM_UP + joins).map(token).collect::<Result<_, _>>()?;
        let pins = tokens.first().map(|token| nucleus_client::token::pins_in(token));
        let config =
            client_config(&Trust::Pins(pins.unwrap_or_default())).map_err(|e| failed(&e))?;
        Ok(Credentials { config, tokens })
    }
}

/// The figures of one system in one round.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) joins: u32,
    /// The server's CPU time from the first join to [`SETTLE`] after the last, s.
    pub(crate) cpu_s: f64,
    /// The time from the first join to the last, s.
    pub(crate) seconds: f64,
    /// How long each join took, µs.
    pub(crate) latency: Histogram<u64>,
    /// UDP datagrams to the server.
    pub(crate) datagrams_in: u64,
    /// UDP datagrams from the server.
    pub(crate) datagrams_out: u64,
}

/// A connection that stays open while this exists.
enum OpenConnection {
    /// Is not driven after the join, so the client does no further work.
    Session(Box<RoomSession>),
    Connection(Connection),
}

impl OpenConnection {
    fn connection(&self) -> Option<&Connection> {
        match self {
            OpenConnection::Session(session) => session.connection(),
            OpenConnection::Connection(connection) => Some(connection),
        }
    }

    fn close(&self) {
        if let Some(connection) = self.connection() {
            connection.close((Code::Leaving as u32).into(), b"");
        }
    }
}

/// All clients of one system in one round.
struct Clients {
    server: Server,
    credentials: Arc<Credentials>,
    endpoints: Vec<Endpoint>,
    /// The next client to join.
    next: AtomicU32,
}

/// Lets `joins` clients join, `at_once` at the same time, and measures the server.
///
/// # Errors
///
/// If a join fails, or the server's CPU time cannot be read.
pub(crate) async fn measure(
    server: Server,
    credentials: Arc<Credentials>,
    joins: u32,
    at_once: u32,
) -> Result<Measurement, ClientError> {
    let sockets = (WARM_UP + joins).div_ceil(CLIENTS_PER_SOCKET);
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let endpoints = (0..sockets).map(|_| Endpoint::client(own)).collect::<Result<_, _>>()?;
    let clients = Arc::new(Clients { server, credentials, endpoints, next: AtomicU32::new(0) });
    let mut connections = clients.join_until(WARM_UP, at_once).await?.0;
    tokio::time::sleep(SETTLE).await;

    let cpu = || process_cpu_seconds(Some(server.pid)).map_err(ClientError::Cpu);
    let (cpu_before, begin) = (cpu()?, Instant::now());
    clients.next.store(WARM_UP, Relaxed);
    let (joined, latency) = clients.join_until(WARM_UP + joins, at_once).await?;
    let seconds = begin.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let cpu_s = cpu()? - cpu_before;
    let (mut datagrams_in, mut datagrams_out) = (0, 0);
    for stats in joined.iter().filter_map(|open| Some(open.connection()?.stats())) {
        datagrams_in += stats.udp_tx.datagrams;
        datagrams_out += stats.udp_rx.datagrams;
    }

    connections.extend(joined);
    connections.iter().for_each(OpenConnection::close);
    for endpoint in &clients.endpoints {
        endpoint.wait_idle().await;
    }
    tokio::time::sleep(REST).await;
    Ok(Measurement { joins, cpu_s, seconds, latency, datagrams_in, datagrams_out })
}

impl Clients {
    /// Lets all clients up to `end` join. Returns their connections and how long each took, µs.
    async fn join_until(
        self: &Arc<Self>,
        end: u32,
        at_once: u32,
    ) -> Result<(Vec<OpenConnection>, Histogram<u64>), ClientError> {
        let tasks: Vec<_> =
            (0..at_once).map(|_| tokio::spawn(self.clone().join_in_turn(end))).collect();
        let (mut connections, mut latency) = (Vec::new(), histogram());
        for task in tasks {
            let joined = task.await.map_err(|e| ClientError::Join(e.to_string()))??;
            for (open, took) in joined {
                connections.push(open);
                latency.saturating_record(took.as_micros() as u64);
            }
        }
        Ok((connections, latency))
    }

    async fn join_in_turn(
        self: Arc<Self>,
        end: u32,
    ) -> Result<Vec<(OpenConnection, Duration)>, ClientError> {
        let mut connections = Vec::new();
        loop {
            let client = self.next.fetch_add(1, Relaxed);
            if client >= end {
                return Ok(connections);
            }
            let begin = Instant::now();
            let open = match self.server.system {
                System::Nucleus => self.join(client).await?,
                System::Bare => self.shake_hands(client).await?,
            };
            connections.push((open, begin.elapsed()));
        }
    }

    fn endpoint(&self, client: u32) -> &Endpoint {
        &self.endpoints[(client / CLIENTS_PER_SOCKET) as usize]
    }

    async fn join(&self, client: u32) -> Result<OpenConnection, ClientError> {
        let server = ResolvedServer { name: HOST.into(), addresses: vec![self.server.address] };
        let network = SessionNetwork {
            sockets: SessionSockets::Shared(self.endpoint(client).clone()),
            trust: self.credentials.config.clone(),
            names: ServerNames::fixed(server),
        };
        let options = RoomJoin {
            token: self.credentials.tokens[client as usize].clone(),
            room: format!("room-{}", client / ROOM_SIZE),
            name: String::new(),
            selection: RoomSelection::capacity(ROOM_SIZE as u16),
            agent: concat!("nucleus-joins/", env!("CARGO_PKG_VERSION")).into(),
            capabilities: Capabilities::default(),
            suites: offered_suites(),
            ticket: None,
        };
        let config = ClientOptions::new(Duration::ZERO, u64::from(client));
        let config = ClientOptions { keeps_roster: false, ..config };
        let joined = RoomSession::join(network, HOST, options, config).await;
        joined
            .map(|s| OpenConnection::Session(Box::new(s)))
            .map_err(|e| ClientError::Join(e.to_string()))
    }

    async fn shake_hands(&self, client: u32) -> Result<OpenConnection, ClientError> {
        let failed = |error: &dyn std::fmt::Display| ClientError::Join(error.to_string());
        let (config, server) = (self.credentials.config.clone(), self.server.address);
        let connecting = self.endpoint(client).connect_with(config, server, HOST);
        let connecting = connecting.map_err(|e| failed(&e))?;
        let accepted = async {
            let connection = connecting.await.map_err(|e| failed(&e))?;
            let mut stream = connection.accept_uni().await.map_err(|e| failed(&e))?;
            stream.read_exact(&mut [0]).await.map_err(|e| failed(&e))?;
            Ok(OpenConnection::Connection(connection))
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, accepted).await.unwrap_or_else(|e| Err(failed(&e)))
    }
}

/// Creates a histogram of times up to a minute, µs, with three significant digits.
fn histogram() -> Histogram<u64> {
    let Ok(histogram) = Histogram::new_with_bounds(1, 60_000_000, 3) else {
        unreachable!("the bounds of the histogram are valid constants")
    };
    histogram
}
