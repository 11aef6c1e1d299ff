//! One headset's life on the session plane: it joins, hands its link to its realtime thread, sends and
//! checks events, comes back when its session is lost, and leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use nucleus_client::roster::{PeerId, Presence, Roster};
use nucleus_client::session::{
    Backoff, EventOutbox, ResumeFrom, Session, SessionEvent, SessionReceiver, SessionSender, To,
    may_return,
};
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

/// How often a headset whose process is dead looks whether it is light again.
const OUTAGE_POLL: Duration = Duration::from_millis(10);

/// Lives it.
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
    let mut member = match HeadsetSession::new(context.clone(), endpoint, headset, session) {
        Ok(member) => member,
        Err(error) => return context.failed(error),
    };
    context.shared.progress.joined.fetch_add(1, Relaxed);
    let send_events = tokio::spawn(send_events(context.clone(), member.outbox.clone(), headset));
    member.run().await;
    // What is under way goes out before the leave does.
    send_events.abort();
    member.datagrams.abort();
    member.check_roster();
    member.outbox.leave().await;
}

struct HeadsetSession {
    context: Arc<RunContext>,
    headset: u32,
    endpoint: Endpoint,
    outbox: EventOutbox,
    sender: SessionSender,
    receiver: SessionReceiver,
    received: ReceivedEvents,
    state: StateCopy,
    /// Kept where faults happen or somebody joins late.
    roster: Option<Roster>,
    ticket: Vec<u8>,
    peer: u32,
    /// Run of the server, and room instance in it.
    instance: (u32, u32),
    /// Takes the session's datagrams to the realtime thread.
    datagrams: JoinHandle<()>,
    /// Times that it got dark so far.
    outages_seen: u32,
    /// When the fault was over that it was back from last, µs.
    last_fault_end: Option<u64>,
    connection: quinn::Connection,
}

/// Why a session is not listened to any more.
enum SessionEnd {
    Leave,
    /// The headset's process has died.
    Died,
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
        let keeps = context.plan.has_faults || context.plan.late_joiners > 0;
        let roster = keeps.then(|| roster_of(&joined));
        let outages_seen = context.shared.faults.outages.load(Relaxed);
        let outbox = EventOutbox::default();
        let connection = session.connection().clone();
        let (sender, receiver) = session.split();
        outbox.attach(sender.clone(), &joined, true);
        let state = StateCopy::new(&context, headset);
        let Joined { ticket, peer, room_instance, clock_epoch, .. } = joined;
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
            instance: (clock_epoch, room_instance),
            datagrams,
            outages_seen,
            last_fault_end: None,
            connection,
        })
    }

    /// Until it is time to leave, or there is no way back.
    async fn run(&mut self) {
        loop {
            let end = self.listen().await;
            let absent = &self.context.shared.progress.absent;
            absent.fetch_add(u64::from(!matches!(end, SessionEnd::Leave)), Relaxed);
            let returned = match end {
                SessionEnd::Leave => return self.state.hand_in(&self.context.states),
                SessionEnd::Died => self.restart_process().await,
                SessionEnd::Closed(code, text) => {
                    let named = code.map_or_else(|| "no code".into(), |code| code.to_string());
                    self.context.log.problem(format!("session lost ({named}): {text}"));
                    if may_return(code) { self.reconnect().await } else { None }
                }
            };
            let went_on = returned.map(|session| self.resume_with(session));
            self.context.shared.progress.absent.fetch_sub(1, Relaxed);
            if let Some(Err(problem)) = &went_on {
                self.context.log.problem(problem.clone());
            }
            if !matches!(went_on, Some(Ok(()))) {
                self.context.shared.progress.lost_sessions.fetch_add(1, Relaxed);
                return;
            }
        }
    }

    /// Takes in events until something ends it.
    async fn listen(&mut self) -> SessionEnd {
        let mut leave = self.context.leave.subscribe();
        let mut deaths = self.context.deaths.subscribe();
        let outages_seen = self.outages_seen;
        // Once for all events: each registers with everybody's watch.
        let leave = leave.wait_for(|leave| *leave);
        let death = deaths.wait_for(|count| *count > outages_seen);
        tokio::pin!(leave, death);
        let mut inspections = self.context.inspections.subscribe();
        loop {
            let event = tokio::select! {
                // What the others do once everybody shall leave is not heard any more.
                biased;
                _ = &mut leave => return SessionEnd::Leave,
                _ = &mut death, if self.context.plan.dies(self.headset) => return SessionEnd::Died,
                () = self.context.sleep_until(self.state.due()), if self.state.has_request_due(&self.context) => None,
                Ok(()) = inspections.changed() => {
                    self.hand_in_roster();
                    continue;
                }
                event = self.receiver.next() => Some(event),
            };
            let Some(event) = event else {
                let request = self.state.next_request(PeerId(self.peer));
                // One that does not go out is lost with its session, which says so itself.
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
                        // The receiver has checked the version already.
                        let _ = roster.apply(update);
                    }
                }
                SessionEvent::Closed { code, text } => return SessionEnd::Closed(code, text),
                // The state at the end is the one before anybody left.
                _ if *self.context.leave.borrow() => return SessionEnd::Leave,
                about_state => {
                    if let Err(wrong) = self.state.apply(&self.context, about_state) {
                        self.receiver.fail(wrong.into());
                    }
                }
            }
        }
    }

    /// The process is started again as soon as it is light: with a new socket and its ticket.
    async fn restart_process(&mut self) -> Option<Session> {
        self.outages_seen = self.context.shared.faults.outages.load(Relaxed);
        self.datagrams.abort();
        let command = WorkerCommand::Died(self.headset);
        self.context.worker(self.headset)?.try_send(command).ok()?;
        // In the dark nobody hears that it ends.
        self.connection.close(0u32.into(), b"");
        let mut leave = self.context.leave.subscribe();
        while self.context.shared.faults.in_outage() {
            tokio::select! {
                () = tokio::time::sleep(OUTAGE_POLL) => {}
                _ = leave.wait_for(|leave| *leave) => return None,
            }
        }
        self.endpoint = open(&self.context, self.headset).await.ok()?;
        match self.try_once().await {
            Ok(session) => Some(session),
            Err(_) => self.reconnect().await,
        }
    }

    /// Tries at the pace of every client.
    async fn reconnect(&mut self) -> Option<Session> {
        self.datagrams.abort();
        let source = self.context.plan.source(self.headset);
        let mut backoff = Backoff::new(source.mix(Stream::Session, 1));
        let mut leave = self.context.leave.subscribe();
        let mut asked = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(backoff.pause(asked)) => {}
                _ = leave.wait_for(|leave| *leave) => return None,
            }
            match self.try_once().await {
                Ok(session) => return Some(session),
                Err(retry) => asked = Some(retry?),
            }
        }
    }

    /// The error: after how long another try may help, if at all.
    async fn try_once(&mut self) -> Result<Session, Option<Duration>> {
        let (last_event, last_bulk) = (self.receiver.last_event(), self.receiver.last_bulk());
        let resume = ResumeFrom { ticket: self.ticket.clone(), last_event, last_bulk };
        let joining = self.context.join(&self.endpoint, self.headset, Some(resume));
        let mut leave = self.context.leave.subscribe();
        let joined = tokio::select! {
            joined = joining => joined,
            _ = leave.wait_for(|leave| *leave) => return Err(None),
        };
        joined.map_err(|error| {
            self.context.log.problem(format!("could not come back: {error}"));
            error.may_retry()
        })
    }

    fn resume_with(&mut self, session: Session) -> Result<(), String> {
        let joined = session.joined().clone();
        let context = self.context.clone();
        let progress = &context.shared.progress;
        self.datagrams = context.start_link(&session, self.headset)?;
        let (now, over) = (context.shared.clock.now(), context.shared.faults.last_fault_end());
        if let Some(over) = over.filter(|_| over != self.last_fault_end) {
            context.log.rejoined(now.saturating_sub(over));
            self.last_fault_end = Some(over);
        }
        let same_room = (joined.clock_epoch, joined.room_instance) == self.instance;
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
        self.outbox.attach(sender, &joined, same_room);
        if joined.resumed == NEW_PEER {
            self.state.restart(&self.context, same_room);
        }
        let Joined { ticket, peer, room_instance, clock_epoch, .. } = joined;
        (self.ticket, self.peer, self.instance) = (ticket, peer, (clock_epoch, room_instance));
        Ok(())
    }

    /// As it is at this moment, where it is the late joiners' too.
    fn hand_in_roster(&self) {
        let first = self.context.plan.source(self.headset).room == 0;
        if let Some(roster) = self.roster.as_ref().filter(|_| first) {
            self.context.rosters.hand_in(roster);
        }
    }

    /// Everybody of the room once, present, and nobody else.
    fn check_roster(&self) {
        let Some(roster) = self.roster.as_ref().filter(|_| self.context.plan.has_faults) else {
            return;
        };
        let plan = &self.context.plan;
        let source = plan.source(self.headset);
        let mut users: Vec<&str> = roster.iter().map(|peer| peer.user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        let everybody = plan.members(source.room) as usize;
        let count = roster.iter().count();
        let away = roster.iter().filter(|peer| peer.presence == Presence::Away).count();
        let me = roster.peer(PeerId(self.peer)).is_some();
        let right = count == everybody && users.len() == everybody && away == 0 && me;
        self.context.log.roster(right);
        if !right {
            let (users, me) = (users.len(), if me { "" } else { ", not its own" });
            self.context.log.problem(format!(
                "a roster of {count} peers, {users} users, {away} away{me}; {everybody} were due"
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
    /// Gives the link to the headset's realtime thread, and the session's datagrams from now on.
    fn start_link(&self, session: &Session, headset: u32) -> Result<JoinHandle<()>, String> {
        let Joined { slot, .. } = *session.joined();
        let link = session.link_config().map_err(|e| e.to_string())?;
        let connection = session.connection().clone();
        let worker = self.worker(headset).ok_or("there is no thread for it")?.clone();
        let start = HeadsetStart { headset, slot, link, connection: connection.clone() };
        worker
            .try_send(WorkerCommand::Start(Box::new(start)))
            .map_err(|_| "its thread is behind")?;
        let shared = self.shared.clone();
        Ok(tokio::spawn(async move {
            while let Ok(bytes) = connection.read_datagram().await {
                let command = WorkerCommand::Datagram(headset, shared.clock.now(), bytes);
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

    /// The mailbox of a headset's realtime thread.
    fn worker(&self, headset: u32) -> Option<&mpsc::SyncSender<WorkerCommand>> {
        self.workers.get(self.plan.worker(self.plan.source(headset).room) as usize)
    }
}
