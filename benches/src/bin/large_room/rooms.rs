//! The large room and its clients, which have sessions and no realtime plane.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nucleus_client::session::{
    Capabilities, ClientHandle, ClientOptions, ResolvedServer, RoomClient, RoomJoin, RoomSession,
    RoomSessionStep, SendError, ServerNames, SessionNetwork, SessionSockets, To, Trust,
    TrustConfig, client_config, offered_suites,
};
use nucleus_client::{RoomEvent, RoomSelection};
use quinn::Endpoint;
use tokio::task::JoinSet;

/// Sockets that the clients of one room share.
const SOCKETS: usize = 20;
/// Size of the events of the large room in bytes: a state change or a short text.
pub(crate) const EVENT_BYTES: usize = 100;

/// The server's name; the clients trust its certificate by a pin.
const HOST: &str = "localhost";

/// The error of a client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot open a socket: {0}")]
    Socket(#[from] io::Error),
    #[error("a client failed: {0}")]
    Failed(String),
}

fn failed(error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Failed(error.to_string())
}

/// How clients join one server.
pub(crate) struct Clients {
    server: SocketAddr,
    token: String,
    trust: TrustConfig,
    /// Number of joins so far, which seeds each client.
    joins: AtomicU64,
}

impl Clients {
    pub(crate) fn new(
        server: SocketAddr,
        token: String,
        trust: &Trust,
    ) -> Result<Self, ClientError> {
        let trust = client_config(trust).map_err(|error| failed(&error))?;
        Ok(Self { server, token, trust, joins: AtomicU64::new(0) })
    }

    pub(crate) async fn join(
        &self,
        endpoint: &Endpoint,
        room: &str,
    ) -> Result<RoomSession, ClientError> {
        let server = ResolvedServer { name: HOST.to_owned(), addresses: vec![self.server] };
        let network = SessionNetwork {
            sockets: SessionSockets::Shared(endpoint.clone()),
            trust: self.trust.clone(),
            names: ServerNames::fixed(server),
        };
        let options = RoomJoin {
            token: self.token.clone(),
            room: room.to_owned(),
            name: String::new(),
            selection: RoomSelection::default(),
            agent: "large_room".to_owned(),
            capabilities: Capabilities::default(),
            suites: offered_suites(),
            ticket: None,
        };
        let config = ClientOptions::new(Duration::ZERO, self.joins.fetch_add(1, Relaxed));
        let config = ClientOptions { keeps_roster: false, ..config };
        let joined = RoomSession::join(network, HOST, options, config).await;
        joined.map_err(|error| failed(&error))
    }
}

pub(crate) fn endpoints(count: usize) -> io::Result<Vec<Endpoint>> {
    (0..count).map(|_| Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())).collect()
}

/// Sends an event to the other members, as soon as the client takes it.
///
/// # Errors
///
/// If the session is closed.
pub(crate) async fn send(
    client: &ClientHandle<RoomClient>,
    payload: &[u8],
) -> Result<(), SendError> {
    let send = |client: &mut RoomClient, now| {
        let sent = client.send_event(now, To::Others, 0, payload);
        (sent != Err(SendError::WouldBlock)).then_some(sent)
    };
    client.wait_for(send).await
}

/// What the members of a room have received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) events: AtomicU64,
    /// Members whose session was closed.
    pub(crate) closed: AtomicU64,
}

impl Received {
    /// Counts a member whose session was closed.
    pub(crate) fn record_closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }
}

/// A large room, some members of which send as many events as they may until this is dropped.
pub(crate) struct LargeRoom {
    senders: Vec<ClientHandle<RoomClient>>,
    received: Arc<Received>,
    tasks: std::sync::Mutex<JoinSet<()>>,
}

impl LargeRoom {
    pub(crate) async fn join(
        clients: &Clients,
        members: u32,
        senders: u32,
    ) -> Result<Self, ClientError> {
        let endpoints = endpoints(SOCKETS)?;
        let (mut flooders, mut tasks) = (Vec::new(), JoinSet::new());
        let received = Arc::new(Received::default());
        for number in 0..members as usize {
            let session = clients.join(&endpoints[number % SOCKETS], "large").await?;
            if number < senders as usize {
                flooders.push(session.client().clone());
            }
            tasks.spawn(count(session, received.clone()));
        }
        let tasks = std::sync::Mutex::new(tasks);
        Ok(Self { senders: flooders, received, tasks })
    }

    /// Starts to send. Must be called in the runtime that runs the room's clients.
    pub(crate) fn flood(&self) {
        for client in &self.senders {
            let client = client.clone();
            let flood = async move { while send(&client, &[7; EVENT_BYTES]).await.is_ok() {} };
            // The lock is never poisoned: no code panics while it holds it.
            if let Ok(mut tasks) = self.tasks.lock() {
                tasks.spawn(flood);
            }
        }
    }

    /// Returns how many events the members have received.
    pub(crate) fn deliveries(&self) -> u64 {
        self.received.events.load(Relaxed)
    }

    /// Returns how many members have lost their session.
    pub(crate) fn closed(&self) -> u64 {
        self.received.closed.load(Relaxed)
    }
}

/// Counts the events of one member until its session ends. Keeps the member in the room.
pub(crate) async fn count(mut session: RoomSession, received: Arc<Received>) {
    loop {
        match session.next().await {
            RoomSessionStep::Event(RoomEvent::Event { .. }) => {
                received.events.fetch_add(1, Relaxed);
            }
            RoomSessionStep::Closed => return received.record_closed(),
            _ => {}
        }
    }
}
