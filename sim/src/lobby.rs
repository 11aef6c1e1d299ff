//! A lobby with real rooms: joins look for a room, set out for it and arrive, each when the test says so.
//!
//! Here alone an output of the lobby is carried out. What rooms say to the lobby waits in its mailbox
//! until [`LobbyWorld::settle`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nucleus_core::ids::{RequestId, RoomId, SessionId};
use nucleus_core::limits::{self, Limits};
use nucleus_core::lobby::{Find, Found, Lobby, LobbyInput, LobbyOutput, RoomSelection};
use nucleus_core::room::{
    JoinConditions, Listing, RoomConfig, RoomInput, RoomOptions, SecondDevice, TicketClaim,
};
use nucleus_protocol::session::{Code, Joined, Lane};
use nucleus_protocol::time::Time;

use crate::join::join_request;
use crate::links::InstantLinks;
use crate::server::{Address, Clients, Server};
use crate::task::Task;

/// Somebody who looks for a room.
#[derive(Clone, Debug)]
pub struct LobbyJoin {
    /// The user.
    pub user: String,
    /// The room's name; may be empty for a match.
    pub name: String,
    /// Which rooms will do.
    pub selection: Arc<RoomSelection>,
    /// For the admission to the room.
    pub conditions: JoinConditions,
}

/// A join under way, as its session keeps it.
struct Pending {
    join: LobbyJoin,
    passed: Vec<RoomId>,
    tries: usize,
    /// The lobby's answer; the seats count as taken until the join has arrived.
    found: Option<Found>,
}

/// A room that the lobby knows.
#[derive(Clone, Debug)]
pub struct OpenedRoom {
    /// Its name.
    pub name: String,
    /// Peers it takes.
    pub capacity: u16,
}

/// A lobby, its rooms, and the joins on their way to them.
pub struct LobbyWorld {
    /// The rooms.
    pub server: Server<InstantLinks>,
    /// Every new room is refused with this code.
    pub no_rooms: Option<Code>,
    /// Making a room takes until the next [`Self::settle`].
    pub rooms_are_late: bool,
    /// Outcomes of joins by number: the session, or why not.
    pub outcomes: BTreeMap<u64, Result<Address, Code>>,
    capacity: u16,
    lobby: Task<Lobby>,
    mailbox: Mailbox,
    /// Rooms of which the lobby has not heard that they are over.
    rooms: BTreeMap<RoomId, OpenedRoom>,
    opened: u64,
    pending: BTreeMap<u64, Pending>,
    newest_join: u64,
    newest_request: u64,
    /// Which join a request belongs to.
    requests: HashMap<RequestId, u64>,
}

/// What rooms have said.
#[derive(Default)]
struct Mailbox {
    mail: VecDeque<LobbyInput>,
    reply: Option<Result<SessionId, Code>>,
}

impl LobbyWorld {
    /// No rooms; each takes at most `capacity` peers.
    pub fn new(capacity: u16) -> Self {
        let (outcomes, mailbox, rooms, pending, requests) = Default::default();
        Self {
            server: Server::new(Time::from_millis(1_000), vec![InstantLinks::default()]),
            no_rooms: None,
            rooms_are_late: false,
            outcomes,
            capacity,
            lobby: Task::new(Lobby::new(capacity)),
            mailbox,
            rooms,
            opened: 0,
            pending,
            newest_join: 0,
            newest_request: 0,
            requests,
        }
    }

    /// Rooms that the lobby knows.
    pub fn rooms(&self) -> &BTreeMap<RoomId, OpenedRoom> {
        &self.rooms
    }

    /// Rooms that were ever opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// The lobby has no room and is about to make none.
    pub fn is_over(&self) -> bool {
        self.lobby.is_over()
    }

    /// Somebody looks for a room; the join's number. The lobby takes it at the next [`Self::settle`],
    /// with all others that look until then.
    pub fn look(&mut self, join: LobbyJoin) -> u64 {
        self.newest_join += 1;
        let pending = Pending { join, passed: Vec::new(), tries: 0, found: None };
        self.pending.insert(self.newest_join, pending);
        self.find(self.newest_join);
        self.newest_join
    }

    /// Joins that have a room and are on their way to it.
    pub fn under_way(&self) -> Vec<u64> {
        let found = self.pending.iter().filter(|(_, pending)| pending.found.is_some());
        found.map(|(number, _)| *number).collect()
    }

    /// The room that a join is on its way to.
    pub fn found(&self, join: u64) -> Option<&Found> {
        self.pending.get(&join)?.found.as_ref()
    }

    /// A join arrives at its room, which lets it in or not. A match that is refused looks again, and so
    /// does a join that finds its room over.
    pub fn arrive(&mut self, join: u64) {
        let pending = self.pending.get_mut(&join).unwrap();
        let Found { room, matched, .. } = pending.found.take().unwrap();
        let LobbyJoin { user, conditions, selection, .. } = &pending.join;
        let seats = selection.seats;
        let mut request = join_request(user.clone(), "participant", &[0; 32]);
        request.conditions = conditions.clone();
        let input = RoomInput::Join { request: RequestId(join), join: Box::new(request) };
        self.server.post(room, input, &mut self.mailbox);
        self.mailbox.mail.push_back(LobbyInput::Arrived(room, seats));
        let reply = self.mailbox.reply.take().expect("a reply");
        let pending = self.pending.get_mut(&join).unwrap();
        let again = match reply {
            Err(Code::ShuttingDown) => {
                self.mailbox.mail.push_back(LobbyInput::RoomOver(room));
                true
            }
            Err(_) if matched => {
                pending.passed.push(room);
                true
            }
            _ => false,
        };
        pending.tries += 1;
        if again && pending.tries < limits::JOIN_TRIES + limits::MATCH_TRIES {
            return self.find(join);
        }
        self.pending.remove(&join);
        self.outcomes.insert(join, reply.map(|session| Address { room, session }));
    }

    /// A join gives up on its way.
    pub fn turn_back(&mut self, join: u64) {
        let Pending { join, found, .. } = self.pending.remove(&join).unwrap();
        let (room, seats) = (found.unwrap().room, join.selection.seats);
        self.mailbox.mail.push_back(LobbyInput::Arrived(room, seats));
    }

    /// Gives an input to a room.
    pub fn post(&mut self, room: RoomId, input: RoomInput) {
        self.server.post(room, input, &mut self.mailbox);
    }

    /// Time passes; rooms do what is due, when it is due.
    pub fn pass(&mut self, span: Duration) {
        let end = self.server.now + span;
        while let Some(due) = self.server.deadline().filter(|due| *due <= end) {
            self.server.now = due;
            self.server.settle(&mut self.mailbox);
        }
        self.server.now = end;
    }

    /// The lobby takes what is in its mailbox.
    pub fn settle(&mut self) {
        self.run_lobby();
        while let Some(input) = self.mailbox.mail.pop_front() {
            if let LobbyInput::RoomOver(room) = input {
                self.rooms.remove(&room);
            }
            // A lobby that is over knows no room, and what is said of rooms is void.
            let _over = self.lobby.post(input);
            self.run_lobby();
        }
    }

    fn find(&mut self, join: u64) {
        self.newest_request += 1;
        let request = RequestId(self.newest_request);
        self.requests.insert(request, join);
        let Pending { join: LobbyJoin { name, selection, .. }, passed, .. } = &self.pending[&join];
        let find = Find {
            name: name.clone(),
            selection: selection.clone(),
            random: u128::from(self.newest_request).to_be_bytes(),
            passed: passed.clone(),
        };
        if let Err(input) = self.lobby.post(LobbyInput::Find { request, find }) {
            // The next one takes its place.
            assert!(self.rooms.is_empty(), "it was over and had rooms");
            self.lobby = Task::new(Lobby::new(self.capacity));
            let _new = self.lobby.post(input);
        }
    }

    fn run_lobby(&mut self) {
        // Out of its place meanwhile, for its outputs go to the rest of the world.
        let mut lobby = std::mem::replace(&mut self.lobby, Task::new(Lobby::new(self.capacity)));
        lobby.run(self.server.now, &mut |_, output| self.carry_out(output));
        self.lobby = lobby;
    }

    fn carry_out(&mut self, output: LobbyOutput) -> Option<LobbyInput> {
        match output {
            LobbyOutput::OpenRoom { name, capacity, options, .. } => {
                let opened = LobbyInput::RoomOpened(self.open(name, capacity, *options));
                if !self.rooms_are_late {
                    return Some(opened);
                }
                self.mailbox.mail.push_back(opened);
            }
            LobbyOutput::Found { request, result } => {
                let join = self.requests.remove(&request).expect("an answer that nobody waits for");
                match result {
                    Ok(found) => self.pending.get_mut(&join).unwrap().found = Some(found),
                    Err(code) => {
                        self.pending.remove(&join);
                        self.outcomes.insert(join, Err(code));
                    }
                }
            }
            LobbyOutput::Changed(_) | LobbyOutput::ListingChanges { .. } => {}
        }
        None
    }

    fn open(&mut self, name: String, capacity: u16, options: RoomOptions) -> Result<RoomId, Code> {
        assert!(self.rooms.values().all(|room| room.name != name), "{name} was opened twice");
        if let Some(code) = self.no_rooms {
            return Err(code);
        }
        self.opened += 1;
        let room = RoomId(self.opened);
        self.rooms.insert(room, OpenedRoom { name, capacity });
        let config = RoomConfig {
            limits: Limits::default(),
            capacity,
            second_device: SecondDevice::Allow,
            instance: self.opened as u32,
            clock_epoch: 1,
            options,
        };
        self.server.open_room(room, config);
        Ok(room)
    }
}

impl Clients for Mailbox {
    fn join_reply(&mut self, _: RoomId, _: RequestId, result: Result<SessionId, Code>) {
        self.reply = Some(result);
    }

    fn joined(&mut self, _: Address, _: Box<Joined>, _: TicketClaim) {}

    fn control(&mut self, _: Address, _: Bytes) {}

    fn event(&mut self, _: Address, _: Lane, _: Bytes) {}

    fn state(&mut self, _: Address, _: Bytes) {}

    fn disconnect(&mut self, _: Address, _: Code) {}

    fn seats(&mut self, room: RoomId, taken: usize) {
        self.mail.push_back(LobbyInput::Seats(room, taken));
    }

    fn listing(&mut self, room: RoomId, listing: Listing) {
        self.mail.push_back(LobbyInput::Listing(room, Box::new(listing)));
    }

    fn room_over(&mut self, room: RoomId) {
        self.mail.push_back(LobbyInput::RoomOver(room));
    }
}
