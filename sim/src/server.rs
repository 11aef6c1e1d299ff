//! The server's side in one process: rooms in their tasks, and the fan-outs with their links.
//!
//! [`Server`] carries out all outputs of rooms. An output for the shard becomes an input of a
//! [`Links`]; an output for a session or for the lobby becomes a call of [`Clients`].

use std::cell::Ref;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use nucleus_core::fanout::{FanoutInput, FanoutOutput, LinkEvent, OpenLink};
use nucleus_core::ids::{PeerId, RequestId, RoomId, SessionId};
use nucleus_core::room::{
    Ban, Listing, Moderated, Room, RoomConfig, RoomInput, RoomOutput, RoomReport, TicketClaim,
};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{Code, Joined, Lane};
use nucleus_protocol::time::Time;

use crate::history_check::HistoryCheck;
use crate::links::Links;
use crate::task::SimTask;

/// Largest number of runs of rooms at one point in time. More runs mean that a room has a deadline
/// that stays due.
const MAX_RUNS: usize = 100_000;

/// Names a session in a server with several rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionAddress {
    /// The room.
    pub room: RoomId,
    /// The session.
    pub session: SessionId,
}

/// The receivers of the outputs of rooms outside the server: sessions and the lobby.
pub trait Clients {
    /// Receives the reply to a join.
    fn join_reply(&mut self, room: RoomId, request: RequestId, result: Result<SessionId, Code>);
    /// Receives the confirmation that a session is in its room.
    fn joined(&mut self, to: SessionAddress, joined: Box<Joined>, claim: TicketClaim);
    /// Receives a message for a session's control stream.
    fn control(&mut self, to: SessionAddress, message: Bytes);
    /// Takes an acknowledgement of events for the session's control stream.
    fn event_ack(&mut self, _to: SessionAddress, _message: Bytes) {}
    /// Takes a message for the session's stream of this lane.
    fn event(&mut self, to: SessionAddress, lane: Lane, message: Bytes);
    /// Receives a message for a session's state stream.
    fn state(&mut self, to: SessionAddress, message: Bytes);
    /// Called when a room has ended a session, with the reason.
    fn disconnect(&mut self, to: SessionAddress, code: Code);
    /// Receives the reply to a request that invites a user or ends an invitation.
    fn invitation_reply(&mut self, _request: RequestId, _result: Result<(), Code>) {}
    /// Receives the number of taken seats of a room.
    fn seats(&mut self, _room: RoomId, _taken: usize) {}
    /// Receives the new listing of a room.
    fn listing(&mut self, _room: RoomId, _listing: Listing) {}
    /// Receives the report of a moderator's act.
    fn moderated(&mut self, _room: RoomId, _act: Moderated) {}
    /// Receives a new ban of a room.
    fn banned(&mut self, _room: RoomId, _ban: Ban) {}
    /// Called when the ban of a user ends before its time.
    fn unbanned(&mut self, _room: RoomId, _user: &str) {}
    /// Called when a room's bans end with the room.
    fn bans_ended(&mut self, _room: RoomId) {}
    /// Called when a room's task has ended.
    fn room_over(&mut self, _room: RoomId) {}
}

/// Ignores all outputs.
pub struct Nobody;

impl Clients for Nobody {
    fn join_reply(&mut self, _: RoomId, _: RequestId, _: Result<SessionId, Code>) {}

    fn joined(&mut self, _: SessionAddress, _: Box<Joined>, _: TicketClaim) {}

    fn control(&mut self, _: SessionAddress, _: Bytes) {}

    fn event(&mut self, _: SessionAddress, _: Lane, _: Bytes) {}

    fn state(&mut self, _: SessionAddress, _: Bytes) {}

    fn disconnect(&mut self, _: SessionAddress, _: Code) {}
}

/// Rooms on shards. The shard of a room is its id modulo the number of shards.
pub struct Server<L> {
    /// The current time. Must not run backwards.
    pub now: Time,
    /// The shards' fan-outs.
    pub shards: Vec<L>,
    /// While true, the outputs of the shards wait and do not reach the rooms.
    pub shards_are_late: bool,
    rooms: BTreeMap<RoomId, SimTask<Room>>,
    /// The session of each link that a room has opened.
    links: BTreeMap<(RoomId, PeerId), SessionId>,
    /// Connection ids that name a link.
    ids: BTreeSet<[u8; 8]>,
    /// Number of ids that have named a link so far.
    ids_made: u64,
    /// What the rooms have reported for the history.
    pub history: HistoryCheck,
}

impl<L: Links> Server<L> {
    /// Creates a server without rooms.
    pub fn new(now: Time, shards: Vec<L>) -> Self {
        let (rooms, links, ids, history) = Default::default();
        Self { now, shards, shards_are_late: false, rooms, links, ids, ids_made: 0, history }
    }

    /// Opens a room. It replaces an ended room with the same id.
    pub fn open_room(&mut self, room: RoomId, config: RoomConfig) {
        self.rooms.insert(room, SimTask::new(Room::new(self.now, config)));
    }

    /// Borrows a room.
    pub fn room(&self, room: RoomId) -> Ref<'_, Room> {
        self.rooms[&room].machine()
    }

    /// Returns true if the room's task has ended or never existed.
    pub fn is_over(&self, room: RoomId) -> bool {
        self.rooms.get(&room).is_none_or(SimTask::is_over)
    }

    /// Returns the number of opened rooms, including ended ones.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Returns the rooms whose tasks have not ended.
    pub fn rooms(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.iter().filter(|(_, task)| !task.is_over()).map(|(room, _)| *room)
    }

    /// Returns the shard of a room.
    pub fn shard_of(&mut self, room: RoomId) -> &mut L {
        let count = self.shards.len();
        &mut self.shards[room.0 as usize % count]
    }

    /// Returns the sessions whose links are open.
    pub fn links(&self) -> impl Iterator<Item = SessionAddress> {
        self.links
            .iter()
            .map(|((room, _), session)| SessionAddress { room: *room, session: *session })
    }

    /// Returns how many connection ids name a link.
    pub fn connection_ids(&self) -> usize {
        self.ids.len()
    }

    /// Returns how many connection ids have ever named a link.
    pub fn connection_ids_made(&self) -> u64 {
        self.ids_made
    }

    /// Returns true if the connection id names a link.
    pub fn is_alive(&self, id: ConnectionId) -> bool {
        self.ids.contains(&id.0)
    }

    /// Returns the earliest time at which a room must run.
    pub fn deadline(&self) -> Option<Time> {
        self.rooms.values().filter_map(SimTask::deadline).min()
    }

    /// Passes an input to a room and carries out the outputs. If the room has ended, refuses
    /// requests as the server does.
    pub fn post(&mut self, room: RoomId, input: RoomInput, clients: &mut impl Clients) {
        if matches!(input, RoomInput::Shutdown(_)) {
            self.history.shut_down(room);
        }
        let closed = match self.rooms.get_mut(&room) {
            Some(task) => task.post(input).err(),
            None => Some(input),
        };
        match closed {
            Some(RoomInput::Join { request, .. }) => {
                clients.join_reply(room, request, Err(Code::ShuttingDown));
            }
            Some(RoomInput::Invite { request, .. }) => {
                clients.invitation_reply(request, Err(Code::ShuttingDown));
            }
            _ => {}
        }
        self.settle(clients);
    }

    /// Runs rooms until none of them has anything to do and every output is carried out.
    pub fn settle(&mut self, clients: &mut impl Clients) {
        for _run in 0..MAX_RUNS {
            self.read_shards();
            let due = |(_, task): &(&RoomId, &SimTask<Room>)| {
                task.deadline().is_some_and(|at| at <= self.now)
            };
            let Some(room) = self.rooms.iter().find(due).map(|(room, _)| *room) else { return };
            self.run(room, clients);
        }
        panic!("rooms have a deadline that stays due");
    }

    /// Carries out the outputs of the shards.
    fn read_shards(&mut self) {
        for at in 0..self.shards.len() {
            while !self.shards_are_late
                && let Some(output) = self.shards[at].poll()
            {
                self.carry_out_of_shard(output);
            }
        }
    }

    fn run(&mut self, room: RoomId, clients: &mut impl Clients) {
        // Take the task out of the map, because carrying out the outputs borrows the server.
        let Some(mut task) = self.rooms.remove(&room) else { return };
        let now = self.now;
        task.run(now, &mut |_, output| {
            self.carry_out(room, output, clients);
            None
        });
        if task.is_over() {
            self.history.room_over(room);
            clients.room_over(room);
        }
        self.rooms.insert(room, task);
    }

    fn carry_out(&mut self, room: RoomId, output: RoomOutput, clients: &mut impl Clients) {
        let to = |session| SessionAddress { room, session };
        match output {
            RoomOutput::OpenLink { session, slot, link } => {
                self.links.insert((room, session.peer), session);
                let open = OpenLink { room, session, slot, link: *link };
                self.send_to_shard(room, FanoutInput::OpenLink(Box::new(open)));
            }
            RoomOutput::CloseLink(peer) => {
                self.links.remove(&(room, peer));
                self.send_to_shard(room, FanoutInput::CloseLink { room, peer });
            }
            RoomOutput::Subscribe(session, groups) => {
                self.send_to_shard(room, FanoutInput::Subscribe { room, session, groups });
            }
            RoomOutput::Mute(session, muted) => {
                self.send_to_shard(room, FanoutInput::Mute { room, session, muted });
            }
            RoomOutput::JoinReply { request, result } => clients.join_reply(room, request, result),
            RoomOutput::InvitationReply { request, result } => {
                clients.invitation_reply(request, result);
            }
            RoomOutput::Joined(session, joined, ticket) => {
                clients.joined(to(session), joined, ticket.claim);
            }
            // No simulated client hands in a fresh token.
            RoomOutput::Renewed(..) => {}
            RoomOutput::Control(session, message) => clients.control(to(session), message),
            RoomOutput::EventAck(session, message) => clients.event_ack(to(session), message),
            RoomOutput::Event(session, lane, message) => clients.event(to(session), lane, message),
            RoomOutput::State(session, message) => clients.state(to(session), message),
            RoomOutput::Disconnect(session, code) => clients.disconnect(to(session), code),
            // The simulated server limits no empty rooms.
            RoomOutput::Empty(_) => {}
            RoomOutput::Seats(taken) => clients.seats(room, taken),
            RoomOutput::Listing(listing) => clients.listing(room, *listing),
            RoomOutput::Reported(report) => self.report(room, report),
            RoomOutput::Banned(ban) => clients.banned(room, ban),
            RoomOutput::Unbanned { user } => clients.unbanned(room, &user),
            RoomOutput::BansEnded => clients.bans_ended(room),
            RoomOutput::Moderated(act) => clients.moderated(room, *act),
            // No control plane asks a simulated room.
            RoomOutput::Content(..) | RoomOutput::Fields(..) | RoomOutput::Operated(..) => {}
        }
    }

    /// Adds what the shard knows to the end of a visit, and checks the report.
    fn report(&mut self, room: RoomId, mut report: RoomReport) {
        if let RoomReport::Left { visitor, visit, joined } = &mut report {
            let (now, peer) = (self.now, visitor.peer);
            if let Some(links) = self.shard_of(room).peer_links(now, room, peer) {
                visit.moments.merge(&links.moments, joined.since(Time::ZERO));
                visit.links = Some(links.totals);
            }
        }
        self.history.take(room, &report);
    }

    fn send_to_shard(&mut self, room: RoomId, input: FanoutInput) {
        let now = self.now;
        self.shard_of(room).handle(now, input);
    }

    fn carry_out_of_shard(&mut self, output: FanoutOutput) {
        match output {
            FanoutOutput::Link { room, session, event } => {
                if event == LinkEvent::Refused {
                    self.links.remove(&(room, session.peer));
                }
                // A room that has ended ignores the events of its links.
                let _over =
                    self.rooms.get_mut(&room).map(|t| t.post(RoomInput::Link(session, event)));
            }
            FanoutOutput::IdsBorn(ids) => {
                self.ids_made += ids.len() as u64;
                ids.iter().for_each(|id| assert!(self.ids.insert(id.0), "{id:?} was made twice"));
            }
            FanoutOutput::IdsDied(ids) => {
                ids.iter().for_each(|id| assert!(self.ids.remove(&id.0), "{id:?} named no link"));
            }
        }
    }
}
