//! The shared state of a room: the fields of the room, of its peers and of objects, and the owners
//! of the objects.
//!
//! A request is applied as a whole or not at all. Each request that is applied makes the next
//! version of the state. The server itself makes the next version when participants are removed.
//!
//! [`SharedState`] has the rules: it knows no time, session or stream, and the rights of a
//! requester come with the request. [`StateReplication`] connects it with the sessions.

mod apply;
mod check;
mod feed;
mod replication;
mod store;
#[cfg(test)]
mod tests;

use nucleus_protocol::limits::{
    MAX_ROOM_PEERS, MAX_STATE, MAX_STATE_FIELDS, MAX_STATE_KEY, MAX_STATE_OBJECTS,
};
use nucleus_protocol::session::{
    Change, Code, StateSnapshot, StateUpdate, Value, change, mode, scope,
};

pub use check::{is_key, is_value};
pub(super) use replication::StateReplication;
use store::{EntityId, SNAPSHOT_BYTES, Store, StoredField};

use super::members::Rights;
use crate::control::RoomProperty;
use crate::limits::Limits;

/// Encoded bytes of a `Change` without its key and value.
const CHANGE_BYTES: usize = 1 + 1 + 8 + 4 + 1 + 8 + (1 + 8 + 8);
/// Encoded bytes of a `StateUpdate` without its changes.
const UPDATE_BYTES: usize = 8 + 4 + 8;

// One update can hold the removal of all participants with all objects.
const _: () = assert!(
    UPDATE_BYTES + CHANGE_BYTES * (MAX_ROOM_PEERS as usize + MAX_STATE_OBJECTS + 1) < MAX_STATE
);
// One update can hold a clear of all objects and of the room's fields.
const _: () = assert!(
    UPDATE_BYTES
        + CHANGE_BYTES * MAX_STATE_OBJECTS
        + (CHANGE_BYTES + MAX_STATE_KEY) * MAX_STATE_FIELDS
        < MAX_STATE
);
const _: () = assert!(SNAPSHOT_BYTES < MAX_STATE);

/// What the shared state needs to know of the peers of a room.
trait RoomPeers {
    /// Returns whether a peer is present. `None`: it is not in the room.
    fn presence(&self, peer: u32) -> Option<bool>;
    /// Returns the present peer with the least number, 0 if nobody is present.
    fn least_present(&self) -> u32;
    /// Returns the user of a peer. `None`: it is not in the room.
    fn user(&self, peer: u32) -> Option<&str>;
}

/// The peer that requests changes.
struct Requester<'a> {
    peer: u32,
    rights: Rights,
    /// All peers of the room.
    peers: &'a dyn RoomPeers,
}

/// The reason why a request was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RequestRefused {
    code: Code,
    /// The index of the operation at fault.
    failed: u16,
}

/// The shared state of one room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SharedState {
    limits: Limits,
    /// The number of the newest version, 0 until the first change.
    version: u64,
    /// The chosen host, 0 for none.
    host: u32,
    store: Store,
}

impl SharedState {
    fn version(&self) -> u64 {
        self.version
    }

    /// Returns the number of objects.
    fn objects(&self) -> usize {
        self.store.objects()
    }

    /// Creates the state of a new room, with initial fields of the room.
    fn new(limits: Limits, fields: &[(Vec<u8>, Value)]) -> Self {
        let mut state = Self { limits, ..Self::default() };
        for (key, value) in fields {
            let field = StoredField { value: value.clone(), version: 1 };
            state.store.set(ROOM, key, Some(field));
            state.version = 1;
        }
        state
    }

    /// Returns the value of one of the room's fields.
    fn room_field(&self, key: &[u8]) -> Option<&Value> {
        self.store.field(ROOM, key).map(|stored| &stored.value)
    }

    /// Returns the room's fields, in the order of their keys.
    fn room_fields(&self) -> Vec<RoomProperty> {
        let keys = self.store.keys(ROOM).into_iter();
        let field = |key: Vec<u8>| {
            let value = self.room_field(&key)?.clone();
            // Keys are valid UTF-8.
            Some(RoomProperty { key: String::from_utf8(key).ok()?, value })
        };
        let mut fields: Vec<RoomProperty> = keys.filter_map(field).collect();
        fields.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        fields
    }

    /// Returns the whole state.
    fn snapshot(&self) -> StateSnapshot {
        StateSnapshot { version: self.version, host: self.host, entities: self.store.to_wire() }
    }

    /// Returns the host: the chosen one while it is present, otherwise the present peer with the
    /// least number. 0: nobody is present.
    fn host(&self, peers: &dyn RoomPeers) -> u32 {
        let chosen = Some(self.host).filter(|host| peers.presence(*host) == Some(true));
        chosen.unwrap_or_else(|| peers.least_present())
    }

    /// Removes peers that have left the room. Deletes their fields and objects; objects with
    /// [`mode::WITH_ROOM`] stay, without an owner, and still count to the owner's user. `None`:
    /// nothing has changed.
    fn remove_peers(&mut self, mut peers: Vec<u32>) -> Option<StateUpdate> {
        peers.sort_unstable();
        let mut changes = Vec::new();
        for peer in &peers {
            let id = EntityId::peer(*peer);
            if self.store.remove(id).is_some() {
                changes.push(changed(change::DELETED, id, 0));
            }
        }
        for (id, mode) in self.store.owned_by(&peers) {
            if mode & mode::WITH_ROOM == 0 {
                self.store.remove(id);
                changes.push(changed(change::DELETED, id, 0));
            } else {
                self.store.release(id);
                changes.push(changed(change::OWNER, id, 0));
            }
        }
        if peers.binary_search(&self.host).is_ok() {
            self.host = 0;
            changes.push(changed(change::HOST, ROOM, 0));
        }
        (!changes.is_empty()).then(|| self.next_version(0, changes))
    }

    /// Deletes all objects and the room's fields, on behalf of `peer`. `None`: there were none.
    fn clear(&mut self, peer: u32) -> Option<StateUpdate> {
        let mut changes = Vec::new();
        for key in self.store.keys(ROOM) {
            self.store.set(ROOM, &key, None);
            changes.push(Change { key, ..changed(change::SET, ROOM, 0) });
        }
        for id in self.store.object_ids() {
            self.store.remove(id);
            changes.push(changed(change::DELETED, id, 0));
        }
        (!changes.is_empty()).then(|| self.next_version(peer, changes))
    }

    /// Makes `host` the chosen host, on behalf of `peer`.
    fn choose_host(&mut self, peer: u32, host: u32) -> StateUpdate {
        self.host = host;
        self.next_version(peer, vec![changed(change::HOST, ROOM, host)])
    }

    /// Makes these changes the next version of the state. `peer` is the peer that requested them, 0
    /// for the server.
    fn next_version(&mut self, peer: u32, changes: Vec<Change>) -> StateUpdate {
        self.version += 1;
        StateUpdate { version: self.version, peer, changes }
    }
}

const ROOM: EntityId = EntityId { scope: scope::ROOM, id: 0 };

/// Returns a change without mode and field.
fn changed(kind: u8, id: EntityId, peer: u32) -> Change {
    let (key, value) = Default::default();
    Change { kind, scope: id.scope, id: id.id, peer, mode: 0, key, value }
}
