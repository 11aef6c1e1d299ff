//! The headsets' session side: on tokio, one task each (see [`crate::member`]), and what these tasks
//! share.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use hdrhistogram::Histogram;
use nucleus_client::RoomWish;
use nucleus_client::session::{JoinError, ResumeFrom, Session, SessionOptions};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::sync::watch;

use crate::events::EventBook;
use crate::member::live;
use crate::payload::Stream;
use crate::plan::Plan;
use crate::shared::Shared;
use crate::sim_socket::SimSocket;
use crate::states::StateBook;
use crate::tally;
use crate::target::Target;
use crate::worker::Order;

/// Headsets that share a QUIC endpoint where no network is simulated: a socket each would only cost
/// the generator.
const HEADSETS_PER_ENDPOINT: u32 = 50;
/// What the generator calls itself.
const AGENT: &str = concat!("nucleus-loadgen/", env!("CARGO_PKG_VERSION"));

/// Everything the tasks share.
pub(crate) struct Crew {
    pub(crate) plan: Arc<Plan>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) target: Target,
    /// The realtime threads.
    pub(crate) workers: Vec<mpsc::SyncSender<Order>>,
    pub(crate) events: EventBook,
    pub(crate) states: StateBook,
    pub(crate) log: SessionLog,
    /// Turns true when everybody shall leave.
    pub(crate) leave: watch::Sender<bool>,
    /// Counts the times that it got dark, when processes die.
    pub(crate) deaths: watch::Sender<u32>,
}

/// How the joins went and why sessions ended.
#[derive(Debug)]
pub(crate) struct SessionLog {
    joins: Mutex<Histogram<u64>>,
    rejoins: Mutex<Histogram<u64>>,
    rosters: [AtomicU64; 2],
    troubles: Mutex<BTreeMap<String, u64>>,
}

impl SessionLog {
    pub(crate) fn new() -> Self {
        SessionLog {
            joins: Mutex::new(tally::histogram()),
            rejoins: Mutex::new(tally::histogram()),
            rosters: [AtomicU64::new(0), AtomicU64::new(0)],
            troubles: Mutex::default(),
        }
    }

    /// µs that the joins took.
    pub(crate) fn joins(&self) -> Histogram<u64> {
        lock(&self.joins).clone()
    }

    /// A headset was back `after` µs.
    pub(crate) fn rejoined(&self, after: u64) {
        lock(&self.rejoins).saturating_record(after);
    }

    /// µs from the end of the last fault until headsets had a session again.
    pub(crate) fn rejoins(&self) -> Histogram<u64> {
        lock(&self.rejoins).clone()
    }

    /// A headset's roster was right at the end, or not.
    pub(crate) fn roster(&self, right: bool) {
        self.rosters[usize::from(right)].fetch_add(1, Relaxed);
    }

    /// Rosters that were wrong, and right.
    pub(crate) fn rosters(&self) -> [u64; 2] {
        [self.rosters[0].load(Relaxed), self.rosters[1].load(Relaxed)]
    }

    /// What went wrong, and how often.
    pub(crate) fn troubles(&self) -> BTreeMap<String, u64> {
        lock(&self.troubles).clone()
    }

    pub(crate) fn trouble(&self, text: String) {
        *lock(&self.troubles).entry(text).or_default() += 1;
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a task for each headset, its join spread evenly over `ramp`, and gives their handles.
pub(crate) async fn start(crew: &Arc<Crew>, ramp: Duration) -> Vec<tokio::task::JoinHandle<()>> {
    let begin = crew.shared.clock.now();
    let step = ramp.as_micros() as u64 / u64::from(crew.plan.headsets.max(1));
    let mut handles = Vec::with_capacity(crew.plan.headsets as usize);
    let mut endpoint = None;
    for headset in 0..crew.plan.headsets {
        if crew.plan.network.is_some() || headset % HEADSETS_PER_ENDPOINT == 0 {
            endpoint = Some(open(crew, headset).await);
        }
        let at = begin + u64::from(headset) * step;
        match &endpoint {
            Some(Ok(endpoint)) => {
                handles.push(tokio::spawn(live(crew.clone(), endpoint.clone(), headset, at)));
            }
            Some(Err(error)) => crew.failed(format!("no QUIC endpoint: {error}")),
            None => {}
        }
    }
    handles
}

/// A QUIC endpoint of a headset's own, or for several of them.
pub(crate) async fn open(crew: &Crew, headset: u32) -> std::io::Result<Endpoint> {
    let ip = match crew.target.address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut config = EndpointConfig::default();
    config.grease_quic_bit(false);
    let runtime = Arc::new(TokioRuntime);
    let Some(conditions) = &crew.plan.network else {
        let socket = std::net::UdpSocket::bind((ip, 0))?;
        return Endpoint::new(config, None, socket, runtime);
    };
    let source = crew.plan.source(headset);
    let network = (source.mix(Stream::Session, 0), conditions.clone());
    let next_address = conditions
        .new_address_every
        .map(|every| crew.plan.next_address(source, crew.shared.clock.now(), every));
    let socket = SimSocket::bind(ip, network, next_address, crew.shared.clone()).await?;
    let socket = Arc::new(socket);
    Endpoint::new_with_abstract_socket(config, None, socket, runtime)
}

impl Crew {
    pub(crate) async fn sleep_until(&self, micros: u64) {
        let left = micros.saturating_sub(self.shared.clock.now());
        tokio::time::sleep(Duration::from_micros(left)).await;
    }

    pub(crate) fn failed(&self, error: String) {
        self.shared.progress.failed.fetch_add(1, Relaxed);
        self.log.trouble(format!("join failed: {error}"));
    }

    /// Joins the headset's room, as `resume` says if it does.
    pub(crate) async fn join(
        &self,
        endpoint: &Endpoint,
        headset: u32,
        resume: Option<ResumeFrom>,
    ) -> Result<Session, JoinError> {
        let source = self.plan.source(headset);
        let first = resume.is_none();
        let room = self.plan.room_name(source.room);
        let options = SessionOptions { resume, ..self.options(headset, room) };
        let before = self.shared.clock.now();
        let session = Session::join(endpoint, self.target.config.clone(), options).await?;
        if first {
            lock(&self.log.joins).saturating_record(self.shared.clock.now() - before);
        }
        Ok(session)
    }

    /// Joins a room with the token of `user`, for the first time.
    pub(crate) async fn join_room(
        &self,
        endpoint: &Endpoint,
        user: u32,
        room: String,
    ) -> Result<Session, JoinError> {
        Session::join(endpoint, self.target.config.clone(), self.options(user, room)).await
    }

    fn options(&self, user: u32, room: String) -> SessionOptions {
        SessionOptions {
            server: self.target.address,
            server_name: self.target.name.clone(),
            // A token that cannot be made is a server that refuses an empty one.
            token: self.target.tokens.token(user).unwrap_or_default(),
            room,
            name: String::new(),
            wish: RoomWish::capacity(u16::try_from(self.plan.room_size).unwrap_or(u16::MAX)),
            agent: AGENT.to_owned(),
            resume: None,
        }
    }
}
