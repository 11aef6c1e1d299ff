//! A room proper: roster, presence, events, shared state, moderation. The other half of a room, which
//! relays the realtime plane, is the shard's fan-out.
//!
//! A join is admitted here (`admission`), gets a slot, waits for the shard to confirm its link, and
//! only then is the peer told `Joined` and the others about it. A participant whose session is lost
//! keeps its place for its time; whoever brings its ticket has it back. Roster changes go out in
//! batches.

mod admission;
mod events;
mod join;
mod listing;
mod members;
mod moderation;
mod state;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::{RootSecret, Suite};
use nucleus_protocol::session::{
    self, Code, Joined, Lane, Moderate, Peer, StateRequest, Subscribe,
};
use nucleus_protocol::time::Time;

use crate::Machine;
use crate::fanout::LinkEvent;
use crate::ids::{PeerId, RequestId, SessionId};
use crate::limits::{self, Limits};
use crate::rate::Bucket;
use admission::Admission;
pub use admission::{JoinConditions, Password, RoomOptions, SecondDevice};
pub use events::{Event, EventTarget};
use events::{EventLog, History};
pub use join::{JoinRequest, Resume, TicketClaim};
pub use listing::Listing;
use listing::ListingFeed;
use members::{Mutes, Participant, RosterLog, Slots};
pub use members::{Rights, Role};
pub use moderation::Moderated;
use state::{Feed, State};
pub use state::{is_key, is_value};

/// What a room takes. What comes from a session that has been replaced since is void.
pub enum RoomInput {
    /// Time has passed.
    Timeout,
    /// Somebody wants in; answered by [`RoomOutput::JoinReply`].
    Join {
        /// For the reply.
        request: RequestId,
        /// Who, and how.
        join: Box<JoinRequest>,
    },
    /// What happened to the session's link.
    Link(SessionId, LinkEvent),
    /// The client leaves, or broke the rules.
    Leave(SessionId, Code),
    /// The session died without a word.
    SessionLost(SessionId),
    /// An event, or a piece of a larger message.
    Event {
        /// Its sender.
        from: SessionId,
        /// What it says, and to whom.
        event: Event,
    },
    /// A request for changes of the shared state.
    State {
        /// Who asks.
        from: SessionId,
        /// What for.
        request: StateRequest,
    },
    /// A peer chooses the groups that it hears.
    Subscribe {
        /// Who.
        from: SessionId,
        /// Which.
        asked: Subscribe,
    },
    /// A peer acts as a moderator.
    Moderate {
        /// Who.
        from: SessionId,
        /// What it does.
        asked: Moderate,
    },
    /// Let a user into a room that is by invitation, with a reserved seat where one is left; or take the
    /// invitation back, and the seat with it: who is in stays. Answered by
    /// [`RoomOutput::InvitationReply`].
    Invite {
        /// For the reply.
        request: RequestId,
        /// Whom.
        user: String,
        /// False: take it back.
        invited: bool,
    },
    /// End the room, and tell everybody why.
    Shutdown(Code),
}

/// What a room wants done. What is meant for a session that has been replaced since is void.
pub enum RoomOutput {
    /// So many seats are given, reserved ones among them. Comes in front of the reply to a join, so that
    /// nobody counts on a seat that is gone.
    Seats(usize),
    /// The reply to [`RoomInput::Join`]: the session, or why not. [`Code::TimedOut`]: the place to resume
    /// is not there any more. Comes in front of everything else that is for the session.
    JoinReply {
        /// Which join.
        request: RequestId,
        /// The session's id, or the code to refuse with.
        result: Result<SessionId, Code>,
    },
    /// The reply to [`RoomInput::Invite`].
    InvitationReply {
        /// Which request.
        request: RequestId,
        /// [`Code::RoomFull`]: there are too many invited users; [`Code::ShuttingDown`]: the room is over.
        result: Result<(), Code>,
    },
    /// Have the shard make a link, in place of one that the peer may have had.
    OpenLink {
        /// For this session.
        session: SessionId,
        /// The peer's slot.
        slot: u16,
        /// Never reused in the session.
        link_id: u32,
        /// The AEAD.
        suite: Suite,
        /// The root key.
        root: RootSecret,
        /// Random bytes.
        seed: [u8; 32],
    },
    /// Have the shard forget a link.
    CloseLink(PeerId),
    /// Have the shard let a session's link hear these groups, and no others.
    Subscribe(SessionId, GroupSet),
    /// Have the shard drop the voice of a session's link, or not any more.
    Mute(SessionId, bool),
    /// The peer is in; its ticket is still to be sealed, and the room named.
    Joined(SessionId, Box<Joined>, TicketClaim),
    /// A message for its control stream.
    Control(SessionId, Bytes),
    /// A message for its stream of this lane.
    Event(SessionId, Lane, Bytes),
    /// A message for its state stream.
    State(SessionId, Bytes),
    /// Close the session and say why.
    Disconnect(SessionId, Code),
    /// For the log: somebody acted as a moderator, or tried to.
    Moderated(Box<Moderated>),
    /// What the lobby shows of the room has changed.
    Listing(Box<Listing>),
}

/// What a room is set to.
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// The server's bounds.
    pub limits: Limits,
    /// Peers it takes, at most what the bounds say.
    pub capacity: u16,
    /// What becomes of a user's second device.
    pub second_device: SecondDevice,
    /// Room instance id: differs between instances of a room.
    pub instance: u32,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
    /// What whoever made it wants of it.
    pub options: RoomOptions,
}

/// A room: who is in it, and what has been said that somebody may still need.
pub struct Room {
    config: RoomConfig,
    participants: BTreeMap<PeerId, Participant>,
    /// When participants whose session is gone follow it, in order.
    expiries: VecDeque<(Time, PeerId)>,
    next_peer: u32,
    slots: Slots,
    roster: RosterLog,
    events: EventLog,
    history: History,
    admission: Admission,
    /// Acts of moderation that may be done now.
    acts: Bucket,
    /// When the room ends if nobody comes before.
    empty_until: Option<Time>,
    listing: ListingFeed,
    mutes: Mutes,
    state: State,
    feed: Feed,
    /// Participants that the shared state does not know to be gone yet.
    gone: Vec<PeerId>,
    ending: bool,
    outputs: VecDeque<RoomOutput>,
}

impl Machine for Room {
    type Input = RoomInput;
    type Output = RoomOutput;
    const TIMEOUT: RoomInput = RoomInput::Timeout;

    fn handle(&mut self, now: Time, input: RoomInput) {
        match input {
            RoomInput::Timeout => self.handle_timeout(now),
            RoomInput::Join { request, join } => self.handle_join(now, request, join),
            RoomInput::Link(session, event) => self.handle_link(now, session, event),
            RoomInput::Leave(session, code) => self.handle_leave(now, session, code),
            RoomInput::SessionLost(session) => self.handle_session_lost(now, session),
            RoomInput::Event { from, event } => self.handle_event(now, from, event),
            RoomInput::State { from, request } => self.handle_state_request(now, from, request),
            RoomInput::Subscribe { from, asked } => self.handle_subscribe(from, &asked),
            RoomInput::Moderate { from, asked } => self.handle_moderation(now, from, &asked),
            RoomInput::Invite { request, user, invited } => {
                let result = if invited {
                    self.invite(now, &user)
                } else {
                    self.uninvite(now, &user);
                    Ok(())
                };
                self.outputs.push_back(RoomOutput::InvitationReply { request, result });
            }
            RoomInput::Shutdown(code) => self.handle_shutdown(now, code),
        }
    }

    fn poll(&mut self) -> Option<RoomOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        let expiry = self.expiries.front().map(|(at, _)| *at);
        let due = [expiry, self.roster.due(), self.events.due(), self.feed.due()];
        let due = [due.into_iter().flatten().min(), self.empty_until, self.reservations_due()];
        due.into_iter().chain([self.listing.due()]).flatten().min()
    }

    /// Nobody is in it, and nobody gets in any more.
    fn is_over(&self) -> bool {
        self.ending
    }
}

impl Room {
    /// An empty room; it ends when its last participant has gone, or as its options say.
    pub fn new(now: Time, config: RoomConfig) -> Self {
        let RoomOptions { first_within, fields, .. } = &config.options;
        let mut room = Self {
            slots: Slots::new(),
            events: EventLog::new(config.limits.peer_ttl),
            history: History::default(),
            participants: BTreeMap::new(),
            expiries: VecDeque::new(),
            next_peer: 1,
            roster: RosterLog::default(),
            admission: Admission::new(&config.options),
            acts: Bucket::new(now, limits::ACTS_RATE),
            mutes: Mutes::default(),
            empty_until: Some(now + first_within.unwrap_or(limits::FOUNDING_TIME)),
            listing: ListingFeed::new(config.options.hidden),
            state: State::new(config.limits, fields),
            feed: Feed::default(),
            gone: Vec::new(),
            ending: false,
            outputs: VecDeque::new(),
            config,
        };
        room.reserve_for_invited(now);
        room
    }

    /// Takes what the shard says of a session's link.
    fn handle_link(&mut self, now: Time, session: SessionId, event: LinkEvent) {
        if !self.is_newest(session) {
            return;
        }
        let peer = session.peer;
        match event {
            LinkEvent::Opened { connection_id, spare } => {
                self.link_opened(now, peer, connection_id, spare);
            }
            LinkEvent::Refused => self.remove(now, peer, Code::ServerFull),
            LinkEvent::Throttled(what) => self.tell_throttled(session, what),
            LinkEvent::Idle | LinkEvent::Active => {
                let idle = event == LinkEvent::Idle;
                let participant = self.participants.get_mut(&peer).filter(|p| p.is_in());
                let Some(participant) = participant else { return };
                // Only who has read `Joined` has the keys.
                participant.arrived |= !idle;
                self.set_away(now, peer, idle);
            }
        }
    }

    /// The peer leaves, or is made to.
    fn handle_leave(&mut self, now: Time, session: SessionId, code: Code) {
        if self.is_newest(session) {
            self.remove(now, session.peer, code);
        }
    }

    /// The session died without a word: its participant keeps its place for its time, unless it never
    /// got to know that it has one.
    fn handle_session_lost(&mut self, now: Time, session: SessionId) {
        if !self.is_newest(session) {
            return;
        }
        let expires = now + self.config.limits.peer_ttl;
        let Some(participant) = self.participants.get_mut(&session.peer) else { return };
        if !participant.arrived {
            return self.remove(now, session.peer, Code::TimedOut);
        }
        if participant.lost {
            return;
        }
        (participant.lost, participant.pending) = (true, None);
        let at = self.expiries.partition_point(|(other, _)| *other <= expires);
        self.expiries.insert(at, (expires, session.peer));
        // Who can neither be sent events nor answer is away, even if its link still talks.
        self.set_away(now, session.peer, true);
    }

    /// Ends the room: everybody is told why.
    fn handle_shutdown(&mut self, now: Time, code: Code) {
        let everybody: Vec<PeerId> = self.participants.keys().copied().collect();
        everybody.into_iter().for_each(|peer| self.take_out(now, peer, code));
        self.clear_up();
        // Nobody may have been there yet: the first join is on its way, and will find it closed.
        self.end();
    }

    /// Does what has become due.
    fn handle_timeout(&mut self, now: Time) {
        let mut expired = false;
        while let Some((_, peer)) = self.expiries.pop_front_if(|(at, _)| *at <= now) {
            self.take_out(now, peer, Code::TimedOut);
            expired = true;
        }
        if expired {
            self.clear_up();
            self.close_if_empty(now);
        }
        self.end_if_due(now);
        self.end_reservations(now);
        self.events.forget(now);
        self.feed.handle_timeout(now);
        self.list_due(now);
        if let Some(update) = self.roster.take_due(now) {
            self.tell_everybody(Bytes::from(session::encode(&update)));
        }
    }

    /// A message for everybody's control stream.
    fn tell_everybody(&mut self, message: Bytes) {
        for (peer, participant) in self.participants.iter().filter(|(_, p)| p.is_in()) {
            let session = participant.session_id(*peer);
            self.outputs.push_back(RoomOutput::Control(session, message.clone()));
        }
    }

    /// No later session of the participant has been made.
    fn is_newest(&self, session: SessionId) -> bool {
        self.participants.get(&session.peer).is_some_and(|p| p.session == session.session)
    }

    fn roster(&self) -> Vec<Peer> {
        let announced = self.participants.iter().filter(|(_, p)| p.is_announced());
        announced.map(|(id, p)| p.wire(*id)).collect()
    }

    fn set_away(&mut self, now: Time, peer: PeerId, away: bool) {
        self.set_flags(now, peer, |p| p.away = away);
    }

    fn remove(&mut self, now: Time, peer: PeerId, code: Code) {
        self.take_out(now, peer, code);
        self.clear_up();
        self.close_if_empty(now);
    }

    fn take_out(&mut self, now: Time, peer: PeerId, code: Code) {
        let Some(participant) = self.participants.remove(&peer) else { return };
        self.list(now);
        self.expiries.retain(|(_, lost)| *lost != peer);
        if participant.is_announced() {
            self.roster.left(now, peer, code);
            self.gone.push(peer);
        }
        self.outputs.push_back(RoomOutput::CloseLink(peer));
        self.outputs.push_back(RoomOutput::Disconnect(participant.session_id(peer), code));
        self.slots.release(now, participant.slot, participant.user);
    }

    /// The user of a participant, its session lost or not.
    pub fn user_of(&self, peer: PeerId) -> Option<&str> {
        self.participants.get(&peer).map(|participant| participant.user.as_str())
    }
}
