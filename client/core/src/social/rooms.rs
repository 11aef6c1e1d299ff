//! The watched rooms of the lobby.

use std::collections::HashSet;

use nucleus_protocol::session::{self, ROOM_LOCKED, ROOM_PASSWORD, RoomList, WatchRooms, encode};

use super::event::{SocialEvent, text};
use crate::limits;
use crate::session::ProtocolError;
use crate::sized::{HeldBytes, SizedMap};
use crate::state::Value;

/// A room as the lobby lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomInfo {
    /// The room's name, for `ConnectOptions::room`.
    pub name: String,
    /// Number of taken seats.
    pub peers: u16,
    /// Capacity in peers.
    pub capacity: u16,
    /// Whether a moderator has locked the room.
    pub locked: bool,
    /// Whether the room has a password.
    pub password: bool,
    /// The fields that the room lists, in the order of their keys.
    pub fields: Vec<(String, Value)>,
}

impl HeldBytes for RoomInfo {
    fn held_bytes(&self) -> usize {
        let fields = self.fields.iter().map(|(key, value)| key.len() + value.len());
        self.name.len() + size_of_val(&self.fields[..]) + fields.sum::<usize>()
    }
}

impl From<session::RoomInfo> for RoomInfo {
    fn from(room: session::RoomInfo) -> Self {
        // Skip values of types that this version does not know.
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

/// The request for rooms, which is kept over all sessions, and the current list.
#[derive(Default)]
pub(super) struct RoomWatch {
    watched: Option<WatchRooms>,
    rooms: SizedMap<String, RoomInfo>,
}

impl RoomWatch {
    /// Returns the request as a message, to be sent in a new session.
    pub(super) fn watch_message(&self) -> Option<Vec<u8>> {
        self.watched.as_ref().map(encode)
    }

    /// Replaces the request for rooms.
    pub(super) fn watch(&mut self, watch: WatchRooms) {
        self.watched = Some(watch);
    }

    pub(super) fn rooms(&self) -> impl ExactSizeIterator<Item = &RoomInfo> {
        self.rooms.entries().values()
    }

    /// Applies a list of rooms, or changes of the list. Ignores those that answer an earlier
    /// request.
    ///
    /// # Errors
    /// [`ProtocolError::ListTooLong`]. The session must then be closed.
    pub(super) fn take(&mut self, list: RoomList) -> Result<Option<SocialEvent>, ProtocolError> {
        if self.watched.as_ref().is_none_or(|watched| watched.request != list.request) {
            return Ok(None);
        }
        let changed: Vec<RoomInfo> = list.rooms.into_iter().map(RoomInfo::from).collect();
        let mut gone: Vec<String> = list.gone.iter().map(|name| text(name)).collect();
        if list.whole != 0 {
            let names: HashSet<&str> = changed.iter().map(|room| &*room.name).collect();
            let is_gone = |name: &&String| !names.contains(name.as_str());
            gone = self.rooms.entries().keys().filter(is_gone).cloned().collect();
        }
        gone.iter().for_each(|name| drop(self.rooms.remove(name)));
        if !self.rooms.has_room(limits::ROOMS, &changed) {
            return Err(ProtocolError::ListTooLong("rooms"));
        }
        let names = changed.iter().map(|room| room.name.clone()).collect();
        changed.into_iter().for_each(|room| self.rooms.insert(room.name.clone(), room));
        // A room of the same name that was created in the meantime is not gone.
        gone.retain(|name| !self.rooms.entries().contains_key(name));
        Ok(Some(SocialEvent::Rooms { changed: names, gone, total: list.total }))
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
        let mut view = RoomWatch { watched: Some(watch), ..RoomWatch::default() };
        let rooms = |view: &RoomWatch| {
            view.rooms().map(|room| (room.name.clone(), room.peers)).collect::<Vec<_>>()
        };
        assert_eq!(
            view.take(list(2, 1, &[("x", 1)], &[])),
            Ok(None),
            "the list of an earlier request"
        );
        view.take(list(3, 1, &[("a", 1), ("b", 2)], &[])).unwrap();
        let event = view.take(list(3, 0, &[("b", 0), ("c", 3)], &["a", "b"]));
        let (changed, gone) = (vec!["b".to_owned(), "c".into()], vec!["a".to_owned()]);
        assert_eq!(event, Ok(Some(SocialEvent::Rooms { changed, gone, total: 7 })));
        assert_eq!(rooms(&view), [("b".to_owned(), 0), ("c".to_owned(), 3)]);
        // After a lost session, the server sends the whole list again.
        let event = view.take(list(3, 1, &[("c", 4)], &[]));
        let (changed, gone) = (vec!["c".to_owned()], vec!["b".to_owned()]);
        assert_eq!(event, Ok(Some(SocialEvent::Rooms { changed, gone, total: 7 })));
        assert_eq!(rooms(&view), [("c".to_owned(), 4)]);
    }
}
