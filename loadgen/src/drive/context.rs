//! What the session tasks of a run share, and how they join.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nucleus_client::RoomSelection;
use nucleus_client::session::{JoinError, ResumeFrom, Session, SessionOptions};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::sync::watch;

use super::server_target::ServerTarget;
use super::sim_socket::SimSocket;
use super::worker::WorkerCommand;
use crate::check::events::EventLedger;
use crate::check::rosters::RosterLedger;
use crate::check::session_log::SessionLog;
use crate::check::states::StateLedger;
use crate::load::payload::Stream;
use crate::load::plan::Plan;
use crate::shared::RunShared;

/// What the generator calls itself.
const AGENT: &str = concat!("nucleus-loadgen/", env!("CARGO_PKG_VERSION"));

/// Everything the tasks share.
pub(crate) struct RunContext {
    pub(crate) plan: Arc<Plan>,
    pub(crate) shared: Arc<RunShared>,
    pub(crate) target: ServerTarget,
    /// The realtime threads.
    pub(crate) workers: Vec<mpsc::SyncSender<WorkerCommand>>,
    pub(crate) events: EventLedger,
    pub(crate) states: StateLedger,
    pub(crate) log: SessionLog,
    /// Turns true when everybody shall leave.
    pub(crate) leave: watch::Sender<bool>,
    /// Counts the times that it got dark, when processes die.
    pub(crate) deaths: watch::Sender<u32>,
    /// Counts the times that rosters are to be handed in, and has them.
    pub(crate) inspections: watch::Sender<u32>,
    pub(crate) rosters: RosterLedger,
}

/// A QUIC endpoint of a headset's own, or for several of them.
pub(crate) async fn open(context: &RunContext, headset: u32) -> std::io::Result<Endpoint> {
    let ip = match context.target.address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut config = EndpointConfig::default();
    config.grease_quic_bit(false);
    let runtime = Arc::new(TokioRuntime);
    let Some(conditions) = &context.plan.network else {
        let socket = std::net::UdpSocket::bind((ip, 0))?;
        return Endpoint::new(config, None, socket, runtime);
    };
    let source = context.plan.source(headset);
    let network = (source.mix(Stream::Session, 0), conditions.clone());
    let next_address = conditions
        .new_address_every
        .map(|every| context.plan.next_address(source, context.shared.clock.now(), every));
    let run = (context.shared.clone(), context.plan.is_affected(headset));
    let socket = SimSocket::bind(ip, network, next_address, run).await?;
    let socket = Arc::new(socket);
    Endpoint::new_with_abstract_socket(config, None, socket, runtime)
}

impl RunContext {
    pub(crate) async fn sleep_until(&self, micros: u64) {
        let left = micros.saturating_sub(self.shared.clock.now());
        tokio::time::sleep(Duration::from_micros(left)).await;
    }

    pub(crate) fn failed(&self, error: String) {
        self.shared.progress.failed.fetch_add(1, Relaxed);
        self.log.problem(format!("join failed: {error}"));
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
            self.log.joined(self.shared.clock.now() - before);
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
            selection: RoomSelection::capacity(
                u16::try_from(self.plan.room_size + self.plan.late_joiners).unwrap_or(u16::MAX),
            ),
            agent: AGENT.to_owned(),
            resume: None,
        }
    }
}
