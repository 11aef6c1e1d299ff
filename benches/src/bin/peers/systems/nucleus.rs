//! `nucleus`: the server of this repository, its real binary. Peers join by a session each, with a
//! token, and speak by the protocol's own link, as every client does.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use nucleus_client::RoomSelection;
use nucleus_client::session::{Session, SessionEvent, SessionOptions, Trust, client_config};
use nucleus_client::token::pin_in;
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
use crate::message::Heard;
use crate::relay::{HOST, Task};

/// Joins under way at once: more would wait for each other's handshakes.
const JOINS: usize = 50;
/// Peers that share a QUIC endpoint: a socket each would only cost the generator.
const PEERS_PER_ENDPOINT: u32 = 50;
/// A token outlives any run.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
/// The close of a session whose peer leaves for good.
const LEAVING: u32 = Code::Leaving as u32;
/// What the endpoints get to say so.
const CLOSE_TIME: Duration = Duration::from_millis(50);

/// Starts the server and joins everybody.
pub(super) fn start(task: Task, cores: Cores) -> Result<Running, StartError> {
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

/// The process and the sessions that were opened with it.
struct NucleusServer {
    endpoints: Vec<quinn::Endpoint>,
    /// Drives the endpoints as long as it is there.
    _runtime: Runtime,
    server: Embedded,
}

impl Server for NucleusServer {
    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn died(&mut self) -> Option<String> {
        self.server.died()
    }
}

impl Drop for NucleusServer {
    fn drop(&mut self) {
        // A server that is told to end waits for its sessions.
        for endpoint in &self.endpoints {
            endpoint.close(LEAVING.into(), b"");
        }
        std::thread::sleep(CLOSE_TIME);
    }
}

/// What all joins need.
struct Joiner {
    task: Task,
    server: SocketAddr,
    minter: Minter,
    config: quinn::ClientConfig,
    endpoints: Vec<quinn::Endpoint>,
}

impl Joiner {
    fn new(server: &Embedded, task: Task) -> Result<Self, StartError> {
        let dir = DataDir::open(server.data_dir()).map_err(StartError::client)?;
        let minter = dir.minter();
        let pin = pin_in(&token(&minter, 0)?);
        let pin = pin.ok_or_else(|| StartError::client("the token names no certificate"))?;
        let config = client_config(&Trust::Pin(pin)).map_err(StartError::client)?;
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
            let (config, options) = (self.config.clone(), self.options(peer)?);
            tasks.spawn(async move {
                let session = Session::join(&endpoint, config, options).await;
                NucleusClient::new(session.map_err(StartError::client)?).map(|new| (peer, new))
            });
        }
        while let Some(task) = tasks.join_next().await {
            joined.push(finished(task)?);
        }
        Ok(joined)
    }

    /// The endpoint of a peer; the last one opened, or another.
    fn endpoint(&mut self, peer: u32) -> Result<quinn::Endpoint, StartError> {
        if peer.is_multiple_of(PEERS_PER_ENDPOINT) {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            self.endpoints.push(quinn::Endpoint::client(any)?);
        }
        self.endpoints.last().cloned().ok_or_else(|| StartError::client("no QUIC endpoint"))
    }

    fn options(&self, peer: u32) -> Result<SessionOptions, StartError> {
        let rooms = self.task.rooms;
        Ok(SessionOptions {
            server: self.server,
            server_name: HOST.into(),
            token: token(&self.minter, peer)?,
            room: format!("room-{}", rooms.of(peer)),
            name: String::new(),
            selection: RoomSelection::capacity(rooms.members(rooms.of(peer)).len() as u16),
            agent: concat!("nucleus-peers/", env!("CARGO_PKG_VERSION")).into(),
            resume: None,
        })
    }
}

fn token(minter: &Minter, peer: u32) -> Result<String, StartError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let request = TokenRequest {
        ttl: TOKEN_TTL,
        ..TokenRequest::new(Product::Atom, "peers", format!("p{peer}"))
    };
    minter.mint(request, now.as_secs()).map_err(StartError::client)
}

type Finished = Result<Result<(u32, NucleusClient), StartError>, tokio::task::JoinError>;

fn finished(task: Finished) -> Result<(u32, NucleusClient), StartError> {
    task.map_err(StartError::client)?
}

/// A joined peer.
struct NucleusClient {
    slot: u16,
    link: Link,
    path: Path,
    /// Carries datagrams until the realtime port has answered.
    connection: quinn::Connection,
    pending: Vec<u8>,
}

impl NucleusClient {
    fn new(session: Session) -> Result<Self, StartError> {
        let slot = session.joined().slot;
        let config = session.link_config().map_err(StartError::client)?;
        let path = config.path.ok_or_else(|| StartError::client("the grant has no endpoint"))?;
        let connection = session.connection().clone();
        let (sender, mut receiver) = session.split();
        tokio::spawn(async move {
            // Roster updates are read as every client does. A sender that is dropped ends it all.
            let _sender = sender;
            while !matches!(receiver.next().await, SessionEvent::Closed { .. }) {}
        });
        let link = Link::new(Time::from_micros(Clock::new().now()), config);
        Ok(NucleusClient { slot, link, path, connection, pending: Vec::new() })
    }

    /// Puts what was said into a datagram. `None` when there is nothing, or no more numbers.
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

    fn say(&mut self, _now: u64, frame: &[u8]) {
        self.pending.extend_from_slice(frame);
    }

    fn handle_input(&mut self, arrival: u64, datagram: &mut [u8], hear: &mut dyn FnMut(Heard<'_>)) {
        let arrival = Time::from_micros(arrival);
        if let Ok(messages) = self.link.handle_input(arrival, self.path, 0, datagram) {
            messages.for_each(|message| hear(Ok(message)));
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
                // Before the window only; what a session that is just ending loses is its own affair.
                Some(route @ Route::Session) => {
                    let bytes = Bytes::copy_from_slice(route.wire(out));
                    let _sent = self.connection.send_datagram(bytes);
                }
            }
        }
    }
}
