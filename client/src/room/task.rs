//! The room's task: keeps roster and state, hands on what is reliable, and takes a lost session up
//! again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockWriteGuard};
use std::time::Duration;

use nucleus_protocol::session::{Code, Joined, NEW_PEER, RESUMED, RESUMED_WITH_LOSS, act};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::RoomShared;
use super::assembly::Assembly;
use super::backlog::{Backlog, RoomEnded};
use crate::event::{RoomEvent, Throttle};
use crate::realtime::driver::{DriverCommand, unspecified};
use crate::roster::{PeerId, Roster, RosterChange};
use crate::session::{
    Backoff, JoinError, ResumeFrom, Session, SessionEvent, SessionOptions, SessionReceiver,
    may_reconnect,
};
use crate::state::{Replica, StateChange};

/// How the room is reached.
pub(crate) struct RoomConnector {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) config: quinn::ClientConfig,
    pub(crate) options: SessionOptions,
    /// How long a lost session is tried again.
    pub(crate) patience: Duration,
}

/// See the module.
pub(super) struct RoomTask {
    connector: RoomConnector,
    shared: Arc<RoomShared>,
    backlog: Backlog,
    receiver: SessionReceiver,
    ticket: Vec<u8>,
    instance: RoomInstance,
    bulk: Assembly,
    /// As the application was last told.
    host: Option<PeerId>,
}

/// Tells a room instance from others, also those of other runs of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RoomInstance {
    run: u32,
    room: u32,
}

impl RoomInstance {
    fn of(joined: &Joined) -> Self {
        Self { run: joined.clock_epoch, room: joined.room_instance }
    }
}

/// [`Backlog::push_event`] or [`Backlog::push_uncounted`].
type Push = fn(&mut Backlog, RoomEvent);

impl RoomTask {
    pub(super) fn new(
        connector: RoomConnector,
        shared: Arc<RoomShared>,
        commands: mpsc::Sender<DriverCommand>,
        events: mpsc::Sender<RoomEvent>,
        session: Session,
    ) -> Self {
        let joined = session.joined().clone();
        let (sender, receiver) = session.split();
        shared.requests.attach(sender.clone());
        shared.events.attach(sender, &joined, true);
        let (instance, host) = (RoomInstance::of(&joined), shared.host());
        let backlog = Backlog::new(events, commands);
        let (ticket, bulk) = (joined.ticket, Assembly::default());
        Self { connector, shared, backlog, receiver, ticket, instance, bulk, host }
    }

    /// Until the session is over for good, or nobody listens. It waits for a slow application, and
    /// QUIC's flow control then makes the senders wait.
    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.requests.close();
        self.shared.events.close();
    }

    async fn step(&mut self) -> Result<(), RoomEnded> {
        let full = self.backlog.is_full();
        self.shared.requests.set_behind(full);
        tokio::select! {
            biased;
            delivered = self.backlog.deliver_next(), if !self.backlog.is_empty() => delivered,
            event = self.receiver.next(), if !full => self.take(event).await,
        }
    }

    async fn take(&mut self, event: SessionEvent) -> Result<(), RoomEnded> {
        let applied = match event {
            SessionEvent::Roster(update) => {
                let mut roster = self.shared.roster.write().unwrap_or_else(PoisonError::into_inner);
                // The receiver has checked the version already.
                let changes = roster.apply(update).unwrap_or_default();
                drop(roster);
                self.report_roster(changes, None, Backlog::push_event);
                self.report_host();
                return Ok(());
            }
            SessionEvent::Event(event) => {
                self.backlog.push_event(event.into());
                return Ok(());
            }
            SessionEvent::Bulk(piece) => {
                if let Some(message) = self.bulk.take(piece) {
                    self.backlog.push_event(message);
                }
                self.shared.bulk_dropped.store(self.bulk.dropped(), Ordering::Relaxed);
                return Ok(());
            }
            SessionEvent::Audit(audit) => {
                self.backlog.push_event(RoomEvent::Moderated(audit.into()));
                return Ok(());
            }
            SessionEvent::Throttled(what) => {
                if let Some(throttle) = Throttle::from_wire(what) {
                    self.backlog.push_event(RoomEvent::Throttled(throttle));
                }
                return Ok(());
            }
            SessionEvent::StateReply(reply) => {
                let version = self.shared.replica().version();
                self.shared.requests.on_reply(reply, version);
                return Ok(());
            }
            SessionEvent::Closed { code, text } => return self.interrupted(code, text).await,
            SessionEvent::StateSnapshot(snapshot) => {
                let changes = self.replica().apply_snapshot(snapshot);
                changes.map(|changes| self.report_state(changes, Backlog::push_uncounted))
            }
            SessionEvent::StateUpdate(update) => {
                let changes = self.replica().apply_update(update);
                changes.map(|changes| self.report_state(changes, Backlog::push_event))
            }
        };
        if let Err(fault) = applied
            && let SessionEvent::Closed { code, text } = self.receiver.fail(fault.into())
        {
            return self.close(code, text).await;
        }
        Ok(())
    }

    fn replica(&self) -> RwLockWriteGuard<'_, Replica> {
        self.shared.replica.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the application, then whoever waits for the answer to a request.
    fn report_state(&mut self, changes: Vec<StateChange>, push: Push) {
        for change in changes {
            push(&mut self.backlog, RoomEvent::State(change));
        }
        self.report_host();
        let version = self.shared.replica().version();
        self.shared.requests.on_version(version);
    }

    fn report_host(&mut self) {
        let host = self.shared.host();
        if host != self.host {
            self.host = host;
            self.backlog.push_event(RoomEvent::State(StateChange::Host { host }));
        }
    }

    /// The application hears of a newcomer before the realtime plane does, and so before it hears
    /// the newcomer. Of itself (`me`, before and now) it hears otherwise.
    fn report_roster(
        &mut self,
        changes: Vec<RosterChange>,
        me: Option<(PeerId, PeerId)>,
        push: Push,
    ) {
        for change in changes {
            let (mine, command) = match &change {
                RosterChange::Joined(peer) => (
                    me.is_some_and(|(_, now)| now == peer.id),
                    Some(DriverCommand::Joined(peer.slot, peer.id)),
                ),
                RosterChange::Left { peer, .. } => (
                    me.is_some_and(|(before, _)| before == peer.id),
                    Some(DriverCommand::Left(peer.slot, peer.id)),
                ),
                RosterChange::Changed(_) => (false, None),
                RosterChange::Presence { peer, .. } => {
                    (me.is_some_and(|(_, now)| now == *peer), None)
                }
            };
            if !mine {
                push(&mut self.backlog, change.into());
            }
            if let Some(command) = command {
                self.backlog.push_command(command);
            }
        }
    }

    async fn interrupted(&mut self, code: Option<Code>, text: String) -> Result<(), RoomEnded> {
        self.shared.requests.interrupt();
        if !may_reconnect(code) || self.connector.patience.is_zero() {
            return self.close(code, text).await;
        }
        self.backlog.push_event(RoomEvent::Interrupted { code, text });
        self.backlog.flush().await?;
        let (events, outbox) = (self.backlog.event_sender(), self.shared.events.clone());
        let session = tokio::select! {
            session = self.rejoin() => session,
            () = events.closed() => return Err(RoomEnded),
            () = outbox.closed() => {
                return self.close(Some(Code::Left), "closed by this client".into()).await;
            }
        };
        match session {
            Ok(session) => self.resume_with(session).await,
            Err(error) => {
                let code = if let JoinError::Refused { code, .. } = error { code } else { None };
                self.close(code, error.to_string()).await
            }
        }
    }

    /// Tries until it succeeds, patience is over, or trying again cannot help.
    async fn rejoin(&mut self) -> Result<Session, JoinError> {
        let deadline = Instant::now() + self.connector.patience;
        let mut backoff = Backoff::new(fastrand::u64(..));
        let mut asked = None;
        loop {
            sleep(backoff.pause(asked)).await;
            let server = self.connector.options.server;
            // What sleeps for long may wake up to a socket that its system has closed.
            if let Ok(socket) = std::net::UdpSocket::bind(unspecified(server)) {
                // The old socket has to do where this one does not.
                let _ = self.connector.endpoint.rebind(socket);
            }
            let (last_event, last_bulk) = (self.receiver.last_event(), self.receiver.last_bulk());
            let mut options = self.connector.options.clone();
            options.resume =
                Some(ResumeFrom { ticket: self.ticket.clone(), last_event, last_bulk });
            let joining =
                Session::join(&self.connector.endpoint, self.connector.config.clone(), options);
            let error = match joining.await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            tracing::debug!(%error, "the session is not back yet");
            asked = error.retry_delay();
            if asked.is_none() || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    /// Takes the new session in place of the lost one.
    async fn resume_with(&mut self, session: Session) -> Result<(), RoomEnded> {
        let joined = session.joined().clone();
        let config = match session.link_config() {
            Ok(config) => config,
            Err(error) => return self.close(None, error.to_string()).await,
        };
        let connection = session.connection().clone();
        let (sender, receiver) = session.split();
        self.receiver = receiver;
        let instance = RoomInstance::of(&joined);
        let same_room = instance == self.instance;
        let relink = DriverCommand::Relink(Box::new(config), connection, same_room);
        self.backlog.push_command(relink);
        self.backlog.flush().await?;
        let newer = Roster::new(joined.roster_version, joined.roster.iter().cloned());
        let changes = {
            let mut roster = self.shared.roster.write().unwrap_or_else(PoisonError::into_inner);
            roster.replace(same_room, newer)
        };
        // In the same instance the state only grows older, and its snapshot will tell how; one that
        // has none to tell was empty before, too. Of another one nothing may be asked by what was
        // read of the first.
        let gone = if same_room { Vec::new() } else { self.replica().clear() };
        let before = self.shared.me.swap(joined.peer, Ordering::Relaxed);
        self.shared.requests.attach(sender.clone());
        self.shared.events.attach(sender, &joined, same_room);
        if joined.resumed == NEW_PEER && self.shared.self_muted.load(Ordering::Relaxed) {
            self.repeat_own_mute();
        }
        self.instance = instance;
        self.ticket.clone_from(&joined.ticket);
        if joined.resumed != RESUMED {
            self.bulk.clear();
        }
        self.backlog.push_event(match joined.resumed {
            NEW_PEER => RoomEvent::Rejoined { me: PeerId(joined.peer) },
            how => RoomEvent::Resumed { missed_events: how == RESUMED_WITH_LOSS },
        });
        let me = (PeerId(before), PeerId(joined.peer));
        self.report_roster(changes, Some(me), Backlog::push_uncounted);
        self.report_state(gone, Backlog::push_uncounted);
        Ok(())
    }

    /// Somebody new has not muted himself yet. The answer comes by this very task.
    fn repeat_own_mute(&self) {
        let state = self.shared.clone();
        tokio::spawn(async move {
            // Nothing is sent meanwhile all the same.
            let _ = state.requests.moderate(act::MUTE_SELF, 0, 0).await;
        });
    }

    async fn close(&mut self, code: Option<Code>, text: String) -> Result<(), RoomEnded> {
        // Nothing is under connector any more, whether anybody hears of the end or not.
        self.shared.requests.close();
        self.backlog.push_event(RoomEvent::Closed { code, text });
        self.backlog.flush().await?;
        Err(RoomEnded)
    }
}
