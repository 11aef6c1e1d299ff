//! The rooms of a lobby: which exist, which of them fits a match, and what has changed.
//!
//! A room is in the index from its opening until its name is free again. Rooms report their
//! changes; the index itself counts the joins on their way to a room, which the room cannot report
//! yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::filter::Query;
use crate::ids::RoomId;
use crate::limits;
use crate::room::Listing;

/// What the lobby shows of a room. Watchers share this value, so it never changes: a change of the
/// room makes a new value.
#[derive(Debug)]
pub(super) struct ListedRoom {
    pub(super) name: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) listing: Listing,
}

/// A room and its seats.
#[derive(Debug)]
struct RoomEntry {
    room: Arc<ListedRoom>,
    /// Seats taken or reserved. The room reports them before its listing changes.
    taken: usize,
    /// Seats of the joins that are on their way to the room.
    under_way: usize,
}

impl RoomEntry {
    /// Returns true if a match may choose the room.
    fn is_open(&self) -> bool {
        let Listing { hidden, locked, password, .. } = self.room.listing;
        !hidden && !locked && !password
    }

    fn load(&self) -> usize {
        self.taken + self.under_way
    }
}

/// The changes of a lobby that a watcher has missed.
#[derive(Debug)]
pub struct ListingChanges {
    /// Number of the newest change.
    pub(super) newest: u64,
    /// Whether `rooms` holds all rooms rather than those that have changed.
    pub(super) complete: bool,
    /// The rooms, oldest first; `None` for a room that is over.
    pub(super) rooms: Vec<(RoomId, Option<Arc<ListedRoom>>)>,
}

/// The rooms of one tenant's product.
#[derive(Debug, Default)]
pub(super) struct RoomIndex {
    /// Ids of room instances rise, so the oldest room comes first.
    rooms: BTreeMap<RoomId, RoomEntry>,
    by_name: HashMap<Arc<str>, RoomId>,
    /// Number of changes that watchers can see.
    changes: u64,
    /// The rooms of the newest changes; the last entry is change number `changes`.
    log: VecDeque<RoomId>,
}

impl RoomIndex {
    /// Adds a new room.
    pub(super) fn insert(&mut self, id: RoomId, room: ListedRoom) {
        let taken = room.listing.reserved.into();
        self.by_name.insert(room.name.clone(), id);
        self.rooms.insert(id, RoomEntry { room: Arc::new(room), taken, under_way: 0 });
        self.log_change(id);
    }

    /// Removes a room that is over.
    pub(super) fn remove(&mut self, id: RoomId) {
        let Some(RoomEntry { room, .. }) = self.rooms.remove(&id) else { return };
        if self.by_name.get(&room.name) == Some(&id) {
            self.by_name.remove(&room.name);
        }
        self.log_change(id);
    }

    /// Replaces the listing of a room.
    pub(super) fn set_listing(&mut self, id: RoomId, listing: Listing) {
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        entry.taken = usize::from(listing.peers) + usize::from(listing.reserved);
        if entry.room.listing != listing {
            let ListedRoom { name, version, .. } = &*entry.room;
            let (name, version) = (name.clone(), version.clone());
            entry.room = Arc::new(ListedRoom { name, version, listing });
            self.log_change(id);
        }
    }

    /// Sets the number of taken seats of a room, before the room's next listing contains them.
    pub(super) fn set_taken(&mut self, id: RoomId, taken: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.taken = taken;
        }
    }

    /// Counts the seats of a join that is on its way to a room.
    pub(super) fn join_started(&mut self, id: RoomId, seats: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.under_way += seats;
        }
    }

    /// Stops counting a join's seats as under way: the room has admitted or refused it, or the join
    /// was abandoned.
    pub(super) fn join_arrived(&mut self, id: RoomId, seats: usize) {
        if let Some(entry) = self.rooms.get_mut(&id) {
            entry.under_way = entry.under_way.saturating_sub(seats);
        }
    }

    /// Returns true if there is no room.
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Returns the room with this name.
    pub(super) fn by_name(&self, name: &str) -> Option<RoomId> {
        self.by_name.get(name).copied()
    }

    /// Returns the room for a match that needs this many seats: the fullest of the rooms that fit,
    /// and the oldest of several equally full ones. Skips the rooms in `passed`, which have refused
    /// the join.
    pub(super) fn pick(
        &self,
        query: &Query,
        admits: impl Fn(&str) -> bool,
        seats: usize,
        passed: &[RoomId],
    ) -> Option<(RoomId, Arc<str>)> {
        let mut best: Option<(RoomId, &RoomEntry)> = None;
        for (id, entry) in &self.rooms {
            let room = &entry.room;
            // The most expensive check comes last. Of equally full rooms the first one, which is
            // older, stays the best.
            let fits = entry.is_open()
                && entry.load() + seats <= usize::from(room.listing.capacity)
                && best.is_none_or(|(_, best)| entry.load() > best.load())
                && !passed.contains(id)
                && admits(&room.name)
                && query.fits(&room.version, &room.listing.fields);
            if fits {
                best = Some((*id, entry));
            }
        }
        best.map(|(id, entry)| (id, entry.room.name.clone()))
    }

    /// Returns the changes since change `seen`; all rooms if `seen` is `None` or the log does not
    /// go back so far. The result shares all these rooms without filtering. The watcher filters
    /// them in its own task, so that the lobby does not wait.
    pub(super) fn changes_since(&self, seen: Option<u64>) -> ListingChanges {
        let changed = seen.and_then(|seen| self.changed_since(seen));
        let changed: Option<BTreeSet<RoomId>> = changed.map(Iterator::collect);
        let complete = changed.is_none();
        let room = |entry: &RoomEntry| entry.room.clone();
        let rooms = match changed {
            Some(ids) => ids.into_iter().map(|id| (id, self.rooms.get(&id).map(room))).collect(),
            None => self.rooms.iter().map(|(id, entry)| (*id, Some(room(entry)))).collect(),
        };
        ListingChanges { newest: self.changes, complete, rooms }
    }

    /// Returns the number of the newest change.
    pub(super) fn newest_change(&self) -> u64 {
        self.changes
    }

    /// Returns the rooms that have changed since change `seen`; `None` if the log does not go back
    /// so far.
    fn changed_since(&self, seen: u64) -> Option<impl Iterator<Item = RoomId>> {
        let count = usize::try_from(self.changes.checked_sub(seen)?).ok()?;
        let start = self.log.len().checked_sub(count)?;
        Some(self.log.range(start..).copied())
    }

    fn log_change(&mut self, id: RoomId) {
        if self.log.len() == limits::LOBBY_LOG {
            self.log.pop_front();
        }
        self.log.push_back(id);
        self.changes += 1;
    }
}
