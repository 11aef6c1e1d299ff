//! What one watcher sees of a lobby: the oldest rooms that fit, whole at first, and then what changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nucleus_protocol::limits::MAX_ROOM_LIST;
use nucleus_protocol::session::{ROOM_LOCKED, ROOM_PASSWORD, RoomField, RoomInfo, RoomList};

use super::{Entry, Lobby, Query};
use crate::shard::RoomId;
use crate::token::RoomPattern;

/// See the module.
#[derive(Debug)]
pub struct View {
    query: Query,
    /// The rooms that the watcher's token admits to.
    admitted: RoomPattern,
    /// Number of the newest change that it knows; none at first.
    seen: Option<u64>,
    /// All rooms that fit.
    fitting: BTreeSet<RoomId>,
    /// Those that the watcher has been told of.
    told: BTreeMap<RoomId, Arc<str>>,
    total: u32,
}

impl View {
    /// Sees nothing yet.
    pub fn new(query: Query, admitted: RoomPattern) -> Self {
        let (fitting, told) = Default::default();
        Self { query, admitted, seen: None, fitting, told, total: 0 }
    }

    /// Number of the newest change that it knows.
    pub fn seen(&self) -> Option<u64> {
        self.seen
    }

    /// What to tell the watcher now; `None`: it sees what it saw.
    pub fn update(&mut self, lobby: &Lobby) -> Option<RoomList> {
        let changed = self.seen.and_then(|seen| lobby.since(seen));
        let changed: Option<BTreeSet<RoomId>> = changed.map(Iterator::collect);
        self.seen = Some(lobby.changes());
        match &changed {
            Some(changed) => changed.iter().for_each(|id| self.look_at(lobby, *id)),
            None => {
                self.fitting.clear();
                self.told.clear();
                lobby.rooms.keys().for_each(|id| self.look_at(lobby, *id));
            }
        }
        let listed: BTreeSet<RoomId> = self.fitting.iter().take(MAX_ROOM_LIST).copied().collect();
        let gone = self.told.extract_if(.., |id, _| !listed.contains(id));
        let gone = gone.map(|(_, name)| name.as_bytes().to_vec()).collect();
        let mut rooms = Vec::new();
        for id in listed {
            let Some(entry) = lobby.rooms.get(&id) else { continue };
            let is_new = self.told.insert(id, entry.name.clone()).is_none();
            if is_new || changed.as_ref().is_some_and(|changed| changed.contains(&id)) {
                rooms.push(entry.wire());
            }
        }
        let before = std::mem::replace(&mut self.total, self.fitting.len() as u32);
        let (total, whole) = (self.total, changed.is_none().into());
        // Which question it answers, the session knows.
        let list = RoomList { request: 0, total, whole, rooms, gone };
        let news = list.whole == 1 || list.total != before;
        (news || !list.rooms.is_empty() || !list.gone.is_empty()).then_some(list)
    }

    fn look_at(&mut self, lobby: &Lobby, id: RoomId) {
        let fits = lobby.rooms.get(&id).is_some_and(|entry| {
            !entry.shown.hidden
                && self.query.fits(&entry.version, &entry.shown.fields)
                && self.admitted.admits(&entry.name)
        });
        if fits {
            self.fitting.insert(id);
        } else {
            self.fitting.remove(&id);
        }
    }
}

impl Entry {
    fn wire(&self) -> RoomInfo {
        let field = |(key, value): &(Vec<u8>, _)| RoomField {
            key: key.clone(),
            value: Clone::clone(value),
        };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        RoomInfo {
            room: self.name.as_bytes().to_vec(),
            peers: self.shown.peers,
            capacity: self.shown.capacity,
            flags: flag(self.shown.locked, ROOM_LOCKED) | flag(self.shown.password, ROOM_PASSWORD),
            fields: self.shown.fields.iter().map(field).collect(),
        }
    }
}
