//! The room's task: updates the roster and the shared state, passes reliable events to the
//! application, and resumes a lost session.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockWriteGuard};
use std::time::Duration;

use nucleus_protocol::ids::RoomInstanceId;
use nucleus_protocol::session::{
    Code, Features, NEW_PEER, RESERVED_CHANNELS, RESUMED, RESUMED_WITH_LOSS,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::RoomShared;
use super::backlog::{Backlog, RoomEnded};
use super::desired;
use super::renewal::TokenRenewal;
use crate::assembly::BulkAssembly;
use crate::come_back::Tries;
use crate::event::{RoomEvent, Throttle};
use crate::realtime::driver::DriverCommand;
use crate::roster::{PeerId, Roster, RosterChange};
use crate::servers::ReturnServers;
use crate::session::{
    CurrentEndpoint, JoinError, ProtocolError, ResumeFrom, Session, SessionEvent, SessionOptions,
    SessionReceiver, SessionSockets, endpoints, may_reconnect,
};
use crate::state::{Replica, StateChange};
use crate::until::until;

/// Everything that the client needs to join the room, also after a lost session.
pub(crate) struct RoomConnector {
    pub(crate) config: quinn::ClientConfig,
    pub(crate) options: SessionOptions,
    /// How long the client tries to resume a lost session.
    pub(crate) patience: Duration,
    /// The servers to which the client comes back.
    pub(crate) servers: ReturnServers,
}

/// The state of the room's task.
pub(super) struct RoomTask {
    connector: RoomConnector,
    endpoint: CurrentEndpoint,
    shared: Arc<RoomShared>,
    backlog: Backlog,
    receiver: SessionReceiver,
    ticket: Vec<u8>,
    /// When the application is asked for a fresh token.
    token_wanted_at: Option<Instant>,
    /// Whether this session carries the shared state.
    has_state: bool,
    instance: RoomInstanceId,
    bulk: BulkAssembly,
    /// The host as last reported to the application.
    host: Option<PeerId>,
}

/// This client's peer id before and after a resume or rejoin.
struct OwnPeer {
    before: PeerId,
    now: PeerId,
}

/// The method that queues an event: [`Backlog::push_event`] or [`Backlog::push_uncounted`].
type Push = fn(&mut Backlog, RoomEvent);

impl RoomTask {
    pub(super) fn new(
        connector: RoomConnector,
        endpoint: CurrentEndpoint,
        shared: Arc<RoomShared>,
        commands: mpsc::Sender<DriverCommand>,
        events: mpsc::Sender<RoomEvent>,
        session: Session,
    ) -> Self {
        let joined = session.joined().clone();
        let left = Duration::from_secs(session.settings().ticket_ttl_s);
        let token_wanted_at = after_three_quarters(left);
        let has_state = session.features().contains(Features::STATE);
        let (sender, receiver) = session.split();
        shared.requests.attach(sender.clone());
        shared.renewal.attach(sender.clone());
        // The first session of an outbox has no impossible counts.
        let _ = shared.events.attach(sender, &joined, true);
        let (instance, host) = (RoomInstanceId(joined.room_instance), shared.host());
        let backlog = Backlog::new(events, commands);
        let (ticket, bulk) = (joined.ticket, BulkAssembly::default());
        Self {
            connector,
            endpoint,
            shared,
            backlog,
            receiver,
            ticket,
            token_wanted_at,
            has_state,
            instance,
            bulk,
            host,
        }
    }

    /// Runs until the session is closed for good or the application drops the room. Waits for a
    /// slow application; QUIC's flow control then makes the senders wait.
    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.requests.close();
        self.shared.renewal.close();
        self.shared.events.close();
    }

    async fn step(&mut self) -> Result<(), RoomEnded> {
        let full = self.backlog.is_full();
        self.shared.requests.set_behind(full);
        self.shared.renewal.set_behind(full);
        tokio::select! {
            biased;
            delivered = self.backlog.deliver_next(), if !self.backlog.is_empty() => delivered,
            event = self.receiver.next(), if !full => self.handle(event).await,
            () = until(self.token_wanted_at), if !full => {
                self.ask_for_token(None);
                Ok(())
            }
        }
    }

    /// Asks the application for a fresh token. `within` is how long the ticket still admits to
    /// another instance of the room.
    fn ask_for_token(&mut self, within: Option<Duration>) {
        self.token_wanted_at = None;
        self.backlog.push_event(RoomEvent::TokenWanted { within });
    }

    async fn handle(&mut self, event: SessionEvent) -> Result<(), RoomEnded> {
        let applied = match event {
            SessionEvent::Roster(update) => {
                let mut roster = self.shared.roster.write().unwrap_or_else(PoisonError::into_inner);
                // The receiver has already checked the version.
                let changes = roster.apply(update).unwrap_or_default();
                drop(roster);
                self.report_roster(changes, None, Backlog::push_event);
                self.report_host();
                return Ok(());
            }
            // Channels of the protocol that this version does not know.
            SessionEvent::Event(event) | SessionEvent::Bulk(event)
                if event.channel >= RESERVED_CHANNELS =>
            {
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
            SessionEvent::Renewed(reply) => {
                if let Some(reply) = self.shared.renewal.on_reply(reply) {
                    self.ticket = reply.ticket;
                    let left = Duration::from_secs(reply.ticket_ttl_s.into());
                    self.token_wanted_at = after_three_quarters(left);
                }
                return Ok(());
            }
            SessionEvent::TokenWanted(within_s) => {
                self.ask_for_token(Some(Duration::from_secs(within_s.into())));
                return Ok(());
            }
            SessionEvent::StateReply(reply) => {
                // Without the state there is no version to wait for.
                let version =
                    if self.has_state { self.shared.replica().version() } else { u64::MAX };
                self.shared.requests.on_reply(reply, version);
                return Ok(());
            }
            SessionEvent::EventAck(ack) => self.shared.events.acknowledge(&ack),
            SessionEvent::Closed { code, text } => return self.interrupted(code, text).await,
            SessionEvent::StateSnapshot(snapshot) => {
                let changes = self.replica().apply_snapshot(snapshot).map_err(ProtocolError::from);
                changes.map(|changes| self.report_state(changes, Backlog::push_uncounted))
            }
            SessionEvent::StateUpdate(update) => {
                let changes = self.replica().apply_update(update).map_err(ProtocolError::from);
                changes.map(|changes| self.report_state(changes, Backlog::push_event))
            }
        };
        match applied {
            Ok(()) => Ok(()),
            Err(fault) => self.fail(fault).await,
        }
    }

    /// Closes the session for good, because the server broke the protocol.
    async fn fail(&mut self, fault: ProtocolError) -> Result<(), RoomEnded> {
        let SessionEvent::Closed { code, text } = self.receiver.fail(fault) else { return Ok(()) };
        self.close(code, text).await
    }

    fn replica(&self) -> RwLockWriteGuard<'_, Replica> {
        self.shared.replica.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the changes to the application, then completes the requests that waited for them.
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

    /// Reports the changes to the application and then to the realtime task, so that the
    /// application learns of a new peer before it receives the peer's messages. Changes of this
    /// client itself (`own`) are not reported here: [`RoomEvent::Rejoined`] and `Resumed` report
    /// them.
    fn report_roster(&mut self, changes: Vec<RosterChange>, own: Option<OwnPeer>, push: Push) {
        for change in changes {
            let (is_own, command) = match &change {
                RosterChange::Joined(peer) => (
                    own.as_ref().is_some_and(|own| own.now == peer.id),
                    Some(DriverCommand::Joined(peer.slot, peer.id)),
                ),
                RosterChange::Left { peer, .. } => (
                    own.as_ref().is_some_and(|own| own.before == peer.id),
                    Some(DriverCommand::Left(peer.slot, peer.id)),
                ),
                RosterChange::Changed(_) => (false, None),
                RosterChange::Presence { peer, .. } => {
                    (own.as_ref().is_some_and(|own| own.now == *peer), None)
                }
            };
            if !is_own {
                push(&mut self.backlog, change.into());
            }
            if let Some(command) = command {
                self.backlog.push_command(command);
            }
        }
    }

    async fn interrupted(&mut self, code: Option<Code>, text: String) -> Result<(), RoomEnded> {
        self.shared.requests.interrupt();
        self.shared.renewal.interrupt();
        if !may_reconnect(code) || self.connector.patience.is_zero() {
            return self.close(code, text).await;
        }
        if self.backlog.is_overfull() {
            return self.close(code, "the application takes no events".into()).await;
        }
        self.backlog.push_event(RoomEvent::Interrupted { code, text });
        let (last_event, last_bulk) = (self.receiver.last_event(), self.receiver.last_bulk());
        let resume = ResumeFrom { ticket: self.ticket.clone(), last_event, last_bulk };
        match self.join_again_while_delivering(resume).await? {
            None => self.close(Some(Code::Left), "closed by this client".into()).await,
            Some(Ok(session)) => self.resume_with(session).await,
            Some(Err(error)) => {
                let code = if let JoinError::Refused { code, .. } = error { code } else { None };
                self.close(code, error.to_string()).await
            }
        }
    }

    /// Joins again, and delivers events meanwhile: the application may wait for something that needs
    /// a session before it takes the next event. Returns `None` if the application closes the room.
    async fn join_again_while_delivering(
        &mut self,
        resume: ResumeFrom,
    ) -> Result<Option<Result<Session, JoinError>>, RoomEnded> {
        let RoomTask { connector, shared, backlog, .. } = self;
        let (events, outbox) = (backlog.event_sender(), shared.events.clone());
        let mut joining = pin!(join_again(connector, &shared.renewal, resume));
        loop {
            tokio::select! {
                outcome = &mut joining => return Ok(Some(outcome)),
                delivered = backlog.deliver_next(), if !backlog.is_empty() => delivered?,
                () = events.closed() => return Err(RoomEnded),
                () = outbox.closed() => return Ok(None),
            }
        }
    }

    /// Continues with a new session in place of the lost one.
    async fn resume_with(&mut self, session: Session) -> Result<(), RoomEnded> {
        let joined = session.joined().clone();
        let config = match session.link_config() {
            Ok(config) => config,
            Err(error) => return self.close(None, error.to_string()).await,
        };
        let connection = session.connection().clone();
        self.endpoint.set(session.endpoint().clone());
        self.connector.servers.joined(endpoints(&joined.entries));
        let left = Duration::from_secs(session.settings().ticket_ttl_s);
        self.token_wanted_at = after_three_quarters(left);
        self.has_state = session.features().contains(Features::STATE);
        let (sender, receiver) = session.split();
        self.receiver = receiver;
        let instance = RoomInstanceId(joined.room_instance);
        let same_room = instance == self.instance;
        let config = Box::new(config);
        let relink = DriverCommand::Relink { config, connection, same_room };
        self.backlog.push_command(relink);
        let newer = Roster::new(joined.roster_version, joined.roster.iter().cloned());
        let changes = {
            let mut roster = self.shared.roster.write().unwrap_or_else(PoisonError::into_inner);
            roster.replace(same_room, newer)
        };
        // In the same instance, the next snapshot brings the replica up to date; without a
        // snapshot, the state is still empty. In another instance the old state is invalid, and
        // requests must not be based on it.
        let deleted = if same_room { Vec::new() } else { self.replica().clear() };
        let before = self.shared.me.swap(joined.peer, Ordering::Relaxed);
        self.shared.requests.attach(sender.clone());
        self.shared.renewal.attach(sender.clone());
        if let Err(fault) = self.shared.events.attach(sender, &joined, same_room) {
            return self.fail(fault).await;
        }
        desired::repeat(&self.shared, joined.resumed == NEW_PEER);
        self.instance = instance;
        self.ticket.clone_from(&joined.ticket);
        if joined.resumed != RESUMED {
            self.bulk.clear();
        }
        self.backlog.push_event(match joined.resumed {
            NEW_PEER => RoomEvent::Rejoined { me: PeerId(joined.peer) },
            how => RoomEvent::Resumed { missed_events: how == RESUMED_WITH_LOSS },
        });
        let own = OwnPeer { before: PeerId(before), now: PeerId(joined.peer) };
        self.report_roster(changes, Some(own), Backlog::push_uncounted);
        self.report_state(deleted, Backlog::push_uncounted);
        Ok(())
    }

    async fn close(&mut self, code: Option<Code>, text: String) -> Result<(), RoomEnded> {
        // End the pending requests first: the application may never take the last event.
        self.shared.requests.close();
        self.shared.renewal.close();
        self.backlog.push_event(RoomEvent::Closed { code, text });
        self.backlog.flush().await?;
        Err(RoomEnded)
    }
}

/// Joins again, with the newest token.
async fn join_again(
    connector: &mut RoomConnector,
    renewal: &TokenRenewal,
    resume: ResumeFrom,
) -> Result<Session, JoinError> {
    let RoomConnector { config, options, patience, servers } = connector;
    let mut tries = Tries::new(servers, *patience, options.server.clone());
    let mut earlier = None;
    loop {
        options.server = tries.next().await?;
        if let Some(token) = renewal.take_newest() {
            earlier = Some(std::mem::replace(&mut options.token, token));
        }
        let attempt = async {
            loop {
                let now = SessionOptions { resume: Some(resume.clone()), ..options.clone() };
                match Session::join(&SessionSockets::New, config.clone(), now).await {
                    // The newest token may never have been checked. The one before may still be
                    // good.
                    Err(error) if error.is_about_token() => match earlier.take() {
                        Some(token) => options.token = token,
                        None => return Err(error),
                    },
                    outcome => return outcome,
                }
            }
        };
        if let Some(session) = tries.outcome(attempt).await? {
            return Ok(session);
        }
    }
}

/// Returns when the application is asked for a fresh token: after three quarters of the time that
/// the ticket still admits to another instance of the room. `None`: the server names no time.
fn after_three_quarters(left: Duration) -> Option<Instant> {
    Instant::now().checked_add(left / 4 * 3).filter(|_| !left.is_zero())
}
