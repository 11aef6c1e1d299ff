//! The real core, with a shard that confirms every link at once, and a note of all that it says.

use std::collections::BTreeMap;
use std::time::Duration;

use nucleus_protocol::groups::{Group, GroupSet};
use nucleus_protocol::link::{Root, Suite};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{
    self, Audit, Code, EventDown, Joined, Lane, LinkGrant, MessageHeader, Moderate, Peer,
    RosterUpdate, Schema, StateReply, StateRequest, StateSnapshot, StateUpdate, Subscribe, act,
};
use nucleus_protocol::time::Time;
use nucleus_server::config::SecondDevice;
use nucleus_server::room::{
    Asks, Claim, Event, EventTarget, JoinRequest, Quota, Resume, Room, RoomConfig, RoomOutput,
    RoomRate, Seat, Terms,
};
use nucleus_server::shard::{LinkNews, PeerId};

use crate::model::{Model, Session};
use crate::replica::Replica;
use crate::{CAPACITY, Op, PEER_TTL, ROLES, To};

const EPOCH: u32 = 7;

pub(crate) struct Real {
    now: u64,
    room: Room,
    over: bool,
    refused: Option<Code>,
    tickets: Vec<Claim>,
    sessions: BTreeMap<Session, Heard>,
    /// Of each session: whether its voice is dropped, and the groups that it hears.
    links: BTreeMap<Session, (bool, GroupSet)>,
    ended: BTreeMap<Session, Code>,
    requests: u32,
}

/// What one session has been told.
struct Heard {
    joined: Joined,
    roster: BTreeMap<u32, Peer>,
    version: u32,
    /// By lane.
    events: [Vec<u64>; 2],
    replies: Vec<(u16, u16, u64)>,
    /// Act, by whom, to whom.
    audits: Vec<(u8, u32, u32)>,
    replica: Option<Replica>,
}

fn key(seat: Seat) -> Session {
    (seat.peer.0, seat.session)
}

impl Real {
    pub(crate) fn new(empty_ttl: u64) -> Self {
        let terms = Terms { empty_ttl: Duration::from_millis(empty_ttl), ..Terms::default() };
        let config = RoomConfig {
            capacity: CAPACITY as u16,
            peer_ttl: Duration::from_millis(PEER_TTL),
            second_device: SecondDevice::Allow,
            epoch: EPOCH,
            clock_epoch: EPOCH,
            quota: Quota::default(),
            rate: RoomRate::default(),
            terms,
        };
        Self {
            now: 0,
            room: Room::new(Time::ZERO, config),
            over: false,
            refused: None,
            tickets: Vec::new(),
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            ended: BTreeMap::new(),
            requests: 0,
        }
    }

    /// The model says who is meant.
    pub(crate) fn does(&mut self, op: &Op, model: &Model) {
        let now = self.time();
        self.refused = None;
        match op {
            Op::Join { user, role } => self.enter(*user, ROLES[*role].0, None),
            Op::Resume { ticket, behind } => self.resume(*ticket, *behind, model),
            Op::Wait { ms } => self.wait(self.now + ms),
            Op::Link { who, heard } => {
                let news = if *heard { LinkNews::Heard } else { LinkNews::Quiet };
                if let Some(seat) = seat(model, *who, false) {
                    self.room.handle_link(now, seat, news);
                }
            }
            Op::Lost { who } => {
                if let Some(seat) = seat(model, *who, false) {
                    self.room.handle_session_lost(now, seat);
                }
            }
            Op::Leave { who } => {
                if let Some(seat) = seat(model, *who, false) {
                    self.room.handle_leave(now, seat, Code::Left);
                }
            }
            Op::Event { who, target, lane, piece, stale } => {
                let target = match target {
                    To::All => EventTarget::All,
                    To::Others => EventTarget::Others,
                    To::Listed(peers) => {
                        EventTarget::Listed(peers.iter().copied().map(PeerId).collect())
                    }
                    To::OthersAndLater => EventTarget::Later,
                    To::Host => EventTarget::Host,
                    To::Group(group) => EventTarget::Group(Group::new(*group).unwrap()),
                };
                if let Some(seat) = seat(model, *who, *stale) {
                    let (lane, channel, piece, payload) = (Lane::ALL[*lane], 0, *piece, vec![1]);
                    let event = Event { lane, target, channel, piece, payload };
                    self.room.handle_event(now, seat, event);
                }
            }
            Op::Subscribe { who, groups } => {
                let groups: GroupSet = groups.iter().filter_map(|g| Group::new(*g)).collect();
                if let Some(seat) = seat(model, *who, false) {
                    let asked = Subscribe { request: 0, groups: groups.0 };
                    self.room.handle_subscribe(seat, &asked);
                }
            }
            Op::State { who, operations, stale } => {
                self.requests += 1;
                let operations = operations.clone();
                let request = StateRequest { request: self.requests, operations };
                if let Some(seat) = seat(model, *who, *stale) {
                    self.room.handle_state_request(now, seat, request);
                }
            }
            Op::Moderate { who, act, target, seconds } => {
                let target = model.place(*target).map_or(0, |place| place.peer);
                let names = [act::KICK, act::MUTE, act::UNMUTE, act::HAND_OVER].contains(act);
                let peer = if names { target } else { 0 };
                let asked = Moderate { request: 0, act: *act, peer, seconds: *seconds };
                if let Some(seat) = seat(model, *who, false) {
                    self.room.handle_moderation(now, seat, &asked);
                }
            }
        }
        self.carry_out();
        self.room.handle_timeout(self.time());
        self.carry_out();
    }

    /// Everybody has been told what the model says, and nothing else.
    pub(crate) fn agrees(&self, model: &Model) {
        assert_eq!(self.refused, model.refused, "the join");
        assert_eq!(self.ended, model.ended, "who was put out");
        assert_eq!(self.over, model.over, "the room's end");
        let taken = |joined: &Joined| [joined.events_taken, joined.bulk_taken];
        let begun = |heard: &Heard| (heard.joined.resumed, taken(&heard.joined));
        let sessions: BTreeMap<_, _> = self.sessions.iter().map(|(s, h)| (*s, begun(h))).collect();
        assert_eq!(sessions, model.begun, "the sessions");
        for (session, heard) in &self.sessions {
            let none = Default::default();
            assert_eq!(&heard.events, model.events.get(session).unwrap_or(&none), "{session:?}");
            let none = Vec::new();
            assert_eq!(&heard.replies, model.replies.get(session).unwrap_or(&none), "{session:?}");
        }
        assert_eq!(self.room.shared_state(), model.state.snapshot(), "the state");
        for place in model.places.iter().filter(|place| place.lost_at.is_none()) {
            let silent = place.muted || place.self_muted;
            let groups = place.groups.iter().filter_map(|group| Group::new(*group)).collect();
            let link = self.links[&(place.peer, place.session)];
            assert_eq!(link, (silent, groups), "the link of {}", place.peer);
        }
        for (session, heard) in &self.sessions {
            let due = model.audited.get(session).into_iter().flatten();
            let due: Vec<_> = due.map(|at| model.audits[*at]).collect();
            assert_eq!(heard.audits, due, "{session:?}");
        }
    }

    /// Whoever is connected has the roster and the state.
    pub(crate) fn agrees_in_the_end(&self, model: &Model) {
        let names = |place: &crate::model::Place| {
            (place.peer, format!("user-{}", place.user).into_bytes(), place.presence())
        };
        let everybody: Vec<_> = model.places.iter().map(names).collect();
        for place in model.places.iter().filter(|place| place.lost_at.is_none()) {
            let heard = &self.sessions[&(place.peer, place.session)];
            let known: Vec<_> =
                heard.roster.values().map(|p| (p.peer, p.user.clone(), p.presence)).collect();
            assert_eq!(known, everybody, "the roster of {}", place.peer);
            let state = heard.replica.as_ref().map(Replica::snapshot).unwrap_or_default();
            assert_eq!(state, model.state.snapshot(), "the state of {}", place.peer);
        }
    }

    fn time(&self) -> Time {
        Time::from_millis(self.now)
    }

    fn resume(&mut self, ticket: usize, behind: [u64; 2], model: &Model) {
        let count = self.tickets.len().max(1);
        let Some(claim) = self.tickets.get(ticket % count).copied() else { return };
        let (_, user) = model.tickets[ticket % count];
        let last = behind.map(|behind| model.newest().saturating_sub(behind));
        self.enter(user, "", Some(Resume { claim, last }));
    }

    fn enter(&mut self, user: u8, role: &str, resume: Option<Resume>) {
        let request = JoinRequest {
            user: format!("user-{user}"),
            name: String::new(),
            role: role.into(),
            resume,
            asks: Asks::default(),
            grant: LinkGrant {
                link_id: 1,
                connection_id: [0; 8],
                spare: [0; 8],
                secret: [0; 32],
                suite: 1,
                flags: 0,
                endpoints: Vec::new(),
            },
            suite: Suite::Aes128Gcm,
            root: Root::new(&[0; 32], None),
            seed: [0; 32],
        };
        self.refused = self.room.handle_join(self.time(), request).err();
    }

    /// Everything happens when it is due.
    fn wait(&mut self, until: u64) {
        while let Some(due) = self.room.deadline().filter(|at| at.as_micros() <= until * 1_000) {
            self.now = due.as_micros() / 1_000;
            self.room.handle_timeout(due);
            self.carry_out();
            if self.over {
                break;
            }
        }
        self.now = until;
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.room.poll_output() {
            match output {
                RoomOutput::OpenLink { seat, .. } => {
                    // A new one is heard, and hears no group.
                    self.links.insert(key(seat), Default::default());
                    let id = ConnectionId([1; 8]);
                    let opened = LinkNews::Opened { connection_id: id, spare: id };
                    self.room.handle_link(self.time(), seat, opened);
                }
                RoomOutput::Joined(seat, joined, claim) => {
                    self.tickets.push(claim);
                    let roster = joined.roster.iter().map(|p| (p.peer, p.clone())).collect();
                    let version = joined.roster_version;
                    let (events, replies, audits, replica) = Default::default();
                    let joined = *joined;
                    let heard = Heard { joined, roster, version, events, replies, audits, replica };
                    assert!(self.sessions.insert(key(seat), heard).is_none(), "joined twice");
                }
                RoomOutput::Control(seat, message) => self.control(seat, &message),
                RoomOutput::Event(seat, lane, message) => {
                    let (_, body) = parts(&message);
                    let event = session::owned::<EventDown>(body).unwrap();
                    self.heard(seat).events[lane.index()].push(event.sequence);
                }
                RoomOutput::State(seat, message) => self.state(seat, &message),
                RoomOutput::Disconnect(seat, code) => {
                    assert!(self.ended.insert(key(seat), code).is_none(), "ended twice");
                }
                RoomOutput::Closed => self.over = true,
                RoomOutput::Subscribe(seat, groups) => {
                    self.links.get_mut(&key(seat)).expect("before its link").1 = groups;
                }
                RoomOutput::Mute(seat, muted) => {
                    self.links.get_mut(&key(seat)).expect("before its link").0 = muted;
                }
                RoomOutput::CloseLink(_) | RoomOutput::Shown(_) => {}
            }
        }
    }

    fn heard(&mut self, seat: Seat) -> &mut Heard {
        assert!(!self.ended.contains_key(&key(seat)), "told after its end");
        self.sessions.get_mut(&key(seat)).expect("told before it has joined")
    }

    fn control(&mut self, seat: Seat, message: &[u8]) {
        let (schema, body) = parts(message);
        let heard = self.heard(seat);
        if schema == Schema::StateReply {
            let reply = session::owned::<StateReply>(body).unwrap();
            return heard.replies.push((reply.code, reply.failed, reply.version));
        }
        if schema == Schema::Audit {
            let audit = session::owned::<Audit>(body).unwrap();
            return heard.audits.push((audit.act, audit.by, audit.peer));
        }
        let update = session::owned::<RosterUpdate>(body).unwrap();
        assert_eq!(update.version, heard.version + 1, "a roster version was skipped");
        heard.version = update.version;
        heard.roster.extend(update.joined.into_iter().map(|peer| (peer.peer, peer)));
        update.left.iter().for_each(|left| drop(heard.roster.remove(&left.peer)));
        for changed in update.changed {
            if let Some(peer) = heard.roster.get_mut(&changed.peer) {
                peer.presence = changed.presence;
            }
        }
    }

    fn state(&mut self, seat: Seat, message: &[u8]) {
        let (schema, body) = parts(message);
        match &mut self.heard(seat).replica {
            Some(replica) => {
                assert_eq!(schema, Schema::StateUpdate);
                replica.apply(session::owned::<StateUpdate>(body).unwrap());
            }
            none => {
                assert_eq!(schema, Schema::StateSnapshot);
                let snapshot = session::owned::<StateSnapshot>(body).unwrap();
                *none = Some(Replica::new(snapshot));
            }
        }
    }
}

/// The seat of the place that is meant, or the one that its peer had before.
fn seat(model: &Model, who: usize, stale: bool) -> Option<Seat> {
    let place = model.place(who)?;
    let session = place.session - u32::from(stale);
    Some(Seat { peer: PeerId(place.peer), session })
}

fn parts(message: &[u8]) -> (Schema, &[u8]) {
    let (header, body) = message.split_first_chunk().unwrap();
    (MessageHeader::parse(*header, body.len()).unwrap().schema, body)
}
