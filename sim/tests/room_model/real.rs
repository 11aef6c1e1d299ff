//! The real room of the comparison, on a shard that confirms every link immediately, with a log of
//! everything that the room sends.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use nucleus_core::fanout::LinkEvent;
use nucleus_core::ids::{PeerId, RequestId, RoomId, RoomInstanceId, ServerInstanceId, SessionId};
use nucleus_core::limits::Limits;
use nucleus_core::moments::LossCause;
use nucleus_core::room::{
    Event, EventTarget, Resume, RoomConfig, RoomInput, RoomOptions, SecondDevice, TicketClaim,
};
use nucleus_protocol::groups::{Group, GroupSet};
use nucleus_protocol::session::{
    self, Audit, Code, EventAck, EventDown, Joined, Lane, Moderate, Peer, RosterUpdate, Schema,
    StateReply, StateRequest, StateSnapshot, StateUpdate, Subscribe, act,
};
use nucleus_protocol::time::Time;
use nucleus_sim::client::{Replica, parts, update_roster};
use nucleus_sim::join::join_request;
use nucleus_sim::links::LinkSettings;
use nucleus_sim::{Clients, InstantLinks, Server, SessionAddress};

use crate::model::RoomModel;
use crate::records::{Act, ModelParticipant, Reply, SessionStart};
use crate::{CAPACITY, ModelTarget, Op, PEER_TTL, ROLES, USER_OBJECTS};

/// The room instance id and the clock epoch.
const EPOCH: u32 = 7;
const ROOM: RoomId = RoomId(1);

pub(crate) struct RealRoom {
    server: Server<InstantLinks>,
    received: ReceivedLog,
    requests: u32,
}

/// Everything that the room has sent.
#[derive(Default)]
struct ReceivedLog {
    over: bool,
    refused: Option<Code>,
    tickets: Vec<TicketClaim>,
    sessions: BTreeMap<SessionId, SessionLog>,
    ended: BTreeMap<SessionId, Code>,
}

/// Everything that one session has received.
struct SessionLog {
    joined: Joined,
    roster: BTreeMap<u32, Peer>,
    /// The newest version of the roster that the session received.
    version: u32,
    /// The sequence numbers of the received events, by lane.
    events: [Vec<u64>; 2],
    replies: Vec<Reply>,
    /// The acknowledgements of its events, by lane.
    acks: Vec<[u32; 2]>,
    audits: Vec<Act>,
    replica: Option<Replica>,
}

impl RealRoom {
    pub(crate) fn new(empty_ttl: u64) -> Self {
        let empty_ttl = Duration::from_millis(empty_ttl);
        let options = RoomOptions { empty_ttl, ..RoomOptions::default() };
        let peer_ttl = Duration::from_millis(PEER_TTL);
        let config = RoomConfig {
            limits: Limits { peer_ttl, user_objects: USER_OBJECTS as u32, ..Limits::default() },
            capacity: CAPACITY as u16,
            second_device: SecondDevice::Allow,
            instance: RoomInstanceId([7; 8]),
            server_instance: ServerInstanceId([1; 8]),
            clock_epoch: EPOCH,
            options,
            bans: Vec::new(),
        };
        let mut server = Server::new(Time::ZERO, vec![InstantLinks::default()]);
        server.open_room(ROOM, config);
        Self { server, received: ReceivedLog::default(), requests: 0 }
    }

    /// Applies an operation to the room. The model says which participant it selects.
    pub(crate) fn apply(&mut self, op: &Op, model: &RoomModel) {
        self.received.refused = None;
        match op {
            Op::Join { user, role } => self.enter(*user, ROLES[*role].0, None),
            Op::Resume { ticket, behind } => self.resume(*ticket, *behind, model),
            Op::Wait { ms } => self.wait(*ms),
            Op::Link { who, active } => {
                let event = if *active { LinkEvent::Active } else { LinkEvent::Silent };
                self.post(session(model, *who, false), |from| RoomInput::Link(from, event));
            }
            Op::Lost { who } => {
                let lost = |session| RoomInput::SessionLost(session, LossCause::Silent);
                self.post(session(model, *who, false), lost);
            }
            Op::Leave { who } => {
                let leave = |from| RoomInput::Leave(from, Code::Left);
                self.post(session(model, *who, false), leave);
            }
            Op::Event { who, target, lane, piece, stale } => {
                let target = match target {
                    ModelTarget::All => EventTarget::All,
                    ModelTarget::Others => EventTarget::Others,
                    ModelTarget::Listed(peers) => {
                        EventTarget::Listed(peers.iter().copied().map(PeerId).collect())
                    }
                    ModelTarget::OthersAndLater => EventTarget::OthersAndLater,
                    ModelTarget::Host => EventTarget::Host,
                    ModelTarget::Group(group) => EventTarget::Group(Group::new(*group).unwrap()),
                };
                let (lane, channel, piece, payload) = (Lane::ALL[*lane], 0, *piece, vec![1]);
                let event = Event { lane, target, channel, piece, payload };
                self.post(session(model, *who, *stale), |from| RoomInput::Event { from, event });
            }
            Op::Subscribe { who, groups } => {
                let groups: GroupSet = groups.iter().filter_map(|g| Group::new(*g)).collect();
                let asked = Subscribe { request: 0, groups: groups.0 };
                let subscribe = |from| RoomInput::Subscribe { from, request: asked };
                self.post(session(model, *who, false), subscribe);
            }
            Op::State { who, operations, stale } => {
                self.requests += 1;
                let operations = operations.clone();
                let request = StateRequest { request: self.requests, operations };
                self.post(session(model, *who, *stale), |from| RoomInput::State { from, request });
            }
            Op::Moderate { who, act, target, seconds } => {
                let target = model.participant(*target).map_or(0, |participant| participant.peer);
                let peer = if act::has_target(*act) { target } else { 0 };
                let asked = Moderate { request: 0, act: *act, peer, seconds: *seconds };
                self.post(session(model, *who, false), |from| RoomInput::Moderate {
                    from,
                    request: asked,
                });
            }
        }
    }

    /// Checks that every session has received exactly what the model says, and that room and links
    /// agree with the model.
    pub(crate) fn check(&self, model: &RoomModel) {
        let received = &self.received;
        assert_eq!(received.refused, model.refused, "the join");
        assert_eq!(received.ended, model.ended, "the ended sessions");
        assert_eq!(received.over, model.over, "the room's end");
        let start = |Joined { resumed, events_taken, bulk_taken, .. }: &Joined| SessionStart {
            resumed: *resumed,
            taken: [*events_taken, *bulk_taken],
        };
        let sessions: BTreeMap<_, _> =
            received.sessions.iter().map(|(s, log)| (*s, start(&log.joined))).collect();
        assert_eq!(sessions, model.started, "the sessions");
        for (session, log) in &received.sessions {
            let none = Default::default();
            assert_eq!(&log.events, model.events.get(session).unwrap_or(&none), "{session:?}");
            let none = Vec::new();
            assert_eq!(&log.replies, model.replies.get(session).unwrap_or(&none), "{session:?}");
            let acks = model.acks.get(session).map_or(&[][..], Vec::as_slice);
            assert_eq!(log.acks, acks, "the acknowledgements of {session:?}");
        }
        let state = self.server.room(ROOM).shared_state();
        assert_eq!(state, model.state.snapshot(), "the state");
        let links = &self.server.shards[0];
        for participant in
            model.participants.iter().filter(|participant| participant.lost_at.is_none())
        {
            let muted = participant.muted || participant.self_muted;
            let groups = participant.groups.iter().filter_map(|group| Group::new(*group)).collect();
            let session =
                SessionId { peer: PeerId(participant.peer), session: participant.session };
            let expected = Some(LinkSettings { muted, groups });
            assert_eq!(links.link(ROOM, session), expected, "the link of {}", participant.peer);
        }
        assert_eq!(links.commands_without_link(), 0, "commands for links that do not exist");
        for (session, log) in &received.sessions {
            let due = model.audited.get(session).into_iter().flatten();
            let due: Vec<_> = due.map(|at| model.audits[*at]).collect();
            assert_eq!(log.audits, due, "{session:?}");
        }
    }

    /// Checks that every connected client has the roster and the state of the model.
    pub(crate) fn check_rosters_and_states(&self, model: &RoomModel) {
        let entry = |participant: &ModelParticipant| {
            (
                participant.peer,
                format!("user-{}", participant.user).into_bytes(),
                participant.presence(),
            )
        };
        let expected: Vec<_> = model.participants.iter().map(entry).collect();
        for participant in
            model.participants.iter().filter(|participant| participant.lost_at.is_none())
        {
            let log = &self.received.sessions[&participant.session_id()];
            let known: Vec<_> =
                log.roster.values().map(|p| (p.peer, p.user.clone(), p.presence)).collect();
            assert_eq!(known, expected, "the roster of {}", participant.peer);
            let state = log.replica.as_ref().map(Replica::snapshot).unwrap_or_default();
            assert_eq!(state, model.state.snapshot(), "the state of {}", participant.peer);
        }
    }

    fn post(&mut self, from: Option<SessionId>, input: impl FnOnce(SessionId) -> RoomInput) {
        if let Some(from) = from {
            self.server.post(ROOM, input(from), &mut self.received);
        }
    }

    fn resume(&mut self, ticket: usize, behind: [u64; 2], model: &RoomModel) {
        let count = self.received.tickets.len().max(1);
        let Some(claim) = self.received.tickets.get(ticket % count).copied() else { return };
        let user = model.tickets[ticket % count].user;
        let last = behind.map(|behind| model.newest().saturating_sub(behind));
        self.enter(user, "", Some(Resume { claim, last }));
    }

    fn enter(&mut self, user: u8, role: &str, resume: Option<Resume>) {
        let mut join = join_request(format!("user-{user}"), role, &[0; 32]);
        join.resume = resume;
        let input = RoomInput::Join { request: RequestId(0), join: Box::new(join) };
        self.server.post(ROOM, input, &mut self.received);
    }

    /// Advances time. The room runs at its deadlines.
    fn wait(&mut self, ms: u64) {
        let until = self.server.now + Duration::from_millis(ms);
        while let Some(due) = self.server.deadline().filter(|due| *due <= until) {
            self.server.now = due;
            self.server.settle(&mut self.received);
        }
        self.server.now = until;
    }
}

impl ReceivedLog {
    /// Returns the log of a session that may still receive messages.
    fn session(&mut self, to: SessionAddress) -> &mut SessionLog {
        assert!(
            !self.ended.contains_key(&to.session),
            "the session received a message after its end"
        );
        self.sessions.get_mut(&to.session).expect("the session received a message before `Joined`")
    }
}

impl Clients for ReceivedLog {
    fn join_reply(&mut self, _: RoomId, _: RequestId, result: Result<SessionId, Code>) {
        self.refused = result.err();
    }

    fn joined(&mut self, to: SessionAddress, joined: Box<Joined>, claim: TicketClaim) {
        self.tickets.push(claim);
        let roster = joined.roster.iter().map(|p| (p.peer, p.clone())).collect();
        let version = joined.roster_version;
        let (events, replies, acks, audits, replica) = Default::default();
        let joined = *joined;
        let log = SessionLog { joined, roster, version, events, replies, acks, audits, replica };
        assert!(self.sessions.insert(to.session, log).is_none(), "joined twice");
    }

    fn control(&mut self, to: SessionAddress, message: Bytes) {
        let (schema, body) = parts(&message);
        let log = self.session(to);
        if schema == Schema::StateReply {
            let reply = session::owned::<StateReply>(body).unwrap();
            let StateReply { code, failed, version, .. } = reply;
            return log.replies.push(Reply { code, failed, version });
        }
        if schema == Schema::Audit {
            let audit = session::owned::<Audit>(body).unwrap();
            let Audit { act, by, peer, .. } = audit;
            return log.audits.push(Act { act, by, target: peer });
        }
        let update = session::owned::<RosterUpdate>(body).unwrap();
        assert_eq!(update.version, log.version + 1, "a roster version was skipped");
        log.version = update.version;
        update_roster(&mut log.roster, update);
    }

    fn event_ack(&mut self, to: SessionAddress, message: Bytes) {
        let (_, body) = parts(&message);
        let EventAck { events_taken, bulk_taken } = session::owned(body).unwrap();
        self.session(to).acks.push([events_taken, bulk_taken]);
    }

    fn event(&mut self, to: SessionAddress, lane: Lane, message: Bytes) {
        let (_, body) = parts(&message);
        let event = session::owned::<EventDown>(body).unwrap();
        self.session(to).events[lane.index()].push(event.sequence);
    }

    fn state(&mut self, to: SessionAddress, message: Bytes) {
        let (schema, body) = parts(&message);
        match &mut self.session(to).replica {
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

    fn disconnect(&mut self, to: SessionAddress, code: Code) {
        assert!(self.ended.insert(to.session, code).is_none(), "the session ended twice");
    }

    fn room_over(&mut self, _: RoomId) {
        self.over = true;
    }
}

/// Returns the session of the participant that an operation selects; its previous session if
/// `stale`.
fn session(model: &RoomModel, who: usize, stale: bool) -> Option<SessionId> {
    let participant = model.participant(who)?;
    let SessionId { peer, session } = participant.session_id();
    Some(SessionId { peer, session: session - u32::from(stale) })
}
