//! The lobby against a plain list of rooms that is searched from the beginning every time.

use std::collections::BTreeMap;

use nucleus_protocol::session::{RoomInfo, RoomList, Value, filter, value};
use proptest::prelude::*;

use super::rooms::{About, Rooms};
use super::{Query, RoomListView};
use crate::ids::{RoomId, RoomPattern};
use crate::limits;
use crate::room::Listing;

const VERSIONS: [&str; 2] = ["1", "2"];
const LEVELS: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Opens the next room: version, capacity, level, hidden, locked, password.
    Open(usize, u16, u64, [bool; 3]),
    Close(prop::sample::Index),
    /// Shows so many peers and held seats, a level and what hides it.
    Show(prop::sample::Index, u16, u16, u64, [bool; 3]),
    Seat(prop::sample::Index, u16),
    SetOut(prop::sample::Index, u8),
    Arrive(prop::sample::Index, u8),
    /// Looks for so many seats among rooms of a version with at least a level.
    Match(usize, u64, u8, bool),
    Watch(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let bits = || any::<[bool; 3]>().prop_map(|b| b.map(|set| set && b[0]));
    let at = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0..2usize, 1..6u16, 0..LEVELS, bits()).prop_map(|(v, c, l, b)| Step::Open(v, c, l, b)),
        1 => at().prop_map(Step::Close),
        4 => (at(), 0..6u16, 0..3u16, 0..LEVELS, bits())
            .prop_map(|(i, p, h, l, b)| Step::Show(i, p, h, l, b)),
        1 => (at(), 0..6u16).prop_map(|(i, taken)| Step::Seat(i, taken)),
        2 => (at(), 1..4u8).prop_map(|(i, seats)| Step::SetOut(i, seats)),
        2 => (at(), 1..4u8).prop_map(|(i, seats)| Step::Arrive(i, seats)),
        4 => (0..2usize, 0..LEVELS, 1..4u8, any::<bool>())
            .prop_map(|(v, l, seats, pass)| Step::Match(v, l, seats, pass)),
        3 => at().prop_map(Step::Watch),
    ]
}

/// A room as the model knows it.
#[derive(Clone, Debug)]
struct Plain {
    number: u64,
    version: usize,
    shown: Listing,
    taken: i32,
    coming: i32,
}

impl Plain {
    fn level(&self) -> u64 {
        self.shown.fields[0].1.bits
    }

    fn name(&self) -> String {
        format!("{}-{}", if self.number.is_multiple_of(3) { "b" } else { "a" }, self.number)
    }
}

fn listing(peers: u16, reserved: u16, capacity: u16, level: u64, bits: [bool; 3]) -> Listing {
    let value = Value { kind: value::INTEGER, bits: level, bytes: Vec::new() };
    let [hidden, locked, password] = bits;
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

fn look(view: &mut RoomListView, lobby: &Rooms) -> Option<RoomList> {
    view.update(lobby.news(view.seen()))
}

/// A watcher with the list that its client would have.
struct Watching {
    view: RoomListView,
    version: usize,
    level: u64,
    pattern: RoomPattern,
    list: BTreeMap<Vec<u8>, RoomInfo>,
    total: u32,
}

impl Watching {
    fn new(version: usize, level: u64, pattern: RoomPattern) -> Self {
        let view = RoomListView::new(query(version, level), pattern.clone());
        Self { view, version, level, pattern, list: BTreeMap::new(), total: 0 }
    }

    fn check(&mut self, lobby: &Rooms, rooms: &[Plain]) {
        if let Some(update) = look(&mut self.view, lobby) {
            if update.whole == 1 {
                self.list.clear();
            }
            for name in update.gone {
                assert!(self.list.remove(&name).is_some(), "it was not there");
            }
            self.list.extend(update.rooms.into_iter().map(|room| (room.room.clone(), room)));
            self.total = update.total;
        }
        let fits = |room: &&Plain| {
            !room.shown.hidden
                && room.version == self.version
                && room.level() >= self.level
                && self.pattern.admits(&room.name())
        };
        let wanted: BTreeMap<Vec<u8>, (u16, u16, u8, u64)> = rooms
            .iter()
            .filter(fits)
            .map(|r| {
                let flags = u8::from(r.shown.locked) | u8::from(r.shown.password) << 1;
                let shown = (r.shown.peers, r.shown.capacity, flags, r.level());
                (r.name().into_bytes(), shown)
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

/// Sorts all candidates and takes the first.
fn best(rooms: &[Plain], version: usize, level: u64, seats: i32, pass: &[RoomId]) -> Option<u64> {
    let mut fitting: Vec<&Plain> = Vec::new();
    for room in rooms {
        let closed = room.shown.hidden || room.shown.locked || room.shown.password;
        let left = i32::from(room.shown.capacity) - room.taken - room.coming;
        let passed = pass.iter().any(|id| id.0 == room.number);
        let asked = room.version == version && room.level() >= level;
        if asked && left >= seats && !closed && !passed && room.name().starts_with("a-") {
            fitting.push(room);
        }
    }
    fitting.sort_by_key(|room| (-(room.taken + room.coming), room.number));
    fitting.first().map(|room| room.number)
}

fn about(name: &str, version: &str, listing: &Listing) -> About {
    About { name: name.into(), version: version.into(), listing: listing.clone() }
}

fn run(steps: Vec<Step>) {
    let (mut lobby, mut rooms, mut next) = (Rooms::default(), Vec::<Plain>::new(), 1);
    let mut watching = [
        Watching::new(0, 0, RoomPattern::Any),
        Watching::new(1, 1, RoomPattern::Prefix("a-".to_owned())),
    ];
    for step in steps {
        match step {
            Step::Open(version, capacity, level, bits) => {
                let shown = listing(0, 0, capacity, level, bits);
                let room = Plain { number: next, version, shown, taken: 0, coming: 0 };
                next += 1;
                lobby
                    .open(RoomId(room.number), about(&room.name(), VERSIONS[version], &room.shown));
                rooms.push(room);
            }
            Step::Match(version, level, seats, pass) => {
                let admits = |name: &str| name.starts_with("a-");
                let (query, wanted) = (query(version, level), i32::from(seats));
                let picked = lobby.pick(&query, admits, seats.into(), &[]);
                let expected = best(&rooms, version, level, wanted, &[]);
                assert_eq!(picked.as_ref().map(|(id, _)| id.0), expected);
                let Some((id, name)) = picked.filter(|_| pass) else { continue };
                assert!(rooms.iter().any(|room| room.number == id.0 && room.name() == *name));
                let second = lobby.pick(&query, admits, seats.into(), &[id]);
                let expected = best(&rooms, version, level, wanted, &[id]);
                assert_eq!(second.map(|(id, _)| id.0), expected);
            }
            Step::Watch(at) => at.get_mut(&mut watching).check(&lobby, &rooms),
            _ if rooms.is_empty() => {}
            Step::Close(at) => {
                let room = rooms.remove(at.index(rooms.len()));
                lobby.close(RoomId(room.number));
            }
            Step::Show(at, peers, reserved, level, bits) => {
                let room = at.get_mut(&mut rooms);
                room.shown = listing(peers, reserved, room.shown.capacity, level, bits);
                room.taken = (peers + reserved).into();
                lobby.list(RoomId(room.number), room.shown.clone());
            }
            Step::Seat(at, taken) => {
                let room = at.get_mut(&mut rooms);
                room.taken = taken.into();
                lobby.seat(RoomId(room.number), taken.into());
            }
            Step::SetOut(at, seats) => {
                let room = at.get_mut(&mut rooms);
                room.coming += i32::from(seats);
                lobby.set_out(RoomId(room.number), seats.into());
            }
            Step::Arrive(at, seats) => {
                let room = at.get_mut(&mut rooms);
                room.coming = (room.coming - i32::from(seats)).max(0);
                lobby.arrive(RoomId(room.number), seats.into());
            }
        }
    }
    watching.iter_mut().for_each(|watching| watching.check(&lobby, &rooms));
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
    let mut lobby = Rooms::default();
    let mut view = RoomListView::new(Query::default(), RoomPattern::Any);
    lobby.open(RoomId(1), about("one", "", &listing(0, 0, 2, 0, [false; 3])));
    lobby.open(RoomId(2), about("two", "", &listing(0, 0, 2, 0, [false; 3])));
    assert_eq!(look(&mut view, &lobby).unwrap().rooms.len(), 2);
    assert_eq!(look(&mut view, &lobby), None);
    for n in 0..limits::LOBBY_LOG as u64 {
        lobby.list(RoomId(1), listing(1, 0, 2, n % 2, [false; 3]));
    }
    let update = look(&mut view, &lobby).unwrap();
    assert_eq!((update.whole, update.rooms.len()), (0, 1), "as far as the log goes");
    for n in 0..=limits::LOBBY_LOG as u64 {
        lobby.list(RoomId(1), listing(0, 0, 2, n % 2, [false; 3]));
    }
    let update = look(&mut view, &lobby).unwrap();
    assert_eq!((update.whole, update.rooms.len()), (1, 2));
}

#[test]
fn a_long_list_has_the_oldest_and_moves_up() {
    let mut lobby = Rooms::default();
    let shown = || listing(0, 0, 2, 0, [false; 3]);
    for n in 0..503u64 {
        lobby.open(RoomId(n), about(&n.to_string(), "", &shown()));
    }
    let mut view = RoomListView::new(Query::default(), RoomPattern::Any);
    let list = look(&mut view, &lobby).unwrap();
    assert_eq!((list.total, list.rooms.len()), (503, 500));
    lobby.list(RoomId(502), listing(1, 0, 2, 0, [false; 3]));
    assert_eq!(look(&mut view, &lobby), None, "nobody sees it");
    lobby.close(RoomId(7));
    let list = look(&mut view, &lobby).unwrap();
    let new: Vec<_> = list.rooms.iter().map(|room| room.room.clone()).collect();
    assert_eq!((list.total, list.gone, new), (502, vec![b"7".to_vec()], vec![b"500".to_vec()]));
}
