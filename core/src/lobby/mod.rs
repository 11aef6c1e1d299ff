//! The lobby of one product of a tenant: finds a room for a join, has one made where none fits, and
//! tells watchers what has changed.

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
pub use rooms::News;
use rooms::{About, Rooms};
pub use selection::{JoinMode, RoomSelection};
pub use view::RoomListView;

/// What a lobby takes.
pub enum LobbyInput {
    /// Time has passed.
    Timeout,
    /// Find a room for a join, or make one; answered by [`LobbyOutput::Found`].
    Find {
        /// For the reply.
        request: RequestId,
        /// The join.
        find: Find,
    },
    /// What became of [`LobbyOutput::OpenRoom`].
    RoomOpened(Result<RoomId, Code>),
    /// What the lobby shows of a room has changed.
    Listing(RoomId, Box<Listing>),
    /// A room has given so many seats, reserved ones among them.
    Seats(RoomId, usize),
    /// A join for which so many seats were counted has arrived at its room, in it or not.
    Arrived(RoomId, usize),
    /// A room is over, and its name is free.
    RoomOver(RoomId),
    /// Somebody who has seen the changes up to this number wants the news; answered by
    /// [`LobbyOutput::News`].
    News {
        /// For the reply.
        request: RequestId,
        /// `None`: it has seen nothing.
        seen: Option<u64>,
    },
}

/// A join that looks for a room.
pub struct Find {
    /// The room's name; may be empty for a match.
    pub name: String,
    /// Which rooms will do.
    pub selection: Arc<RoomSelection>,
    /// Names a room that nobody has named.
    pub random: [u8; 16],
    /// Rooms that have refused the join already.
    pub passed: Vec<RoomId>,
}

/// What a lobby wants done.
pub enum LobbyOutput {
    /// The reply to [`LobbyInput::Find`]. The seats of the join count as taken in the room that was found,
    /// until [`LobbyInput::Arrived`].
    Found {
        /// Which join.
        request: RequestId,
        /// The room, or the code to refuse with.
        result: Result<Found, Code>,
    },
    /// Make a room, and say how that went by [`LobbyInput::RoomOpened`]. Until then other joins wait, so
    /// that two joins which need the same room make only one.
    OpenRoom {
        /// Its name.
        name: String,
        /// Peers it takes.
        capacity: u16,
        /// The user who makes it, if it is one.
        maker: Option<String>,
        /// What it is made with.
        options: Box<RoomOptions>,
    },
    /// The newest change that watchers can see has this number.
    Changed(u64),
    /// The reply to [`LobbyInput::News`].
    News {
        /// Which request.
        request: RequestId,
        /// What has happened.
        news: News,
    },
}

/// A room for a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The room.
    pub room: RoomId,
    /// Its name.
    pub name: String,
    /// By what the lobby knows of it, which may be behind.
    pub matched: bool,
    /// Seats of the join, which count until [`LobbyInput::Arrived`].
    pub seats: usize,
}

/// A join whose room is being made.
struct Opening {
    request: RequestId,
    about: About,
    seats: usize,
}

/// The lobby of one tenant's product.
pub struct Lobby {
    /// Peers of a room at most.
    capacity: u16,
    rooms: Rooms,
    opening: Option<Opening>,
    /// Joins that wait for the room that is being made. A shell that opens it before it hands in the
    /// next input, as the server's does, has none here.
    waiting: VecDeque<(RequestId, Find)>,
    outputs: VecDeque<LobbyOutput>,
}

impl Machine for Lobby {
    type Input = LobbyInput;
    type Output = LobbyOutput;
    const TIMEOUT: LobbyInput = LobbyInput::Timeout;

    fn handle(&mut self, _now: Time, input: LobbyInput) {
        let changes = self.rooms.changes();
        match input {
            LobbyInput::Timeout => {}
            LobbyInput::Find { request, find } => self.waiting.push_back((request, find)),
            LobbyInput::RoomOpened(result) => self.room_opened(result),
            LobbyInput::Listing(room, listing) => self.rooms.list(room, *listing),
            LobbyInput::Seats(room, taken) => self.rooms.seat(room, taken),
            LobbyInput::Arrived(room, seats) => self.rooms.arrive(room, seats),
            LobbyInput::RoomOver(room) => self.rooms.close(room),
            LobbyInput::News { request, seen } => {
                let news = self.rooms.news(seen);
                self.outputs.push_back(LobbyOutput::News { request, news });
            }
        }
        while self.opening.is_none()
            && let Some((request, find)) = self.waiting.pop_front()
        {
            self.find(request, find);
        }
        if self.rooms.changes() != changes {
            self.outputs.push_back(LobbyOutput::Changed(self.rooms.changes()));
        }
    }

    fn poll(&mut self) -> Option<LobbyOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    /// No room is there, nor about to be.
    fn is_over(&self) -> bool {
        self.rooms.is_empty() && self.opening.is_none() && self.waiting.is_empty()
    }
}

impl Lobby {
    /// No rooms yet; each will take at most `capacity` peers.
    pub fn new(capacity: u16) -> Self {
        Self {
            capacity,
            rooms: Rooms::default(),
            opening: None,
            waiting: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    fn find(&mut self, request: RequestId, find: Find) {
        let mode = find.selection.mode;
        let matched = if mode.matches() { self.matched(&find) } else { None };
        let result = match matched {
            Some(found) => Ok(Some(found)),
            None if mode == JoinMode::Match => Err(Code::NoSuchRoom),
            None => self.named(request, find),
        };
        // None: the room is being made.
        if let Some(result) = result.transpose() {
            self.reply(request, result);
        }
    }

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

    /// The room of that name, where it is there; else it is made, where it may be.
    fn named(&mut self, request: RequestId, find: Find) -> Result<Option<Found>, Code> {
        let Find { mut name, selection, random, .. } = find;
        let (mode, seats) = (selection.mode, selection.seats);
        let is_free = !name.is_empty() && self.rooms.named(&name).is_none();
        if mode == JoinMode::MatchOrCreate && !is_free {
            name = selection.name_from(random)?;
        }
        match self.rooms.named(&name) {
            Some(_) if mode == JoinMode::Create => return Err(Code::RoomExists),
            Some(room) => return Ok(Some(Found { room, name, matched: false, seats })),
            None if !mode.creates() => return Err(Code::NoSuchRoom),
            None => {}
        }
        let (maker, options) = (selection.maker.clone(), Box::new(selection.options.clone()));
        let most = self.capacity;
        let capacity = if selection.capacity == 0 { most } else { selection.capacity.min(most) };
        let listing = Listing::first(&options, capacity);
        let about = About { name: (&*name).into(), version: (&*options.version).into(), listing };
        self.opening = Some(Opening { request, about, seats });
        self.outputs.push_back(LobbyOutput::OpenRoom { name, capacity, maker, options });
        Ok(None)
    }

    fn room_opened(&mut self, result: Result<RoomId, Code>) {
        let Some(Opening { request, about, seats }) = self.opening.take() else { return };
        let found = result.map(|room| {
            let name = about.name.as_ref().to_owned();
            self.rooms.open(room, about);
            Found { room, name, matched: false, seats }
        });
        self.reply(request, found);
    }

    fn reply(&mut self, request: RequestId, result: Result<Found, Code>) {
        if let Ok(found) = &result {
            self.rooms.set_out(found.room, found.seats);
        }
        self.outputs.push_back(LobbyOutput::Found { request, result });
    }
}
