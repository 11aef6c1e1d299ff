//! The list of rooms that one watcher sees: first the oldest rooms that fit its query, then their
//! changes.

use std::sync::Arc;

use nucleus_protocol::limits::MAX_ROOM_LIST;
use nucleus_protocol::session::{ROOM_LOCKED, ROOM_PASSWORD, RoomField, RoomInfo, RoomList};

use super::filter::Query;
use super::rooms::{ListedRoom, ListingChanges};
use crate::ids::{RoomId, RoomPattern};

/// The rooms of a lobby that one watcher has seen.
#[derive(Debug)]
pub struct RoomListView {
    query: Query,
    /// The rooms that the watcher's token admits to.
    admitted: RoomPattern,
    /// Number of the newest change in this view; `None` at first.
    seen: Option<u64>,
    /// All rooms that fit, oldest first. The watcher has got the first [`MAX_ROOM_LIST`] of them.
    fitting: Vec<(RoomId, Arc<ListedRoom>)>,
    /// Number of fitting rooms in the newest update.
    total: u32,
}

impl RoomListView {
    /// Creates an empty view.
    pub fn new(query: Query, admitted: RoomPattern) -> Self {
        Self { query, admitted, seen: None, fitting: Vec::new(), total: 0 }
    }

    /// Returns the number of the newest change in this view.
    pub fn seen(&self) -> Option<u64> {
        self.seen
    }

    /// Applies the changes since [`Self::seen`]. Returns the update for the watcher; `None` if
    /// nothing that it sees has changed.
    pub fn update(&mut self, changes: ListingChanges) -> Option<RoomList> {
        let ListingChanges { newest, complete, rooms } = changes;
        self.seen = Some(newest);
        if complete {
            self.fitting.clear();
        }
        let before = self.listed().to_vec();
        rooms.into_iter().for_each(|(id, room)| self.apply(id, room));
        let now = self.listed();
        let is_new = |(id, room): &&(RoomId, Arc<ListedRoom>)| {
            find(&before, *id).is_none_or(|old| !Arc::ptr_eq(old, room))
        };
        let is_gone = |(id, _): &&(RoomId, Arc<ListedRoom>)| find(now, *id).is_none();
        let rooms: Vec<RoomInfo> =
            now.iter().filter(is_new).map(|(_, room)| room.to_wire()).collect();
        let gone = before.iter().filter(is_gone).map(|(_, room)| room.name.as_bytes().to_vec());
        let gone: Vec<Vec<u8>> = gone.collect();
        let old_total = std::mem::replace(&mut self.total, self.fitting.len() as u32);
        // The session fills in the request that the list answers.
        let list = RoomList { request: 0, total: self.total, whole: complete.into(), rooms, gone };
        let changed = complete || list.total != old_total;
        (changed || !list.rooms.is_empty() || !list.gone.is_empty()).then_some(list)
    }

    /// Returns the rooms that the watcher gets.
    fn listed(&self) -> &[(RoomId, Arc<ListedRoom>)] {
        &self.fitting[..self.fitting.len().min(MAX_ROOM_LIST)]
    }

    /// Adds, replaces or removes a room.
    fn apply(&mut self, id: RoomId, room: Option<Arc<ListedRoom>>) {
        let fits = |room: &Arc<ListedRoom>| {
            !room.listing.hidden
                && self.query.fits(&room.version, &room.listing.fields)
                && self.admitted.admits(&room.name)
        };
        let room = room.filter(fits);
        match (self.fitting.binary_search_by_key(&id, |(id, _)| *id), room) {
            (Ok(at), Some(room)) => self.fitting[at].1 = room,
            (Ok(at), None) => drop(self.fitting.remove(at)),
            (Err(at), Some(room)) => self.fitting.insert(at, (id, room)),
            (Err(_), None) => {}
        }
    }
}

fn find(rooms: &[(RoomId, Arc<ListedRoom>)], id: RoomId) -> Option<&Arc<ListedRoom>> {
    let at = rooms.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(&rooms[at].1)
}

impl ListedRoom {
    fn to_wire(&self) -> RoomInfo {
        let field = |(key, value): &(Vec<u8>, _)| RoomField {
            key: key.clone(),
            value: Clone::clone(value),
        };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        RoomInfo {
            room: self.name.as_bytes().to_vec(),
            peers: self.listing.peers,
            capacity: self.listing.capacity,
            flags: flag(self.listing.locked, ROOM_LOCKED)
                | flag(self.listing.password, ROOM_PASSWORD),
            fields: self.listing.fields.iter().map(field).collect(),
        }
    }
}
