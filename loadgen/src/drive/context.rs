//! The context that all session tasks of a run share, and how a task joins a room.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nucleus_client::RoomSelection;
use nucleus_client::session::{
    Capabilities, ClientOptions, JoinError, LONGEST_PATIENCE, ResolvedServer, RoomJoin,
    RoomSession, ServerNames, SessionNetwork, SessionSockets, offered_suites,
};
use quinn::Endpoint;
use tokio::sync::watch;

use super::server_target::ServerTarget;
use super::worker::WorkerCommand;
use crate::check::events::EventLedger;
use crate::check::rosters::RosterLedger;
use crate::check::session_log::SessionLog;
use crate::check::states::StateLedger;
use crate::load::payload::Stream;
use crate::load::plan::Plan;
use crate::shared::RunShared;

/// The generator's name in a join request.
const AGENT: &str = concat!("nucleus-loadgen/", env!("CARGO_PKG_VERSION"));

/// How long a headset tries to come back: as long as the run lasts.
const PATIENCE: Duration = LONGEST_PATIENCE;

/// The state that all session tasks share.
pub(crate) struct RunContext {
    pub(crate) plan: Arc<Plan>,
    pub(crate) shared: Arc<RunShared>,
    pub(crate) target: ServerTarget,
    /// The command queues of the realtime threads.
    pub(crate) workers: Vec<mpsc::SyncSender<WorkerCommand>>,
    pub(crate) events: EventLedger,
    pub(crate) states: StateLedger,
    pub(crate) log: SessionLog,
    /// Whether a headset asks the server for an answer before it leaves.
    pub(crate) asks_before_leave: AtomicBool,
    /// Becomes `true` when every headset must leave.
    pub(crate) leave: watch::Sender<bool>,
    /// Counts the outages, each of which kills processes.
    pub(crate) process_kills: watch::Sender<u32>,
    /// Counts the requests to hand in rosters.
    pub(crate) roster_requests: watch::Sender<u32>,
    /// The rosters that headsets handed in.
    pub(crate) rosters: RosterLedger,
}

impl RunContext {
    /// Sleeps until a time of the run's clock, µs.
    pub(crate) async fn sleep_until(&self, micros: u64) {
        let left = micros.saturating_sub(self.shared.clock.now());
        tokio::time::sleep(Duration::from_micros(left)).await;
    }

    /// Counts and logs a headset's failed first join.
    pub(crate) fn failed(&self, error: String) {
        self.shared.progress.failed.fetch_add(1, Relaxed);
        self.log.join_failed(format!("join failed: {error}"));
    }

    /// Joins the headset's room.
    ///
    /// # Errors
    ///
    /// If the server refuses the join or does not answer.
    pub(crate) async fn join(
        &self,
        endpoint: &Endpoint,
        headset: u32,
    ) -> Result<RoomSession, JoinError> {
        let source = self.plan.source(headset);
        let keeps_roster = self.plan.faults.breaks() || self.plan.faults.late_joiners() > 0;
        let seed = source.mix(Stream::Session, 1);
        let config = ClientOptions { keeps_roster, ..ClientOptions::new(PATIENCE, seed) };
        self.join_with(endpoint, headset, self.plan.room_name(source.room), config).await
    }

    /// Joins a room with the token of `user`. The session does not come back after a loss.
    ///
    /// # Errors
    ///
    /// If the server refuses the join or does not answer.
    pub(crate) async fn join_room(
        &self,
        endpoint: &Endpoint,
        user: u32,
        room: String,
    ) -> Result<RoomSession, JoinError> {
        let config = ClientOptions::new(Duration::ZERO, u64::from(user));
        self.join_with(endpoint, user, room, config).await
    }

    async fn join_with(
        &self,
        endpoint: &Endpoint,
        user: u32,
        room: String,
        config: ClientOptions,
    ) -> Result<RoomSession, JoinError> {
        let server =
            ResolvedServer { name: self.target.name.clone(), addresses: vec![self.target.address] };
        let network = SessionNetwork {
            sockets: SessionSockets::Shared(endpoint.clone()),
            trust: self.target.config.clone(),
            names: ServerNames::fixed(server),
        };
        let options = RoomJoin {
            // If no token can be minted, the server refuses the empty token.
            token: self.target.tokens.token(user).unwrap_or_default(),
            room,
            name: String::new(),
            selection: RoomSelection::capacity(
                u16::try_from(self.plan.room_size + self.plan.faults.late_joiners())
                    .unwrap_or(u16::MAX),
            ),
            agent: AGENT.to_owned(),
            capabilities: Capabilities::default(),
            suites: offered_suites(),
            ticket: None,
        };
        RoomSession::join(network, &self.target.name, options, config).await
    }
}
