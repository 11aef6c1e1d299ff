//! A lobby with real rooms. A join asks the lobby for a room and later arrives at the room. The
//! test decides when each of the two steps happens.
//!
//! [`LobbyWorld`] carries out all outputs of the lobby. The messages of rooms to the lobby wait in
//! its mailbox until [`LobbyWorld::settle`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nucleus_core::ids::{RequestId, RoomId, RoomInstanceId, ServerInstanceId, SessionId};
use nucleus_core::limits::{self, Limits};
use nucleus_core::lobby::{Find, Found, Lobby, LobbyInput, LobbyOutput, RoomSelection};
use nucleus_core::room::{
    JoinConditions, Listing, RoomConfig, RoomInput, RoomOptions, SecondDevice, TicketClaim,
};
use nucleus_protocol::session::{Code, Joined, Lane};
use nucleus_protocol::time::Time;

use crate::join::join_request;
use crate::links::InstantLinks;
use crate::server::{Clients, Server, SessionAddress};
use crate::task::SimTask;

/// A join that needs a room.
#[derive(Clone, Debug)]
pub struct LobbyJoin {
    /// The user.
    pub user: String,
    /// The room's name; may be empty for a match.
    pub name: String,
    /// The rooms that the join accepts.
    pub selection: Arc<RoomSelection>,
    /// The conditions that the room checks.
    pub conditions: JoinConditions,
}

/// A join without an outcome, as its session remembers it.
struct SimJoin {
    join: LobbyJoin,
    /// The rooms that have refused this join.
    passed: Vec<RoomId>,
    tries: usize,
    /// The lobby's reply. The seats count as taken until the join arrives at the room.
    found: Option<Found>,
}

/// A room that the lobby has opened.
#[derive(Clone, Debug)]
pub struct OpenedRoom {
    /// The name of the room.
    pub name: String,
    /// The largest number of peers in the room.
    pub capacity: u16,
}

/// A lobby, its rooms, and the joins that have not arrived at a room yet.
pub struct LobbyWorld {
    /// The rooms.
    pub server: Server<InstantLinks>,
    /// The code with which every new room is refused; `None` if rooms can be created.
    pub no_rooms: Option<Code>,
    /// While true, creating a room takes until the next [`Self::settle`].
    pub rooms_are_late: bool,
    /// The outcome of each join, by the number of the join.
    pub outcomes: BTreeMap<u64, Result<SessionAddress, Code>>,
    capacity: u16,
    lobby: SimTask<Lobby>,
    mailbox: LobbyMailbox,
    /// The rooms except those whose end was reported to the lobby.
    rooms: BTreeMap<RoomId, OpenedRoom>,
    opened: u64,
    pending: BTreeMap<u64, SimJoin>,
    newest_join: u64,
    newest_request: u64,
    /// The join of each request.
    requests: HashMap<RequestId, u64>,
}

/// The messages of rooms that the lobby has not handled yet.
#[derive(Default)]
struct LobbyMailbox {
    inputs: VecDeque<LobbyInput>,
    /// The seats of a join that arrives at its room, until the room has admitted it.
    arriving: Option<usize>,
    /// The reply of a room to the newest join.
    reply: Option<Result<SessionId, Code>>,
}

impl LobbyWorld {
    /// Creates a lobby without rooms. Each room takes at most `capacity` peers.
    pub fn new(capacity: u16) -> Self {
        let (outcomes, mailbox, rooms, pending, requests) = Default::default();
        Self {
            server: Server::new(Time::from_millis(1_000), vec![InstantLinks::default()]),
            no_rooms: None,
            rooms_are_late: false,
            outcomes,
            capacity,
            lobby: SimTask::new(Lobby::new(capacity)),
            mailbox,
            rooms,
            opened: 0,
            pending,
            newest_join: 0,
            newest_request: 0,
            requests,
        }
    }

    /// Returns the rooms except those whose end was reported to the lobby.
    pub fn rooms(&self) -> &BTreeMap<RoomId, OpenedRoom> {
        &self.rooms
    }

    /// Returns the number of rooms that were opened so far.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Returns true if the lobby has no room and creates none.
    pub fn is_over(&self) -> bool {
        self.lobby.is_over()
    }

    /// Starts a join and returns its number. The lobby handles the join at the next
    /// [`Self::settle`], together with all other joins started until then.
    pub fn start_join(&mut self, join: LobbyJoin) -> u64 {
        self.newest_join += 1;
        let pending = SimJoin { join, passed: Vec::new(), tries: 0, found: None };
        self.pending.insert(self.newest_join, pending);
        self.find(self.newest_join);
        self.newest_join
    }

    /// Returns the joins that have a room and have not arrived there yet.
    pub fn under_way(&self) -> Vec<u64> {
        let found = self.pending.iter().filter(|(_, pending)| pending.found.is_some());
        found.map(|(number, _)| *number).collect()
    }

    /// Returns the room that the lobby has found for a join.
    pub fn found(&self, join: u64) -> Option<&Found> {
        self.pending.get(&join)?.found.as_ref()
    }

    /// Lets a join arrive at its room, which admits or refuses it. The join asks the lobby again if
    /// the room has ended, or if the join is a match and the room refuses it.
    pub fn arrive(&mut self, join: u64) {
        let pending = self.pending.get_mut(&join).unwrap();
        let Found { room, matched, .. } = pending.found.take().unwrap();
        let LobbyJoin { user, conditions, selection, .. } = &pending.join;
        let seats = selection.seats;
        let mut request = join_request(user.clone(), "participant", &[0; 32]);
        request.conditions = conditions.clone();
        let input = RoomInput::Join { request: RequestId(join), join: Box::new(request) };
        self.mailbox.arriving = Some(seats);
        self.server.post(room, input, &mut self.mailbox);
        if let Some(seats) = self.mailbox.arriving.take() {
            self.mailbox.inputs.push_back(LobbyInput::NotAdmitted(room, seats));
        }
        let reply = self.mailbox.reply.take().expect("a reply");
        let pending = self.pending.get_mut(&join).unwrap();
        let again = match reply {
            Err(Code::ShuttingDown) => {
                self.mailbox.inputs.push_back(LobbyInput::RoomOver(room));
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
        self.outcomes.insert(join, reply.map(|session| SessionAddress { room, session }));
    }

    /// Cancels a join that has a room.
    pub fn cancel(&mut self, join: u64) {
        let SimJoin { join, found, .. } = self.pending.remove(&join).unwrap();
        let (room, seats) = (found.unwrap().room, join.selection.seats);
        self.mailbox.inputs.push_back(LobbyInput::NotAdmitted(room, seats));
    }

    /// Passes an input to a room.
    pub fn post(&mut self, room: RoomId, input: RoomInput) {
        self.server.post(room, input, &mut self.mailbox);
    }

    /// Lets time pass. Rooms run at their deadlines.
    pub fn pass(&mut self, span: Duration) {
        let end = self.server.now + span;
        while let Some(due) = self.server.deadline().filter(|due| *due <= end) {
            self.server.now = due;
            self.server.settle(&mut self.mailbox);
        }
        self.server.now = end;
    }

    /// Lets the lobby handle everything in its mailbox.
    pub fn settle(&mut self) {
        self.run_lobby();
        while let Some(input) = self.mailbox.inputs.pop_front() {
            if let LobbyInput::RoomOver(room) = input {
                self.rooms.remove(&room);
            }
            // A lobby whose task has ended has no rooms, so it need not receive messages of rooms.
            let _over = self.lobby.post(input);
            self.run_lobby();
        }
    }

    fn find(&mut self, join: u64) {
        self.newest_request += 1;
        let request = RequestId(self.newest_request);
        self.requests.insert(request, join);
        let SimJoin { join: LobbyJoin { name, selection, .. }, passed, .. } = &self.pending[&join];
        let find = Find {
            name: name.clone(),
            selection: selection.clone(),
            random: u128::from(self.newest_request).to_be_bytes(),
            passed: passed.clone(),
        };
        if let Err(input) = self.lobby.post(LobbyInput::Find { request, find }) {
            // The lobby's task has ended. Replace it by a new lobby.
            assert!(self.rooms.is_empty(), "the lobby ended although it had rooms");
            self.lobby = SimTask::new(Lobby::new(self.capacity));
            let _new = self.lobby.post(input);
        }
    }

    fn run_lobby(&mut self) {
        // Take the lobby out of the world, because carrying out the outputs borrows the world.
        let mut lobby = std::mem::replace(&mut self.lobby, SimTask::new(Lobby::new(self.capacity)));
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
                self.mailbox.inputs.push_back(opened);
            }
            LobbyOutput::Found { request, result } => {
                let join = self.requests.remove(&request).expect("a reply without a request");
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
            instance: RoomInstanceId(self.opened.to_le_bytes()),
            server_instance: ServerInstanceId([1; 8]),
            clock_epoch: 1,
            options,
            bans: Vec::new(),
        };
        self.server.open_room(room, config);
        Ok(room)
    }
}

impl Clients for LobbyMailbox {
    fn join_reply(&mut self, _: RoomId, _: RequestId, result: Result<SessionId, Code>) {
        self.reply = Some(result);
    }

    fn joined(&mut self, _: SessionAddress, _: Box<Joined>, _: TicketClaim) {}

    fn control(&mut self, _: SessionAddress, _: Bytes) {}

    fn event(&mut self, _: SessionAddress, _: Lane, _: Bytes) {}

    fn state(&mut self, _: SessionAddress, _: Bytes) {}

    fn disconnect(&mut self, _: SessionAddress, _: Code) {}

    fn seats(&mut self, room: RoomId, taken: usize) {
        let arrived = self.arriving.take().unwrap_or(0);
        self.inputs.push_back(LobbyInput::Admitted { room, taken, arrived });
    }

    fn listing(&mut self, room: RoomId, listing: Listing) {
        self.inputs.push_back(LobbyInput::Listing(room, Box::new(listing)));
    }

    fn room_over(&mut self, room: RoomId) {
        self.inputs.push_back(LobbyInput::RoomOver(room));
    }
}
