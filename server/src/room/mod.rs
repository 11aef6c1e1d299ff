//! A room proper: roster, presence, events. A pure state machine, driven by one task a room
//! ([`task`]); the other half, which relays the realtime plane, is the shard's stage.
//!
//! A join is admitted here, gets a slot, waits for the shard to confirm its link, and only then is
//! the peer told `Joined` and the others about it. Roster changes go out in batches.

mod roster;
mod slots;
pub mod task;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits::{MAX_EVENT_PAYLOAD, MAX_EVENT_TARGETS};
use nucleus_protocol::link::{Root, Suite};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{self, Code, EventDown, Joined, LinkGrant, Peer};
use nucleus_protocol::time::Time;

use crate::shard::{LinkNews, PeerId};
use roster::RosterLog;
use slots::Slots;

/// What a room is set to.
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// Peers it takes.
    pub capacity: u16,
    /// An unreachable peer keeps its place for this long.
    pub peer_ttl: Duration,
    /// Differs between instances of a room.
    pub epoch: u32,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
}

/// A peer that wants in; its token has been verified.
pub struct JoinRequest {
    /// User id from the token.
    pub user: String,
    /// Display name.
    pub name: String,
    /// Role from the token.
    pub role: String,
    /// The link's grant, complete but for its connection ids.
    pub grant: LinkGrant,
    /// The link's AEAD.
    pub suite: Suite,
    /// The link's root key.
    pub root: Root,
    /// Fresh random bytes for the link.
    pub seed: [u8; 32],
}

/// Whom an event is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTarget {
    /// Everybody, the sender included.
    All,
    /// Everybody but the sender.
    Others,
    /// Those of these who are in the room.
    Listed(Vec<PeerId>),
}

/// What a room wants done.
pub enum RoomOutput {
    /// Have the shard make a link.
    OpenLink {
        /// For this peer.
        peer: PeerId,
        /// Its slot.
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
    /// The peer is in.
    Joined(PeerId, Box<Joined>),
    /// A message for its control stream.
    Control(PeerId, Bytes),
    /// A message for its event stream.
    Event(PeerId, Bytes),
    /// Close its session and say why.
    Disconnect(PeerId, Code),
    /// The room is empty and over.
    Closed,
}

struct PeerState {
    slot: u16,
    user: String,
    name: String,
    role: String,
    /// Until the shard has confirmed the link.
    grant: Option<LinkGrant>,
    /// The roster has the peer from this version on.
    since_version: u32,
    session_quiet: bool,
    link_quiet: bool,
    away: bool,
    /// The session is gone; the peer follows at its time in `expiries`.
    lost: bool,
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
    event_sequence: u64,
    ending: bool,
    outputs: VecDeque<RoomOutput>,
}

impl Room {
    /// An empty room; it ends when its last peer has gone.
    pub fn new(config: RoomConfig) -> Self {
        Self {
            slots: Slots::new(),
            config,
            peers: BTreeMap::new(),
            expiries: VecDeque::new(),
            next_peer: 1,
            roster: RosterLog::default(),
            event_sequence: 0,
            ending: false,
            outputs: VecDeque::new(),
        }
    }

    /// Admits a peer; what follows depends on the shard.
    pub fn handle_join(&mut self, now: Time, request: JoinRequest) -> Result<PeerId, Code> {
        if self.ending {
            return Err(Code::ShuttingDown);
        }
        if self.peers.len() >= usize::from(self.config.capacity) {
            return Err(Code::RoomFull);
        }
        let slot = self.slots.allocate(now).ok_or(Code::RoomFull)?;
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        self.outputs.push_back(RoomOutput::OpenLink {
            peer,
            slot,
            link_id: request.grant.link_id,
            suite: request.suite,
            root: request.root,
            seed: request.seed,
        });
        let state = PeerState {
            slot,
            user: request.user,
            name: request.name,
            role: request.role,
            grant: Some(request.grant),
            since_version: 0,
            session_quiet: false,
            link_quiet: true,
            away: false,
            lost: false,
        };
        self.peers.insert(peer, state);
        Ok(peer)
    }

    /// Takes what the shard says of a peer's link.
    pub fn handle_link(&mut self, now: Time, peer: PeerId, news: LinkNews) {
        match news {
            LinkNews::Opened { connection_id, spare } => {
                self.link_opened(now, peer, connection_id, spare);
            }
            LinkNews::Refused => {
                self.outputs.push_back(RoomOutput::Disconnect(peer, Code::ServerFull));
                self.forget(now, peer);
            }
            LinkNews::Quiet | LinkNews::Heard => {
                self.update_presence(now, peer, |p| p.link_quiet = news == LinkNews::Quiet);
            }
        }
    }

    /// The session has heard nothing of the peer for `away_after`, or something again.
    pub fn handle_session_quiet(&mut self, now: Time, peer: PeerId, quiet: bool) {
        self.update_presence(now, peer, |p| p.session_quiet = quiet);
    }

    /// The peer leaves, or is made to.
    pub fn handle_leave(&mut self, now: Time, peer: PeerId, code: Code) {
        let Some(state) = self.peers.get(&peer) else { return };
        if state.grant.is_none() {
            self.roster.left(now, peer, code);
        }
        self.outputs.push_back(RoomOutput::CloseLink(peer));
        self.outputs.push_back(RoomOutput::Disconnect(peer, code));
        self.forget(now, peer);
    }

    /// The peer's session died without a word, after `silence`: it keeps its place for what is
    /// left of its time.
    pub fn handle_session_lost(&mut self, now: Time, peer: PeerId, silence: Duration) {
        let expires = now + self.config.peer_ttl.saturating_sub(silence);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.grant.is_some() {
            return self.handle_leave(now, peer, Code::TimedOut);
        }
        if state.lost {
            return;
        }
        state.lost = true;
        let at = self.expiries.partition_point(|(other, _)| *other <= expires);
        self.expiries.insert(at, (expires, peer));
        // A peer that can neither be sent events nor answer is away, even if its link still talks.
        self.update_presence(now, peer, |p| (p.session_quiet, p.link_quiet) = (true, true));
    }

    /// Relays an event.
    pub fn handle_event(
        &mut self,
        now: Time,
        from: PeerId,
        target: &EventTarget,
        channel: u8,
        payload: &[u8],
    ) {
        let too_many = matches!(target, EventTarget::Listed(l) if l.len() > MAX_EVENT_TARGETS);
        if too_many || payload.len() > MAX_EVENT_PAYLOAD {
            return self.handle_leave(now, from, Code::EventTooLarge);
        }
        let Some(sender) = self.peers.get(&from).filter(|p| p.grant.is_none()) else { return };
        self.event_sequence += 1;
        let event = EventDown {
            peer: from.0,
            roster_version: sender.since_version,
            sequence: self.event_sequence,
            channel,
            payload: payload.to_vec(),
        };
        let message = Bytes::from(session::encode(&event));
        let mut send = |peer: PeerId| {
            self.outputs.push_back(RoomOutput::Event(peer, message.clone()));
        };
        match target {
            EventTarget::Listed(listed) => {
                let mut listed = listed.clone();
                listed.sort_unstable();
                listed.dedup();
                let there = |peer: &PeerId| self.peers.get(peer).is_some_and(PeerState::is_in);
                listed.into_iter().filter(there).for_each(&mut send);
            }
            EventTarget::All | EventTarget::Others => {
                let to_self = *target == EventTarget::All;
                let wanted =
                    self.peers.iter().filter(|(id, p)| p.is_in() && (to_self || **id != from));
                wanted.map(|(id, _)| *id).for_each(&mut send);
            }
        }
    }

    /// Ends the room: everybody is told why.
    pub fn handle_shutdown(&mut self, now: Time, code: Code) {
        let everybody: Vec<PeerId> = self.peers.keys().copied().collect();
        everybody.into_iter().for_each(|peer| self.handle_leave(now, peer, code));
        // Nobody may have been there yet: the first join is on its way, and will find it closed.
        self.close_if_empty();
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((_, peer)) = self.expiries.pop_front_if(|(at, _)| *at <= now) {
            self.handle_leave(now, peer, Code::TimedOut);
        }
        if let Some(update) = self.roster.take_due(now) {
            let message = Bytes::from(session::encode(&update));
            for (peer, _) in self.peers.iter().filter(|(_, p)| p.is_in()) {
                self.outputs.push_back(RoomOutput::Control(*peer, message.clone()));
            }
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let expiry = self.expiries.front().map(|(at, _)| *at);
        [expiry, self.roster.due()].into_iter().flatten().min()
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<RoomOutput> {
        self.outputs.pop_front()
    }

    fn link_opened(&mut self, now: Time, peer: PeerId, id: ConnectionId, spare: ConnectionId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(mut grant) = state.grant.take() else { return };
        grant.connection_id = id.0;
        grant.spare = spare.0;
        // The others learn of this peer with the next version; so does the peer itself, which has
        // nothing against hearing of somebody twice.
        state.since_version = self.roster.version() + 1;
        let slot = state.slot;
        let entry = state.wire(peer);
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
        };
        self.roster.joined(now, entry);
        self.outputs.push_back(RoomOutput::Joined(peer, Box::new(joined)));
    }

    fn roster(&self) -> Vec<Peer> {
        let joined = self.peers.iter().filter(|(_, p)| p.grant.is_none());
        joined.map(|(id, p)| p.wire(*id)).collect()
    }

    fn update_presence(&mut self, now: Time, peer: PeerId, change: impl FnOnce(&mut PeerState)) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.lost && state.away {
            return;
        }
        change(state);
        let away = state.session_quiet && state.link_quiet;
        if away != state.away && state.grant.is_none() {
            state.away = away;
            self.roster.presence(now, peer, state.presence());
        }
    }

    fn forget(&mut self, now: Time, peer: PeerId) {
        if let Some(state) = self.peers.remove(&peer) {
            self.slots.release(now, state.slot);
        }
        self.close_if_empty();
    }

    fn close_if_empty(&mut self) {
        if self.peers.is_empty() && !self.ending {
            self.ending = true;
            self.outputs.push_back(RoomOutput::Closed);
        }
    }
}

impl PeerState {
    fn is_in(&self) -> bool {
        self.grant.is_none() && !self.lost
    }

    fn presence(&self) -> u8 {
        if self.away { session::AWAY } else { session::PRESENT }
    }

    fn wire(&self, peer: PeerId) -> Peer {
        Peer {
            peer: peer.0,
            slot: self.slot,
            presence: self.presence(),
            user: self.user.clone().into_bytes(),
            name: self.name.clone().into_bytes(),
            role: self.role.clone().into_bytes(),
        }
    }
}
