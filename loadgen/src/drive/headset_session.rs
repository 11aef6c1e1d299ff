//! One headset on the session plane: it joins, hands its link to its realtime thread, sends and
//! checks events, reconnects when its session is lost, and leaves.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use nucleus_client::RoomEvent;
use nucleus_client::roster::{PeerId, Presence};
use nucleus_client::session::{
    ClientHandle, RoomClient, RoomSession, RoomSessionStep, SendError, SessionSockets, To,
};
use nucleus_protocol::ids::RoomInstanceId;
use nucleus_protocol::session::{Code, EventDown};
use quinn::Endpoint;
use tokio::task::JoinHandle;

use super::context::RunContext;
use super::endpoints::open;
use super::headset::HeadsetStart;
use super::state_load::StateLoad;
use super::tasks::pass_datagrams;
use super::worker::WorkerCommand;
use crate::check::events::ReceivedEvents;
use crate::load::schedule::EventSchedule;

/// How often a headset whose process is dead checks whether the outage has ended.
const OUTAGE_POLL: Duration = Duration::from_millis(10);
/// The longest time for the server to acknowledge a ping at the end of a run: several round trips
/// of a bad network, so that a lost datagram can be repeated.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How often a headset checks whether the acknowledgement has arrived.
const ANSWER_POLL: Duration = Duration::from_millis(10);

/// Runs one headset from its join, at `at` (µs), until it leaves.
pub(crate) async fn run_session(
    context: Arc<RunContext>,
    endpoint: Endpoint,
    headset: u32,
    at: u64,
) {
    context.sleep_until(at).await;
    let session = match context.join(&endpoint, headset).await {
        Ok(session) => session,
        Err(error) => return context.failed(error.to_string()),
    };
    context.log.joined(context.shared.clock.now().saturating_sub(at));
    let mut member = match HeadsetSession::new(context.clone(), headset, session) {
        Ok(member) => member,
        Err(error) => return context.failed(error),
    };
    context.shared.progress.joined.fetch_add(1, Relaxed);
    let client = member.session.client().clone();
    let send_events = tokio::spawn(send_events(context.clone(), client, headset));
    member.run().await;
    // The client sends its pending events before the leave.
    send_events.abort();
    member.datagrams.abort();
    member.check_roster();
    member.ask_server().await;
    member.session.leave().await;
}

/// A headset that has joined.
struct HeadsetSession {
    context: Arc<RunContext>,
    headset: u32,
    session: RoomSession,
    received: ReceivedEvents,
    state: StateLoad,
    peer: PeerId,
    room: Option<RoomInstanceId>,
    /// The task that passes the session's datagrams to the realtime thread.
    datagrams: JoinHandle<()>,
    /// Whether the headset has no session now.
    is_absent: bool,
    /// Number of outages that had started when the headset's process last started.
    outages_seen: u32,
    /// The end of the fault after which the headset last got a session, µs.
    last_fault_end: Option<u64>,
}

/// The reason why a headset stops reading its session.
enum HeadsetEnd {
    /// The run ends.
    Leave,
    /// The headset's process has died.
    Died,
    /// The client is closed for good.
    Closed,
}

impl HeadsetSession {
    fn new(context: Arc<RunContext>, headset: u32, session: RoomSession) -> Result<Self, String> {
        let (peer, room) = identity(&session);
        let datagrams = context.start_link(&session, headset)?;
        let received = context.events.admit(context.plan.source(headset), peer.0);
        let outages_seen = *context.process_kills.borrow();
        let state = StateLoad::new(&context, headset);
        Ok(HeadsetSession {
            context,
            headset,
            session,
            received,
            state,
            peer,
            room,
            datagrams,
            is_absent: false,
            outages_seen,
            last_fault_end: None,
        })
    }

    /// Runs until the headset must leave, or cannot get a session again.
    async fn run(&mut self) {
        loop {
            match self.listen().await {
                HeadsetEnd::Leave => {
                    self.set_absent(false);
                    return self.state.hand_in(&self.context, self.session.client());
                }
                HeadsetEnd::Died => {
                    self.set_absent(true);
                    if self.restart_process().await.is_none() {
                        break;
                    }
                }
                HeadsetEnd::Closed => break,
            }
        }
        self.set_absent(false);
        let progress = &self.context.shared.progress;
        progress.lost_sessions.fetch_add(1, Relaxed);
        progress.gone.fetch_add(1, Relaxed);
    }

    /// Counts whether the headset has no session now.
    fn set_absent(&mut self, is_absent: bool) {
        let absent = &self.context.shared.progress.absent;
        match (std::mem::replace(&mut self.is_absent, is_absent), is_absent) {
            (false, true) => _ = absent.fetch_add(1, Relaxed),
            (true, false) => _ = absent.fetch_sub(1, Relaxed),
            _ => {}
        }
    }

    /// Handles what happens in the session until it ends for the headset.
    async fn listen(&mut self) -> HeadsetEnd {
        let mut leave = self.context.leave.subscribe();
        let mut deaths = self.context.process_kills.subscribe();
        let outages_seen = self.outages_seen;
        // Create these futures once, not for each event, because each future registers with the
        // shared watch.
        let leave = leave.wait_for(|leave| *leave);
        let death = deaths.wait_for(|count| *count > outages_seen);
        tokio::pin!(leave, death);
        let mut inspections = self.context.roster_requests.subscribe();
        loop {
            let has_session = !self.is_absent;
            let step = tokio::select! {
                // Check for the leave first: events that other headsets cause while they leave must
                // not count.
                biased;
                _ = &mut leave => return HeadsetEnd::Leave,
                _ = &mut death, if self.context.plan.dies(self.headset) => return HeadsetEnd::Died,
                () = self.context.sleep_until(self.state.due()),
                    if has_session && self.state.has_request_due(&self.context) => {
                    self.state.request(self.session.client());
                    continue;
                }
                Ok(()) = inspections.changed() => {
                    self.hand_in_roster();
                    continue;
                }
                step = self.session.next() => step,
            };
            match step {
                RoomSessionStep::Event(event) => self.take(event),
                RoomSessionStep::Link { same_room } => {
                    if let Err(problem) = self.relink(same_room) {
                        self.context.log.problem(problem);
                        return HeadsetEnd::Closed;
                    }
                }
                // Once the run ends, the state must not change because others leave.
                RoomSessionStep::Progress if *self.context.leave.borrow() => {
                    return HeadsetEnd::Leave;
                }
                RoomSessionStep::Progress => {
                    self.state.note(&self.context, self.session.client());
                }
                RoomSessionStep::Closed => return HeadsetEnd::Closed,
            }
        }
    }

    fn take(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::Event { sequence, from: PeerId(peer), channel, payload } => {
                let event =
                    EventDown { peer, roster_version: 0, sequence, channel, piece: 0, payload };
                let shared = &self.context.shared;
                let (now, window) = (shared.clock.now(), shared.window());
                self.context.events.record_received(&mut self.received, now, window, &event);
            }
            RoomEvent::Interrupted { code, text } | RoomEvent::Closed { code, text } => {
                self.interrupted(code, &text);
            }
            _ => {}
        }
    }

    fn interrupted(&mut self, code: Option<Code>, text: &str) {
        let named = code.map_or_else(|| "no code".into(), |code| code.to_string());
        self.context.log.problem(format!("session lost ({named}): {text}"));
        self.datagrams.abort();
        self.set_absent(true);
    }

    /// Kills the process, and starts it again after the outage, with a new socket. Returns `None`
    /// if the run ends.
    async fn restart_process(&mut self) -> Option<()> {
        self.outages_seen = *self.context.process_kills.borrow();
        self.datagrams.abort();
        let command = WorkerCommand::Died(self.headset);
        self.context.worker(self.headset)?.try_send(command).ok()?;
        // The outage keeps the close from reaching the server.
        self.session.driver().lose_connection();
        let mut leave = self.context.leave.subscribe();
        while self.context.shared.faults.in_outage() {
            tokio::select! {
                () = tokio::time::sleep(OUTAGE_POLL) => {}
                _ = leave.wait_for(|leave| *leave) => return None,
            }
        }
        let endpoint = open(&self.context, self.headset).await.ok()?;
        self.session.driver().set_sockets(SessionSockets::Shared(endpoint));
        Some(())
    }

    /// Takes over a new session.
    fn relink(&mut self, same_room: bool) -> Result<(), String> {
        let context = self.context.clone();
        let progress = &context.shared.progress;
        self.datagrams.abort();
        self.datagrams = context.start_link(&self.session, self.headset)?;
        let (now, fault_end) = (context.shared.clock.now(), context.shared.faults.last_fault_end());
        if let Some(fault_end) = fault_end.filter(|_| fault_end != self.last_fault_end) {
            context.log.rejoined(now.saturating_sub(fault_end));
            self.last_fault_end = Some(fault_end);
        }
        let (peer, room) = identity(&self.session);
        if room == self.room && peer == self.peer {
            progress.resumed.fetch_add(1, Relaxed);
        } else {
            progress.rejoined.fetch_add(1, Relaxed);
            progress.lost_sessions.fetch_add(1, Relaxed);
            self.received = context.events.admit(context.plan.source(self.headset), peer.0);
            self.state.restart(&context, same_room);
        }
        (self.peer, self.room) = (peer, room);
        self.set_absent(false);
        Ok(())
    }

    /// Counts whether the server still answers in this session: a server that is gone does not say
    /// so. Does nothing without a session.
    async fn ask_server(&mut self) {
        let Some(connection) = self.session.connection().cloned() else { return };
        let has_session = connection.close_reason().is_none();
        if !has_session || !self.context.asks_before_leave.load(Relaxed) {
            return;
        }
        let progress = &self.context.shared.progress;
        progress.asked.fetch_add(1, Relaxed);
        let acknowledged = || connection.stats().frame_rx.acks;
        let before = acknowledged();
        self.session.client().change(|client, _| client.ping());
        let answer = async {
            while acknowledged() == before {
                tokio::select! {
                    () = tokio::time::sleep(ANSWER_POLL) => {}
                    // The session sends the ping.
                    step = self.session.next() => if let RoomSessionStep::Closed = step { return },
                }
            }
            progress.answered.fetch_add(1, Relaxed);
        };
        // Without an answer, the session is not counted.
        let _ = tokio::time::timeout(ANSWER_TIME, answer).await;
    }

    /// Hands in the current roster, if this is the room that late joiners join.
    fn hand_in_roster(&self) {
        let is_first_room = self.context.plan.source(self.headset).room == 0;
        if is_first_room {
            self.context.rosters.hand_in(self.session.client().read().roster());
        }
    }

    /// Checks that the roster has every member of the room once and present, and nobody else.
    fn check_roster(&self) {
        let plan = &self.context.plan;
        if !plan.faults.breaks() {
            return;
        }
        let client = self.session.client().read();
        let roster = client.roster();
        let source = plan.source(self.headset);
        let users: HashSet<&str> = roster.iter().map(|peer| peer.user.as_str()).collect();
        let members = plan.members(source.room) as usize;
        let count = roster.iter().count();
        let away = roster.iter().filter(|peer| peer.presence == Presence::Away).count();
        let me = roster.peer(self.peer).is_some();
        let is_right = count == members && users.len() == members && away == 0 && me;
        self.context.log.roster(is_right);
        if !is_right {
            let (users, me) = (users.len(), if me { "" } else { ", without the headset itself" });
            self.context.log.problem(format!(
                "wrong roster: {count} peers, {users} users, {away} away{me}; expected {members} peers"
            ));
        }
    }
}

/// Returns the peer that a session is, and the instance of its room.
fn identity(session: &RoomSession) -> (PeerId, Option<RoomInstanceId>) {
    let client = session.client().read();
    (client.me(), client.instance())
}

/// Sends events by their schedule until the window ends.
async fn send_events(context: Arc<RunContext>, client: ClientHandle<RoomClient>, headset: u32) {
    let source = context.plan.source(headset);
    let now = context.shared.clock.now();
    let mut schedule = EventSchedule::new(source, &context.plan.traffic, now);
    context.events.begin(schedule.clone());
    let mut payload = Vec::new();
    for number in 0.. {
        let Some((due, kind)) = schedule.take() else { return };
        context.sleep_until(due).await;
        let window = context.shared.window();
        if due >= window.end {
            return;
        }
        payload.clear();
        source.event(kind, number, &mut payload);
        context.events.record_sent(source, number, due, window);
        let send = |client: &mut RoomClient, now| {
            let sent = client.send_event(now, To::Others, kind.channel(), &payload);
            (sent != Err(SendError::WouldBlock)).then_some(sent)
        };
        if client.wait_for(send).await.is_err() {
            return;
        }
    }
}

impl RunContext {
    /// Passes the session's link to the headset's realtime thread, and from now on its datagrams.
    /// Returns the task that passes the datagrams.
    ///
    /// # Errors
    ///
    /// If the link cannot be used, or the thread's queue is full.
    fn start_link(&self, session: &RoomSession, headset: u32) -> Result<JoinHandle<()>, String> {
        let slot = session.slot();
        let link = session.link_config().map_err(|e| e.to_string())?;
        let connection = session.connection().ok_or("the session is lost again")?.clone();
        let worker =
            self.worker(headset).ok_or("there is no realtime thread for the headset")?.clone();
        let start = HeadsetStart { headset, slot, link, connection: connection.clone() };
        worker
            .try_send(WorkerCommand::Start(Box::new(start)))
            .map_err(|_| "the headset's realtime thread is behind")?;
        let clock = self.shared.clock;
        let command = move |bytes| WorkerCommand::Datagram { headset, arrival: clock.now(), bytes };
        Ok(tokio::spawn(pass_datagrams(connection, self.shared.clone(), worker, command)))
    }

    /// Returns the command queue of a headset's realtime thread.
    fn worker(&self, headset: u32) -> Option<&mpsc::SyncSender<WorkerCommand>> {
        self.workers.get(self.plan.worker(self.plan.source(headset).room) as usize)
    }
}
