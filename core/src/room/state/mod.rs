//! The shared state of a room: the room, its peers and objects, with their fields and owners. Pure:
//! no clock, no session, no stream; who may do what comes in with the request.
//!
//! A request is applied as a whole or not at all, and each that is applied makes the next version of
//! the state. So does the end of one or more places, which is the server's own doing.

mod apply;
mod check;
mod feed;
mod requests;
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
pub(super) use feed::Feed;
use store::{EntityId, SNAPSHOT_BYTES, Store, Stored};

use super::members::Rights;
use crate::limits::Limits;

/// Bytes of a `Change` in place, and of a `StateUpdate` around its changes.
const CHANGE_BYTES: usize = 1 + 1 + 8 + 4 + 1 + 8 + (1 + 8 + 8);
const UPDATE_BYTES: usize = 8 + 4 + 8;

// When everybody's places end at once, and with them all objects, that is one update.
const _: () = assert!(
    UPDATE_BYTES + CHANGE_BYTES * (MAX_ROOM_PEERS as usize + MAX_STATE_OBJECTS + 1) < MAX_STATE
);
// So is a clear.
const _: () = assert!(
    UPDATE_BYTES
        + CHANGE_BYTES * MAX_STATE_OBJECTS
        + (CHANGE_BYTES + MAX_STATE_KEY) * MAX_STATE_FIELDS
        < MAX_STATE
);
const _: () = assert!(SNAPSHOT_BYTES < MAX_STATE);

/// Who else has a place in the room.
pub(super) trait Members {
    /// Whether the peer is present; `None`: it has no place.
    fn presence(&self, peer: u32) -> Option<bool>;
    /// The present peer with the least number, 0 = none.
    fn least_present(&self) -> u32;
}

/// The peer that asks.
pub(super) struct Actor<'a> {
    pub(super) peer: u32,
    pub(super) rights: Rights,
    pub(super) members: &'a dyn Members,
}

/// Why a request was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: Code,
    /// The operation at fault, from 0.
    pub(super) failed: u16,
}

/// The shared state of one room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    limits: Limits,
    version: u64,
    /// As chosen, 0 = nobody.
    host: u32,
    store: Store,
}

impl State {
    /// 0 until the first change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// A new room's, with these fields of the room's set by the server.
    pub(super) fn new(limits: Limits, fields: &[(Vec<u8>, Value)]) -> Self {
        let mut state = Self { limits, ..Self::default() };
        for (key, value) in fields {
            let field = Stored { value: value.clone(), version: 1 };
            state.store.set(ROOM, key, Some(field));
            state.version = 1;
        }
        state
    }

    /// A field of the room's.
    pub(super) fn room_field(&self, key: &[u8]) -> Option<&Value> {
        self.store.field(ROOM, key).map(|stored| &stored.value)
    }

    /// All of it.
    pub(super) fn snapshot(&self) -> StateSnapshot {
        StateSnapshot { version: self.version, host: self.host, entities: self.store.wire() }
    }

    /// The host: as chosen while it is present, else the present peer with the least number; 0 =
    /// nobody is present.
    pub(super) fn host(&self, members: &dyn Members) -> u32 {
        let chosen = Some(self.host).filter(|host| members.presence(*host) == Some(true));
        chosen.unwrap_or_else(|| members.least_present())
    }

    /// These peers have no place any more: what was theirs goes with them or is nobody's. `None`:
    /// nothing was.
    pub(super) fn forget(&mut self, mut peers: Vec<u32>) -> Option<StateUpdate> {
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
                self.store.set_owner(id, 0);
                changes.push(changed(change::OWNER, id, 0));
            }
        }
        if peers.binary_search(&self.host).is_ok() {
            self.host = 0;
            changes.push(changed(change::HOST, ROOM, 0));
        }
        (!changes.is_empty()).then(|| self.next(0, changes))
    }

    /// Deletes all objects and the room's fields, as `peer` has it. `None`: there was nothing.
    pub(super) fn clear(&mut self, peer: u32) -> Option<StateUpdate> {
        let mut changes = Vec::new();
        for key in self.store.keys(ROOM) {
            self.store.set(ROOM, &key, None);
            changes.push(Change { key, ..changed(change::SET, ROOM, 0) });
        }
        for id in self.store.object_ids() {
            self.store.remove(id);
            changes.push(changed(change::DELETED, id, 0));
        }
        (!changes.is_empty()).then(|| self.next(peer, changes))
    }

    /// Makes `host` the chosen host, as `peer` has it.
    pub(super) fn choose_host(&mut self, peer: u32, host: u32) -> StateUpdate {
        self.host = host;
        self.next(peer, vec![changed(change::HOST, ROOM, host)])
    }

    /// The next version, with these changes of `peer`'s.
    fn next(&mut self, peer: u32, changes: Vec<Change>) -> StateUpdate {
        self.version += 1;
        StateUpdate { version: self.version, peer, changes }
    }
}

const ROOM: EntityId = EntityId { scope: scope::ROOM, id: 0 };

/// A change that has neither mode nor field.
fn changed(kind: u8, id: EntityId, peer: u32) -> Change {
    let (key, value) = Default::default();
    Change { kind, scope: id.scope, id: id.id, peer, mode: 0, key, value }
}
