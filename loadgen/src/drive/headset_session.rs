//! One headset on the session plane: it joins, hands its link to its realtime thread, sends and
//! checks events, reconnects when its session is lost, and leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use nucleus_client::roster::{PeerId, Presence, Roster};
use nucleus_client::session::{
    Backoff, EventOutbox, ResumeFrom, Session, SessionEvent, SessionReceiver, SessionSender, To,
    may_reconnect,
};
use nucleus_protocol::ids::RoomInstanceId;
use nucleus_protocol::session::{Code, Joined, NEW_PEER};
use quinn::Endpoint;
use tokio::task::JoinHandle;

use super::context::{RunContext, open};
use super::headset::HeadsetStart;
use super::state_copy::StateCopy;
use super::worker::WorkerCommand;
use crate::check::events::ReceivedEvents;
use crate::load::payload::Stream;
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
    let session = match context.join(&endpoint, headset, None).await {
        Ok(session) => session,
        Err(error) => return context.failed(error.to_string()),
    };
    context.log.joined(context.shared.clock.now().saturating_sub(at));
    let mut member = match HeadsetSession::new(context.clone(), endpoint, headset, session) {
        Ok(member) => member,
        Err(error) => return context.failed(error),
    };
    context.shared.progress.joined.fetch_add(1, Relaxed);
    let send_events = tokio::spawn(send_events(context.clone(), member.outbox.clone(), headset));
    member.run().await;
    // The outbox sends its pending events before the leave.
    send_events.abort();
    member.datagrams.abort();
    member.check_roster();
    member.ask_server().await;
    member.outbox.leave().await;
}

/// A headset that has joined.
struct HeadsetSession {
    context: Arc<RunContext>,
    headset: u32,
    endpoint: Endpoint,
    outbox: EventOutbox,
    sender: SessionSender,
    receiver: SessionReceiver,
    received: ReceivedEvents,
    state: StateCopy,
    /// The roster; `None` unless faults or late joiners are planned.
    roster: Option<Roster>,
    ticket: Vec<u8>,
    peer: u32,
    room: RoomInstanceId,
    /// The task that passes the session's datagrams to the realtime thread.
    datagrams: JoinHandle<()>,
    /// Number of outages that had started when the headset's process last started.
    outages_seen: u32,
    /// The end of the fault after which the headset last got a session, µs.
    last_fault_end: Option<u64>,
    connection: quinn::Connection,
}

/// The reason why a headset stops reading its session.
enum HeadsetEnd {
    /// The run ends.
    Leave,
    /// The headset's process has died.
    Died,
    /// The session was closed, with this code and text.
    Closed(Option<Code>, String),
}

impl HeadsetSession {
    fn new(
        context: Arc<RunContext>,
        endpoint: Endpoint,
        headset: u32,
        session: Session,
    ) -> Result<Self, String> {
        let joined = session.joined().clone();
        let datagrams = context.start_link(&session, headset)?;
        let received = context.events.admit(context.plan.source(headset), joined.peer);
        let keeps_roster = context.plan.has_faults || context.plan.late_joiners > 0;
        let roster = keeps_roster.then(|| roster_of(&joined));
        let outages_seen = context.shared.faults.outages.load(Relaxed);
        let outbox = EventOutbox::default();
        let connection = session.connection().clone();
        let (sender, receiver) = session.split();
        outbox.attach(sender.clone(), &joined, true).map_err(|fault| fault.to_string())?;
        let state = StateCopy::new(&context, headset);
        let room = RoomInstanceId(joined.room_instance);
        let Joined { ticket, peer, .. } = joined;
        Ok(HeadsetSession {
            context,
            headset,
            endpoint,
            outbox,
            sender,
            receiver,
            received,
            state,
            roster,
            ticket,
            peer,
            room,
            datagrams,
            outages_seen,
            last_fault_end: None,
            connection,
        })
    }

    /// Runs until the headset must leave, or cannot get a session again.
    async fn run(&mut self) {
        loop {
            let end = self.listen().await;
            let absent = &self.context.shared.progress.absent;
            absent.fetch_add(u64::from(!matches!(end, HeadsetEnd::Leave)), Relaxed);
            let returned = match end {
                HeadsetEnd::Leave => return self.state.hand_in(&self.context.states),
                HeadsetEnd::Died => self.restart_process().await,
                HeadsetEnd::Closed(code, text) => {
                    let named = code.map_or_else(|| "no code".into(), |code| code.to_string());
                    self.context.log.problem(format!("session lost ({named}): {text}"));
                    if may_reconnect(code) { self.reconnect().await } else { None }
                }
            };
            let resumed = returned.map(|session| self.resume_with(session));
            self.context.shared.progress.absent.fetch_sub(1, Relaxed);
            if let Some(Err(problem)) = &resumed {
                self.context.log.problem(problem.clone());
            }
            if !matches!(resumed, Some(Ok(()))) {
                let progress = &self.context.shared.progress;
                progress.lost_sessions.fetch_add(1, Relaxed);
                progress.gone.fetch_add(1, Relaxed);
                return;
            }
        }
    }

    /// Handles the session's events until the session ends.
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
            let event = tokio::select! {
                // Check for the leave first: events that other headsets cause while they leave must
                // not count.
                biased;
                _ = &mut leave => return HeadsetEnd::Leave,
                _ = &mut death, if self.context.plan.dies(self.headset) => return HeadsetEnd::Died,
                () = self.context.sleep_until(self.state.due()),
                    if self.state.has_request_due(&self.context) => None,
                Ok(()) = inspections.changed() => {
                    self.hand_in_roster();
                    continue;
                }
                event = self.receiver.next() => Some(event),
            };
            let Some(event) = event else {
                let request = self.state.next_request(PeerId(self.peer));
                // Ignore an error: the request is lost with the session, and the session reports
                // its end.
                let _ = self.sender.request_state(&request).await;
                continue;
            };
            match event {
                SessionEvent::Event(event) => {
                    let shared = &self.context.shared;
                    let (now, window) = (shared.clock.now(), shared.window());
                    if self.context.events.record_received(&mut self.received, now, window, &event)
                    {
                        shared.progress.events_delivered.fetch_add(1, Relaxed);
                    }
                }
                SessionEvent::Roster(update) => {
                    if let Some(roster) = &mut self.roster {
                        // The receiver has already checked the version.
                        let _ = roster.apply(update);
                    }
                }
                SessionEvent::EventAck(ack) => {
                    if let Err(fault) = self.outbox.acknowledge(&ack) {
                        self.receiver.fail(fault);
                    }
                }
                SessionEvent::Closed { code, text } => return HeadsetEnd::Closed(code, text),
                // Once the run ends, the state must not change because others leave.
                _ if *self.context.leave.borrow() => return HeadsetEnd::Leave,
                state_event => {
                    if let Err(fault) = self.state.apply(&self.context, state_event) {
                        self.receiver.fail(fault.into());
                    }
                }
            }
        }
    }

    /// Starts the process again after the outage, with a new socket and the old resume ticket.
    async fn restart_process(&mut self) -> Option<Session> {
        self.outages_seen = self.context.shared.faults.outages.load(Relaxed);
        self.datagrams.abort();
        let command = WorkerCommand::Died(self.headset);
        self.context.worker(self.headset)?.try_send(command).ok()?;
        // The outage keeps the close from reaching the server.
        self.connection.close(0u32.into(), b"");
        let mut leave = self.context.leave.subscribe();
        while self.context.shared.faults.in_outage() {
            tokio::select! {
                () = tokio::time::sleep(OUTAGE_POLL) => {}
                _ = leave.wait_for(|leave| *leave) => return None,
            }
        }
        self.endpoint = open(&self.context, self.headset).await.ok()?;
        match self.join_once().await {
            Ok(session) => Some(session),
            Err(_) => self.reconnect().await,
        }
    }

    /// Tries to get a session again, with the same pauses as every client. Returns `None` if no
    /// further attempt can succeed, or if the run ends.
    async fn reconnect(&mut self) -> Option<Session> {
        self.datagrams.abort();
        let source = self.context.plan.source(self.headset);
        let (mut backoff, mut tries) = (Backoff::default(), 0);
        let mut leave = self.context.leave.subscribe();
        let mut requested_pause = None;
        loop {
            tries += 1;
            let pause = backoff.pause(requested_pause, source.mix(Stream::Session, tries));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = leave.wait_for(|leave| *leave) => return None,
            }
            match self.join_once().await {
                Ok(session) => return Some(session),
                Err(retry) => requested_pause = Some(retry?),
            }
        }
    }

    /// Tries once to get a session again.
    ///
    /// # Errors
    ///
    /// The time after which another try may help; `None` if no try will.
    async fn join_once(&mut self) -> Result<Session, Option<Duration>> {
        let (last_event, last_bulk) = (self.receiver.last_event(), self.receiver.last_bulk());
        let resume = ResumeFrom { ticket: self.ticket.clone(), last_event, last_bulk };
        let joining = self.context.join(&self.endpoint, self.headset, Some(resume));
        let mut leave = self.context.leave.subscribe();
        let joined = tokio::select! {
            joined = joining => joined,
            _ = leave.wait_for(|leave| *leave) => return Err(None),
        };
        joined.map_err(|error| {
            self.context.log.problem(format!("could not join again: {error}"));
            error.retry_delay()
        })
    }

    fn resume_with(&mut self, session: Session) -> Result<(), String> {
        let joined = session.joined().clone();
        let context = self.context.clone();
        let progress = &context.shared.progress;
        self.datagrams = context.start_link(&session, self.headset)?;
        let (now, fault_end) = (context.shared.clock.now(), context.shared.faults.last_fault_end());
        if let Some(fault_end) = fault_end.filter(|_| fault_end != self.last_fault_end) {
            context.log.rejoined(now.saturating_sub(fault_end));
            self.last_fault_end = Some(fault_end);
        }
        let same_room = RoomInstanceId(joined.room_instance) == self.room;
        if joined.resumed != NEW_PEER && same_room && joined.peer == self.peer {
            progress.resumed.fetch_add(1, Relaxed);
        } else {
            progress.rejoined.fetch_add(1, Relaxed);
            progress.lost_sessions.fetch_add(1, Relaxed);
            self.received = context.events.admit(context.plan.source(self.headset), joined.peer);
        }
        if let Some(roster) = &mut self.roster {
            roster.replace(same_room, roster_of(&joined));
        }
        self.connection = session.connection().clone();
        let (sender, receiver) = session.split();
        (self.sender, self.receiver) = (sender.clone(), receiver);
        self.outbox.attach(sender, &joined, same_room).map_err(|fault| fault.to_string())?;
        if joined.resumed == NEW_PEER {
            self.state.restart(&self.context, same_room);
        }
        self.room = RoomInstanceId(joined.room_instance);
        (self.ticket, self.peer) = (joined.ticket, joined.peer);
        Ok(())
    }

    /// Counts whether the server still answers in this session: a server that is gone does not say
    /// so. Does nothing without a session.
    async fn ask_server(&self) {
        let has_session = self.connection.close_reason().is_none();
        if !has_session || !self.context.asks_before_leave.load(Relaxed) {
            return;
        }
        let progress = &self.context.shared.progress;
        progress.asked.fetch_add(1, Relaxed);
        let acknowledged = || self.connection.stats().frame_rx.acks;
        let before = acknowledged();
        let answer = async {
            if self.sender.ping().await.is_err() {
                return;
            }
            while acknowledged() == before {
                tokio::time::sleep(ANSWER_POLL).await;
            }
            progress.answered.fetch_add(1, Relaxed);
        };
        // Without an answer, the session is not counted.
        let _ = tokio::time::timeout(ANSWER_TIME, answer).await;
    }

    /// Hands in the current roster, if this is the room that late joiners join.
    fn hand_in_roster(&self) {
        let is_first_room = self.context.plan.source(self.headset).room == 0;
        if let Some(roster) = self.roster.as_ref().filter(|_| is_first_room) {
            self.context.rosters.hand_in(roster);
        }
    }

    /// Checks that the roster has every member of the room once and present, and nobody else.
    fn check_roster(&self) {
        let Some(roster) = self.roster.as_ref().filter(|_| self.context.plan.has_faults) else {
            return;
        };
        let plan = &self.context.plan;
        let source = plan.source(self.headset);
        let mut users: Vec<&str> = roster.iter().map(|peer| peer.user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        let members = plan.members(source.room) as usize;
        let count = roster.iter().count();
        let away = roster.iter().filter(|peer| peer.presence == Presence::Away).count();
        let me = roster.peer(PeerId(self.peer)).is_some();
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

fn roster_of(joined: &Joined) -> Roster {
    Roster::new(joined.roster_version, joined.roster.iter().cloned())
}

/// Sends events by their schedule until the window ends.
async fn send_events(context: Arc<RunContext>, outbox: EventOutbox, headset: u32) {
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
        if outbox.send(To::Others, kind.channel(), &payload).await.is_err() {
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
    fn start_link(&self, session: &Session, headset: u32) -> Result<JoinHandle<()>, String> {
        let Joined { slot, .. } = *session.joined();
        let link = session.link_config().map_err(|e| e.to_string())?;
        let connection = session.connection().clone();
        let worker =
            self.worker(headset).ok_or("there is no realtime thread for the headset")?.clone();
        let start = HeadsetStart { headset, slot, link, connection: connection.clone() };
        worker
            .try_send(WorkerCommand::Start(Box::new(start)))
            .map_err(|_| "the headset's realtime thread is behind")?;
        let shared = self.shared.clone();
        Ok(tokio::spawn(async move {
            while let Ok(bytes) = connection.read_datagram().await {
                let command =
                    WorkerCommand::Datagram { headset, arrival: shared.clock.now(), bytes };
                match worker.try_send(command) {
                    Ok(()) => {}
                    Err(mpsc::TrySendError::Full(_)) => {
                        shared.progress.overflow.fetch_add(1, Relaxed);
                    }
                    Err(mpsc::TrySendError::Disconnected(_)) => return,
                }
            }
        }))
    }

    /// Returns the command queue of a headset's realtime thread.
    fn worker(&self, headset: u32) -> Option<&mpsc::SyncSender<WorkerCommand>> {
        self.workers.get(self.plan.worker(self.plan.source(headset).room) as usize)
    }
}
