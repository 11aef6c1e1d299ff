//! The rooms of a lobby: which there are, which of them fits, and what has changed.
//!
//! A room is known from the moment in which it is opened to the one in which its name is free again.
//! Rooms tell what has changed; what they have not told yet (joins under way) is counted here.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::filter::Query;
use crate::ids::RoomId;
use crate::limits;
use crate::room::Listing;

/// What the lobby shows of a room. Never changes, because watchers share it; a change makes a new one.
#[derive(Debug)]
pub(super) struct About {
    pub(super) name: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) listing: Listing,
}

/// A room as its lobby knows it.
#[derive(Debug)]
struct Entry {
    about: Arc<About>,
    /// Seats that the room has given, reserved ones among them; told sooner than the rest.
    taken: usize,
    /// Seats that joins are on their way to.
    under_way: usize,
}

impl Entry {
    fn is_open(&self) -> bool {
        let Listing { hidden, locked, password, .. } = self.about.listing;
        !hidden && !locked && !password
    }

    fn load(&self) -> usize {
        self.taken + self.under_way
    }
}

/// What a watcher has missed.
#[derive(Debug)]
pub struct News {
    /// Number of the newest change.
    pub(super) newest: u64,
    /// These are all rooms, not those that have changed.
    pub(super) whole: bool,
    /// The oldest first; one that is over has nothing to show.
    pub(super) rooms: Vec<(RoomId, Option<Arc<About>>)>,
}

/// The rooms of one tenant's product.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    /// By the numbers of instances, which rise: the oldest first.
    rooms: BTreeMap<RoomId, Entry>,
    by_name: HashMap<Arc<str>, RoomId>,
    /// Counts what watchers can see of it.
    changes: u64,
    /// The newest changes, the last one being number `changes`.
    log: VecDeque<RoomId>,
}

impl Rooms {
    /// There is a new room.
    pub(super) fn open(&mut self, id: RoomId, about: About) {
        let taken = about.listing.reserved.into();
        self.by_name.insert(about.name.clone(), id);
        self.rooms.insert(id, Entry { about: Arc::new(about), taken, under_way: 0 });
        self.note(id);
    }

    /// A room is over.
    pub(super) fn close(&mut self, id: RoomId) {
        let Some(Entry { about, .. }) = self.rooms.remove(&id) else { return };
        if self.by_name.get(&about.name) == Some(&id) {
            self.by_name.remove(&about.name);
        }
        self.note(id);
    }

    /// What the lobby shows of a room has changed.
    pub(super) fn list(&mut self, id: RoomId, listing: Listing) {
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        entry.taken = usize::from(listing.peers) + usize::from(listing.reserved);
        if entry.about.listing != listing {
            let About { name, version, .. } = &*entry.about;
            let (name, version) = (name.clone(), version.clone());
            entry.about = Arc::new(About { name, version, listing });
            self.note(id);
        }
    }

    /// A room has given seats; its listing will say so later.
    pub(super) fn seat(&mut self, id: RoomId, taken: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.taken = taken;
        }
    }

    /// A join of so many seats is on its way to a room.
    pub(super) fn set_out(&mut self, id: RoomId, seats: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.under_way += seats;
        }
    }

    /// ... and has arrived, in it or not.
    pub(super) fn arrive(&mut self, id: RoomId, seats: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.under_way = entry.under_way.saturating_sub(seats);
        }
    }

    /// No room is there.
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The room of that name.
    pub(super) fn named(&self, name: &str) -> Option<RoomId> {
        self.by_name.get(name).copied()
    }

    /// The room for a match that needs so many seats: of those that fit the fullest, of these the
    /// oldest. Not one of `passed`, which have refused it.
    pub(super) fn pick(
        &self,
        query: &Query,
        admits: impl Fn(&str) -> bool,
        seats: usize,
        passed: &[RoomId],
    ) -> Option<(RoomId, Arc<str>)> {
        let mut best: Option<(RoomId, &Entry)> = None;
        for (id, entry) in &self.rooms {
            let about = &entry.about;
            // What costs the most comes last. Of equals the one before stays, which is older.
            let fits = entry.is_open()
                && entry.load() + seats <= usize::from(about.listing.capacity)
                && best.is_none_or(|(_, best)| entry.load() > best.load())
                && !passed.contains(id)
                && admits(&about.name)
                && query.fits(&about.version, &about.listing.fields);
            if fits {
                best = Some((*id, entry));
            }
        }
        best.map(|(id, entry)| (id, entry.about.name.clone()))
    }

    /// What a watcher that has seen change `seen` has missed. Returns references only: the watcher
    /// filters them in its own task, so the lobby is not held up.
    pub(super) fn news(&self, seen: Option<u64>) -> News {
        let changed = seen.and_then(|seen| self.since(seen));
        let changed: Option<BTreeSet<RoomId>> = changed.map(Iterator::collect);
        let whole = changed.is_none();
        let about = |entry: &Entry| entry.about.clone();
        let rooms = match changed {
            Some(ids) => ids.into_iter().map(|id| (id, self.rooms.get(&id).map(about))).collect(),
            None => self.rooms.iter().map(|(id, entry)| (*id, Some(about(entry)))).collect(),
        };
        News { newest: self.changes, whole, rooms }
    }

    /// Number of the newest change.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Rooms that have changed since change `seen`; `None`: the log does not go back so far.
    fn since(&self, seen: u64) -> Option<impl Iterator<Item = RoomId>> {
        let count = usize::try_from(self.changes.checked_sub(seen)?).ok()?;
        let start = self.log.len().checked_sub(count)?;
        Some(self.log.range(start..).copied())
    }

    fn note(&mut self, id: RoomId) {
        if self.log.len() == limits::LOBBY_LOG {
            self.log.pop_front();
        }
        self.log.push_back(id);
        self.changes += 1;
    }
}
