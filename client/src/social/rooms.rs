//! The lobby's rooms, as the hall's session is told of them.

use std::collections::BTreeMap;

use nucleus_protocol::session::{self, ROOM_LOCKED, ROOM_PASSWORD, RoomList, WatchRooms, encode};

use super::event::{SocialEvent, text};
use crate::state::Value;

/// A room as the lobby shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomInfo {
    /// Its name, to [`connect`](crate::connect) with.
    pub name: String,
    /// Places taken.
    pub peers: u16,
    /// Peers that it takes.
    pub capacity: u16,
    /// A moderator has locked it.
    pub locked: bool,
    /// It has a password.
    pub password: bool,
    /// The fields that it lists, in the order of their keys.
    pub fields: Vec<(String, Value)>,
}

impl From<session::RoomInfo> for RoomInfo {
    fn from(room: session::RoomInfo) -> Self {
        // A value of a later version's type is none to this one.
        let field = |field: session::RoomField| {
            let value = Value::from_wire(field.value).ok().flatten()?;
            Some((text(&field.key), value))
        };
        Self {
            name: text(&room.room),
            peers: room.peers,
            capacity: room.capacity,
            locked: room.flags & ROOM_LOCKED != 0,
            password: room.flags & ROOM_PASSWORD != 0,
            fields: room.fields.into_iter().filter_map(field).collect(),
        }
    }
}

/// What is watched, over all sessions, and what there is.
#[derive(Default)]
pub(super) struct RoomsView {
    watched: Option<WatchRooms>,
    rooms: BTreeMap<String, RoomInfo>,
}

impl RoomsView {
    /// To be asked of a new session.
    pub(super) fn watch_message(&self) -> Option<Vec<u8>> {
        self.watched.as_ref().map(encode)
    }

    /// Watches these in place of what was watched before.
    pub(super) fn watch(&mut self, watch: WatchRooms) {
        self.watched = Some(watch);
    }

    pub(super) fn rooms(&self) -> Vec<RoomInfo> {
        self.rooms.values().cloned().collect()
    }

    /// Takes a list in, unless it answers an older watch_message.
    pub(super) fn take(&mut self, list: RoomList) -> Option<SocialEvent> {
        self.watched.as_ref().filter(|watched| watched.request == list.request)?;
        let changed: Vec<RoomInfo> = list.rooms.into_iter().map(RoomInfo::from).collect();
        let mut gone: Vec<String> = list.gone.iter().map(|name| text(name)).collect();
        if list.whole != 0 {
            let there = |name: &&String| !changed.iter().any(|room| room.name == **name);
            gone = self.rooms.keys().filter(there).cloned().collect();
        }
        gone.iter().for_each(|name| drop(self.rooms.remove(name)));
        let names = changed.iter().map(|room| room.name.clone()).collect();
        self.rooms.extend(changed.into_iter().map(|room| (room.name.clone(), room)));
        // What is there under the same name is another room, not gone.
        gone.retain(|name| !self.rooms.contains_key(name));
        Some(SocialEvent::Rooms { changed: names, gone, total: list.total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(request: u32, whole: u8, rooms: &[(&str, u16)], gone: &[&str]) -> RoomList {
        let info = |(name, peers): &(&str, u16)| session::RoomInfo {
            room: name.as_bytes().to_vec(),
            peers: *peers,
            capacity: 9,
            flags: 0,
            fields: Vec::new(),
        };
        RoomList {
            request,
            total: 7,
            whole,
            rooms: rooms.iter().map(info).collect(),
            gone: gone.iter().map(|name| name.as_bytes().to_vec()).collect(),
        }
    }

    #[test]
    fn lists_and_changes_add_up() {
        let watch = WatchRooms { request: 3, version: Vec::new(), filters: Vec::new() };
        let mut view = RoomsView { watched: Some(watch), ..RoomsView::default() };
        let rooms = |view: &RoomsView| {
            view.rooms().iter().map(|room| (room.name.clone(), room.peers)).collect::<Vec<_>>()
        };
        assert_eq!(view.take(list(2, 1, &[("x", 1)], &[])), None, "an older watch_message's");
        view.take(list(3, 1, &[("a", 1), ("b", 2)], &[]));
        let event = view.take(list(3, 0, &[("b", 0), ("c", 3)], &["a", "b"]));
        let (changed, gone) = (vec!["b".to_owned(), "c".into()], vec!["a".to_owned()]);
        assert_eq!(event, Some(SocialEvent::Rooms { changed, gone, total: 7 }));
        assert_eq!(rooms(&view), [("b".to_owned(), 0), ("c".to_owned(), 3)]);
        // After a lost session it is told everything anew.
        let event = view.take(list(3, 1, &[("c", 4)], &[]));
        let (changed, gone) = (vec!["c".to_owned()], vec!["b".to_owned()]);
        assert_eq!(event, Some(SocialEvent::Rooms { changed, gone, total: 7 }));
        assert_eq!(rooms(&view), [("c".to_owned(), 4)]);
    }
}
