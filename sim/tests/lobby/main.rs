//! Tests a lobby with real rooms. At random, joins start, arrive and are cancelled, and sessions
//! leave and are lost.
//!
//! `NUCLEUS_SEEDS=10000` runs that many seeds, `NUCLEUS_SEED=17` only that one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test reports a failure by a panic with a message"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nucleus_core::ids::{RoomId, RoomPattern};
use nucleus_core::lobby::{JoinMode, Query, RoomSelection};
use nucleus_core::moments::LossCause;
use nucleus_core::room::{JoinConditions, RoomInput, RoomOptions};
use nucleus_protocol::session::Code;
use nucleus_sim::SessionAddress;
use nucleus_sim::lobby::{LobbyJoin, LobbyWorld, OpenedRoom};
use nucleus_sim::seeds::for_seeds;

/// The largest number of peers in a room.
const CAPACITY: u16 = 6;
/// Few names, so that joins conflict.
const NAMES: u64 = 5;
const MODES: [JoinMode; 5] = [
    JoinMode::JoinOrCreate,
    JoinMode::Create,
    JoinMode::Join,
    JoinMode::Match,
    JoinMode::MatchOrCreate,
];

/// The world, and the test's own records.
struct LobbyRun {
    rng: fastrand::Rng,
    world: LobbyWorld,
    /// Joins without an outcome.
    open: BTreeSet<u64>,
    /// Sessions in rooms.
    seated: Vec<SessionAddress>,
    newest_user: u64,
    seats_given: usize,
    /// Number of refused joins, by code.
    refused: BTreeMap<u16, usize>,
}

impl LobbyRun {
    fn new(seed: u64) -> Self {
        let (open, seated, newest_user, seats_given, refused) = Default::default();
        let (rng, world) = (fastrand::Rng::with_seed(seed), LobbyWorld::new(CAPACITY));
        Self { rng, world, open, seated, newest_user, seats_given, refused }
    }

    fn step(&mut self) {
        match self.rng.u8(..100) {
            0..25 => {
                // Several joins in one run of the lobby.
                for _ in 0..self.rng.u8(1..5) {
                    let join = self.any_join();
                    self.open.insert(self.world.start_join(join));
                }
            }
            25..50 => self.world.settle(),
            50..75 => {
                if let Some(join) = self.rng.choice(self.world.under_way()) {
                    self.world.arrive(join);
                }
            }
            75..78 => {
                if let Some(join) = self.rng.choice(self.world.under_way()) {
                    self.world.cancel(join);
                    self.open.remove(&join);
                }
            }
            78..88 => self.remove_session(),
            88..96 => self.world.pass(Duration::from_millis(self.rng.u64(1..1_000))),
            96 => self.world.pass(Duration::from_secs(self.rng.u64(1..70))),
            97 => self.world.no_rooms = self.rng.bool().then_some(Code::ServerFull),
            98 => self.world.rooms_are_late ^= true,
            _ => {
                let rooms: Vec<RoomId> = self.world.server.rooms().collect();
                if let Some(room) = self.rng.choice(rooms) {
                    self.world.post(room, RoomInput::Shutdown(Code::RoomEnded));
                }
            }
        }
        self.take_outcomes();
    }

    fn any_join(&mut self) -> LobbyJoin {
        let rng = &mut self.rng;
        let mode = MODES[rng.usize(..MODES.len())];
        let name = format!("room-{}", rng.u64(..NAMES));
        let name = if mode.matches() && rng.bool() { String::new() } else { name };
        self.newest_user += 1;
        let user = format!("user-{}", self.newest_user);
        let expected: Vec<String> = (0..[0, 0, 0, 1, 2][rng.usize(..5)])
            .map(|_| format!("user-{}", self.newest_user + rng.u64(1..20)))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let options = RoomOptions {
            hidden: rng.u8(..8) == 0,
            empty_ttl: Duration::from_millis([0, 500, 5_000][rng.usize(..3)]),
            ..RoomOptions::default()
        };
        let selection = RoomSelection {
            mode,
            maker: Some(user.clone()),
            seats: 1 + expected.len(),
            capacity: rng.u16(..CAPACITY),
            ..RoomSelection::by_server(options)
        };
        let conditions = JoinConditions { expected, ..JoinConditions::default() };
        LobbyJoin { user, name, selection: Arc::new(selection), conditions }
    }

    /// Lets a session leave, or lets it be lost.
    fn remove_session(&mut self) {
        if self.seated.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.seated.len());
        let SessionAddress { room, session } = self.seated.swap_remove(at);
        let input = match self.rng.bool() {
            true => RoomInput::Leave(session, Code::Left),
            false => RoomInput::SessionLost(session, LossCause::Closed),
        };
        self.world.post(room, input);
    }

    /// Reads the new outcomes. Each join must have exactly one outcome.
    fn take_outcomes(&mut self) {
        while let Some((join, outcome)) = self.world.outcomes.pop_first() {
            assert!(self.open.remove(&join), "join {join} has two outcomes");
            match outcome {
                Ok(address) => {
                    self.seats_given += 1;
                    self.seated.push(address);
                }
                Err(code) => *self.refused.entry(code as u16).or_default() += 1,
            }
        }
    }

    /// Runs the world until all joins have ended and the lobby has handled all messages.
    fn come_to_rest(&mut self) {
        (self.world.no_rooms, self.world.rooms_are_late) = (None, false);
        while !self.open.is_empty() {
            self.world.settle();
            self.world.under_way().into_iter().for_each(|join| self.world.arrive(join));
            self.take_outcomes();
        }
        // Listings are sent in batches, and the end of a reservation starts a batch.
        let batch = Duration::from_millis(200);
        self.world.pass(batch);
        while self.world.server.deadline().is_some_and(|due| due <= self.world.server.now + batch) {
            self.world.pass(batch);
        }
        self.world.settle();
    }

    /// Checks that the lobby counts the seats of each room as the room does: a match for all free
    /// seats succeeds, and a match for one more fails.
    fn check_seats(&mut self) {
        let rooms: Vec<(RoomId, OpenedRoom)> =
            self.world.rooms().iter().map(|(id, room)| (*id, room.clone())).collect();
        for (id, OpenedRoom { name, capacity }) in rooms {
            assert!(!self.world.server.is_over(id), "{name} is over, but the lobby still has it");
            let (taken, hidden) = {
                let room = self.world.server.room(id);
                (room.seats_taken(), room.listing().hidden)
            };
            let free = usize::from(capacity) - taken;
            for (seats, fits) in [(free, true), (free + 1, false)] {
                let selection = RoomSelection {
                    mode: JoinMode::Match,
                    query: Query::default(),
                    admitted: RoomPattern::Exact(name.clone()),
                    seats,
                    ..RoomSelection::by_server(RoomOptions::default())
                };
                let user = "probe".to_owned();
                let join = self.world.start_join(LobbyJoin {
                    user,
                    name: String::new(),
                    selection: Arc::new(selection),
                    conditions: JoinConditions::default(),
                });
                self.world.settle();
                let found = self.world.found(join).map(|found| found.room);
                let expected = (fits && !hidden).then_some(id);
                assert_eq!(found, expected, "{seats} seats, {taken} of {capacity} taken in {name}");
                match found {
                    Some(_) => self.world.cancel(join),
                    None => assert_eq!(self.world.outcomes[&join], Err(Code::NoSuchRoom)),
                }
                self.world.outcomes.clear();
                self.world.settle();
            }
        }
    }

    /// Lets all sessions leave. Nothing must remain.
    fn end(&mut self) {
        self.come_to_rest();
        for SessionAddress { room, session } in std::mem::take(&mut self.seated) {
            self.world.post(room, RoomInput::Leave(session, Code::Left));
        }
        // Wait long enough for lost participants, reserved seats and empty rooms to expire.
        self.world.pass(Duration::from_secs(120));
        self.world.settle();
        assert_eq!(self.world.server.rooms().count(), 0);
        assert!(self.world.rooms().is_empty(), "{:?}", self.world.rooms());
        assert!(self.world.is_over() || self.world.opened() == 0);
        assert_eq!(self.world.server.shards[0].commands_without_link(), 0);
    }
}

fn run(seed: u64, checks_seats: bool) {
    let mut run = LobbyRun::new(seed);
    for step in 0..400 {
        run.step();
        if step % 50 == 49 {
            run.come_to_rest();
            if checks_seats {
                run.check_seats();
            }
        }
    }
    run.end();
    assert!(run.seats_given > 20, "{} seats, {:?}", run.seats_given, run.refused);
    assert!(run.world.opened() > 5);
}

#[test]
fn a_lobby_opens_each_room_once_and_ends_with_the_last() {
    for_seeds(200, |seed| run(seed, false));
}

#[test]
fn a_lobby_counts_seats_as_their_rooms_do() {
    for_seeds(200, |seed| run(seed, true));
}
