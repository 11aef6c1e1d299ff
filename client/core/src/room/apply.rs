//! How a [`RoomClient`] applies the steps of its session.

use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::ids::RoomInstanceId;
use nucleus_protocol::session::{
    Code, EventAck, EventDown, Features, Joined, Lane, NEW_PEER, RESERVED_CHANNELS, RESUMED,
    RESUMED_WITH_LOSS, RPC_CHANNEL, Renewed, RosterUpdate, Schema, SessionSettings, StateReply,
    TYPED_EVENT_CHANNEL, Throttled, TokenWanted, TypedEvent, join_mode, owned,
};
use nucleus_protocol::time::Time;

use super::{
    GrantedLink, LanePosition, RenewError, RoomClient, RoomOutput, TakenEvents, WaitingEvent,
};
use crate::event::{RoomEvent, Throttle};
use crate::realtime::SentSequences;
use crate::roster::{PeerId, Roster, RosterChange};
use crate::rpc::{RpcArrival, RpcError};
use crate::session::{ConnectionFacts, ProtocolError, ReceivedItem, ReturnTicket, SessionStep};
use crate::sized::EventCost;
use crate::state::StateChange;

/// How long the client waits before it asks a provider again that had no good token.
const TOKEN_PAUSE: Duration = Duration::from_secs(60);

/// This client's peer id before and after a resume or rejoin.
struct OwnPeer {
    before: PeerId,
    now: PeerId,
}

impl RoomClient {
    pub(super) fn apply(&mut self, now: Time, step: SessionStep) {
        match step {
            SessionStep::Open { facts, may_have_created } => self.open(&facts, may_have_created),
            SessionStep::Answered { features, body } => {
                if let Err(error) = self.begin(now, features, &body) {
                    self.session.fail(error);
                }
            }
            SessionStep::NotJoined(error) => {
                let has_joined = self.has_joined();
                self.token.not_joined(now, &mut self.session, error, has_joined);
            }
            SessionStep::Received(item) => {
                if let Err(error) = self.receive(now, item) {
                    self.session.fail(error);
                }
            }
            SessionStep::Written(lane) => self.outbox.mark_written(lane),
            SessionStep::Lost { code, text } => self.lost(code, text),
            SessionStep::Failed(error) => {
                self.failure = Some(error);
                self.end();
            }
            SessionStep::Closed { code, text } => {
                self.end();
                self.push(RoomEvent::Closed { code, text }, EventCost::Free);
            }
        }
    }

    fn open(&mut self, facts: &ConnectionFacts, may_have_created: bool) {
        if let Some(token) = self.renewal.take_newest() {
            self.token.replace(token);
        }
        self.planes = self.options.planes(facts);
        let mode = match self.options.selection.mode {
            join_mode::CREATE if may_have_created => join_mode::JOIN_OR_CREATE,
            mode => mode,
        };
        self.claimed = self.ticket.last_sequences;
        let join =
            self.options.encode(self.token.bytes(), self.ticket.clone(), self.planes.0, mode);
        self.session.open(&join);
    }

    /// Takes the token that [`RoomOutput::TokenWanted`] asks for; `None` if there is none now. A
    /// client that comes back asks again after a pause, as long as its patience lasts.
    pub fn take_token(&mut self, now: Time, token: Option<String>) {
        let is_renewal = !self.token.is_awaited();
        match self.token.take_answer(now, &mut self.session, token) {
            // The server's answer says whether the token is good; nobody waits for it.
            Some(token) => {
                if let Ok(number) = self.renew(token) {
                    self.forget_renewal(number);
                }
            }
            None if is_renewal => self.want_token_later(now),
            None => {}
        }
        self.advance(now);
    }

    /// Begins a session with the server's `Joined`.
    fn begin(&mut self, now: Time, offered: Features, body: &Bytes) -> Result<(), ProtocolError> {
        let mut joined: Joined = owned(body)?;
        let roster = std::mem::take(&mut joined.roster);
        let peers = if self.keeps_roster { roster } else { Vec::new() };
        let newer = Roster::new(joined.roster_version, peers)?;
        let features = offered.common(self.options.capabilities.features);
        let settings = SessionSettings::from_list(&joined.settings);
        let (largest_body, planes) = self.planes;
        let link = GrantedLink::new(now, &joined, &settings, planes, largest_body.into());
        let instance = RoomInstanceId(joined.room_instance);
        let is_first = self.instance.is_none();
        let same_room = is_first || self.instance == Some(instance);
        let is_new_peer = joined.resumed == NEW_PEER;
        let taken = [joined.events_taken, joined.bulk_taken];
        self.outbox.attach(taken, is_new_peer, same_room)?;
        // A new peer receives no earlier events.
        let last_sequences = if is_new_peer { [0; 2] } else { self.ticket.last_sequences };
        self.session.begin(features, joined.roster_version, last_sequences, &joined.entries);
        self.max_event = usize::try_from(settings.max_event).unwrap_or(usize::MAX);
        self.has_state = features.contains(Features::STATE);
        self.want_token(now, Duration::from_secs(settings.ticket_ttl_s));
        self.token.joined();
        self.options.room = String::from_utf8_lossy(&joined.room).into_owned();
        self.options.selection = self.options.selection.for_rejoin();
        let room = self.options.room.clone();
        // A message that was begun before this process is told as missed, once.
        let was_partial = std::mem::take(&mut self.ticket.is_partial) && !is_new_peer;
        let ticket = joined.ticket;
        let sent = SentSequences::default();
        self.ticket = ReturnTicket { room, sent, ticket, last_sequences, is_partial: false };
        self.renewal.attach();
        if is_new_peer {
            self.claimed = [0; 2];
            self.rpc.end_all(&RpcError::Interrupted);
            self.muted.become_new_peer();
            self.groups.become_new_peer();
        }
        if joined.resumed != RESUMED {
            self.bulk.clear();
        }
        let own = OwnPeer { before: self.me, now: PeerId(joined.peer) };
        (self.me, self.instance) = (own.now, Some(instance));
        let epoch = self.clock_epoch.replace(joined.clock_epoch);
        self.outputs.push_back(RoomOutput::Link { link: Box::new(link), same_room });
        if is_first {
            if is_new_peer {
                // The events of an earlier process were another peer's.
                self.taken = TakenEvents::default();
            }
            self.begin_first(newer, joined.resumed, was_partial);
            return Ok(());
        }
        let changes = self.roster.replace(same_room, newer);
        self.push(
            match joined.resumed {
                NEW_PEER => RoomEvent::Rejoined { me: self.me },
                how => RoomEvent::Resumed { missed_events: how == RESUMED_WITH_LOSS },
            },
            EventCost::Counted,
        );
        if epoch.is_some_and(|epoch| epoch != joined.clock_epoch) {
            self.push(RoomEvent::ClockChanged, EventCost::Counted);
        }
        // In the same instance, the next snapshot brings the replica up to date; without a
        // snapshot, the state is still empty. In another instance the old state is invalid, and
        // requests must not be based on it.
        let deleted = if same_room { Vec::new() } else { self.replica.clear() };
        self.report_roster(changes, Some(own), EventCost::Free);
        self.report_state(deleted, EventCost::Free);
        Ok(())
    }

    /// Begins the first session. The peers that are in the room already are not reported.
    fn begin_first(&mut self, roster: Roster, resumed: u8, was_partial: bool) {
        for peer in roster.iter() {
            self.outputs.push_back(RoomOutput::PeerJoined(peer.slot, peer.id));
        }
        self.roster = roster;
        self.host = self.host();
        if resumed != NEW_PEER {
            let missed_events = resumed == RESUMED_WITH_LOSS || was_partial;
            self.push(RoomEvent::Resumed { missed_events }, EventCost::Counted);
        }
    }

    fn receive(&mut self, now: Time, item: ReceivedItem) -> Result<(), ProtocolError> {
        match item {
            ReceivedItem::Control(schema, body) => self.take_control(now, schema, &body)?,
            ReceivedItem::Event(lane, event) => self.take_event_down(now, lane, event),
            ReceivedItem::Snapshot(snapshot) => {
                let changes = self.replica.apply_snapshot(snapshot)?;
                self.report_state(changes, EventCost::Free);
            }
            ReceivedItem::Update(update) => {
                let changes = self.replica.apply_update(update)?;
                self.report_state(changes, EventCost::Counted);
            }
        }
        Ok(())
    }

    fn take_control(
        &mut self,
        now: Time,
        schema: Schema,
        body: &Bytes,
    ) -> Result<(), ProtocolError> {
        match schema {
            Schema::RosterUpdate => {
                let mut update: RosterUpdate = owned(body)?;
                if !self.keeps_roster {
                    update = RosterUpdate { version: update.version, ..RosterUpdate::default() };
                }
                let version = update.version;
                let changes = self.roster.apply(update)?;
                self.session.set_roster_version(version);
                self.report_roster(changes, None, EventCost::Counted);
                self.report_host();
            }
            Schema::StateReply => {
                let reply: StateReply = owned(body)?;
                // Without the state there is no version to wait for.
                let version = if self.has_state { self.replica.version() } else { u64::MAX };
                self.requests.on_reply(reply, version);
                self.settle_desired();
            }
            Schema::Audit => {
                let audit: nucleus_protocol::session::Audit = owned(body)?;
                self.push(RoomEvent::Moderated(audit.into()), EventCost::Counted);
            }
            Schema::EventAck => {
                let ack: EventAck = owned(body)?;
                self.outbox.acknowledge(&ack)?;
            }
            Schema::Throttled => {
                let Throttled { what } = owned(body)?;
                if let Some(throttle) = Throttle::from_wire(what) {
                    self.push(RoomEvent::Throttled(throttle), EventCost::Counted);
                }
            }
            Schema::Renewed => {
                let reply: Renewed = owned(body)?;
                if let Some(reply) = self.renewal.on_reply(reply) {
                    self.want_token(now, Duration::from_secs(reply.ticket_ttl_s.into()));
                    self.ticket.ticket = reply.ticket;
                } else {
                    self.want_token_later(now);
                }
            }
            Schema::TokenWanted => {
                let TokenWanted { within_s } = owned(body)?;
                self.ask_for_token(Some(Duration::from_secs(within_s.into())));
            }
            other => return Err(ProtocolError::Unexpected(other)),
        }
        Ok(())
    }

    fn take_event_down(&mut self, now: Time, lane: Lane, event: EventDown) {
        let sequence = event.sequence;
        let event = match (lane, event.channel) {
            (Lane::Events, RPC_CHANNEL) => self.take_rpc(now, &event),
            (Lane::Events, TYPED_EVENT_CHANNEL) => self.typed_event(&event),
            // Channels of the protocol that this version does not know.
            (_, RESERVED_CHANNELS..) => None,
            (Lane::Events, _) => Some(event.into()),
            (Lane::Bulk, _) => self.bulk.take(event),
        };
        match event {
            Some(event) => self.push_with(event, Some((lane, sequence)), EventCost::Counted),
            None if lane == Lane::Events => self.taken.pass(sequence),
            None => {}
        }
    }

    /// Handles a request or an answer of a peer. Returns the event for the application, if there is
    /// one.
    fn take_rpc(&mut self, now: Time, event: &EventDown) -> Option<RoomEvent> {
        let from = PeerId(event.peer);
        let user = match self.roster.peer(from) {
            Some(peer) => &peer.user,
            // The sender has left. Its requests have ended, and those to it.
            None if self.keeps_roster => return None,
            None => "",
        };
        match self.rpc.receive(now, (from, user), &event.payload) {
            RpcArrival::Nothing => None,
            RpcArrival::Request { id, method, payload } => {
                // Set when the application takes the event.
                let timeout = Duration::ZERO;
                Some(RoomEvent::RpcRequest { id, from, method, payload, timeout })
            }
            RpcArrival::Answer(payload) => {
                self.answer_busy(from, payload);
                None
            }
        }
    }

    fn typed_event(&mut self, event: &EventDown) -> Option<RoomEvent> {
        let Some(TypedEvent { event_type, data }) = TypedEvent::parse(&event.payload) else {
            self.rpc.count_malformed();
            return None;
        };
        let (sequence, from) = (event.sequence, PeerId(event.peer));
        let (event_type, payload) = (event_type.to_owned(), data.to_vec());
        Some(RoomEvent::TypedEvent { sequence, from, event_type, payload })
    }

    /// Asks for a token after three quarters of the time that the ticket still admits to another
    /// instance of the room. Zero: the server names no time.
    fn want_token(&mut self, now: Time, left: Duration) {
        self.token_wanted_at = (!left.is_zero()).then(|| now + left / 4 * 3);
    }

    /// Asks a provider again after a pause, because it had no good token.
    fn want_token_later(&mut self, now: Time) {
        if self.token.has_provider && !self.is_closed() {
            self.token_wanted_at = Some(now + TOKEN_PAUSE);
        }
    }

    /// Asks for a fresh token. `within` is how long the ticket still admits to another instance of
    /// the room.
    pub(super) fn ask_for_token(&mut self, within: Option<Duration>) {
        self.token_wanted_at = None;
        if self.token.has_provider {
            self.token.ask();
        } else {
            self.push(RoomEvent::TokenWanted { within }, EventCost::Counted);
        }
    }

    fn lost(&mut self, code: Option<Code>, text: String) {
        self.outputs.push_back(RoomOutput::LinkLost);
        self.ticket.last_sequences = self.session.last_sequences();
        self.end_requests();
        self.renewal.end_all(RenewError::Interrupted);
        if self.events.is_overfull() {
            return self.session.end_untaken(code);
        }
        self.push(RoomEvent::Interrupted { code, text }, EventCost::Counted);
    }

    /// Ends everything that waits: the client is closed for good.
    fn end(&mut self) {
        self.end_requests();
        self.renewal.end_all(RenewError::Closed);
        self.rpc.end_all(&RpcError::Closed);
        self.outbox.clear();
        self.token_wanted_at = None;
    }

    /// Reports the changes to the application, then completes the requests that waited for them.
    fn report_state(&mut self, changes: Vec<StateChange>, cost: EventCost) {
        for change in changes {
            self.push(RoomEvent::State(change), cost);
        }
        self.report_host();
        self.requests.on_version(self.replica.version());
        self.settle_desired();
    }

    fn report_host(&mut self) {
        let host = self.host();
        if host != self.host {
            self.host = host;
            self.push(RoomEvent::State(StateChange::Host { host }), EventCost::Counted);
        }
    }

    /// Reports the changes to the application, and the peers to the realtime plane. Changes of this
    /// client itself (`own`) are not reported to the application: [`RoomEvent::Rejoined`] and
    /// `Resumed` report them.
    fn report_roster(&mut self, changes: Vec<RosterChange>, own: Option<OwnPeer>, cost: EventCost) {
        for change in changes {
            if let RosterChange::Left { peer, .. } = &change {
                self.rpc.peer_left(peer.id);
            }
            let own_change = own.as_ref().is_some_and(|own| match &change {
                RosterChange::Joined(peer) => own.now == peer.id,
                RosterChange::Left { peer, .. } => own.before == peer.id,
                RosterChange::Presence { peer, .. } => own.now == *peer,
                RosterChange::Changed(_) => false,
            });
            let output = match &change {
                RosterChange::Joined(peer) => Some(RoomOutput::PeerJoined(peer.slot, peer.id)),
                RosterChange::Left { peer, .. } => Some(RoomOutput::PeerLeft(peer.slot, peer.id)),
                RosterChange::Changed(_) | RosterChange::Presence { .. } => None,
            };
            if !own_change {
                self.push(change.into(), cost);
            }
            self.outputs.extend(output);
        }
    }

    fn push(&mut self, event: RoomEvent, cost: EventCost) {
        self.push_with(event, None, cost);
    }

    fn push_with(&mut self, event: RoomEvent, position: Option<LanePosition>, cost: EventCost) {
        self.taken.queue(&event, position);
        self.events.push(WaitingEvent { event, position }, cost);
    }
}
