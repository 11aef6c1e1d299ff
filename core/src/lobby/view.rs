//! What one watcher sees of a lobby: the oldest rooms that fit, whole at first, and then what changes.

use std::sync::Arc;

use nucleus_protocol::limits::MAX_ROOM_LIST;
use nucleus_protocol::session::{ROOM_LOCKED, ROOM_PASSWORD, RoomField, RoomInfo, RoomList};

use super::filter::Query;
use super::rooms::{About, News};
use crate::ids::{RoomId, RoomPattern};

/// What one watcher has seen of a lobby.
#[derive(Debug)]
pub struct RoomListView {
    query: Query,
    /// The rooms that the watcher's token admits to.
    admitted: RoomPattern,
    /// Number of the newest change that it knows; none at first.
    seen: Option<u64>,
    /// All rooms that fit, the oldest first. Of the first [`MAX_ROOM_LIST`] the watcher has been told.
    fitting: Vec<(RoomId, Arc<About>)>,
    total: u32,
}

impl RoomListView {
    /// Sees nothing yet.
    pub fn new(query: Query, admitted: RoomPattern) -> Self {
        Self { query, admitted, seen: None, fitting: Vec::new(), total: 0 }
    }

    /// Number of the newest change that it knows.
    pub fn seen(&self) -> Option<u64> {
        self.seen
    }

    /// What to tell the watcher of what the lobby says since [`Self::seen`]; `None`: it sees what it
    /// saw.
    pub fn update(&mut self, news: News) -> Option<RoomList> {
        let News { newest, whole, rooms } = news;
        self.seen = Some(newest);
        if whole {
            self.fitting.clear();
        }
        let told = self.listed().to_vec();
        rooms.into_iter().for_each(|(id, about)| self.look_at(id, about));
        let now = self.listed();
        let is_new = |(id, about): &&(RoomId, Arc<About>)| {
            find(&told, *id).is_none_or(|before| !Arc::ptr_eq(before, about))
        };
        let is_gone = |(id, _): &&(RoomId, Arc<About>)| find(now, *id).is_none();
        let rooms: Vec<RoomInfo> =
            now.iter().filter(is_new).map(|(_, about)| about.wire()).collect();
        let gone = told.iter().filter(is_gone).map(|(_, about)| about.name.as_bytes().to_vec());
        let gone: Vec<Vec<u8>> = gone.collect();
        let before = std::mem::replace(&mut self.total, self.fitting.len() as u32);
        // Which question it answers, the session knows.
        let list = RoomList { request: 0, total: self.total, whole: whole.into(), rooms, gone };
        let news = whole || list.total != before;
        (news || !list.rooms.is_empty() || !list.gone.is_empty()).then_some(list)
    }

    fn listed(&self) -> &[(RoomId, Arc<About>)] {
        &self.fitting[..self.fitting.len().min(MAX_ROOM_LIST)]
    }

    fn look_at(&mut self, id: RoomId, about: Option<Arc<About>>) {
        let fits = |about: &Arc<About>| {
            !about.listing.hidden
                && self.query.fits(&about.version, &about.listing.fields)
                && self.admitted.admits(&about.name)
        };
        let about = about.filter(fits);
        match (self.fitting.binary_search_by_key(&id, |(id, _)| *id), about) {
            (Ok(at), Some(about)) => self.fitting[at].1 = about,
            (Ok(at), None) => drop(self.fitting.remove(at)),
            (Err(at), Some(about)) => self.fitting.insert(at, (id, about)),
            (Err(_), None) => {}
        }
    }
}

fn find(rooms: &[(RoomId, Arc<About>)], id: RoomId) -> Option<&Arc<About>> {
    let at = rooms.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(&rooms[at].1)
}

impl About {
    fn wire(&self) -> RoomInfo {
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
