//! A room proper: roster, presence, events, shared state, moderation. A pure state machine, driven by
//! one task a room ([`task`]); the other half, which relays the realtime plane, is the shard's stage.
//!
//! A join is admitted here, gets a slot, waits for the shard to confirm its link, and only then is
//! the peer told `Joined` and the others about it. A peer whose session is lost keeps its place for
//! its time; whoever brings its ticket has it back. Roster changes go out in batches.

mod events;
mod gate;
mod history;
mod holds;
mod life;
mod moderation;
mod peer;
mod rates;
mod relay;
mod rights;
mod roster;
mod shared;
mod shown;
mod slots;
mod state;
pub mod task;
mod terms;
mod voices;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::limits::MAX_EVENT_PAYLOAD;
use nucleus_protocol::link::{Root, Suite};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{self, Code, Joined, Lane, LinkGrant, Peer};
use nucleus_protocol::time::Time;

use crate::config::SecondDevice;
use crate::limits;
use crate::shard::{LinkNews, PeerId};
use events::EventLog;
pub use events::{Event, EventTarget};
use gate::Gate;
use history::History;
use holds::Holds;
use moderation::Door;
use peer::PeerState;
pub use peer::{Claim, Seat};
pub use rates::{RoomRate, RoomRates};
pub use rights::{Rights, Role};
use roster::RosterLog;
pub use shown::Listing;
use shown::Shown;
use slots::Slots;
pub use state::Quota;
use state::{Feed, State};
pub(crate) use state::{is_key, is_value};
pub use terms::{Asks, Password, Terms};
use voices::Mutes;

/// What a room is set to.
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// Peers it takes.
    pub capacity: u16,
    /// An unreachable peer keeps its place for this long.
    pub peer_ttl: Duration,
    /// What becomes of a user's second device.
    pub second_device: SecondDevice,
    /// Differs between instances of a room.
    pub epoch: u32,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
    /// How much its shared state may hold.
    pub quota: Quota,
    /// How fast it takes reliable messages.
    pub rate: RoomRate,
    /// What whoever made it wants of it.
    pub terms: Terms,
}

/// A peer that wants in; its token or its ticket has been verified.
pub struct JoinRequest {
    /// User id from the token.
    pub user: String,
    /// Display name.
    pub name: String,
    /// Role and grants from the token; a place that is resumed keeps what it had.
    pub role: Role,
    /// It has been here and wants its place back.
    pub resume: Option<Resume>,
    /// What a newcomer brings for the door.
    pub asks: Asks,
    /// The link's grant, complete but for its connection ids.
    pub grant: LinkGrant,
    /// The link's AEAD.
    pub suite: Suite,
    /// The link's root key.
    pub root: Root,
    /// Fresh random bytes for the link.
    pub seed: [u8; 32],
}

/// What a peer says that comes back.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// From its ticket.
    pub claim: Claim,
    /// Newest event that it has, by lane.
    pub last: [u64; 2],
}

/// What a room wants done. Sessions are named by their seats: what is meant for one that has been
/// replaced since is void.
pub enum RoomOutput {
    /// Have the shard make a link, in place of one that the peer may have had.
    OpenLink {
        /// For this session of a peer.
        seat: Seat,
        /// The peer's slot.
        slot: u16,
        /// Never reused in the session.
        link_id: u32,
        /// The AEAD.
        suite: Suite,
        /// The root key.
        root: Root,
        /// Random bytes.
        seed: [u8; 32],
    },
    /// Have the shard forget a link.
    CloseLink(PeerId),
    /// Have the shard let a session's link hear these groups, and no others.
    Subscribe(Seat, GroupSet),
    /// Have the shard drop the voice of a session's link, or not any more.
    Mute(Seat, bool),
    /// The peer is in; its ticket is still to be sealed, and the room named.
    Joined(Seat, Box<Joined>, Claim),
    /// A message for its control stream.
    Control(Seat, Bytes),
    /// A message for its stream of this lane.
    Event(Seat, Lane, Bytes),
    /// A message for its state stream.
    State(Seat, Bytes),
    /// Close the session and say why.
    Disconnect(Seat, Code),
    /// What the room shows in the lobby has changed.
    Shown(Box<Listing>),
    /// The room is over, and nobody in it.
    Closed,
}

/// See the module.
pub struct Room {
    config: RoomConfig,
    peers: BTreeMap<PeerId, PeerState>,
    /// When peers whose session is gone follow it, in order.
    expiries: VecDeque<(Time, PeerId)>,
    next_peer: u32,
    slots: Slots,
    roster: RosterLog,
    events: EventLog,
    history: History,
    door: Door,
    gate: Gate,
    holds: Holds,
    /// When the room ends if nobody comes before.
    empty_until: Option<Time>,
    /// Not to be found in the lobby.
    hidden: bool,
    shown: Shown,
    mutes: Mutes,
    state: State,
    feed: Feed,
    /// Peers that the shared state does not know to be gone yet.
    gone: Vec<PeerId>,
    ending: bool,
    outputs: VecDeque<RoomOutput>,
}

impl Room {
    /// An empty room; it ends when its last peer has gone, or as its terms say.
    pub fn new(now: Time, config: RoomConfig) -> Self {
        let Terms { version, password, guests, first_within, .. } = config.terms.clone();
        let mut room = Self {
            slots: Slots::new(),
            events: EventLog::new(config.peer_ttl),
            history: History::default(),
            peers: BTreeMap::new(),
            expiries: VecDeque::new(),
            next_peer: 1,
            roster: RosterLog::default(),
            door: Door::new(now, config.terms.locked),
            mutes: Mutes::default(),
            gate: Gate::new(version, password, guests),
            holds: Holds::default(),
            empty_until: Some(now + first_within.unwrap_or(limits::FOUNDING_TIME)),
            hidden: config.terms.hidden,
            shown: Shown::default(),
            state: State::new(config.quota, &config.terms.fields),
            feed: Feed::default(),
            gone: Vec::new(),
            ending: false,
            outputs: VecDeque::new(),
            config,
        };
        room.hold_for_guests(now);
        room
    }

    /// Admits a peer; what follows depends on the shard.
    ///
    /// # Errors
    ///
    /// The code to refuse with; [`Code::TimedOut`]: the place to resume is not there any more.
    pub fn handle_join(&mut self, now: Time, request: JoinRequest) -> Result<Seat, Code> {
        if self.ending {
            return Err(Code::ShuttingDown);
        }
        match request.resume {
            Some(resume) => self.resume(resume, request),
            None => self.enter(now, request).inspect_err(|_| self.refused()),
        }
    }

    /// Takes what the shard says of a session's link.
    pub fn handle_link(&mut self, now: Time, seat: Seat, news: LinkNews) {
        if !self.is_seated(seat) {
            return;
        }
        let peer = seat.peer;
        match news {
            LinkNews::Opened { connection_id, spare } => {
                self.link_opened(now, peer, connection_id, spare);
            }
            LinkNews::Refused => self.remove(now, peer, Code::ServerFull),
            LinkNews::Throttled(what) => self.tell_throttled(seat, what),
            LinkNews::Quiet | LinkNews::Heard => {
                let quiet = news == LinkNews::Quiet;
                let Some(state) = self.peers.get_mut(&peer).filter(|p| p.is_in()) else { return };
                // Only who has read `Joined` has the keys.
                state.arrived |= !quiet;
                self.set_away(now, peer, quiet);
            }
        }
    }

    /// The peer leaves, or is made to.
    pub fn handle_leave(&mut self, now: Time, seat: Seat, code: Code) {
        if self.is_seated(seat) {
            self.remove(now, seat.peer, code);
        }
    }

    /// The peer's session died without a word: it keeps its place for its time, unless it never got
    /// to know that it has one.
    pub fn handle_session_lost(&mut self, now: Time, seat: Seat) {
        if !self.is_seated(seat) {
            return;
        }
        let expires = now + self.config.peer_ttl;
        let Some(state) = self.peers.get_mut(&seat.peer) else { return };
        if !state.arrived {
            return self.remove(now, seat.peer, Code::TimedOut);
        }
        if state.lost {
            return;
        }
        (state.lost, state.pending) = (true, None);
        let at = self.expiries.partition_point(|(other, _)| *other <= expires);
        self.expiries.insert(at, (expires, seat.peer));
        // A peer that can neither be sent events nor answer is away, even if its link still talks.
        self.set_away(now, seat.peer, true);
    }

    /// Ends the room: everybody is told why.
    pub fn handle_shutdown(&mut self, now: Time, code: Code) {
        let everybody: Vec<PeerId> = self.peers.keys().copied().collect();
        everybody.into_iter().for_each(|peer| self.take_out(now, peer, code));
        self.clear_up();
        // Nobody may have been there yet: the first join is on its way, and will find it closed.
        self.end();
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Time) {
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
        if self.holds.forget(now) {
            self.show(now);
        }
        self.events.forget(now);
        self.feed.handle_timeout(now);
        self.show_due(now);
        if let Some(update) = self.roster.take_due(now) {
            let message = Bytes::from(session::encode(&update));
            for (peer, state) in self.peers.iter().filter(|(_, p)| p.is_in()) {
                self.outputs.push_back(RoomOutput::Control(state.seat(*peer), message.clone()));
            }
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    pub fn deadline(&self) -> Option<Time> {
        let expiry = self.expiries.front().map(|(at, _)| *at);
        let due = [expiry, self.roster.due(), self.events.due(), self.feed.due()];
        let due = [due.into_iter().flatten().min(), self.empty_until, self.holds.due()];
        let due = due.into_iter().chain([self.shown.due()]);
        due.into_iter().flatten().min()
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<RoomOutput> {
        self.outputs.pop_front()
    }

    /// The seat is the peer's newest.
    fn is_seated(&self, seat: Seat) -> bool {
        self.peers.get(&seat.peer).is_some_and(|p| p.session == seat.session)
    }

    fn enter(&mut self, now: Time, request: JoinRequest) -> Result<Seat, Code> {
        self.door.admit(now, &request.user, request.role.rights.moderate)?;
        self.gate.admit(now, &request.user, &request.asks)?;
        let replaced = self.replaced_by(&request.user)?;
        let expected = self.seats_for(now, &request, replaced.len())?;
        let slot = self.slots.allocate(now, &request.user)?;
        replaced.into_iter().for_each(|peer| self.take_out(now, peer, Code::Replaced));
        self.clear_up();
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        let seat = Seat { peer, session: 1 };
        self.open_link(seat, slot, &request);
        self.seat(now, &request.user, &expected);
        let muted = self.mutes.hold(&request.user, request.role.rights.moderate);
        self.peers.insert(peer, PeerState::new(request, slot, self.events.newest()));
        self.set_flags(now, peer, |p| p.muted = muted);
        Ok(seat)
    }

    /// Which of the user's other devices have to go, as the policy says.
    fn replaced_by(&self, user: &str) -> Result<Vec<PeerId>, Code> {
        let policy = self.config.second_device;
        if policy == SecondDevice::Allow {
            return Ok(Vec::new());
        }
        let others = self.peers.iter().filter(|(_, p)| p.user == user);
        // A device whose session is gone, or that never heard of its place, is no reason to refuse: it
        // may be this very one.
        if policy == SecondDevice::Refuse && others.clone().any(|(_, p)| p.arrived && !p.lost) {
            return Err(Code::AlreadyJoined);
        }
        Ok(others.map(|(peer, _)| *peer).collect())
    }

    fn resume(&mut self, resume: Resume, request: JoinRequest) -> Result<Seat, Code> {
        let Claim { room_epoch, peer, generation } = resume.claim;
        let last = resume.last.map(|last| last.min(self.events.newest()));
        let state = self.peers.get_mut(&peer);
        let state = state.filter(|p| p.user == request.user && p.honours(generation));
        let state = state.filter(|_| room_epoch == self.config.epoch).ok_or(Code::TimedOut)?;
        state.resume(generation, last, request.grant.clone());
        let (seat, slot, groups) = (state.seat(peer), state.slot, state.groups);
        let silent = state.is_silent();
        self.expiries.retain(|(_, lost)| *lost != peer);
        self.open_link(seat, slot, &request);
        if !groups.is_empty() {
            self.outputs.push_back(RoomOutput::Subscribe(seat, groups));
        }
        if silent {
            self.outputs.push_back(RoomOutput::Mute(seat, true));
        }
        Ok(seat)
    }

    fn open_link(&mut self, seat: Seat, slot: u16, request: &JoinRequest) {
        self.outputs.push_back(RoomOutput::OpenLink {
            seat,
            slot,
            link_id: request.grant.link_id,
            suite: request.suite,
            root: request.root.clone(),
            seed: request.seed,
        });
    }

    fn link_opened(&mut self, now: Time, peer: PeerId, id: ConnectionId, spare: ConnectionId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(mut grant) = state.pending.take() else { return };
        grant.connection_id = id.0;
        grant.spare = spare.0;
        let (last, new) = (state.last, !state.is_announced());
        let missed = Lane::ALL.map(|lane| self.events.since(lane, state.last[lane.index()], peer));
        let complete = missed.iter().all(|(complete, _)| *complete);
        let resumed = match (state.is_announced(), complete) {
            (false, _) => session::NEW_PEER,
            (true, true) => session::RESUMED,
            (true, false) => session::RESUMED_WITH_LOSS,
        };
        if !state.is_announced() {
            // The others learn of this peer with the next version; so does the peer itself, which
            // has nothing against hearing of somebody twice.
            state.since_version = Some(self.roster.version() + 1);
            self.roster.joined(now, state.wire(peer));
        }
        let (seat, slot) = (state.seat(peer), state.slot);
        let [events_taken, bulk_taken] = state.taken;
        self.set_away(now, peer, false);
        let joined = Joined {
            peer: peer.0,
            slot,
            capacity: self.config.capacity,
            room_epoch: self.config.epoch,
            roster_version: self.roster.version(),
            roster: self.roster(),
            grant,
            server_time: now.as_micros(),
            clock_epoch: self.config.clock_epoch,
            max_event: MAX_EVENT_PAYLOAD as u32,
            ticket: Vec::new(),
            peer_ttl_ms: self.config.peer_ttl.as_millis() as u32,
            resumed,
            events_taken,
            bulk_taken,
            room: Vec::new(),
        };
        let room_epoch = self.config.epoch;
        let claim = Claim { room_epoch, peer, generation: seat.session };
        self.outputs.push_back(RoomOutput::Joined(seat, Box::new(joined), claim));
        let kept = self.told_of_before(peer, last[Lane::Events.index()], new);
        let kept = kept.into_iter().map(|m| RoomOutput::Event(seat, Lane::Events, m));
        self.outputs.extend(kept);
        for (lane, (_, missed)) in Lane::ALL.into_iter().zip(missed) {
            let missed = missed.into_iter().map(|m| RoomOutput::Event(seat, lane, m));
            self.outputs.extend(missed);
        }
        self.tell_state(now, seat);
    }

    fn roster(&self) -> Vec<Peer> {
        let announced = self.peers.iter().filter(|(_, p)| p.is_announced());
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
        let Some(state) = self.peers.remove(&peer) else { return };
        self.show(now);
        self.expiries.retain(|(_, lost)| *lost != peer);
        if state.is_announced() {
            self.roster.left(now, peer, code);
            self.gone.push(peer);
        }
        self.outputs.push_back(RoomOutput::CloseLink(peer));
        self.outputs.push_back(RoomOutput::Disconnect(state.seat(peer), code));
        self.slots.release(now, state.slot, state.user);
    }
}
