//! The headsets' session side: on tokio, one task each. It joins, hands the link to its realtime
//! thread, sends and checks events, and leaves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use hdrhistogram::Histogram;
use nucleus_client::session::{
    Session, SessionEvent, SessionOptions, SessionReceiver, SessionSender, To,
};
use nucleus_protocol::session::Joined;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::sync::watch;

use crate::events::{EventBook, Inbox};
use crate::headset::Start;
use crate::payload::Stream;
use crate::plan::Plan;
use crate::schedule::EventSchedule;
use crate::shared::Shared;
use crate::sim_socket::SimSocket;
use crate::tally;
use crate::target::Target;

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
    /// The realtime threads; at most one message a headset, so the queues are bounded by the plan.
    pub(crate) workers: Vec<mpsc::Sender<Start>>,
    pub(crate) events: EventBook,
    pub(crate) log: SessionLog,
    /// Turns true when everybody shall leave.
    pub(crate) leave: watch::Sender<bool>,
}

/// How the joins went and why sessions ended.
#[derive(Debug)]
pub(crate) struct SessionLog {
    joins: Mutex<Histogram<u64>>,
    troubles: Mutex<BTreeMap<String, u64>>,
}

impl SessionLog {
    pub(crate) fn new() -> Self {
        SessionLog { joins: Mutex::new(tally::histogram()), troubles: Mutex::default() }
    }

    /// µs that the joins took.
    pub(crate) fn joins(&self) -> Histogram<u64> {
        lock(&self.joins).clone()
    }

    /// What went wrong, and how often.
    pub(crate) fn troubles(&self) -> BTreeMap<String, u64> {
        lock(&self.troubles).clone()
    }

    fn trouble(&self, text: String) {
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
                handles.push(tokio::spawn(run(crew.clone(), endpoint.clone(), headset, at)));
            }
            Some(Err(error)) => crew.failed(format!("no QUIC endpoint: {error}")),
            None => {}
        }
    }
    handles
}

async fn open(crew: &Crew, headset: u32) -> std::io::Result<Endpoint> {
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
    let seed = crew.plan.source(headset).mix(Stream::Session, 0);
    let socket = Arc::new(SimSocket::bind(ip, seed, conditions.clone()).await?);
    Endpoint::new_with_abstract_socket(config, None, socket, runtime)
}

async fn run(crew: Arc<Crew>, endpoint: Endpoint, headset: u32, at: u64) {
    crew.sleep_until(at).await;
    let session = match crew.join(&endpoint, headset).await {
        Ok(session) => session,
        Err(error) => return crew.failed(error),
    };
    let events = {
        let joined = session.joined();
        crew.events.admit(crew.plan.source(headset), joined.peer)
    };
    if let Err(error) = crew.hand_over(&session, headset) {
        return crew.failed(error);
    }
    crew.shared.progress.joined.fetch_add(1, Relaxed);
    let (sender, receiver) = session.split();
    let talk = tokio::spawn(talk(crew.clone(), sender.clone(), headset));
    listen(&crew, receiver, events).await;
    // What is under way goes out before the leave does.
    talk.abort();
    sender.leave().await;
}

impl Crew {
    async fn sleep_until(&self, micros: u64) {
        let left = micros.saturating_sub(self.shared.clock.now());
        tokio::time::sleep(Duration::from_micros(left)).await;
    }

    fn failed(&self, error: String) {
        self.shared.progress.failed.fetch_add(1, Relaxed);
        self.log.trouble(format!("join failed: {error}"));
    }

    async fn join(&self, endpoint: &Endpoint, headset: u32) -> Result<Session, String> {
        let room = self.plan.source(headset).room;
        let options = SessionOptions {
            server: self.target.address,
            server_name: self.target.name.clone(),
            token: self.target.tokens.token(headset).map_err(|e| e.to_string())?,
            room: self.plan.room_name(room),
            name: String::new(),
            capacity: u16::try_from(self.plan.room_size).unwrap_or(u16::MAX),
            agent: AGENT.to_owned(),
            resume: None,
        };
        let before = self.shared.clock.now();
        let session = Session::join(endpoint, self.target.config.clone(), options).await;
        let session = session.map_err(|e| e.to_string())?;
        lock(&self.log.joins).saturating_record(self.shared.clock.now() - before);
        Ok(session)
    }

    /// Gives the link to the headset's realtime thread.
    fn hand_over(&self, session: &Session, headset: u32) -> Result<(), String> {
        let Joined { slot, .. } = *session.joined();
        let link = session.link_config().map_err(|e| e.to_string())?;
        let worker = self.plan.worker(self.plan.source(headset).room) as usize;
        let start = Start { headset, slot, link };
        let sent = self.workers.get(worker).is_some_and(|worker| worker.send(start).is_ok());
        if sent { Ok(()) } else { Err("its thread is gone".into()) }
    }
}

/// Sends events by their schedule until the window ends.
async fn talk(crew: Arc<Crew>, sender: SessionSender, headset: u32) {
    let source = crew.plan.source(headset);
    let now = crew.shared.clock.now();
    let mut schedule = EventSchedule::new(source, &crew.plan.traffic, now);
    let mut payload = Vec::new();
    for number in 0.. {
        let Some((due, kind)) = schedule.take() else { return };
        crew.sleep_until(due).await;
        let window = crew.shared.window();
        if due >= window.end {
            return;
        }
        payload.clear();
        source.event(kind, number, &mut payload);
        crew.events.say(source, number, due, window);
        if sender.send_event(To::Others, kind.channel(), &payload).await.is_err() {
            return;
        }
    }
}

/// Takes in events until it is time to leave or the session ends.
async fn listen(crew: &Crew, mut receiver: SessionReceiver, mut inbox: Inbox) {
    let mut leave = crew.leave.subscribe();
    loop {
        let event = tokio::select! {
            event = receiver.next() => event,
            _ = leave.wait_for(|leave| *leave) => return,
        };
        match event {
            SessionEvent::Event(event) => {
                let now = crew.shared.clock.now();
                if crew.events.hear(&mut inbox, now, crew.shared.window(), &event) {
                    crew.shared.progress.events_delivered.fetch_add(1, Relaxed);
                }
            }
            SessionEvent::Roster(_) => {}
            SessionEvent::Closed { code, text } => {
                crew.shared.progress.lost_sessions.fetch_add(1, Relaxed);
                let code = code.map_or_else(|| "no code".into(), |code| code.to_string());
                crew.log.trouble(format!("session lost ({code}): {text}"));
                return;
            }
        }
    }
}
