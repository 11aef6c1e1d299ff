//! [`RoomClient`]: a client in a room, over all of its sessions. It knows the roster and the shared
//! state, keeps events until the server has them, and comes back after a loss.
//!
//! A shell drives it as a [`DrivenClient`]. The application takes its events with
//! [`RoomClient::take_event`].

mod apply;
mod desired;
mod explain;
mod join;
mod link;
mod renewal;
mod requests;
mod send;
mod taken;

use std::collections::VecDeque;
use std::time::Duration;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::ids::RoomInstanceId;
use nucleus_protocol::link::Planes;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::assembly::BulkAssembly;
use crate::event::RoomEvent;
use crate::limits;
use crate::roster::{PeerId, Roster, Slot};
use crate::rpc::Rpcs;
use crate::session::backlog::EventBacklog;
use crate::session::join_token::JoinToken;
use crate::session::{
    ClientOptions, ClientOutput, ClientSession, DrivenClient, JoinError, ReturnTicket,
    SessionInput, SessionPurpose,
};
use crate::sized::{EventQueue, HeldBytes, QueueLimit};
use crate::state::Replica;
use desired::Desired;
pub use desired::SettingNumber;
pub use explain::{RefusedAction, RefusedOperation};
pub use join::RoomJoin;
pub use link::GrantedLink;
use renewal::TokenRenewal;
pub use renewal::{RenewError, RenewalNumber};
use requests::RoomRequests;
pub use requests::{RequestResult, StateError};
use taken::{LanePosition, TakenEvents};

/// How long a leave waits until the last events are written.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// An output of a [`RoomClient`], besides those of its session.
pub enum RoomOutput {
    /// There is a new session, and with it a new link of the realtime plane.
    Link {
        /// The grant of the link.
        link: Box<GrantedLink>,
        /// Whether the room instance is the same as before. The slots of another instance belong to
        /// other peers.
        same_room: bool,
    },
    /// The session is lost, and with it its link.
    LinkLost,
    /// The roster names a peer. The application's event about it waits already.
    PeerJoined(Slot, PeerId),
    /// A peer has left.
    PeerLeft(Slot, PeerId),
    /// A fresh token is wanted: call [`RoomClient::take_token`].
    TokenWanted,
}

/// An event that waits for the application.
struct WaitingEvent {
    event: RoomEvent,
    /// `None` if the event did not come on a lane.
    position: Option<LanePosition>,
}

impl HeldBytes for WaitingEvent {
    fn held_bytes(&self) -> usize {
        self.event.held_bytes()
    }
}

/// A client in a room, over all of its sessions.
pub struct RoomClient {
    session: ClientSession,
    options: RoomJoin,
    token: JoinToken,
    /// What resumes the newest session.
    ticket: ReturnTicket,
    /// When a fresh token is asked for.
    token_wanted_at: Option<Time>,
    /// The planes and the largest body of the newest connection.
    planes: (u16, Planes),
    me: PeerId,
    /// `None` before the first session.
    instance: Option<RoomInstanceId>,
    /// Names the server's clock; `None` before the first session.
    clock_epoch: Option<u32>,
    roster: Roster,
    keeps_roster: bool,
    replica: Replica,
    /// Whether this session carries the shared state.
    has_state: bool,
    /// The host as last reported to the application.
    host: Option<PeerId>,
    /// Largest event that the server takes, in bytes.
    max_event: usize,
    outbox: EventBacklog,
    too_large_events: u64,
    requests: RoomRequests,
    renewal: TokenRenewal,
    rpc: Rpcs,
    muted: Desired<bool>,
    groups: Desired<GroupSet>,
    bulk: BulkAssembly,
    /// Number of the next object that this client creates.
    next_object: u32,
    events: EventQueue<WaitingEvent>,
    taken: TakenEvents,
    /// Largest sequence that a join as this peer has named, by lane. The server does not send the
    /// events up to this one again.
    claimed: [u64; 2],
    /// Whether the waiting events have stopped the reading of the session.
    is_behind: bool,
    /// When a leave stops waiting for events that are not written.
    leaves_at: Option<Time>,
    failure: Option<JoinError>,
    outputs: VecDeque<RoomOutput>,
}

impl DrivenClient for RoomClient {
    type Output = RoomOutput;
    type Event = RoomEvent;

    fn handle(&mut self, now: Time, input: SessionInput<'_>) {
        self.session.handle(now, input);
        self.advance(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.session.handle_timeout(now);
        if self.token_wanted_at.is_some_and(|at| at <= now) && !self.is_behind {
            self.ask_for_token(None);
        }
        self.token.handle_timeout(now, &mut self.session);
        self.rpc.handle_timeout(now);
        self.advance(now);
    }

    fn deadline(&self) -> Option<Time> {
        let token = self.token_wanted_at.filter(|_| !self.is_behind);
        // A lost session does not delay the leave.
        let has_left = self.session.is_leaving() || self.session.is_closed();
        let leave = self.leaves_at.filter(|_| !has_left);
        [self.session.deadline(), token, leave, self.rpc.deadline()].into_iter().flatten().min()
    }

    fn poll(&mut self) -> Option<ClientOutput<RoomOutput>> {
        if self.token.take_due() {
            return Some(ClientOutput::Own(RoomOutput::TokenWanted));
        }
        let own = self.outputs.pop_front().map(ClientOutput::Own);
        own.or_else(|| self.session.poll_output().map(ClientOutput::Session))
    }

    fn take_event(&mut self, now: Time) -> Option<RoomEvent> {
        let event = self.pop_event(now);
        if self.is_behind {
            self.advance(now);
        }
        event
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn join_token(&self) -> &str {
        self.renewal.newest().unwrap_or(self.token.newest())
    }

    fn session(&self) -> &ClientSession {
        &self.session
    }
}

impl RoomClient {
    /// Creates a client and begins to join at `server`, `host:port`. Check the options before, with
    /// [`RoomJoin::check`].
    pub fn new(now: Time, server: &str, mut options: RoomJoin, config: ClientOptions) -> Self {
        let (agent, capabilities) = (options.agent.clone(), options.capabilities);
        let mut session =
            ClientSession::new(SessionPurpose::Room, server, agent, capabilities, config);
        session.start(now);
        let token = std::mem::take(&mut options.token);
        // The process before has created objects as this peer, and may have deleted them since: begin
        // where it has hardly been.
        let next_object = if options.ticket.is_some() { (config.seed >> 32) as u32 } else { 1 };
        let taken = options.ticket.as_ref().map_or([0; 2], |ticket| ticket.last_sequences);
        Self {
            session,
            ticket: options.ticket.clone().unwrap_or_default(),
            token: JoinToken::new(token, config.has_token_provider),
            options,
            token_wanted_at: None,
            planes: (0, Planes::Both),
            me: PeerId(0),
            instance: None,
            clock_epoch: None,
            roster: Roster::default(),
            keeps_roster: config.keeps_roster,
            replica: Replica::new(),
            has_state: false,
            host: None,
            max_event: 0,
            outbox: EventBacklog::default(),
            too_large_events: 0,
            requests: RoomRequests::new(),
            renewal: TokenRenewal::default(),
            rpc: Rpcs::new(config.seed),
            muted: Desired::new(),
            groups: Desired::new(),
            bulk: BulkAssembly::default(),
            next_object,
            events: EventQueue::new(QueueLimit { full: config.event_bytes, ..limits::ROOM_EVENTS }),
            taken: TakenEvents::new(taken),
            claimed: [0; 2],
            is_behind: false,
            leaves_at: None,
            failure: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes the next event, and leaves out requests that do not wait for an answer any more.
    fn pop_event(&mut self, now: Time) -> Option<RoomEvent> {
        loop {
            let WaitingEvent { mut event, position } = self.events.pop()?;
            self.taken.take(&event, position);
            if let RoomEvent::RpcRequest { id, timeout, .. } = &mut event {
                let Some(left) = self.rpc.time_left(now, *id) else { continue };
                *timeout = left;
            }
            return Some(event);
        }
    }

    /// Applies the session's steps, and sends what can be sent.
    fn advance(&mut self, now: Time) {
        self.apply_steps(now);
        self.send_waiting(now);
        // A leave without a session has closed the client.
        self.apply_steps(now);
    }

    fn apply_steps(&mut self, now: Time) {
        loop {
            self.set_behind(self.events.is_full());
            let Some(step) = self.session.next_step(now) else { break };
            self.apply(now, step);
        }
    }

    /// Sets whether the application is too far behind with its events. The session is then not
    /// read, so replies do not arrive either.
    fn set_behind(&mut self, is_behind: bool) {
        if is_behind && !self.is_behind {
            self.end_requests();
            self.renewal.end_all(RenewError::Behind);
        }
        self.is_behind = is_behind;
        self.session.set_reading(!is_behind);
    }

    /// Ends the requests that wait for replies.
    fn end_requests(&mut self) {
        self.requests.end_all();
        self.settle_desired();
    }

    /// Leaves the room. Events that were sent before still arrive, and the other peers see the
    /// leave at once. The client is closed within 2 s.
    pub fn leave(&mut self, now: Time) {
        if self.session.is_running() {
            self.leaves_at.get_or_insert(now + FLUSH_TIME);
        } else if self.leaves_at.is_none() {
            self.session.close();
        }
        self.advance(now);
    }

    /// Leaves the room at once, without waiting for an answer. Events that are not written are lost.
    pub fn close(&mut self, now: Time) {
        self.outbox.clear();
        self.session.close();
        self.advance(now);
    }

    /// Closes the session for good, because its link cannot be used.
    pub fn fail_link(&mut self, now: Time, text: String) {
        self.session.end(Code::Malformed, text);
        self.advance(now);
    }

    /// Returns whether the client has left, or is closed for good.
    pub fn is_closed(&self) -> bool {
        self.session.is_closed() || self.leaves_at.is_some()
    }

    /// Returns whether the client has had a session.
    pub fn has_joined(&self) -> bool {
        self.instance.is_some()
    }

    /// Takes the error of the first join, if it has failed for good.
    pub fn take_failure(&mut self) -> Option<JoinError> {
        self.failure.take()
    }

    /// Returns the room's name. The server may have chosen it.
    pub fn room_name(&self) -> &str {
        &self.options.room
    }

    /// Returns this client's peer id.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// Returns the peers of the room, this client included.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Returns this client's copy of the shared state.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Returns the host, see [`Replica::host`].
    pub fn host(&self) -> Option<PeerId> {
        self.replica.host(&self.roster)
    }

    /// Returns the instance of the room; `None` before the first session.
    pub fn instance(&self) -> Option<RoomInstanceId> {
        self.instance
    }

    /// Returns how many messages of the bulk lane could not be assembled.
    pub fn bulk_dropped(&self) -> u64 {
        self.bulk.dropped()
    }

    /// Returns what resumes this session, for example in another process, after the events that the
    /// application has taken. The caller sets [`ReturnTicket::sent`]. Hand it out only when this
    /// client no longer uses it: the server gives the session to whoever comes last.
    pub fn ticket(&self) -> Option<ReturnTicket> {
        let last_sequences = self.taken.last_sequences();
        let is_claimed = last_sequences.iter().zip(self.claimed).any(|(last, named)| *last < named);
        // The pieces before the last message that was taken do not come again.
        let is_begun = self.bulk.has_begun_by(last_sequences[1]);
        let is_partial = is_claimed || is_begun || self.ticket.is_partial;
        let ticket = ReturnTicket { last_sequences, is_partial, ..self.ticket.clone() };
        (!ticket.ticket.is_empty()).then_some(ticket)
    }
}
