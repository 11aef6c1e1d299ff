//! The lobby of one product of a tenant. It finds a room for each join, requests a new room if none
//! fits, and tells watchers which rooms have changed.

mod filter;
mod rooms;
mod selection;
#[cfg(test)]
mod tests;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::Machine;
use crate::ids::{RequestId, RoomId};
use crate::limits;
use crate::room::{Listing, RoomOptions};
pub use filter::{FieldFilter, Number, Query};
pub use rooms::ListingChanges;
use rooms::{ListedRoom, RoomIndex};
pub use selection::{JoinMode, RoomSelection};
pub use view::RoomListView;

/// The inputs of a lobby.
pub enum LobbyInput {
    /// Time has passed.
    Timeout,
    /// Finds a room for a join, or requests a new room. The reply is [`LobbyOutput::Found`].
    Find {
        /// The id for the reply.
        request: RequestId,
        /// The join.
        find: Find,
    },
    /// Reports the outcome of [`LobbyOutput::OpenRoom`].
    RoomOpened(Result<RoomId, Code>),
    /// Replaces the listing of a room, which is what the lobby shows of it.
    Listing(RoomId, Box<Listing>),
    /// Reports that a room has admitted a join. Counts its seats as taken and not as under way any
    /// more, in one step: otherwise they would count twice for a moment, and a match would pass over
    /// the room.
    Admitted {
        /// The room.
        room: RoomId,
        /// Seats of the room that are taken, reserved ones included.
        taken: usize,
        /// Seats of the join that were under way; 0 if the lobby did not choose the room.
        arrived: usize,
    },
    /// Reports that a join has ended without being admitted to its room. The number is that of the
    /// join's seats, which no longer count as under way.
    NotAdmitted(RoomId, usize),
    /// Reports that a room is over and its name is free.
    RoomOver(RoomId),
    /// Requests the changes that a watcher has missed. The reply is
    /// [`LobbyOutput::ListingChanges`].
    ListingChanges {
        /// The id for the reply.
        request: RequestId,
        /// Number of the newest change that the watcher has seen; `None`: none yet.
        seen: Option<u64>,
    },
}

/// A join that needs a room.
pub struct Find {
    /// The name of the room; may be empty for a match.
    pub name: String,
    /// The rooms that the join accepts.
    pub selection: Arc<RoomSelection>,
    /// Random bytes for the name of a room without one.
    pub random: [u8; 16],
    /// Rooms that have already refused the join.
    pub passed: Vec<RoomId>,
}

/// The outputs of a lobby.
pub enum LobbyOutput {
    /// The reply to [`LobbyInput::Find`]. The seats of the join count as taken until
    /// [`LobbyInput::Admitted`] or [`LobbyInput::NotAdmitted`].
    Found {
        /// The request of the join.
        request: RequestId,
        /// The room, or the code to refuse the join with.
        result: Result<Found, Code>,
    },
    /// Creates a room. The shell reports the outcome by [`LobbyInput::RoomOpened`]. Until then
    /// other joins wait, so that two joins that need the same room create only one.
    OpenRoom {
        /// The name of the room.
        name: String,
        /// Largest number of peers in the room.
        capacity: u16,
        /// The user who makes the room; `None` if the server makes it.
        maker: Option<String>,
        /// The options of the room.
        options: Box<RoomOptions>,
    },
    /// Reports the number of the newest change that watchers can see.
    Changed(u64),
    /// The reply to [`LobbyInput::ListingChanges`].
    ListingChanges {
        /// The request.
        request: RequestId,
        /// The changes.
        changes: ListingChanges,
    },
}

/// The room found for a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The room.
    pub room: RoomId,
    /// The name of the room.
    pub name: String,
    /// Whether the lobby chose the room by a match. The room may refuse the join, because it may
    /// have changed since.
    pub matched: bool,
    /// Seats of the join. They count as taken until [`LobbyInput::Admitted`] or
    /// [`LobbyInput::NotAdmitted`].
    pub seats: usize,
}

/// A join whose room is being created.
struct Opening {
    request: RequestId,
    room: ListedRoom,
    seats: usize,
}

/// The lobby of one tenant's product.
pub struct Lobby {
    /// Largest number of peers in a room.
    capacity: u16,
    rooms: RoomIndex,
    opening: Option<Opening>,
    /// Joins that wait while a room is being created. Always empty with a shell that creates the
    /// room before it passes the next input, as the server's shell does.
    waiting: VecDeque<(RequestId, Find)>,
    outputs: VecDeque<LobbyOutput>,
}

impl Machine for Lobby {
    type Input = LobbyInput;
    type Output = LobbyOutput;
    const TIMEOUT: LobbyInput = LobbyInput::Timeout;

    fn handle(&mut self, _now: Time, input: LobbyInput) {
        let newest = self.rooms.newest_change();
        match input {
            LobbyInput::Timeout => {}
            LobbyInput::Find { request, find } => self.waiting.push_back((request, find)),
            LobbyInput::RoomOpened(result) => self.room_opened(result),
            LobbyInput::Listing(room, listing) => self.rooms.set_listing(room, *listing),
            LobbyInput::Admitted { room, taken, arrived } => {
                self.rooms.set_taken(room, taken);
                self.rooms.join_arrived(room, arrived);
            }
            LobbyInput::NotAdmitted(room, seats) => self.rooms.join_arrived(room, seats),
            LobbyInput::RoomOver(room) => self.rooms.remove(room),
            LobbyInput::ListingChanges { request, seen } => {
                let changes = self.rooms.changes_since(seen);
                self.outputs.push_back(LobbyOutput::ListingChanges { request, changes });
            }
        }
        while self.opening.is_none()
            && let Some((request, find)) = self.waiting.pop_front()
        {
            self.find(request, find);
        }
        if self.rooms.newest_change() != newest {
            self.outputs.push_back(LobbyOutput::Changed(self.rooms.newest_change()));
        }
    }

    fn poll(&mut self) -> Option<LobbyOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    /// Returns true if there is no room and none is being created.
    fn is_over(&self) -> bool {
        self.rooms.is_empty() && self.opening.is_none() && self.waiting.is_empty()
    }
}

impl Lobby {
    /// Creates a lobby without rooms. Each room takes at most `capacity` peers.
    pub fn new(capacity: u16) -> Self {
        Self {
            capacity,
            rooms: RoomIndex::default(),
            opening: None,
            waiting: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Finds a room for a join, or begins to create one.
    fn find(&mut self, request: RequestId, find: Find) {
        let mode = find.selection.mode;
        let matched = if mode.matches() { self.matched(&find) } else { None };
        let result = match matched {
            Some(found) => Ok(Some(found)),
            None if mode == JoinMode::Match => Err(Code::NoSuchRoom),
            None => self.find_by_name(request, find),
        };
        // `None`: the room is being created, and the reply follows.
        if let Some(result) = result.transpose() {
            self.reply(request, result);
        }
    }

    /// Returns a room that the join matches; `None` if none fits.
    fn matched(&self, find: &Find) -> Option<Found> {
        let Find { selection, passed, .. } = find;
        if passed.len() >= limits::MATCH_TRIES {
            return None;
        }
        let admits = |name: &str| selection.admitted.admits(name);
        let seats = selection.seats;
        let (room, name) = self.rooms.pick(&selection.query, admits, seats, passed)?;
        Some(Found { room, name: name.as_ref().to_owned(), matched: true, seats })
    }

    /// Returns the room with the join's name if it exists. Otherwise begins to create it if the
    /// mode allows that, and returns `None`.
    fn find_by_name(&mut self, request: RequestId, find: Find) -> Result<Option<Found>, Code> {
        let Find { mut name, selection, random, .. } = find;
        let (mode, seats) = (selection.mode, selection.seats);
        let is_free = !name.is_empty() && self.rooms.by_name(&name).is_none();
        if mode == JoinMode::MatchOrCreate && !is_free {
            name = selection.name_from(random)?;
        }
        match self.rooms.by_name(&name) {
            Some(_) if mode == JoinMode::Create => return Err(Code::RoomExists),
            Some(room) => return Ok(Some(Found { room, name, matched: false, seats })),
            None if !mode.creates() => return Err(Code::NoSuchRoom),
            None => {}
        }
        let (maker, options) = (selection.maker.clone(), Box::new(selection.options.clone()));
        let most = self.capacity;
        let capacity = if selection.capacity == 0 { most } else { selection.capacity.min(most) };
        let listing = Listing::first(&options, capacity);
        let room =
            ListedRoom { name: (&*name).into(), version: (&*options.version).into(), listing };
        self.opening = Some(Opening { request, room, seats });
        self.outputs.push_back(LobbyOutput::OpenRoom { name, capacity, maker, options });
        Ok(None)
    }

    fn room_opened(&mut self, result: Result<RoomId, Code>) {
        let Some(Opening { request, room, seats }) = self.opening.take() else { return };
        let found = result.map(|id| {
            let name = room.name.as_ref().to_owned();
            self.rooms.insert(id, room);
            Found { room: id, name, matched: false, seats }
        });
        self.reply(request, found);
    }

    fn reply(&mut self, request: RequestId, result: Result<Found, Code>) {
        if let Ok(found) = &result {
            self.rooms.join_started(found.room, found.seats);
        }
        self.outputs.push_back(LobbyOutput::Found { request, result });
    }
}
