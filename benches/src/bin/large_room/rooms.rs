//! The large room and its clients, which have sessions and no realtime plane.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nucleus_client::RoomSelection;
use nucleus_client::session::{
    Capabilities, EventOutbox, ResolvedServer, Session, SessionEvent, SessionOptions,
    SessionReceiver, SessionSender, SessionSockets, To, Trust, client_config,
};
use quinn::{ClientConfig, Endpoint};
use tokio::task::JoinSet;

/// Sockets that the clients of one room share.
const SOCKETS: usize = 20;
/// Size of the events of the large room in bytes: a state change or a short text.
pub(crate) const EVENT_BYTES: usize = 100;

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
    config: ClientConfig,
}

impl Clients {
    pub(crate) fn new(
        server: SocketAddr,
        token: String,
        trust: &Trust,
    ) -> Result<Self, ClientError> {
        let config = client_config(trust).map_err(|error| failed(&error))?;
        Ok(Self { server, token, config })
    }

    pub(crate) async fn join(
        &self,
        endpoint: &Endpoint,
        room: &str,
    ) -> Result<Session, ClientError> {
        let options = SessionOptions {
            server: ResolvedServer { name: "localhost".to_owned(), addresses: vec![self.server] },
            token: self.token.clone(),
            room: room.to_owned(),
            name: String::new(),
            selection: RoomSelection::default(),
            agent: "large_room".to_owned(),
            capabilities: Capabilities::default(),
            resume: None,
        };
        let sockets = SessionSockets::Shared(endpoint.clone());
        let joined = Session::join(&sockets, self.config.clone(), options).await;
        joined.map_err(|error| failed(&error))
    }
}

pub(crate) fn endpoints(count: usize) -> io::Result<Vec<Endpoint>> {
    (0..count).map(|_| Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())).collect()
}

pub(crate) fn attach(
    sender: SessionSender,
    joined: &nucleus_protocol::session::Joined,
) -> Result<EventOutbox, ClientError> {
    let outbox = EventOutbox::default();
    outbox.attach(sender, joined, true).map_err(|error| failed(&error))?;
    Ok(outbox)
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
    senders: Vec<EventOutbox>,
    /// Keeps the other members in the room.
    _members: Vec<SessionSender>,
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
        let (mut outboxes, mut quiet, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
        let received = Arc::new(Received::default());
        for number in 0..members as usize {
            let session = clients.join(&endpoints[number % SOCKETS], "large").await?;
            let joined = session.joined().clone();
            let (sender, receiver) = session.split();
            match number < senders as usize {
                true => outboxes.push(attach(sender, &joined)?),
                false => quiet.push(sender),
            }
            tasks.spawn(count(receiver, received.clone()));
        }
        let tasks = std::sync::Mutex::new(tasks);
        Ok(Self { senders: outboxes, _members: quiet, received, tasks })
    }

    /// Starts to send. Must be called in the runtime that runs the room's clients.
    pub(crate) fn flood(&self) {
        for outbox in &self.senders {
            let outbox = outbox.clone();
            let flood =
                async move { while outbox.send(To::Others, 0, &[7; EVENT_BYTES]).await.is_ok() {} };
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

/// Counts the events of one member until its session ends.
pub(crate) async fn count(mut receiver: SessionReceiver, received: Arc<Received>) {
    loop {
        match receiver.next().await {
            SessionEvent::Event(_) => _ = received.events.fetch_add(1, Relaxed),
            SessionEvent::Closed { .. } => return received.record_closed(),
            _ => {}
        }
    }
}
