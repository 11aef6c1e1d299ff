//! A room: its participants, roster, events, shared state and moderation. The realtime plane of the
//! room is relayed by the shard, see [`crate::fanout`].
//!
//! A newcomer that is admitted gets a slot. Once the shard has opened its link, the newcomer is
//! sent `Joined` and announced to the others. A participant whose session is lost stays for a time,
//! in which it may resume with its ticket. Roster changes are sent in batches.
//!
//! Each part of a room is a type that owns its data and its rules: `Admission`, `Participants`,
//! `Mutes`, `EventRelay`, `StateReplication`, `Moderation`, `ListingFeed` and `Lifetime`. [`Room`]
//! hands the inputs to the parts, and does what concerns several of them.

mod admission;
mod config;
mod events;
mod history;
mod input;
mod join;
mod lifetime;
mod listing;
mod members;
mod moderation;
mod outputs;
mod settings;
mod state;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::{
    self, Code, Features, Joined, Lane, Renewed, StateReply, StateRequest, StateSnapshot,
    Subscribe, Throttled,
};
use nucleus_protocol::time::Time;

use crate::Machine;
use crate::control::{ControlError, RoomContent, RoomProperty};
use crate::fanout::{LinkEvent, LinkParameters};
use crate::ids::{PeerId, RequestId, SessionId};
use crate::moments::{LossCause, MomentActor, MomentKind};
use admission::Admission;
pub use config::{Ban, JoinConditions, Password, RoomConfig, RoomOptions, SecondDevice};
use events::EventRelay;
pub use events::{Event, EventTarget};
pub use history::RoomReport;
use history::{RoomHistory, VisitStart};
pub use input::RoomInput;
pub use join::{JoinRequest, RenewedToken, Resume, TicketClaim, TicketContent};
use lifetime::Lifetime;
pub use listing::Listing;
use listing::ListingFeed;
use members::{Mutes, Participants};
pub use members::{Rights, Role};
pub use moderation::Moderated;
use moderation::Moderation;
use outputs::Outputs;
use state::StateReplication;
pub use state::{is_key, is_value};

/// An output of a room. The shell ignores outputs for a session that has been replaced by a resume.
pub enum RoomOutput {
    /// The number of seats that are taken, reserved ones included. Comes directly before the reply to
    /// a join that is admitted. The lobby must know it before the reply is sent, so that it never
    /// offers a seat that has just been taken.
    Seats(usize),
    /// The reply to [`RoomInput::Join`]. Precedes all other outputs for the session.
    JoinReply {
        /// The id of the request.
        request: RequestId,
        /// The id of the new session, or the code to refuse the join with. [`Code::TimedOut`]: the
        /// participant to resume is no longer in the room.
        result: Result<SessionId, Code>,
    },
    /// The reply to [`RoomInput::Invite`].
    InvitationReply {
        /// The id of the request.
        request: RequestId,
        /// The outcome. [`Code::RoomFull`]: too many users are invited. [`Code::ShuttingDown`]: the
        /// room is over.
        result: Result<(), Code>,
    },
    /// The reply to [`RoomInput::Inspect`].
    Content(RequestId, Box<RoomContent>),
    /// The reply to [`RoomInput::Fields`].
    Fields(RequestId, Vec<RoomProperty>),
    /// The reply to [`RoomInput::Operate`].
    Operated(RequestId, Result<(), ControlError>),
    /// Asks the shard to open a link for a session, in place of an earlier link of the peer.
    OpenLink {
        /// The session.
        session: SessionId,
        /// The peer's slot.
        slot: u16,
        /// What the link is made from.
        link: Box<LinkParameters>,
    },
    /// Asks the shard to close the peer's link.
    CloseLink(PeerId),
    /// Asks the shard to deliver messages to these groups to the session's link, and to no others.
    Subscribe(SessionId, GroupSet),
    /// Asks the shard to start (true) or to stop dropping the voice of the session's link.
    Mute(SessionId, bool),
    /// Sends `Joined` to the session. The shell seals the ticket, and fills in the room's name and
    /// the entries.
    Joined(SessionId, Box<Joined>, Box<TicketContent>),
    /// Sends [`Renewed`] to the session. The shell seals the
    /// ticket.
    Renewed(SessionId, Renewed, Box<TicketContent>),
    /// Sends a message on the session's control stream.
    Control(SessionId, Bytes),
    /// Sends an [`EventAck`](nucleus_protocol::session::EventAck) on the session's control stream.
    /// It replaces an earlier one that still waits, and is never a reason to end the session.
    EventAck(SessionId, Bytes),
    /// Sends a message on the session's stream of this lane.
    Event(SessionId, Lane, Bytes),
    /// Sends a message on the session's state stream.
    State(SessionId, Bytes),
    /// Closes the session with this code.
    Disconnect(SessionId, Code),
    /// Reports that the room outlives its last participant (true), or that it has a participant again.
    Empty(bool),
    /// Reports a new ban, in place of an earlier one of the same user. The shell keeps the room's
    /// bans for the case that the server stops: see [`crate::ban_records`].
    Banned(Ban),
    /// Reports that the ban of a user has ended before its time.
    Unbanned {
        /// The user id.
        user: String,
    },
    /// Reports that the room has ended, and its bans with it.
    BansEnded,
    /// Reports an act of moderation for the log.
    Moderated(Box<Moderated>),
    /// Reports what belongs into the history of the room.
    Reported(RoomReport),
    /// Reports what the lobby shows of the room, because it has changed.
    Listing(Box<Listing>),
}

/// A room: its participants, and all that they share.
pub struct Room {
    config: RoomConfig,
    lifetime: Lifetime,
    admission: Admission,
    participants: Participants,
    mutes: Mutes,
    moderation: Moderation,
    events: EventRelay,
    state: StateReplication,
    listing: ListingFeed,
    history: RoomHistory,
    outputs: Outputs,
}

impl Machine for Room {
    type Input = RoomInput;
    type Output = RoomOutput;
    const TIMEOUT: RoomInput = RoomInput::Timeout;

    fn handle(&mut self, now: Time, input: RoomInput) {
        let started = self.history.start_unjoined();
        self.outputs.extend(started.map(RoomOutput::Reported));
        match input {
            RoomInput::Timeout => self.handle_timeout(now),
            RoomInput::Join { request, join } => self.handle_join(now, request, join),
            RoomInput::Link(session, event) => self.handle_link(now, session, event),
            RoomInput::Leave(session, code) => self.handle_leave(now, session, code),
            RoomInput::SessionLost(session, cause) => {
                self.handle_session_lost(now, session, cause);
            }
            RoomInput::Event { from, event } => self.handle_event(now, from, event),
            RoomInput::State { from, request } => self.handle_state_request(now, from, request),
            RoomInput::Ping(from) => _ = self.participants.requester(from),
            RoomInput::Subscribe { from, request } => self.handle_subscribe(from, &request),
            RoomInput::Renew { from, renewal } => self.handle_renewal(from, renewal),
            RoomInput::Moderate { from, request } => self.handle_moderation(now, from, &request),
            RoomInput::Invite { request, user, invited } => {
                let result = self.handle_invitation(now, &user, invited);
                self.outputs.push(RoomOutput::InvitationReply { request, result });
            }
            RoomInput::Inspect(request) => {
                let content = Box::new(self.content(now));
                self.outputs.push(RoomOutput::Content(request, content));
            }
            RoomInput::Fields(request) => {
                let fields = self.state.room_fields();
                self.outputs.push(RoomOutput::Fields(request, fields));
            }
            RoomInput::Operate(request, act) => {
                let result = self.operate(now, act);
                self.outputs.push(RoomOutput::Operated(request, result));
            }
            RoomInput::EndEmpty if self.participants.is_empty() => self.lifetime.end(),
            RoomInput::EndEmpty => {}
            RoomInput::Shutdown(code) => self.shut_down(now, code),
        }
        if self.lifetime.ends_bans() && self.admission.end_bans() {
            self.outputs.push(RoomOutput::BansEnded);
        }
        if self.lifetime.is_over() {
            let ended = self.history.end(now);
            self.outputs.extend(ended.map(RoomOutput::Reported));
        }
    }

    fn poll(&mut self) -> Option<RoomOutput> {
        self.outputs.pop()
    }

    fn deadline(&self) -> Option<Time> {
        let deadlines = [
            self.participants.deadline(),
            self.events.deadline(),
            self.state.deadline(),
            self.lifetime.deadline(),
            self.admission.deadline(),
            self.listing.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Returns whether the room has ended: nobody is in it, and nobody can join any more.
    fn is_over(&self) -> bool {
        self.lifetime.is_over()
    }
}

impl Room {
    /// Creates an empty room. The room ends when its last participant has left, or as its options
    /// say.
    pub fn new(now: Time, mut config: RoomConfig) -> Self {
        let bans = std::mem::take(&mut config.bans);
        let options = &config.options;
        Self {
            lifetime: Lifetime::new(now, options),
            admission: Admission::new(now, options, &bans),
            participants: Participants::default(),
            mutes: Mutes::default(),
            moderation: Moderation::new(now),
            events: EventRelay::new(&config.limits),
            state: StateReplication::new(config.limits, &options.fields),
            listing: ListingFeed::new(options.hidden),
            history: RoomHistory::new(now, options.first_within.is_some()),
            outputs: Outputs::default(),
            config,
        }
    }

    /// Handles an event of a session's link.
    fn handle_link(&mut self, now: Time, session: SessionId, event: LinkEvent) {
        let Some(participant) = self.participants.of_newest(session) else { return };
        let peer = session.peer;
        match event {
            LinkEvent::Opened { connection_id, spare } => {
                self.link_opened(now, peer, connection_id, spare);
            }
            LinkEvent::Refused => self.remove(now, [peer], Code::ServerFull),
            LinkEvent::Throttled(what) => {
                if participant.is_connected() && participant.features().contains(Features::NOTICES)
                {
                    let message = Bytes::from(session::encode(&Throttled { what }));
                    self.outputs.control(session, message);
                }
            }
            LinkEvent::Silent | LinkEvent::Active => {
                let silent = event == LinkEvent::Silent;
                let Some(participant) = self.participants.connected_mut(peer) else { return };
                // Only a client that has read `Joined` has the keys of the link.
                participant.confirmed |= !silent;
                if participant.away != silent {
                    let kind = if silent { MomentKind::Away } else { MomentKind::Back };
                    participant.note(now, kind);
                }
                self.participants.set_away(now, peer, silent, &mut self.outputs);
            }
        }
    }

    /// Reports the join of a participant whose link has opened, or counts its resume. `took` is the time
    /// since the first packet of the client's connection.
    fn report_arrival(&mut self, now: Time, peer: PeerId, is_first: bool, took: Duration) {
        let Some(participant) = self.participants.get_mut(peer) else { return };
        if !is_first {
            return participant.visit.iter_mut().for_each(|visit| visit.count_resume(now, took));
        }
        let visitor = Arc::new(participant.visitor(peer));
        participant.visit = Some(VisitStart::new(now, visitor.clone(), took));
        if participant.is_muted_by_moderator() {
            participant.note(now, MomentKind::Muted(MomentActor::Room));
        }
        let peers = self.participants.iter().filter(|(_, peer)| peer.is_announced()).count();
        let reports = self.history.join(visitor, peers);
        self.outputs.extend(reports.map(RoomOutput::Reported));
    }

    /// Removes a participant that leaves or has broken the rules.
    fn handle_leave(&mut self, now: Time, session: SessionId, code: Code) {
        if self.participants.of_newest(session).is_some() {
            self.remove(now, [session.peer], code);
        }
    }

    /// Keeps a participant whose session is lost for a time, in which it may resume. Removes it at
    /// once if its client never received `Joined`: that client has no ticket.
    fn handle_session_lost(&mut self, now: Time, session: SessionId, cause: LossCause) {
        let Some(participant) = self.participants.of_newest_mut(session) else { return };
        participant.note_loss(now, cause);
        if !participant.confirmed {
            return self.remove(now, [session.peer], Code::TimedOut);
        }
        let expires = now + self.config.limits.peer_ttl;
        self.participants.session_lost(now, session.peer, expires, &mut self.outputs);
    }

    fn handle_event(&mut self, now: Time, from: SessionId, event: Event) {
        let Self { events, participants, state, outputs, .. } = self;
        if let Err(code) = events.relay(now, from, event, participants, state, outputs) {
            self.remove(now, [from.peer], code);
        }
    }

    fn handle_state_request(&mut self, now: Time, from: SessionId, request: StateRequest) {
        let Self { participants, state, outputs, .. } = self;
        let changed = state.handle_request(from, request, participants, outputs);
        if changed && !self.config.options.listed.is_empty() {
            self.listing.changed(now);
        }
    }

    /// Replaces the groups whose messages a peer receives. Drops a request of a session that a
    /// resume has replaced, that is lost, or whose link is not open yet.
    fn handle_subscribe(&mut self, from: SessionId, request: &Subscribe) {
        let Some(participant) = self.participants.requester(from) else { return };
        participant.groups = GroupSet(request.groups);
        self.outputs.push(RoomOutput::Subscribe(from, participant.groups));
        let version = self.state.version();
        let reply = StateReply { request: request.request, code: 0, failed: 0, version };
        self.outputs.reply(from, &reply);
    }

    /// Invites a user, or withdraws an invitation. An empty room to which nobody is invited ends.
    fn handle_invitation(&mut self, now: Time, user: &str, invited: bool) -> Result<(), Code> {
        if !invited {
            self.admission.uninvite(user);
            self.listing.changed(now);
            if self.participants.is_empty() && self.admission.admits_nobody() {
                self.lifetime.end();
            }
            return Ok(());
        }
        if self.lifetime.is_over() {
            return Err(Code::ShuttingDown);
        }
        self.admission.invite(now, user, self.config.capacity, &self.participants)?;
        self.listing.changed(now);
        Ok(())
    }

    /// Ends the room and disconnects everybody. With [`Code::ShuttingDown`] the server stops.
    fn shut_down(&mut self, now: Time, code: Code) {
        self.participants.peers().into_iter().for_each(|peer| self.take_out(now, peer, code));
        self.remove_from_state();
        // A room that was empty has to end too: its first join may be on its way, and is refused
        // then.
        match code {
            Code::ShuttingDown => self.lifetime.stop(),
            _ => self.lifetime.end(),
        }
    }

    /// Handles every deadline that has passed.
    fn handle_timeout(&mut self, now: Time) {
        let mut expired = Vec::new();
        while let Some(peer) = self.participants.take_expired(now) {
            expired.push(peer);
        }
        if !expired.is_empty() {
            self.remove(now, expired, Code::TimedOut);
        }
        self.lifetime.handle_timeout(now, self.participants.is_empty());
        if self.admission.end_reservations(now) {
            self.listing.changed(now);
        }
        self.events.handle_timeout(now);
        self.state.handle_timeout(now);
        self.update_listing(now);
        self.participants.send_due_acks(now, &mut self.outputs);
        if let Some(update) = self.participants.take_roster_update(now) {
            let update = Bytes::from(session::encode(&update));
            self.participants.broadcast(&update, Features::NONE, &mut self.outputs);
        }
    }

    /// Sends the listing to the lobby, if changes are due.
    fn update_listing(&mut self, now: Time) {
        if !self.listing.take_due(now) {
            return;
        }
        let (listing, seats) = (self.listing(), self.seats_taken());
        if let Some(listing) = self.listing.update(listing, seats) {
            self.outputs.push(RoomOutput::Listing(Box::new(listing)));
        }
    }

    /// Removes participants from the room. One update of the state removes the fields and objects
    /// of all of them.
    fn remove(&mut self, now: Time, peers: impl IntoIterator<Item = PeerId>, code: Code) {
        peers.into_iter().for_each(|peer| self.take_out(now, peer, code));
        self.remove_from_state();
        if self.participants.is_empty()
            && self.lifetime.emptied(now, !self.admission.admits_nobody())
        {
            self.outputs.push(RoomOutput::Empty(true));
        }
    }

    /// Removes a participant, but leaves its part of the state to [`Self::remove_from_state`].
    fn take_out(&mut self, now: Time, peer: PeerId, code: Code) {
        if self.participants.remove(now, peer, code, &mut self.outputs) {
            self.listing.changed(now);
        }
    }

    /// Removes the fields and objects of removed participants from the state.
    fn remove_from_state(&mut self) {
        let removed = self.participants.take_removed();
        self.state.remove_peers(removed, &self.participants, &mut self.outputs);
    }

    /// Returns the user of a participant, even if its session is lost.
    pub fn user_of(&self, peer: PeerId) -> Option<&str> {
        self.participants.get(peer).map(|participant| participant.user.as_str())
    }

    /// Returns the present host, 0 if nobody is present.
    pub fn host(&self) -> PeerId {
        self.state.host(&self.participants)
    }

    /// Returns the shared state.
    pub fn shared_state(&self) -> StateSnapshot {
        self.state.snapshot()
    }

    /// Returns the number of seats that are taken, reserved ones included.
    pub fn seats_taken(&self) -> usize {
        self.participants.len() + self.admission.reserved()
    }

    /// Returns what the lobby shows of the room now.
    pub fn listing(&self) -> Listing {
        let options = &self.config.options;
        let field = |key: &Vec<u8>| Some((key.clone(), self.state.room_field(key)?.clone()));
        Listing {
            peers: self.participants.len() as u16,
            reserved: self.admission.reserved() as u16,
            capacity: self.config.capacity,
            locked: self.admission.is_locked(),
            password: self.admission.has_password(),
            hidden: self.listing.is_hidden() || options.invited.is_some(),
            fields: options.listed.iter().filter_map(field).filter(listing::is_short).collect(),
        }
    }
}
