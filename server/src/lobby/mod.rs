//! The lobby of one product of a tenant: which rooms there are, and which of them fits. Pure; the
//! shell around it is [`crate::tenants`].
//!
//! It knows a room from the moment in which it is opened to the one in which its name is free again.
//! Rooms tell what has changed; what they have not told yet (joins under way) is counted here.

mod filter;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use filter::{Filter, Query};
pub use view::View;

use crate::limits;
use crate::room::Listing;
use crate::shard::RoomId;

/// What a room shows of itself. It never changes, for watchers look at it on their own: what does is put
/// in its place.
#[derive(Debug)]
struct About {
    name: Arc<str>,
    version: Arc<str>,
    shown: Listing,
}

/// A room as its lobby knows it.
#[derive(Debug)]
struct Entry {
    about: Arc<About>,
    /// Seats that the room has given, held ones among them; told sooner than the rest.
    taken: usize,
    /// Seats that joins are on their way to.
    under_way: usize,
}

impl Entry {
    fn is_open(&self) -> bool {
        let Listing { hidden, locked, password, .. } = self.about.shown;
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
    newest: u64,
    /// These are all rooms, not those that have changed.
    whole: bool,
    /// The oldest first; one that is over has nothing to show.
    rooms: Vec<(RoomId, Option<Arc<About>>)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Lobby {
    /// By the numbers of instances, which rise: the oldest first.
    rooms: BTreeMap<RoomId, Entry>,
    /// Counts what watchers can see of it.
    changes: u64,
    /// The newest changes, the last one being number `changes`.
    log: VecDeque<RoomId>,
}

impl Lobby {
    /// There is a new room.
    pub fn open(&mut self, id: RoomId, name: &str, version: &str, shown: Listing) {
        let (name, version, taken) = (name.into(), version.into(), shown.held.into());
        let about = Arc::new(About { name, version, shown });
        self.rooms.insert(id, Entry { about, taken, under_way: 0 });
        self.note(id);
    }

    /// A room is over.
    pub fn close(&mut self, id: RoomId) {
        if self.rooms.remove(&id).is_some() {
            self.note(id);
        }
    }

    /// What a room shows has changed.
    pub fn show(&mut self, id: RoomId, shown: Listing) {
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        entry.taken = usize::from(shown.peers) + usize::from(shown.held);
        if entry.about.shown != shown {
            let About { name, version, .. } = &*entry.about;
            let (name, version) = (name.clone(), version.clone());
            entry.about = Arc::new(About { name, version, shown });
            self.note(id);
        }
    }

    /// A room has given seats; it will show so later.
    pub fn seat(&mut self, id: RoomId, taken: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.taken = taken;
        }
    }

    /// A join of so many seats is on its way to a room.
    pub fn set_out(&mut self, id: RoomId, seats: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.under_way += seats;
        }
    }

    /// ... and has arrived, in it or not.
    pub fn arrive(&mut self, id: RoomId, seats: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.under_way = entry.under_way.saturating_sub(seats);
        }
    }

    /// The room for a match that needs so many seats: of those that fit the fullest, of these the
    /// oldest. Not one of `passed`, which have refused it.
    pub fn pick(
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
                && entry.load() + seats <= usize::from(about.shown.capacity)
                && best.is_none_or(|(_, best)| entry.load() > best.load())
                && !passed.contains(id)
                && admits(&about.name)
                && query.fits(&about.version, &about.shown.fields);
            if fits {
                best = Some((*id, entry));
            }
        }
        best.map(|(id, entry)| (id, entry.about.name.clone()))
    }

    /// What a watcher that has seen change `seen` has missed. To look through it is the watcher's own
    /// work: here others wait.
    pub fn news(&self, seen: Option<u64>) -> News {
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
    pub fn changes(&self) -> u64 {
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
