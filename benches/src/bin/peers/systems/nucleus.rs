//! The system `nucleus`: the real binary of this repository's server. Each peer joins by a session
//! with a token and sends over the protocol's own link, as every client does.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use nucleus_client::RoomSelection;
use nucleus_client::session::{
    Capabilities, ClientOptions, ResolvedServer, RoomJoin, RoomSession, RoomSessionStep,
    ServerNames, SessionNetwork, SessionSockets, Trust, TrustConfig, client_config, offered_suites,
};
use nucleus_client::token::pins_in;
use nucleus_loadgen::embedded::Embedded;
use nucleus_net::Clock;
use nucleus_protocol::limits::{HEADER, MAX_BODY};
use nucleus_protocol::link::{Link, Path, Route};
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::token::{Minter, Product, TokenRequest};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Running, Server, StartError};
use crate::client::Client;
use crate::cores::Cores;
use crate::message::ReceivedMessage;
use crate::relay::{HOST, RelayTask};

/// Number of joins at the same time. With more, each join would only wait longer for the handshakes
/// of the others.
const JOINS: usize = 50;
/// Number of peers that share a QUIC endpoint. A socket for each would cost the generator CPU time
/// and not change the result.
const PEERS_PER_ENDPOINT: u32 = 50;
/// How long a token is valid: longer than any run.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
/// The close code of a session whose peer leaves for good.
const LEAVING: u32 = Code::Leaving as u32;
/// The time that the endpoints get to send the closes.
const CLOSE_TIME: Duration = Duration::from_millis(50);

/// Starts the server and lets all peers join.
pub(super) fn start(task: RelayTask, cores: Cores) -> Result<Running, StartError> {
    let tick = format!("{}ms", task.tick / 1_000);
    let server =
        cores.start_server(|| Embedded::start(Some(1), Some(&tick)).map_err(StartError::from))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut joiner = Joiner::new(&server, task)?;
    let mut joined = runtime.block_on(joiner.join_all())?;
    joined.sort_by_key(|(peer, _)| *peer);
    let client = |(_, client): (u32, NucleusClient)| {
        (client.path.remote, Box::new(client) as Box<dyn Client>)
    };
    let clients = joined.into_iter().map(client).collect();
    Ok(Running {
        server: Box::new(NucleusServer { endpoints: joiner.endpoints, _runtime: runtime, server }),
        clients,
    })
}

/// The server's process, and the endpoints of the sessions.
struct NucleusServer {
    endpoints: Vec<quinn::Endpoint>,
    /// The runtime that drives the endpoints. Kept until the server is dropped.
    _runtime: Runtime,
    server: Embedded,
}

impl Server for NucleusServer {
    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn died(&mut self) -> Option<String> {
        self.server.end().map(|end| end.to_string())
    }
}

impl Drop for NucleusServer {
    fn drop(&mut self) {
        // Close the sessions, because otherwise the server would wait for them when it ends.
        for endpoint in &self.endpoints {
            endpoint.close(LEAVING.into(), b"");
        }
        std::thread::sleep(CLOSE_TIME);
    }
}

/// Joins the peers.
struct Joiner {
    task: RelayTask,
    server: SocketAddr,
    minter: Minter,
    config: TrustConfig,
    endpoints: Vec<quinn::Endpoint>,
}

impl Joiner {
    fn new(server: &Embedded, task: RelayTask) -> Result<Self, StartError> {
        let dir = DataDir::open(server.data_dir()).map_err(StartError::client)?;
        let minter = dir.minter();
        let pins = pins_in(&token(&minter, 0)?);
        let config = client_config(&Trust::Pins(pins)).map_err(StartError::client)?;
        Ok(Joiner { task, server: server.session, minter, config, endpoints: Vec::new() })
    }
}

impl Joiner {
    async fn join_all(&mut self) -> Result<Vec<(u32, NucleusClient)>, StartError> {
        let (mut tasks, mut joined) = (JoinSet::new(), Vec::new());
        for peer in 0..self.task.rooms.peers {
            if tasks.len() == JOINS {
                joined.extend(tasks.join_next().await.map(finished).transpose()?);
            }
            let endpoint = self.endpoint(peer)?;
            let (network, options) = (self.network(endpoint), self.options(peer)?);
            let config = ClientOptions::new(Duration::ZERO, u64::from(peer));
            let config = ClientOptions { keeps_roster: false, ..config };
            tasks.spawn(async move {
                let session = RoomSession::join(network, HOST, options, config).await;
                NucleusClient::new(session.map_err(StartError::client)?).map(|new| (peer, new))
            });
        }
        while let Some(task) = tasks.join_next().await {
            joined.push(finished(task)?);
        }
        Ok(joined)
    }

    /// Returns the endpoint of a peer. Opens a new endpoint for every [`PEERS_PER_ENDPOINT`] peers.
    fn endpoint(&mut self, peer: u32) -> Result<quinn::Endpoint, StartError> {
        if peer.is_multiple_of(PEERS_PER_ENDPOINT) {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            self.endpoints.push(quinn::Endpoint::client(any)?);
        }
        self.endpoints.last().cloned().ok_or_else(|| StartError::client("no QUIC endpoint"))
    }

    fn network(&self, endpoint: quinn::Endpoint) -> SessionNetwork {
        let server = ResolvedServer { name: HOST.into(), addresses: vec![self.server] };
        SessionNetwork {
            sockets: SessionSockets::Shared(endpoint),
            trust: self.config.clone(),
            names: ServerNames::fixed(server),
        }
    }

    fn options(&self, peer: u32) -> Result<RoomJoin, StartError> {
        let rooms = self.task.rooms;
        Ok(RoomJoin {
            token: token(&self.minter, peer)?,
            room: format!("room-{}", rooms.of(peer)),
            name: String::new(),
            selection: RoomSelection::capacity(rooms.members(rooms.of(peer)).len() as u16),
            agent: concat!("nucleus-peers/", env!("CARGO_PKG_VERSION")).into(),
            capabilities: Capabilities::default(),
            suites: offered_suites(),
            ticket: None,
        })
    }
}

fn token(minter: &Minter, peer: u32) -> Result<String, StartError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let request = TokenRequest {
        ttl: TOKEN_TTL,
        ..TokenRequest::new(Product::ATOM, "peers", format!("p{peer}"))
    };
    minter.mint(request, now.as_secs()).map_err(StartError::client)
}

type Finished = Result<Result<(u32, NucleusClient), StartError>, tokio::task::JoinError>;

fn finished(task: Finished) -> Result<(u32, NucleusClient), StartError> {
    task.map_err(StartError::client)?
}

/// A peer that has joined.
struct NucleusClient {
    slot: u16,
    link: Link,
    path: Path,
    /// The session's connection, which carries datagrams until the realtime port has answered.
    connection: quinn::Connection,
    pending: Vec<u8>,
}

impl NucleusClient {
    fn new(mut session: RoomSession) -> Result<Self, StartError> {
        let slot = session.slot();
        let config = session.link_config().map_err(StartError::client)?;
        let path = config.path.ok_or_else(|| StartError::client("the grant has no endpoint"))?;
        let connection = session.connection().cloned();
        let connection = connection.ok_or_else(|| StartError::client("the session is lost"))?;
        // Read roster updates, as every client does. Dropping the session would end it.
        tokio::spawn(
            async move { while !matches!(session.next().await, RoomSessionStep::Closed) {} },
        );
        let link = Link::new(Time::from_micros(Clock::new().now()), config);
        Ok(NucleusClient { slot, link, path, connection, pending: Vec::new() })
    }

    /// Writes the pending messages into a datagram. `None` if there are none, or the link has no
    /// packet numbers left.
    fn poll_data(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        if self.pending.is_empty() {
            return None;
        }
        let start = self.link.begin(now, out);
        debug_assert!(out.len() + self.pending.len() <= start + HEADER + MAX_BODY);
        out.append(&mut self.pending);
        let (route, _) = self.link.route()?;
        self.link.finish(now, out, start).ok().map(|()| route)
    }
}

impl Client for NucleusClient {
    fn slot(&self) -> u16 {
        self.slot
    }

    fn is_ready(&self, now: u64) -> Result<bool, String> {
        if let Some(reason) = self.connection.close_reason() {
            return Err(reason.to_string());
        }
        let now = Time::from_micros(now);
        if self.link.on_fallback(now) {
            return Err("the realtime port does not answer".into());
        }
        Ok(!self.link.is_undecided(now))
    }

    fn send_message(&mut self, _now: u64, frame: &[u8]) {
        self.pending.extend_from_slice(frame);
    }

    fn handle_input(
        &mut self,
        arrival: u64,
        datagram: &mut [u8],
        deliver: &mut dyn FnMut(ReceivedMessage<'_>),
    ) {
        let arrival = Time::from_micros(arrival);
        if let Ok(messages) = self.link.handle_input(arrival, self.path, 0, datagram) {
            messages.for_each(|message| deliver(Ok(message)));
        }
    }

    fn handle_timeout(&mut self, now: u64) {
        self.link.handle_timeout(Time::from_micros(now));
    }

    fn poll_output(&mut self, now: u64, out: &mut Vec<u8>) -> bool {
        let now = Time::from_micros(now);
        loop {
            out.clear();
            match self.poll_data(now, out).or_else(|| self.link.poll_output(now, out)) {
                None => return false,
                Some(Route::Realtime(_)) => return true,
                // The link uses the session only before the window. A session that is ending may
                // lose the datagram.
                Some(route @ Route::Session) => {
                    let bytes = Bytes::copy_from_slice(route.wire(out));
                    let _sent = self.connection.send_datagram(bytes);
                }
            }
        }
    }
}
