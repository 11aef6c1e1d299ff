//! The rules of each operation, and the rollback of a request of which one operation is refused.
//!
//! An operation is checked in this order, and the first fault is reported: its form, the
//! requester's rights, whether the entity exists, the owner, whether a target peer exists, the
//! version, the limits.

use std::sync::Arc;

use nucleus_protocol::limits::{MAX_STATE_FIELDS, MAX_STATE_OPERATIONS, STATE_RESERVE};
use nucleus_protocol::session::{
    ANY_VERSION, Change, Code, Operation, StateUpdate, change, mode, operation, scope, value,
};

use super::check::is_well_formed;
use super::store::{EntityId, EntityRecord, StoredField};
use super::{ROOM, RequestRefused, Requester, SharedState, changed};
use crate::room::members::Rights;

impl SharedState {
    /// Applies all of `operations` in order, or none of them.
    ///
    /// # Errors
    ///
    /// The first operation that is refused, with the reason. The state is then unchanged.
    pub(super) fn apply(
        &mut self,
        requester: &Requester<'_>,
        operations: Vec<Operation>,
    ) -> Result<StateUpdate, RequestRefused> {
        if !(1..=MAX_STATE_OPERATIONS).contains(&operations.len()) {
            return Err(RequestRefused { code: Code::BadState, failed: 0 });
        }
        let mut transaction =
            Transaction { state: self, requester, undo: Vec::new(), changes: Vec::new() };
        for (failed, operation) in (0..).zip(operations) {
            if let Err(code) = transaction.apply(operation) {
                transaction.roll_back();
                return Err(RequestRefused { code, failed });
            }
        }
        let changes = transaction.changes;
        Ok(self.next_version(requester.peer, changes))
    }
}

/// A request that is being applied.
struct Transaction<'a> {
    state: &'a mut SharedState,
    requester: &'a Requester<'a>,
    /// How to undo the operations that have been applied.
    undo: Vec<Undo>,
    changes: Vec<Change>,
}

/// A value before an operation, which a rollback restores.
enum Undo {
    Field { entity: EntityId, key: Vec<u8>, before: Option<StoredField> },
    Entity { entity: EntityId, before: Option<EntityRecord> },
    Owner { object: EntityId, owner: u32, user: Option<Arc<str>> },
    Host { before: u32 },
}

impl Transaction<'_> {
    fn apply(&mut self, operation: Operation) -> Result<(), Code> {
        if !is_well_formed(&operation) {
            return Err(Code::BadState);
        }
        let id = EntityId { scope: operation.scope, id: operation.id };
        match operation.kind {
            operation::SET => self.set(id, operation),
            operation::CREATE => self.create(id, operation.mode),
            operation::DELETE => self.delete(id),
            operation::CLAIM => self.claim(id),
            operation::GIVE => self.give(id, operation.peer),
            operation::HOST => self.host(operation.peer),
            _ => Err(Code::BadState),
        }
    }

    fn roll_back(self) {
        let SharedState { host, store, .. } = self.state;
        for undo in self.undo.into_iter().rev() {
            match undo {
                Undo::Field { entity, key, before } => drop(store.set(entity, &key, before)),
                Undo::Entity { entity, before: None } => drop(store.remove(entity)),
                Undo::Entity { entity, before: Some(before) } => store.insert(entity, before),
                Undo::Owner { object, owner, user } => drop(store.set_owner(object, owner, user)),
                Undo::Host { before } => *host = before,
            }
        }
    }

    fn set(&mut self, id: EntityId, operation: Operation) -> Result<(), Code> {
        let Operation { key, value, expected, .. } = operation;
        self.may_set(id)?;
        let store = &self.state.store;
        let current = store.field(id, &key).map_or(0, |field| field.version);
        if expected != ANY_VERSION && expected != current {
            return Err(Code::Conflict);
        }
        let fields = store.entity(id).map_or(0, EntityRecord::fields);
        let removes = value.kind == value::NONE;
        if !removes && current == 0 && fields >= MAX_STATE_FIELDS {
            return Err(Code::EntityFields);
        }
        let version = self.state.version + 1;
        let field = (!removes).then(|| StoredField { value: value.clone(), version });
        let bytes = self.state.store.bytes();
        let before = self.state.store.set(id, &key, field);
        self.undo.push(Undo::Field { entity: id, key: key.clone(), before });
        self.changes.push(Change { key, value, ..changed(change::SET, id, 0) });
        // A change that makes the state smaller is allowed at any size.
        if self.state.store.bytes() > bytes { self.within_limits() } else { Ok(()) }
    }

    fn may_set(&self, id: EntityId) -> Result<(), Code> {
        let rights = self.requester.rights;
        match id.scope {
            scope::ROOM => allow(rights.room),
            scope::PEER => {
                let own = id == EntityId::peer(self.requester.peer);
                allow(rights.moderate || own && rights.own)?;
                let peer = u32::try_from(id.id).map_err(|_| Code::NoSuchEntity)?;
                self.check_inside(peer)
            }
            _ => {
                allow(rights.objects)?;
                // Only the owner writes to an object. A moderator must become the owner first.
                self.check_owner(id, false)
            }
        }
    }

    fn create(&mut self, id: EntityId, mode: u8) -> Result<(), Code> {
        let creator = (id.id >> 32) as u32;
        if creator != 0 && creator != self.requester.peer {
            return Err(Code::BadState);
        }
        allow(self.requester.rights.objects)?;
        if self.state.store.entity(id).is_some() {
            return Err(Code::NoSuchEntity);
        }
        if self.state.store.objects() >= self.state.limits.room_objects as usize {
            return Err(Code::RoomObjects);
        }
        let owner = self.requester.peer;
        let user = self.user_of(owner)?;
        self.may_own_more(&user)?;
        self.state.store.insert(id, EntityRecord::object(owner, user, mode));
        self.undo.push(Undo::Entity { entity: id, before: None });
        self.changes.push(Change { mode, ..changed(change::CREATED, id, owner) });
        self.within_limits()
    }

    fn delete(&mut self, id: EntityId) -> Result<(), Code> {
        let rights = self.requester.rights;
        allow(rights.objects || rights.moderate)?;
        self.check_owner(id, rights.moderate)?;
        let before = self.state.store.remove(id);
        self.undo.push(Undo::Entity { entity: id, before });
        self.changes.push(changed(change::DELETED, id, 0));
        Ok(())
    }

    fn claim(&mut self, id: EntityId) -> Result<(), Code> {
        allow(self.requester.rights.objects)?;
        let object = self.state.store.entity(id).ok_or(Code::NoSuchEntity)?;
        let is_free = [0, self.requester.peer].contains(&object.owner);
        match object.mode & !mode::WITH_ROOM {
            mode if is_free || mode == mode::TAKE => return self.pass(id, self.requester.peer),
            mode::ASK => self.changes.push(changed(change::CLAIMED, id, self.requester.peer)),
            _ => return Err(Code::Conflict),
        }
        Ok(())
    }

    fn give(&mut self, id: EntityId, peer: u32) -> Result<(), Code> {
        let rights = self.requester.rights;
        allow(rights.objects || rights.moderate)?;
        self.check_owner(id, rights.moderate)?;
        self.check_inside(peer)?;
        self.pass(id, peer)
    }

    fn host(&mut self, peer: u32) -> Result<(), Code> {
        let Requester { peer: requester, rights, peers } = *self.requester;
        let is_host = self.state.host(peers) == requester;
        // An observer with the least number can be the host. It may still not change anything.
        allow(rights.moderate || is_host && rights.own)?;
        self.check_inside(peer)?;
        let before = std::mem::replace(&mut self.state.host, peer);
        self.undo.push(Undo::Host { before });
        self.changes.push(changed(change::HOST, ROOM, peer));
        Ok(())
    }

    /// Makes `owner` the owner of an object, which then counts to the owner's user.
    fn pass(&mut self, id: EntityId, owner: u32) -> Result<(), Code> {
        let user = self.user_of(owner)?;
        let counts_already =
            self.state.store.entity(id).is_some_and(|object| object.user.as_ref() == Some(&user));
        if !counts_already {
            self.may_own_more(&user)?;
        }
        if let Some((owner, user)) = self.state.store.set_owner(id, owner, Some(user)) {
            self.undo.push(Undo::Owner { object: id, owner, user });
        }
        self.changes.push(changed(change::OWNER, id, owner));
        Ok(())
    }

    /// Checks that an object exists and belongs to the requester. `any_owner`: it may belong to
    /// anybody.
    fn check_owner(&self, id: EntityId, any_owner: bool) -> Result<(), Code> {
        let object = self.state.store.entity(id).ok_or(Code::NoSuchEntity)?;
        let may = any_owner || object.owner == self.requester.peer;
        may.then_some(()).ok_or(Code::Conflict)
    }

    /// Checks that a peer is in the room.
    fn check_inside(&self, peer: u32) -> Result<(), Code> {
        self.requester.peers.presence(peer).map(drop).ok_or(Code::NoSuchEntity)
    }

    /// Returns the user of a peer.
    fn user_of(&self, peer: u32) -> Result<Arc<str>, Code> {
        let user = self.requester.peers.user(peer).ok_or(Code::NoSuchEntity)?;
        Ok(self.state.store.shared_user(user))
    }

    /// Checks that one object more may count to a user, whatever the number of its peers. The limit
    /// does not apply to requests of a moderator.
    fn may_own_more(&self, user: &str) -> Result<(), Code> {
        let few = self.state.store.objects_of(user) < self.state.limits.user_objects as usize;
        (few || self.requester.rights.moderate).then_some(()).ok_or(Code::PeerObjects)
    }

    /// Checks the size of the state. The last part, one in [`STATE_RESERVE`], is for peers that may
    /// change the room's fields or moderate.
    fn within_limits(&self) -> Result<(), Code> {
        let Rights { room, moderate, .. } = self.requester.rights;
        let max = self.state.limits.room_state_bytes as usize;
        let limit = if room || moderate { max } else { max - max / STATE_RESERVE };
        let fits = self.state.store.bytes() <= limit;
        fits.then_some(()).ok_or(Code::StateFull)
    }
}

fn allow(right: bool) -> Result<(), Code> {
    right.then_some(()).ok_or(Code::Forbidden)
}
