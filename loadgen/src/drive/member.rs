//! One headset's life on the session plane: it joins, hands its link to its realtime thread, sends and
//! checks events, comes back when its session is lost, and leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use nucleus_client::roster::{PeerId, Presence, Roster};
use nucleus_client::session::{
    Backoff, EventOutbox, ResumeFrom, Session, SessionEvent, SessionReceiver, SessionSender, To,
    may_reconnect,
};
use nucleus_protocol::session::{Code, Joined, NEW_PEER};
use quinn::Endpoint;
use tokio::task::JoinHandle;

use super::crew::{Crew, open};
use super::headset::Start;
use super::state_copy::StateCopy;
use super::worker::Order;
use crate::check::events::Inbox;
use crate::load::payload::Stream;
use crate::load::schedule::EventSchedule;

/// How often a headset whose process is dead looks whether it is light again.
const DARK_PAUSE: Duration = Duration::from_millis(10);

/// Lives it.
pub(crate) async fn live(crew: Arc<Crew>, endpoint: Endpoint, headset: u32, at: u64) {
    crew.sleep_until(at).await;
    let session = match crew.join(&endpoint, headset, None).await {
        Ok(session) => session,
        Err(error) => return crew.failed(error.to_string()),
    };
    let mut member = match Member::new(crew.clone(), endpoint, headset, session) {
        Ok(member) => member,
        Err(error) => return crew.failed(error),
    };
    crew.shared.progress.joined.fetch_add(1, Relaxed);
    let talk = tokio::spawn(talk(crew.clone(), member.outbox.clone(), headset));
    member.run().await;
    // What is under way goes out before the leave does.
    talk.abort();
    member.datagrams.abort();
    member.check_roster();
    member.outbox.leave().await;
}

struct Member {
    crew: Arc<Crew>,
    headset: u32,
    endpoint: Endpoint,
    outbox: EventOutbox,
    sender: SessionSender,
    receiver: SessionReceiver,
    inbox: Inbox,
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
    darknesses: u32,
    /// When the fault was over that it was back from last, µs.
    back_from: Option<u64>,
    connection: quinn::Connection,
}

/// Why a session is not listened to any more.
enum End {
    Leave,
    /// The headset's process has died.
    Died,
    Closed(Option<Code>, String),
}

impl Member {
    fn new(
        crew: Arc<Crew>,
        endpoint: Endpoint,
        headset: u32,
        session: Session,
    ) -> Result<Self, String> {
        let joined = session.joined().clone();
        let datagrams = crew.hand_over(&session, headset)?;
        let inbox = crew.events.admit(crew.plan.source(headset), joined.peer);
        let keeps = crew.plan.faults || crew.plan.late_joiners > 0;
        let roster = keeps.then(|| roster_of(&joined));
        let darknesses = crew.shared.faults.darknesses.load(Relaxed);
        let outbox = EventOutbox::default();
        let connection = session.connection().clone();
        let (sender, receiver) = session.split();
        outbox.attach(sender.clone(), &joined, true);
        let state = StateCopy::new(&crew, headset);
        let Joined { ticket, peer, room_instance, clock_epoch, .. } = joined;
        Ok(Member {
            crew,
            headset,
            endpoint,
            outbox,
            sender,
            receiver,
            inbox,
            state,
            roster,
            ticket,
            peer,
            instance: (clock_epoch, room_instance),
            datagrams,
            darknesses,
            back_from: None,
            connection,
        })
    }

    /// Until it is time to leave, or there is no way back.
    async fn run(&mut self) {
        loop {
            let end = self.listen().await;
            let absent = &self.crew.shared.progress.absent;
            absent.fetch_add(u64::from(!matches!(end, End::Leave)), Relaxed);
            let returned = match end {
                End::Leave => return self.state.hand_in(&self.crew.states),
                End::Died => self.resurrect().await,
                End::Closed(code, text) => {
                    let named = code.map_or_else(|| "no code".into(), |code| code.to_string());
                    self.crew.log.trouble(format!("session lost ({named}): {text}"));
                    if may_reconnect(code) { self.come_back().await } else { None }
                }
            };
            let went_on = returned.map(|session| self.go_on(session));
            self.crew.shared.progress.absent.fetch_sub(1, Relaxed);
            if let Some(Err(trouble)) = &went_on {
                self.crew.log.trouble(trouble.clone());
            }
            if !matches!(went_on, Some(Ok(()))) {
                self.crew.shared.progress.lost_sessions.fetch_add(1, Relaxed);
                return;
            }
        }
    }

    /// Takes in events until something ends it.
    async fn listen(&mut self) -> End {
        let mut leave = self.crew.leave.subscribe();
        let mut deaths = self.crew.deaths.subscribe();
        let darknesses = self.darknesses;
        // Once for all events: each registers with everybody's watch.
        let leave = leave.wait_for(|leave| *leave);
        let death = deaths.wait_for(|count| *count > darknesses);
        tokio::pin!(leave, death);
        let mut inspections = self.crew.inspections.subscribe();
        loop {
            let event = tokio::select! {
                // What the others do once everybody shall leave is not heard any more.
                biased;
                _ = &mut leave => return End::Leave,
                _ = &mut death, if self.crew.plan.dies(self.headset) => return End::Died,
                () = self.crew.sleep_until(self.state.due()), if self.state.asks(&self.crew) => None,
                Ok(()) = inspections.changed() => {
                    self.hand_in_roster();
                    continue;
                }
                event = self.receiver.next() => Some(event),
            };
            let Some(event) = event else {
                let request = self.state.ask(PeerId(self.peer));
                // One that does not go out is lost with its session, which says so itself.
                let _ = self.sender.request_state(&request).await;
                continue;
            };
            match event {
                SessionEvent::Event(event) => {
                    let shared = &self.crew.shared;
                    let (now, window) = (shared.clock.now(), shared.window());
                    if self.crew.events.hear(&mut self.inbox, now, window, &event) {
                        shared.progress.events_delivered.fetch_add(1, Relaxed);
                    }
                }
                SessionEvent::Roster(update) => {
                    if let Some(roster) = &mut self.roster {
                        // The receiver has checked the version already.
                        let _ = roster.apply(update);
                    }
                }
                SessionEvent::Closed { code, text } => return End::Closed(code, text),
                // The state at the end is the one before anybody left.
                _ if *self.crew.leave.borrow() => return End::Leave,
                about_state => {
                    if let Err(wrong) = self.state.hear(&self.crew, about_state) {
                        self.receiver.fail(wrong.into());
                    }
                }
            }
        }
    }

    /// The process is started again as soon as it is light: with a new socket and its ticket.
    async fn resurrect(&mut self) -> Option<Session> {
        self.darknesses = self.crew.shared.faults.darknesses.load(Relaxed);
        self.datagrams.abort();
        let order = Order::Died(self.headset);
        self.crew.worker(self.headset)?.try_send(order).ok()?;
        // In the dark nobody hears that it ends.
        self.connection.close(0u32.into(), b"");
        let mut leave = self.crew.leave.subscribe();
        while self.crew.shared.faults.dark() {
            tokio::select! {
                () = tokio::time::sleep(DARK_PAUSE) => {}
                _ = leave.wait_for(|leave| *leave) => return None,
            }
        }
        self.endpoint = open(&self.crew, self.headset).await.ok()?;
        match self.try_once().await {
            Ok(session) => Some(session),
            Err(_) => self.come_back().await,
        }
    }

    /// Tries at the pace of every client.
    async fn come_back(&mut self) -> Option<Session> {
        self.datagrams.abort();
        let source = self.crew.plan.source(self.headset);
        let mut backoff = Backoff::new(source.mix(Stream::Session, 1));
        let mut leave = self.crew.leave.subscribe();
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
        let joining = self.crew.join(&self.endpoint, self.headset, Some(resume));
        let mut leave = self.crew.leave.subscribe();
        let joined = tokio::select! {
            joined = joining => joined,
            _ = leave.wait_for(|leave| *leave) => return Err(None),
        };
        joined.map_err(|error| {
            self.crew.log.trouble(format!("could not come back: {error}"));
            error.retry_delay()
        })
    }

    fn go_on(&mut self, session: Session) -> Result<(), String> {
        let joined = session.joined().clone();
        let crew = self.crew.clone();
        let progress = &crew.shared.progress;
        self.datagrams = crew.hand_over(&session, self.headset)?;
        let (now, over) = (crew.shared.clock.now(), crew.shared.faults.over());
        if let Some(over) = over.filter(|_| over != self.back_from) {
            crew.log.rejoined(now.saturating_sub(over));
            self.back_from = Some(over);
        }
        let same_room = (joined.clock_epoch, joined.room_instance) == self.instance;
        if joined.resumed != NEW_PEER && same_room && joined.peer == self.peer {
            progress.resumed.fetch_add(1, Relaxed);
        } else {
            progress.rejoined.fetch_add(1, Relaxed);
            progress.lost_sessions.fetch_add(1, Relaxed);
            self.inbox = crew.events.admit(crew.plan.source(self.headset), joined.peer);
        }
        if let Some(roster) = &mut self.roster {
            roster.replace(same_room, roster_of(&joined));
        }
        self.connection = session.connection().clone();
        let (sender, receiver) = session.split();
        (self.sender, self.receiver) = (sender.clone(), receiver);
        self.outbox.attach(sender, &joined, same_room);
        if joined.resumed == NEW_PEER {
            self.state.begin_anew(&self.crew, same_room);
        }
        let Joined { ticket, peer, room_instance, clock_epoch, .. } = joined;
        (self.ticket, self.peer, self.instance) = (ticket, peer, (clock_epoch, room_instance));
        Ok(())
    }

    /// As it is at this moment, where it is the late joiners' too.
    fn hand_in_roster(&self) {
        let first = self.crew.plan.source(self.headset).room == 0;
        if let Some(roster) = self.roster.as_ref().filter(|_| first) {
            self.crew.rosters.hand_in(roster);
        }
    }

    /// Everybody of the room once, present, and nobody else.
    fn check_roster(&self) {
        let Some(roster) = self.roster.as_ref().filter(|_| self.crew.plan.faults) else { return };
        let plan = &self.crew.plan;
        let source = plan.source(self.headset);
        let mut users: Vec<&str> = roster.iter().map(|peer| peer.user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        let everybody = plan.members(source.room) as usize;
        let count = roster.iter().count();
        let away = roster.iter().filter(|peer| peer.presence == Presence::Away).count();
        let me = roster.peer(PeerId(self.peer)).is_some();
        let right = count == everybody && users.len() == everybody && away == 0 && me;
        self.crew.log.roster(right);
        if !right {
            let (users, me) = (users.len(), if me { "" } else { ", not its own" });
            self.crew.log.trouble(format!(
                "a roster of {count} peers, {users} users, {away} away{me}; {everybody} were due"
            ));
        }
    }
}

fn roster_of(joined: &Joined) -> Roster {
    Roster::new(joined.roster_version, joined.roster.iter().cloned())
}

/// Sends events by their schedule until the window ends.
async fn talk(crew: Arc<Crew>, outbox: EventOutbox, headset: u32) {
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
        if outbox.send(To::Others, kind.channel(), &payload).await.is_err() {
            return;
        }
    }
}

impl Crew {
    /// Gives the link to the headset's realtime thread, and the session's datagrams from now on.
    fn hand_over(&self, session: &Session, headset: u32) -> Result<JoinHandle<()>, String> {
        let Joined { slot, .. } = *session.joined();
        let link = session.link_config().map_err(|e| e.to_string())?;
        let connection = session.connection().clone();
        let worker = self.worker(headset).ok_or("there is no thread for it")?.clone();
        let start = Start { headset, slot, link, connection: connection.clone() };
        worker.try_send(Order::Start(Box::new(start))).map_err(|_| "its thread is behind")?;
        let shared = self.shared.clone();
        Ok(tokio::spawn(async move {
            while let Ok(bytes) = connection.read_datagram().await {
                let order = Order::Datagram(headset, shared.clock.now(), bytes);
                match worker.try_send(order) {
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
    fn worker(&self, headset: u32) -> Option<&mpsc::SyncSender<Order>> {
        self.workers.get(self.plan.worker(self.plan.source(headset).room) as usize)
    }
}
