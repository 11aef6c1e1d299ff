//! Requests: the rules of each operation, and the way back when one of them is refused.
//!
//! What is wrong is looked for in this order, and the first that is found is told: form, right,
//! whether the entity or peer is there, owner and version, room for more.

use nucleus_protocol::limits::{MAX_STATE_FIELDS, MAX_STATE_OPERATIONS, STATE_RESERVE};
use nucleus_protocol::session::{
    ANY_VERSION, Change, Code, Operation, StateUpdate, change, mode, operation, scope, value,
};

use super::check::is_well_formed;
use super::store::{EntityId, Record, Stored};
use super::{Actor, ROOM, Refused, State, changed};
use crate::room::members::Rights;

impl State {
    /// Does all of `operations`, in order, or none.
    ///
    /// # Errors
    ///
    /// The first operation that is refused, and why; the state is as it was.
    pub(crate) fn apply(
        &mut self,
        actor: &Actor<'_>,
        operations: Vec<Operation>,
    ) -> Result<StateUpdate, Refused> {
        if !(1..=MAX_STATE_OPERATIONS).contains(&operations.len()) {
            return Err(Refused { code: Code::BadState, failed: 0 });
        }
        let mut attempt = Attempt { state: self, actor, done: Vec::new(), changes: Vec::new() };
        for (failed, asked) in (0..).zip(operations) {
            if let Err(code) = attempt.step(asked) {
                attempt.take_back();
                return Err(Refused { code, failed });
            }
        }
        let changes = attempt.changes;
        Ok(self.next(actor.peer, changes))
    }
}

/// A request half done.
struct Attempt<'a> {
    state: &'a mut State,
    actor: &'a Actor<'a>,
    /// How to take back what was done.
    done: Vec<Undo>,
    changes: Vec<Change>,
}

/// What was there before.
enum Undo {
    Field(EntityId, Vec<u8>, Option<Stored>),
    Entity(EntityId, Option<Record>),
    Owner(EntityId, u32),
    Host(u32),
}

impl Attempt<'_> {
    fn step(&mut self, asked: Operation) -> Result<(), Code> {
        if !is_well_formed(&asked) {
            return Err(Code::BadState);
        }
        let id = EntityId { scope: asked.scope, id: asked.id };
        match asked.kind {
            operation::SET => self.set(id, asked),
            operation::CREATE => self.create(id, asked.mode),
            operation::DELETE => self.delete(id),
            operation::CLAIM => self.claim(id),
            operation::GIVE => self.give(id, asked.peer),
            operation::HOST => self.host(asked.peer),
            _ => Err(Code::BadState),
        }
    }

    fn take_back(self) {
        let State { host, store, .. } = self.state;
        for undo in self.done.into_iter().rev() {
            match undo {
                Undo::Field(id, key, before) => drop(store.set(id, &key, before)),
                Undo::Entity(id, None) => drop(store.remove(id)),
                Undo::Entity(id, Some(before)) => store.insert(id, before),
                Undo::Owner(id, before) => drop(store.set_owner(id, before)),
                Undo::Host(before) => *host = before,
            }
        }
    }

    fn set(&mut self, id: EntityId, asked: Operation) -> Result<(), Code> {
        let Operation { key, value, expected, .. } = asked;
        self.may_set(id)?;
        let store = &self.state.store;
        let there = store.field(id, &key).map_or(0, |field| field.version);
        if expected != ANY_VERSION && expected != there {
            return Err(Code::Conflict);
        }
        let fields = store.entity(id).map_or(0, Record::fields);
        let gone = value.kind == value::NONE;
        if !gone && there == 0 && fields >= MAX_STATE_FIELDS {
            return Err(Code::EntityFields);
        }
        let version = self.state.version + 1;
        let field = (!gone).then(|| Stored { value: value.clone(), version });
        let bytes = self.state.store.bytes();
        let before = self.state.store.set(id, &key, field);
        self.done.push(Undo::Field(id, key.clone(), before));
        self.changes.push(Change { key, value, ..changed(change::SET, id, 0) });
        // What only shrinks the state is never refused for its size.
        if self.state.store.bytes() > bytes { self.within_limits() } else { Ok(()) }
    }

    fn may_set(&self, id: EntityId) -> Result<(), Code> {
        let rights = self.actor.rights;
        match id.scope {
            scope::ROOM => allow(rights.room),
            scope::PEER => {
                let own = id == EntityId::peer(self.actor.peer);
                allow(rights.moderate || own && rights.own)?;
                let peer = u32::try_from(id.id).map_err(|_| Code::NoSuchEntity)?;
                self.has_place(peer)
            }
            _ => {
                allow(rights.objects)?;
                // One writer an object: a moderator too makes it its own first.
                self.owned(id, false)
            }
        }
    }

    fn create(&mut self, id: EntityId, mode: u8) -> Result<(), Code> {
        let maker = (id.id >> 32) as u32;
        if maker != 0 && maker != self.actor.peer {
            return Err(Code::BadState);
        }
        allow(self.actor.rights.objects)?;
        if self.state.store.entity(id).is_some() {
            return Err(Code::NoSuchEntity);
        }
        if self.state.store.objects() >= self.state.limits.room_objects as usize {
            return Err(Code::RoomObjects);
        }
        let owner = self.actor.peer;
        self.may_own_more(owner)?;
        self.state.store.insert(id, Record::object(owner, mode));
        self.done.push(Undo::Entity(id, None));
        self.changes.push(Change { mode, ..changed(change::CREATED, id, owner) });
        self.within_limits()
    }

    fn delete(&mut self, id: EntityId) -> Result<(), Code> {
        let rights = self.actor.rights;
        allow(rights.objects || rights.moderate)?;
        self.owned(id, rights.moderate)?;
        let before = self.state.store.remove(id);
        self.done.push(Undo::Entity(id, before));
        self.changes.push(changed(change::DELETED, id, 0));
        Ok(())
    }

    fn claim(&mut self, id: EntityId) -> Result<(), Code> {
        allow(self.actor.rights.objects)?;
        let object = self.state.store.entity(id).ok_or(Code::NoSuchEntity)?;
        let at_once = [0, self.actor.peer].contains(&object.owner);
        let takes = at_once || object.mode & !mode::WITH_ROOM == mode::TAKE;
        if takes && object.owner != self.actor.peer {
            self.may_own_more(self.actor.peer)?;
        }
        match object.mode & !mode::WITH_ROOM {
            _ if at_once => self.pass(id, self.actor.peer),
            mode::TAKE => self.pass(id, self.actor.peer),
            mode::ASK => self.changes.push(changed(change::CLAIMED, id, self.actor.peer)),
            _ => return Err(Code::Conflict),
        }
        Ok(())
    }

    fn give(&mut self, id: EntityId, peer: u32) -> Result<(), Code> {
        let rights = self.actor.rights;
        allow(rights.objects || rights.moderate)?;
        self.owned(id, rights.moderate)?;
        self.has_place(peer)?;
        self.may_own_more(peer)?;
        self.pass(id, peer);
        Ok(())
    }

    fn host(&mut self, peer: u32) -> Result<(), Code> {
        let Actor { peer: actor, rights, members } = *self.actor;
        let is_host = self.state.host(members) == actor;
        // An observer may be the host for want of others, and still changes nothing.
        allow(rights.moderate || is_host && rights.own)?;
        self.has_place(peer)?;
        self.done.push(Undo::Host(std::mem::replace(&mut self.state.host, peer)));
        self.changes.push(changed(change::HOST, ROOM, peer));
        Ok(())
    }

    fn pass(&mut self, id: EntityId, owner: u32) {
        if let Some(before) = self.state.store.set_owner(id, owner) {
            self.done.push(Undo::Owner(id, before));
        }
        self.changes.push(changed(change::OWNER, id, owner));
    }

    /// The object is there and the actor's, or anybody's if it is `for_all`.
    fn owned(&self, id: EntityId, for_all: bool) -> Result<(), Code> {
        let object = self.state.store.entity(id).ok_or(Code::NoSuchEntity)?;
        let may = for_all || object.owner == self.actor.peer;
        may.then_some(()).ok_or(Code::Conflict)
    }

    fn has_place(&self, peer: u32) -> Result<(), Code> {
        self.actor.members.presence(peer).map(drop).ok_or(Code::NoSuchEntity)
    }

    /// One peer's objects leave room for those of others, unless it moderates.
    fn may_own_more(&self, owner: u32) -> Result<(), Code> {
        let few = self.state.store.owned(owner) < self.state.limits.peer_objects as usize;
        (few || self.actor.rights.moderate).then_some(()).ok_or(Code::PeerObjects)
    }

    /// The last part is for those who answer for the room.
    fn within_limits(&self) -> Result<(), Code> {
        let Rights { room, moderate, .. } = self.actor.rights;
        let whole = self.state.limits.room_state_bytes as usize;
        let limit = if room || moderate { whole } else { whole - whole / STATE_RESERVE };
        let fits = self.state.store.bytes() <= limit;
        fits.then_some(()).ok_or(Code::StateFull)
    }
}

fn allow(right: bool) -> Result<(), Code> {
    right.then_some(()).ok_or(Code::Forbidden)
}
