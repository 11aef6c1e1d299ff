//! The lobby of one product of a tenant: which rooms there are, and which of them fits. Pure; the
//! shell around it is [`crate::tenants`].
//!
//! It knows a room from the moment in which it is opened to the one in which its name is free again.
//! Rooms tell what has changed; what they have not told yet (joins under way) is counted here.

mod filter;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use filter::{Filter, Query};
pub use view::View;

use crate::limits;
use crate::room::Listing;
use crate::shard::RoomId;

/// A room as its lobby knows it.
#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    version: String,
    shown: Listing,
    /// Seats that the room has given, held ones among them; told sooner than the rest.
    taken: usize,
    /// Seats that joins are on their way to.
    under_way: usize,
}

impl Entry {
    fn is_open(&self) -> bool {
        !self.shown.hidden && !self.shown.locked && !self.shown.password
    }

    fn load(&self) -> usize {
        self.taken + self.under_way
    }
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
        let (name, version, taken) = (Arc::from(name), version.to_owned(), shown.held.into());
        let entry = Entry { name, version, shown, taken, under_way: 0 };
        self.rooms.insert(id, entry);
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
        if entry.shown != shown {
            entry.shown = shown;
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
        let fits = |(id, entry): &(&RoomId, &Entry)| {
            entry.is_open()
                && entry.load() + seats <= usize::from(entry.shown.capacity)
                && query.fits(&entry.version, &entry.shown.fields)
                && admits(&entry.name)
                && !passed.contains(id)
        };
        let fitting = self.rooms.iter().filter(fits);
        // Of equals `max_by_key` takes the last, which backwards is the oldest.
        let (id, entry) = fitting.rev().max_by_key(|(_, entry)| entry.load())?;
        Some((*id, entry.name.clone()))
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
