//! The room's task: keeps the roster, hands on what is reliable, and takes a lost session up again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nucleus_protocol::session::{Code, Joined, NEW_PEER, RESUMED_WITH_LOSS};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::State;
use crate::event::RoomEvent;
use crate::realtime::driver::{Command, unspecified};
use crate::roster::{PeerId, Roster, RosterChange};
use crate::session::{
    Backoff, JoinError, ResumeFrom, Session, SessionEvent, SessionOptions, SessionReceiver,
    may_return,
};

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
    commands: mpsc::Sender<Command>,
    events: mpsc::Sender<RoomEvent>,
    receiver: SessionReceiver,
    ticket: Vec<u8>,
    instance: Instance,
}

/// Tells a room instance from others, also those of other runs of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instance {
    run: u32,
    room: u32,
}

impl Instance {
    fn of(joined: &Joined) -> Self {
        Self { run: joined.clock_epoch, room: joined.room_epoch }
    }
}

/// Nobody listens any more, or there is nothing left to hear.
struct Over;

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
        state.events.attach(sender, &joined, true);
        let instance = Instance::of(&joined);
        let ticket = joined.ticket;
        Self { way, state, commands, events, receiver, ticket, instance }
    }

    /// Until the session is over for good, or nobody listens. It waits for a slow application, and
    /// QUIC's flow control then makes the senders wait.
    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
        self.state.closed.store(true, Ordering::Relaxed);
        self.state.events.close();
    }

    async fn step(&mut self) -> Result<(), Over> {
        match self.receiver.next().await {
            SessionEvent::Roster(update) => {
                let applied = {
                    let mut roster =
                        self.state.roster.write().unwrap_or_else(PoisonError::into_inner);
                    roster.apply(update)
                };
                // The receiver has checked the version already.
                self.tell_changes(applied.unwrap_or_default(), None).await
            }
            SessionEvent::Event(event) => self.tell(event.into()).await,
            SessionEvent::Closed { code, text } => self.interrupted(code, text).await,
        }
    }

    async fn tell(&self, event: RoomEvent) -> Result<(), Over> {
        self.events.send(event).await.map_err(|_| Over)
    }

    /// The application hears of a newcomer before the realtime plane does, and so before it hears
    /// the newcomer. Of itself (`me`, before and now) it hears otherwise.
    async fn tell_changes(
        &self,
        changes: Vec<RosterChange>,
        me: Option<(PeerId, PeerId)>,
    ) -> Result<(), Over> {
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
                RosterChange::Presence { peer, .. } => {
                    (me.is_some_and(|(_, now)| now == *peer), None)
                }
            };
            if !mine {
                self.tell(change.into()).await?;
            }
            if let Some(command) = command {
                self.commands.send(command).await.map_err(|_| Over)?;
            }
        }
        Ok(())
    }

    async fn interrupted(&mut self, code: Option<Code>, text: String) -> Result<(), Over> {
        if !may_return(code) || self.way.patience.is_zero() {
            return self.close(code, text).await;
        }
        self.tell(RoomEvent::Interrupted { code, text }).await?;
        let (events, outbox) = (self.events.clone(), self.state.events.clone());
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
            let last_event = self.receiver.last_event();
            let mut options = self.way.options.clone();
            options.resume = Some(ResumeFrom { ticket: self.ticket.clone(), last_event });
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
        self.commands.send(relink).await.map_err(|_| Over)?;
        let newer = Roster::new(joined.roster_version, joined.roster.iter().cloned());
        let changes = {
            let mut roster = self.state.roster.write().unwrap_or_else(PoisonError::into_inner);
            roster.replace(same_room, newer)
        };
        let before = self.state.me.swap(joined.peer, Ordering::Relaxed);
        self.state.events.attach(sender, &joined, same_room);
        self.instance = instance;
        self.ticket.clone_from(&joined.ticket);
        let event = match joined.resumed {
            NEW_PEER => RoomEvent::Rejoined { me: PeerId(joined.peer) },
            how => RoomEvent::Resumed { missed_events: how == RESUMED_WITH_LOSS },
        };
        self.tell(event).await?;
        self.tell_changes(changes, Some((PeerId(before), PeerId(joined.peer)))).await
    }

    async fn close(&self, code: Option<Code>, text: String) -> Result<(), Over> {
        // Whether anybody hears it or not, it is over.
        let _ = self.events.send(RoomEvent::Closed { code, text }).await;
        Err(Over)
    }
}
