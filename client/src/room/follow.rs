//! The room's task: keeps roster and state, hands on what is reliable, and takes a lost session up
//! again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockWriteGuard};
use std::time::Duration;

use nucleus_protocol::session::{Code, Joined, NEW_PEER, RESUMED, RESUMED_WITH_LOSS, act};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::State;
use super::assembly::Assembly;
use super::backlog::{Backlog, Over};
use crate::event::{RoomEvent, Throttle};
use crate::realtime::driver::{Command, unspecified};
use crate::roster::{PeerId, Roster, RosterChange};
use crate::session::{
    Backoff, JoinError, ResumeFrom, Session, SessionEvent, SessionOptions, SessionReceiver,
    may_return,
};
use crate::state::{Replica, StateChange};

/// How the room is reached.
pub(crate) struct Way {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) config: quinn::ClientConfig,
    pub(crate) options: SessionOptions,
    /// How long a lost session is tried again.
    pub(crate) patience: Duration,
}

/// See the module.
pub(super) struct Follower {
    way: Way,
    state: Arc<State>,
    backlog: Backlog,
    receiver: SessionReceiver,
    ticket: Vec<u8>,
    instance: Instance,
    bulk: Assembly,
    /// As the application was last told.
    host: Option<PeerId>,
}

/// Tells a room instance from others, also those of other runs of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instance {
    run: u32,
    room: u32,
}

impl Instance {
    fn of(joined: &Joined) -> Self {
        Self { run: joined.clock_epoch, room: joined.room_instance }
    }
}

/// [`Backlog::tell`] or [`Backlog::tell_part`].
type Tell = fn(&mut Backlog, RoomEvent);

impl Follower {
    pub(super) fn new(
        way: Way,
        state: Arc<State>,
        commands: mpsc::Sender<Command>,
        events: mpsc::Sender<RoomEvent>,
        session: Session,
    ) -> Self {
        let joined = session.joined().clone();
        let (sender, receiver) = session.split();
        state.requests.attach(sender.clone());
        state.events.attach(sender, &joined, true);
        let (instance, host) = (Instance::of(&joined), state.host());
        let backlog = Backlog::new(events, commands);
        let (ticket, bulk) = (joined.ticket, Assembly::default());
        Self { way, state, backlog, receiver, ticket, instance, bulk, host }
    }

    /// Until the session is over for good, or nobody listens. It waits for a slow application, and
    /// QUIC's flow control then makes the senders wait.
    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
        self.state.closed.store(true, Ordering::Relaxed);
        self.state.requests.close();
        self.state.events.close();
    }

    async fn step(&mut self) -> Result<(), Over> {
        let full = self.backlog.is_full();
        self.state.requests.set_behind(full);
        tokio::select! {
            biased;
            handed_on = self.backlog.hand_on(), if !self.backlog.is_empty() => handed_on,
            event = self.receiver.next(), if !full => self.take(event).await,
        }
    }

    async fn take(&mut self, event: SessionEvent) -> Result<(), Over> {
        let applied = match event {
            SessionEvent::Roster(update) => {
                let mut roster = self.state.roster.write().unwrap_or_else(PoisonError::into_inner);
                // The receiver has checked the version already.
                let changes = roster.apply(update).unwrap_or_default();
                drop(roster);
                self.tell_roster(changes, None, Backlog::tell);
                self.tell_host();
                return Ok(());
            }
            SessionEvent::Event(event) => {
                self.backlog.tell(event.into());
                return Ok(());
            }
            SessionEvent::Bulk(piece) => {
                if let Some(message) = self.bulk.take(piece) {
                    self.backlog.tell(message);
                }
                self.state.bulk_dropped.store(self.bulk.dropped(), Ordering::Relaxed);
                return Ok(());
            }
            SessionEvent::Audit(audit) => {
                self.backlog.tell(RoomEvent::Moderated(audit.into()));
                return Ok(());
            }
            SessionEvent::Throttled(what) => {
                if let Some(throttle) = Throttle::from_wire(what) {
                    self.backlog.tell(RoomEvent::Throttled(throttle));
                }
                return Ok(());
            }
            SessionEvent::StateReply(reply) => {
                let version = self.state.replica().version();
                self.state.requests.answered(reply, version);
                return Ok(());
            }
            SessionEvent::Closed { code, text } => return self.interrupted(code, text).await,
            SessionEvent::StateSnapshot(snapshot) => {
                let changes = self.replica().apply_snapshot(snapshot);
                changes.map(|changes| self.tell_state(changes, Backlog::tell_part))
            }
            SessionEvent::StateUpdate(update) => {
                let changes = self.replica().apply_update(update);
                changes.map(|changes| self.tell_state(changes, Backlog::tell))
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
        self.state.replica.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the application, then whoever waits for the answer to a request.
    fn tell_state(&mut self, changes: Vec<StateChange>, tell: Tell) {
        for change in changes {
            tell(&mut self.backlog, RoomEvent::State(change));
        }
        self.tell_host();
        let version = self.state.replica().version();
        self.state.requests.reached(version);
    }

    fn tell_host(&mut self) {
        let host = self.state.host();
        if host != self.host {
            self.host = host;
            self.backlog.tell(RoomEvent::State(StateChange::Host { host }));
        }
    }

    /// The application hears of a newcomer before the realtime plane does, and so before it hears
    /// the newcomer. Of itself (`me`, before and now) it hears otherwise.
    fn tell_roster(
        &mut self,
        changes: Vec<RosterChange>,
        me: Option<(PeerId, PeerId)>,
        tell: Tell,
    ) {
        for change in changes {
            let (mine, command) = match &change {
                RosterChange::Joined(peer) => (
                    me.is_some_and(|(_, now)| now == peer.id),
                    Some(Command::Joined(peer.slot, peer.id)),
                ),
                RosterChange::Left { peer, .. } => (
                    me.is_some_and(|(before, _)| before == peer.id),
                    Some(Command::Left(peer.slot, peer.id)),
                ),
                RosterChange::Changed(_) => (false, None),
                RosterChange::Presence { peer, .. } => {
                    (me.is_some_and(|(_, now)| now == *peer), None)
                }
            };
            if !mine {
                tell(&mut self.backlog, change.into());
            }
            if let Some(command) = command {
                self.backlog.command(command);
            }
        }
    }

    async fn interrupted(&mut self, code: Option<Code>, text: String) -> Result<(), Over> {
        self.state.requests.interrupt();
        if !may_return(code) || self.way.patience.is_zero() {
            return self.close(code, text).await;
        }
        self.backlog.tell(RoomEvent::Interrupted { code, text });
        self.backlog.flush().await?;
        let (events, outbox) = (self.backlog.listener(), self.state.events.clone());
        let session = tokio::select! {
            session = self.join_again() => session,
            () = events.closed() => return Err(Over),
            () = outbox.closed() => {
                return self.close(Some(Code::Left), "closed by this client".into()).await;
            }
        };
        match session {
            Ok(session) => self.go_on(session).await,
            Err(error) => {
                let code = if let JoinError::Refused { code, .. } = error { code } else { None };
                self.close(code, error.to_string()).await
            }
        }
    }

    /// Tries until it succeeds, patience is over, or trying again cannot help.
    async fn join_again(&mut self) -> Result<Session, JoinError> {
        let deadline = Instant::now() + self.way.patience;
        let mut backoff = Backoff::new(fastrand::u64(..));
        let mut asked = None;
        loop {
            sleep(backoff.pause(asked)).await;
            let server = self.way.options.server;
            // What sleeps for long may wake up to a socket that its system has closed.
            if let Ok(socket) = std::net::UdpSocket::bind(unspecified(server)) {
                // The old socket has to do where this one does not.
                let _ = self.way.endpoint.rebind(socket);
            }
            let (last_event, last_bulk) = (self.receiver.last_event(), self.receiver.last_bulk());
            let mut options = self.way.options.clone();
            options.resume =
                Some(ResumeFrom { ticket: self.ticket.clone(), last_event, last_bulk });
            let joining = Session::join(&self.way.endpoint, self.way.config.clone(), options);
            let error = match joining.await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            tracing::debug!(%error, "the session is not back yet");
            asked = error.may_retry();
            if asked.is_none() || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    /// Takes the new session in place of the lost one.
    async fn go_on(&mut self, session: Session) -> Result<(), Over> {
        let joined = session.joined().clone();
        let config = match session.link_config() {
            Ok(config) => config,
            Err(error) => return self.close(None, error.to_string()).await,
        };
        let connection = session.connection().clone();
        let (sender, receiver) = session.split();
        self.receiver = receiver;
        let instance = Instance::of(&joined);
        let same_room = instance == self.instance;
        let relink = Command::Relink(Box::new(config), connection, same_room);
        self.backlog.command(relink);
        self.backlog.flush().await?;
        let newer = Roster::new(joined.roster_version, joined.roster.iter().cloned());
        let changes = {
            let mut roster = self.state.roster.write().unwrap_or_else(PoisonError::into_inner);
            roster.replace(same_room, newer)
        };
        // In the same instance the state only grows older, and its snapshot will tell how; one that
        // has none to tell was empty before, too. Of another one nothing may be asked by what was
        // read of the first.
        let gone = if same_room { Vec::new() } else { self.replica().clear() };
        let before = self.state.me.swap(joined.peer, Ordering::Relaxed);
        self.state.requests.attach(sender.clone());
        self.state.events.attach(sender, &joined, same_room);
        if joined.resumed == NEW_PEER && self.state.silent.load(Ordering::Relaxed) {
            self.say_muted();
        }
        self.instance = instance;
        self.ticket.clone_from(&joined.ticket);
        if joined.resumed != RESUMED {
            self.bulk.clear();
        }
        self.backlog.tell(match joined.resumed {
            NEW_PEER => RoomEvent::Rejoined { me: PeerId(joined.peer) },
            how => RoomEvent::Resumed { missed_events: how == RESUMED_WITH_LOSS },
        });
        let me = (PeerId(before), PeerId(joined.peer));
        self.tell_roster(changes, Some(me), Backlog::tell_part);
        self.tell_state(gone, Backlog::tell_part);
        Ok(())
    }

    /// Somebody new has not muted himself yet. The answer comes by this very task.
    fn say_muted(&self) {
        let state = self.state.clone();
        tokio::spawn(async move {
            // Nothing is sent meanwhile all the same.
            let _ = state.requests.moderate(act::MUTE_SELF, 0, 0).await;
        });
    }

    async fn close(&mut self, code: Option<Code>, text: String) -> Result<(), Over> {
        // Nothing is under way any more, whether anybody hears of the end or not.
        self.state.requests.close();
        self.backlog.tell(RoomEvent::Closed { code, text });
        self.backlog.flush().await?;
        Err(Over)
    }
}
