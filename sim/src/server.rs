//! The server's side in one process: rooms in their tasks, and the fan-outs that carry their links.
//!
//! Here alone an output of a room is carried out: what is for the shard becomes an input of a [`Links`],
//! what is for sessions and for the lobby goes to [`Clients`].

use std::cell::Ref;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use nucleus_core::fanout::{FanoutInput, FanoutOutput, LinkEvent, OpenLink};
use nucleus_core::ids::{PeerId, RequestId, RoomId, SessionId};
use nucleus_core::room::{
    Listing, Moderated, Room, RoomConfig, RoomInput, RoomOutput, TicketClaim,
};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{Code, Joined, Lane};
use nucleus_protocol::time::Time;

use crate::links::Links;
use crate::task::Task;

/// Runs of rooms at one moment. More of them is a deadline that stays due.
const MAX_TURNS: usize = 100_000;

/// A session of a room, in a server of several rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The room.
    pub room: RoomId,
    /// The session.
    pub session: SessionId,
}

/// Everybody outside the server whom its rooms tell something.
pub trait Clients {
    /// The reply to a join.
    fn join_reply(&mut self, room: RoomId, request: RequestId, result: Result<SessionId, Code>);
    /// The session is in its room.
    fn joined(&mut self, to: Address, joined: Box<Joined>, claim: TicketClaim);
    /// A message for the session's control stream.
    fn control(&mut self, to: Address, message: Bytes);
    /// A message for the session's stream of this lane.
    fn event(&mut self, to: Address, lane: Lane, message: Bytes);
    /// A message for the session's state stream.
    fn state(&mut self, to: Address, message: Bytes);
    /// The session ends.
    fn disconnect(&mut self, to: Address, code: Code);
    /// The reply to an invitation, or to one that was taken back.
    fn invitation_reply(&mut self, _request: RequestId, _result: Result<(), Code>) {}
    /// The room has given so many seats.
    fn seats(&mut self, _room: RoomId, _taken: usize) {}
    /// What the lobby shows of the room has changed.
    fn listing(&mut self, _room: RoomId, _listing: Listing) {}
    /// Somebody has acted as a moderator.
    fn moderated(&mut self, _room: RoomId, _act: Moderated) {}
    /// The room's task has ended.
    fn room_over(&mut self, _room: RoomId) {}
}

/// Clients who take no notice of anything.
pub struct Nobody;

impl Clients for Nobody {
    fn join_reply(&mut self, _: RoomId, _: RequestId, _: Result<SessionId, Code>) {}

    fn joined(&mut self, _: Address, _: Box<Joined>, _: TicketClaim) {}

    fn control(&mut self, _: Address, _: Bytes) {}

    fn event(&mut self, _: Address, _: Lane, _: Bytes) {}

    fn state(&mut self, _: Address, _: Bytes) {}

    fn disconnect(&mut self, _: Address, _: Code) {}
}

/// Rooms on shards. A room lives on the shard of its id modulo their count.
pub struct Server<L> {
    /// The time now; it must not run backwards.
    pub now: Time,
    /// The shards' fan-outs.
    pub shards: Vec<L>,
    /// What the shards say waits in their mailboxes to the rooms.
    pub shards_are_late: bool,
    rooms: BTreeMap<RoomId, Task<Room>>,
    /// Sessions for which a room has opened a link.
    links: BTreeMap<(RoomId, PeerId), SessionId>,
    /// Connection ids that lead to a link.
    ids: BTreeSet<[u8; 8]>,
    ids_born: u64,
}

impl<L: Links> Server<L> {
    /// A server without rooms.
    pub fn new(now: Time, shards: Vec<L>) -> Self {
        let (rooms, links, ids) = Default::default();
        Self { now, shards, shards_are_late: false, rooms, links, ids, ids_born: 0 }
    }

    /// Opens a room; a closed one of that id is forgotten.
    pub fn open_room(&mut self, room: RoomId, config: RoomConfig) {
        self.rooms.insert(room, Task::new(Room::new(self.now, config)));
    }

    /// A look into a room.
    pub fn room(&self, room: RoomId) -> Ref<'_, Room> {
        self.rooms[&room].machine()
    }

    /// The room's task has ended, or there never was one.
    pub fn is_over(&self, room: RoomId) -> bool {
        self.rooms.get(&room).is_none_or(Task::is_over)
    }

    /// Rooms that were opened, ended ones among them.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Rooms whose tasks have not ended.
    pub fn rooms(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.iter().filter(|(_, task)| !task.is_over()).map(|(room, _)| *room)
    }

    /// The shard of a room.
    pub fn shard_of(&mut self, room: RoomId) -> &mut L {
        let count = self.shards.len();
        &mut self.shards[room.0 as usize % count]
    }

    /// Sessions whose links rooms have opened and not closed.
    pub fn links(&self) -> impl Iterator<Item = Address> {
        self.links.iter().map(|((room, _), session)| Address { room: *room, session: *session })
    }

    /// Connection ids that lead to a link, and how many have ever done so.
    pub fn connection_ids(&self) -> (usize, u64) {
        (self.ids.len(), self.ids_born)
    }

    /// The connection id leads to a link.
    pub fn is_alive(&self, id: ConnectionId) -> bool {
        self.ids.contains(&id.0)
    }

    /// When a room wants to run next.
    pub fn deadline(&self) -> Option<Time> {
        self.rooms.values().filter_map(Task::deadline).min()
    }

    /// Gives an input to a room and carries out what comes of it. A room that is over answers requests as
    /// the server does then.
    pub fn post(&mut self, room: RoomId, input: RoomInput, clients: &mut impl Clients) {
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

    /// Runs every room that has something to do, until none has and every output is carried out.
    pub fn settle(&mut self, clients: &mut impl Clients) {
        for _turn in 0..MAX_TURNS {
            self.hear_shards();
            let due = |(_, task): &(&RoomId, &Task<Room>)| {
                task.deadline().is_some_and(|at| at <= self.now)
            };
            let Some(room) = self.rooms.iter().find(due).map(|(room, _)| *room) else { return };
            self.run(room, clients);
        }
        panic!("rooms never come to rest");
    }

    fn hear_shards(&mut self) {
        for at in 0..self.shards.len() {
            while !self.shards_are_late
                && let Some(output) = self.shards[at].poll()
            {
                self.carry_out_of_shard(output);
            }
        }
    }

    fn run(&mut self, room: RoomId, clients: &mut impl Clients) {
        // Out of the map meanwhile, for its outputs go to the rest of the server.
        let Some(mut task) = self.rooms.remove(&room) else { return };
        let now = self.now;
        task.run(now, &mut |_, output| {
            self.carry_out(room, output, clients);
            None
        });
        if task.is_over() {
            clients.room_over(room);
        }
        self.rooms.insert(room, task);
    }

    fn carry_out(&mut self, room: RoomId, output: RoomOutput, clients: &mut impl Clients) {
        let to = |session| Address { room, session };
        match output {
            RoomOutput::OpenLink { session, slot, link_id, suite, root, seed } => {
                self.links.insert((room, session.peer), session);
                let open = OpenLink { room, session, slot, link_id, suite, root, seed };
                self.tell_shard(room, FanoutInput::OpenLink(Box::new(open)));
            }
            RoomOutput::CloseLink(peer) => {
                self.links.remove(&(room, peer));
                self.tell_shard(room, FanoutInput::CloseLink { room, peer });
            }
            RoomOutput::Subscribe(session, groups) => {
                self.tell_shard(room, FanoutInput::Subscribe { room, session, groups });
            }
            RoomOutput::Mute(session, muted) => {
                self.tell_shard(room, FanoutInput::Mute { room, session, muted });
            }
            RoomOutput::JoinReply { request, result } => clients.join_reply(room, request, result),
            RoomOutput::InvitationReply { request, result } => {
                clients.invitation_reply(request, result);
            }
            RoomOutput::Joined(session, joined, claim) => {
                clients.joined(to(session), joined, claim);
            }
            RoomOutput::Control(session, message) => clients.control(to(session), message),
            RoomOutput::Event(session, lane, message) => clients.event(to(session), lane, message),
            RoomOutput::State(session, message) => clients.state(to(session), message),
            RoomOutput::Disconnect(session, code) => clients.disconnect(to(session), code),
            RoomOutput::Seats(taken) => clients.seats(room, taken),
            RoomOutput::Listing(listing) => clients.listing(room, *listing),
            RoomOutput::Moderated(act) => clients.moderated(room, *act),
        }
    }

    fn tell_shard(&mut self, room: RoomId, input: FanoutInput) {
        let now = self.now;
        self.shard_of(room).handle(now, input);
    }

    fn carry_out_of_shard(&mut self, output: FanoutOutput) {
        match output {
            FanoutOutput::Link { room, session, event } => {
                if event == LinkEvent::Refused {
                    self.links.remove(&(room, session.peer));
                }
                // A room that is over does not want to know.
                let _over =
                    self.rooms.get_mut(&room).map(|t| t.post(RoomInput::Link(session, event)));
            }
            FanoutOutput::IdsBorn(ids) => {
                self.ids_born += ids.len() as u64;
                ids.iter().for_each(|id| assert!(self.ids.insert(id.0), "{id:?} was born twice"));
            }
            FanoutOutput::IdsDied(ids) => {
                ids.iter().for_each(|id| assert!(self.ids.remove(&id.0), "{id:?} was not there"));
            }
        }
    }
}
