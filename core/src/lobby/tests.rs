//! Compares the lobby's index of rooms with a simple model: a list that is searched from the start
//! every time.

use std::collections::BTreeMap;

use nucleus_protocol::session::{RoomInfo, RoomList, Value, filter, value};
use proptest::prelude::*;

use super::rooms::{ListedRoom, RoomIndex};
use super::{Query, RoomListView};
use crate::ids::{RoomId, RoomPattern};
use crate::limits;
use crate::room::Listing;

const VERSIONS: [&str; 2] = ["1", "2"];
const LEVELS: u64 = 3;

#[derive(Clone, Debug)]
enum LobbyStep {
    /// Opens the next room.
    Open {
        version: usize,
        capacity: u16,
        level: u64,
        flags: Flags,
    },
    Close(prop::sample::Index),
    /// Replaces the listing of a room.
    List {
        room: prop::sample::Index,
        peers: u16,
        reserved: u16,
        level: u64,
        flags: Flags,
    },
    SetTaken(prop::sample::Index, u16),
    StartJoin(prop::sample::Index, u8),
    Arrive(prop::sample::Index, u8),
    /// Matches a room of this version with at least this level and these free seats. If `again`,
    /// matches a second time without the room that was found.
    Match {
        version: usize,
        level: u64,
        seats: u8,
        again: bool,
    },
    Watch(prop::sample::Index),
}

/// The properties of a room, each of which keeps a match from choosing the room.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    hidden: bool,
    locked: bool,
    password: bool,
}

fn step() -> impl Strategy<Value = LobbyStep> {
    let flags = || {
        any::<[bool; 3]>().prop_map(|[hidden, locked, password]| Flags {
            hidden,
            locked: locked && hidden,
            password: password && hidden,
        })
    };
    let at = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0..2usize, 1..6u16, 0..LEVELS, flags()).prop_map(
            |(version, capacity, level, flags)| LobbyStep::Open { version, capacity, level, flags },
        ),
        1 => at().prop_map(LobbyStep::Close),
        4 => (at(), 0..6u16, 0..3u16, 0..LEVELS, flags()).prop_map(
            |(room, peers, reserved, level, flags)| LobbyStep::List {
                room, peers, reserved, level, flags,
            },
        ),
        1 => (at(), 0..6u16).prop_map(|(i, taken)| LobbyStep::SetTaken(i, taken)),
        2 => (at(), 1..4u8).prop_map(|(i, seats)| LobbyStep::StartJoin(i, seats)),
        2 => (at(), 1..4u8).prop_map(|(i, seats)| LobbyStep::Arrive(i, seats)),
        4 => (0..2usize, 0..LEVELS, 1..4u8, any::<bool>()).prop_map(
            |(version, level, seats, again)| LobbyStep::Match { version, level, seats, again },
        ),
        3 => at().prop_map(LobbyStep::Watch),
    ]
}

/// A room of the model.
#[derive(Clone, Debug)]
struct ModelRoom {
    number: u64,
    version: usize,
    listing: Listing,
    taken: i32,
    under_way: i32,
}

impl ModelRoom {
    fn level(&self) -> u64 {
        self.listing.fields[0].1.bits
    }

    fn name(&self) -> String {
        format!("{}-{}", if self.number.is_multiple_of(3) { "b" } else { "a" }, self.number)
    }
}

fn listing(peers: u16, reserved: u16, capacity: u16, level: u64, flags: Flags) -> Listing {
    let value = Value { kind: value::INTEGER, bits: level, bytes: Vec::new() };
    let Flags { hidden, locked, password } = flags;
    let fields = vec![(b"level".to_vec(), value)];
    Listing { peers, reserved, capacity, locked, password, hidden, fields }
}

fn query(version: usize, level: u64) -> Query {
    let least = Value { kind: value::INTEGER, bits: level, bytes: Vec::new() };
    let values = vec![least, Value::default()];
    let level =
        nucleus_protocol::session::Filter { key: b"level".to_vec(), kind: filter::RANGE, values };
    Query::new(VERSIONS[version].to_owned(), vec![level]).unwrap()
}

fn update_view(view: &mut RoomListView, lobby: &RoomIndex) -> Option<RoomList> {
    view.update(lobby.changes_since(view.seen()))
}

/// A watcher with the list of rooms that its client has.
struct ModelWatcher {
    view: RoomListView,
    version: usize,
    level: u64,
    pattern: RoomPattern,
    list: BTreeMap<Vec<u8>, RoomInfo>,
    total: u32,
}

impl ModelWatcher {
    fn new(version: usize, level: u64, pattern: RoomPattern) -> Self {
        let view = RoomListView::new(query(version, level), pattern.clone());
        Self { view, version, level, pattern, list: BTreeMap::new(), total: 0 }
    }

    fn check(&mut self, lobby: &RoomIndex, rooms: &[ModelRoom]) {
        if let Some(update) = update_view(&mut self.view, lobby) {
            if update.whole == 1 {
                self.list.clear();
            }
            for name in update.gone {
                assert!(
                    self.list.remove(&name).is_some(),
                    "a room was removed that was not listed"
                );
            }
            self.list.extend(update.rooms.into_iter().map(|room| (room.room.clone(), room)));
            self.total = update.total;
        }
        let fits = |room: &&ModelRoom| {
            !room.listing.hidden
                && room.version == self.version
                && room.level() >= self.level
                && self.pattern.admits(&room.name())
        };
        let wanted: BTreeMap<Vec<u8>, (u16, u16, u8, u64)> = rooms
            .iter()
            .filter(fits)
            .map(|r| {
                let flags = u8::from(r.listing.locked) | u8::from(r.listing.password) << 1;
                (r.name().into_bytes(), (r.listing.peers, r.listing.capacity, flags, r.level()))
            })
            .collect();
        let bits = |room: &RoomInfo| room.fields[0].value.bits;
        let seen: BTreeMap<Vec<u8>, (u16, u16, u8, u64)> = self
            .list
            .iter()
            .map(|(name, r)| (name.clone(), (r.peers, r.capacity, r.flags, bits(r))))
            .collect();
        assert_eq!((seen, self.total as usize), (wanted.clone(), wanted.len()));
    }
}

/// Returns the room that a match must find: sorts all candidates and takes the first.
fn best(
    rooms: &[ModelRoom],
    version: usize,
    level: u64,
    seats: i32,
    passed: &[RoomId],
) -> Option<u64> {
    let mut fitting: Vec<&ModelRoom> = Vec::new();
    for room in rooms {
        let closed = room.listing.hidden || room.listing.locked || room.listing.password;
        let left = i32::from(room.listing.capacity) - room.taken - room.under_way;
        let is_passed = passed.iter().any(|id| id.0 == room.number);
        let fits = room.version == version && room.level() >= level;
        if fits && left >= seats && !closed && !is_passed && room.name().starts_with("a-") {
            fitting.push(room);
        }
    }
    fitting.sort_by_key(|room| (-(room.taken + room.under_way), room.number));
    fitting.first().map(|room| room.number)
}

fn listed(name: &str, version: &str, listing: &Listing) -> ListedRoom {
    ListedRoom { name: name.into(), version: version.into(), listing: listing.clone() }
}

fn run(steps: Vec<LobbyStep>) {
    let (mut lobby, mut rooms, mut next) = (RoomIndex::default(), Vec::<ModelRoom>::new(), 1);
    let mut watchers = [
        ModelWatcher::new(0, 0, RoomPattern::Any),
        ModelWatcher::new(1, 1, RoomPattern::Prefix("a-".to_owned())),
    ];
    for step in steps {
        match step {
            LobbyStep::Open { version, capacity, level, flags } => {
                let listing = listing(0, 0, capacity, level, flags);
                let room = ModelRoom { number: next, version, listing, taken: 0, under_way: 0 };
                next += 1;
                let opened = listed(&room.name(), VERSIONS[version], &room.listing);
                lobby.insert(RoomId(room.number), opened);
                rooms.push(room);
            }
            LobbyStep::Match { version, level, seats, again } => {
                let admits = |name: &str| name.starts_with("a-");
                let (query, wanted) = (query(version, level), i32::from(seats));
                let picked = lobby.pick(&query, admits, seats.into(), &[]);
                let expected = best(&rooms, version, level, wanted, &[]);
                assert_eq!(picked.as_ref().map(|(id, _)| id.0), expected);
                let Some((id, name)) = picked.filter(|_| again) else { continue };
                assert!(rooms.iter().any(|room| room.number == id.0 && room.name() == *name));
                let second = lobby.pick(&query, admits, seats.into(), &[id]);
                let expected = best(&rooms, version, level, wanted, &[id]);
                assert_eq!(second.map(|(id, _)| id.0), expected);
            }
            LobbyStep::Watch(at) => at.get_mut(&mut watchers).check(&lobby, &rooms),
            _ if rooms.is_empty() => {}
            LobbyStep::Close(at) => {
                let room = rooms.remove(at.index(rooms.len()));
                lobby.remove(RoomId(room.number));
            }
            LobbyStep::List { room, peers, reserved, level, flags } => {
                let room = room.get_mut(&mut rooms);
                room.listing = listing(peers, reserved, room.listing.capacity, level, flags);
                room.taken = (peers + reserved).into();
                lobby.set_listing(RoomId(room.number), room.listing.clone());
            }
            LobbyStep::SetTaken(at, taken) => {
                let room = at.get_mut(&mut rooms);
                room.taken = taken.into();
                lobby.set_taken(RoomId(room.number), taken.into());
            }
            LobbyStep::StartJoin(at, seats) => {
                let room = at.get_mut(&mut rooms);
                room.under_way += i32::from(seats);
                lobby.join_started(RoomId(room.number), seats.into());
            }
            LobbyStep::Arrive(at, seats) => {
                let room = at.get_mut(&mut rooms);
                room.under_way = (room.under_way - i32::from(seats)).max(0);
                lobby.join_arrived(RoomId(room.number), seats.into());
            }
        }
    }
    watchers.iter_mut().for_each(|watcher| watcher.check(&lobby, &rooms));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn it_finds_what_a_search_of_everything_finds(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        run(steps);
    }
}

#[test]
fn a_watcher_that_is_far_behind_gets_everything_again() {
    let mut lobby = RoomIndex::default();
    let mut view = RoomListView::new(Query::default(), RoomPattern::Any);
    lobby.insert(RoomId(1), listed("one", "", &listing(0, 0, 2, 0, Flags::default())));
    lobby.insert(RoomId(2), listed("two", "", &listing(0, 0, 2, 0, Flags::default())));
    assert_eq!(update_view(&mut view, &lobby).unwrap().rooms.len(), 2);
    assert_eq!(update_view(&mut view, &lobby), None);
    for n in 0..limits::LOBBY_LOG as u64 {
        lobby.set_listing(RoomId(1), listing(1, 0, 2, n % 2, Flags::default()));
    }
    let update = update_view(&mut view, &lobby).unwrap();
    assert_eq!((update.whole, update.rooms.len()), (0, 1), "the log goes back just far enough");
    for n in 0..=limits::LOBBY_LOG as u64 {
        lobby.set_listing(RoomId(1), listing(0, 0, 2, n % 2, Flags::default()));
    }
    let update = update_view(&mut view, &lobby).unwrap();
    assert_eq!((update.whole, update.rooms.len()), (1, 2));
}

#[test]
fn a_long_list_has_the_oldest_and_moves_up() {
    let mut lobby = RoomIndex::default();
    let empty = || listing(0, 0, 2, 0, Flags::default());
    for n in 0..503u64 {
        lobby.insert(RoomId(n), listed(&n.to_string(), "", &empty()));
    }
    let mut view = RoomListView::new(Query::default(), RoomPattern::Any);
    let list = update_view(&mut view, &lobby).unwrap();
    assert_eq!((list.total, list.rooms.len()), (503, 500));
    lobby.set_listing(RoomId(502), listing(1, 0, 2, 0, Flags::default()));
    assert_eq!(update_view(&mut view, &lobby), None, "the room is beyond the list's end");
    lobby.remove(RoomId(7));
    let list = update_view(&mut view, &lobby).unwrap();
    let new: Vec<_> = list.rooms.iter().map(|room| room.room.clone()).collect();
    assert_eq!((list.total, list.gone, new), (502, vec![b"7".to_vec()], vec![b"500".to_vec()]));
}

/// The lobby hears of a join's admission in one step. In two steps its seat would count twice in
/// between, and the next match would open another room.
#[test]
fn a_join_that_is_admitted_counts_once() {
    use crate::Machine;
    use crate::ids::RequestId;
    use crate::lobby::{Find, JoinMode, Lobby, LobbyInput, LobbyOutput, RoomSelection};
    use crate::room::RoomOptions;
    use nucleus_protocol::time::Time;

    let mut lobby = Lobby::new(10);
    let mut opened = 0;
    for user in 0..25_u64 {
        let any = RoomSelection::by_server(RoomOptions::default());
        let selection = RoomSelection { mode: JoinMode::MatchOrCreate, seats: 1, ..any };
        let random = [user as u8; 16];
        let find =
            Find { name: String::new(), selection: selection.into(), random, passed: Vec::new() };
        lobby.handle(Time::ZERO, LobbyInput::Find { request: RequestId(user), find });
        while let Some(output) = lobby.poll() {
            match output {
                LobbyOutput::OpenRoom { .. } => {
                    opened += 1;
                    lobby.handle(Time::ZERO, LobbyInput::RoomOpened(Ok(RoomId(opened))));
                }
                LobbyOutput::Found { result, .. } => {
                    let found = result.unwrap();
                    let taken = (user % 10) as usize + 1;
                    let (room, arrived) = (found.room, found.seats);
                    lobby.handle(Time::ZERO, LobbyInput::Admitted { room, taken, arrived });
                }
                _ => {}
            }
        }
    }
    assert_eq!(opened, 3, "25 users in rooms of 10");
}
