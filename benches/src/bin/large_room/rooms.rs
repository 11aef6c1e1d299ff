//! The clients of both rooms. They have sessions and no realtime plane.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nucleus_client::RoomSelection;
use nucleus_client::session::{
    Capabilities, EventOutbox, Session, SessionEvent, SessionOptions, SessionReceiver,
    SessionSender, To, Trust, client_config,
};
use quinn::{ClientConfig, Endpoint};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Sockets that the clients of one room share.
const SOCKETS: usize = 20;
/// Members of the small room.
const SMALL_ROOM: usize = 10;
/// Pause between two events of the small room.
const PAUSE: Duration = Duration::from_millis(20);
/// Size of the events of the large room in bytes: a state change or a short text.
const EVENT_BYTES: usize = 100;
/// Longest latency that the histogram holds, µs.
const LONGEST_US: u64 = 60_000_000;

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

    async fn join(&self, endpoint: &Endpoint, room: &str) -> Result<Session, ClientError> {
        let options = SessionOptions {
            server: self.server,
            server_name: "localhost".to_owned(),
            token: self.token.clone(),
            room: room.to_owned(),
            name: String::new(),
            selection: RoomSelection::default(),
            agent: "large_room".to_owned(),
            capabilities: Capabilities::default(),
            resume: None,
        };
        let joined = Session::join(endpoint, self.config.clone(), options).await;
        joined.map_err(|error| failed(&error))
    }
}

fn endpoints(count: usize) -> io::Result<Vec<Endpoint>> {
    (0..count).map(|_| Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())).collect()
}

fn attach(
    sender: SessionSender,
    joined: &nucleus_protocol::session::Joined,
) -> Result<EventOutbox, ClientError> {
    let outbox = EventOutbox::default();
    outbox.attach(sender, joined, true).map_err(|error| failed(&error))?;
    Ok(outbox)
}

/// A large room, some members of which send as many events as they may until this is dropped.
pub(crate) struct LargeRoom {
    senders: Vec<EventOutbox>,
    /// Keeps the other members in the room.
    _members: Vec<SessionSender>,
    deliveries: Arc<AtomicU64>,
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
        let deliveries = Arc::new(AtomicU64::new(0));
        for number in 0..members as usize {
            let session = clients.join(&endpoints[number % SOCKETS], "large").await?;
            let joined = session.joined().clone();
            let (sender, receiver) = session.split();
            match number < senders as usize {
                true => outboxes.push(attach(sender, &joined)?),
                false => quiet.push(sender),
            }
            tasks.spawn(count(receiver, deliveries.clone()));
        }
        let tasks = std::sync::Mutex::new(tasks);
        Ok(Self { senders: outboxes, _members: quiet, deliveries, tasks })
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
        self.deliveries.load(Relaxed)
    }
}

async fn count(mut receiver: SessionReceiver, deliveries: Arc<AtomicU64>) {
    loop {
        match receiver.next().await {
            SessionEvent::Event(_) => _ = deliveries.fetch_add(1, Relaxed),
            SessionEvent::Closed { .. } => return,
            _ => {}
        }
    }
}

/// A small room. One member sends an event every [`PAUSE`], and another measures how long it took.
pub(crate) struct SmallRoom {
    start: Instant,
    outbox: EventOutbox,
    /// The latencies, µs.
    arrivals: tokio::sync::Mutex<mpsc::Receiver<u64>>,
    /// Keeps the members in the room.
    _members: Vec<SessionSender>,
    _tasks: JoinSet<()>,
}

impl SmallRoom {
    pub(crate) async fn join(clients: &Clients) -> Result<Self, ClientError> {
        let endpoints = endpoints(SMALL_ROOM)?;
        let (start, mut tasks) = (Instant::now(), JoinSet::new());
        let (arrived, arrivals) = mpsc::channel(1_024);
        let first = clients.join(&endpoints[0], "small").await?;
        let joined = first.joined().clone();
        let (sender, receiver) = first.split();
        let outbox = attach(sender, &joined)?;
        tasks.spawn(count(receiver, Arc::default()));
        let mut members = Vec::new();
        for endpoint in &endpoints[1..] {
            let (sender, receiver) = clients.join(endpoint, "small").await?.split();
            members.push(sender);
            match members.len() == 1 {
                true => tasks.spawn(time(receiver, start, arrived.clone())),
                false => tasks.spawn(count(receiver, Arc::default())),
            };
        }
        let arrivals = tokio::sync::Mutex::new(arrivals);
        Ok(Self { start, outbox, arrivals, _members: members, _tasks: tasks })
    }

    /// Measures for a time. Counts only events that are sent in that time.
    pub(crate) async fn latency(&self, time: Duration) -> Histogram<u64> {
        let mut histogram = histogram();
        let mut arrivals = self.arrivals.lock().await;
        while arrivals.try_recv().is_ok() {}
        let end = Instant::now() + time;
        let sending = async {
            while Instant::now() < end {
                let at = self.start.elapsed().as_micros() as u64;
                // Fails if the session has ended; then no event arrives, which the caller sees.
                let _sent = self.outbox.send(To::Others, 0, &at.to_le_bytes()).await;
                tokio::time::sleep(PAUSE).await;
            }
        };
        let measuring = async {
            while let Some(latency) = arrivals.recv().await {
                histogram.saturating_record(latency);
            }
        };
        tokio::select! { () = sending => {}, () = measuring => {} }
        histogram
    }
}

fn histogram() -> Histogram<u64> {
    // The bounds are valid, so a histogram with the default bounds is never needed.
    Histogram::new_with_bounds(1, LONGEST_US, 3)
        .unwrap_or_else(|_| unreachable!("1 to 60,000,000 with three digits are valid bounds"))
}

/// Reports how long each event took, from the time in its payload.
async fn time(mut receiver: SessionReceiver, start: Instant, arrived: mpsc::Sender<u64>) {
    loop {
        match receiver.next().await {
            SessionEvent::Event(event) => {
                let now = start.elapsed().as_micros() as u64;
                if let Some(sent) = event.payload.first_chunk::<8>() {
                    // A full channel loses a figure, not an event.
                    let _full = arrived.try_send(now.saturating_sub(u64::from_le_bytes(*sent)));
                }
            }
            SessionEvent::Closed { .. } => return,
            _ => {}
        }
    }
}
