//! A second implementation of the rules, written differently: unsorted lists that are searched from
//! end to end, and a request that is tried on a copy of the whole state. Slow, but easy to compare
//! with docs/PROTOCOL.md.

use std::collections::BTreeMap;

use nucleus_protocol::session::{
    ANY_VERSION, Code, Entity, Field, Operation, StateSnapshot, Value, mode, operation, scope,
    value,
};

use super::Rights;

/// The peers of a room, with whether they are present.
pub(super) type PresentPeers = BTreeMap<u32, bool>;

/// The model of a shared state.
#[derive(Clone)]
pub(super) struct StateModel {
    /// Most objects of a user.
    user_objects: usize,
    /// The user of each peer that has ever joined, by number.
    pub(super) users: BTreeMap<u32, u8>,
    pub(super) version: u64,
    chosen: u32,
    objects: Vec<ModelObject>,
    fields: Vec<ModelField>,
}

#[derive(Clone)]
struct ModelObject {
    id: u64,
    owner: u32,
    /// The owner, or the last one of an object without an owner.
    last_owner: u32,
    mode: u8,
}

#[derive(Clone)]
struct ModelField {
    entity: (u8, u64),
    key: Vec<u8>,
    value: Value,
    version: u64,
}

impl StateModel {
    pub(super) fn new(user_objects: usize) -> Self {
        let (users, objects, fields) = Default::default();
        Self { user_objects, users, version: 0, chosen: 0, objects, fields }
    }

    /// Returns how many objects count to a user.
    pub(super) fn objects_of(&self, user: u8) -> usize {
        self.objects.iter().filter(|o| self.users[&o.last_owner] == user).count()
    }

    pub(super) fn request(
        &mut self,
        (actor, rights): (u32, Rights),
        present: &PresentPeers,
        operations: &[Operation],
    ) -> Result<(), (Code, u16)> {
        let mut copy = self.clone();
        copy.version += 1;
        for (index, operation) in operations.iter().enumerate() {
            match copy.refusal(actor, rights, present, operation) {
                Some(code) => return Err((code, index as u16)),
                None => copy.carry_out(actor, operation),
            }
        }
        *self = copy;
        Ok(())
    }

    /// Removes a peer from the room. Returns whether that changes the state.
    pub(super) fn leave(&mut self, peer: u32) -> bool {
        let before = (self.objects.len(), self.fields.len());
        let with_room = |o: &ModelObject| o.mode >= mode::WITH_ROOM;
        let stay = self.objects.iter_mut().filter(|o| o.owner == peer && with_room(o));
        let released = stay.map(|o| o.owner = 0).count();
        self.objects.retain(|o| o.owner != peer);
        let (objects, own) = (self.objects.clone(), (scope::PEER, u64::from(peer)));
        self.fields.retain(|f| {
            let object_exists = objects.iter().any(|o| (scope::OBJECT, o.id) == f.entity);
            f.entity != own && (f.entity.0 != scope::OBJECT || object_exists)
        });
        let was_host = self.chosen == peer;
        if was_host {
            self.chosen = 0;
        }
        let after = (self.objects.len(), self.fields.len());
        let changed = before != after || released > 0 || was_host;
        self.version += u64::from(changed);
        changed
    }

    /// Deletes all objects and the room's fields.
    pub(super) fn clear(&mut self) {
        let before = (self.objects.len(), self.fields.len());
        self.objects.clear();
        self.fields.retain(|f| f.entity.0 == scope::PEER);
        self.version += u64::from(before != (self.objects.len(), self.fields.len()));
    }

    /// Makes `peer` the host, as a moderator does.
    pub(super) fn choose(&mut self, peer: u32) {
        self.chosen = peer;
        self.version += 1;
    }

    pub(super) fn host(&self, present: &PresentPeers) -> u32 {
        if present.get(&self.chosen) == Some(&true) {
            return self.chosen;
        }
        present.iter().filter(|(_, present)| **present).map(|(peer, _)| *peer).min().unwrap_or(0)
    }

    pub(super) fn snapshot(&self) -> StateSnapshot {
        let mut entities: BTreeMap<(u8, u64), Entity> = BTreeMap::new();
        let entity = |(scope, id), owner, mode| Entity { scope, id, owner, mode, fields: vec![] };
        for o in &self.objects {
            let id = (scope::OBJECT, o.id);
            entities.insert(id, entity(id, o.owner, o.mode));
        }
        let mut fields = self.fields.clone();
        fields.sort_by(|a, b| a.key.cmp(&b.key));
        for ModelField { entity: id, key, value, version } in fields {
            let entity = entities.entry(id).or_insert_with(|| entity(id, 0, 0));
            entity.fields.push(Field { key, value, version });
        }
        let entities = entities.into_values().collect();
        StateSnapshot { version: self.version, host: self.chosen, entities }
    }

    fn refusal(
        &self,
        actor: u32,
        rights: Rights,
        present: &PresentPeers,
        operation: &Operation,
    ) -> Option<Code> {
        let object = self.objects.iter().find(|o| o.id == operation.id);
        let owns = object.is_some_and(|o| o.owner == actor);
        let on_object = operation.scope == scope::OBJECT;
        let inside = present.contains_key(&operation.peer);
        let may_have = |peer: u32| {
            let Some(user) = self.users.get(&peer) else { return false };
            let has = object.is_some_and(|o| self.users[&o.last_owner] == *user);
            rights.moderate || has || self.objects_of(*user) < self.user_objects
        };
        // Conditions. Each has the code that refuses the operation if the condition does not hold.
        let rules: Vec<(bool, Code)> = match operation.kind {
            operation::SET => {
                let row = self.row(operation).map_or(0, |row| row.version);
                let version = operation.expected == ANY_VERSION || operation.expected == row;
                let own = operation.scope == scope::PEER && operation.id == u64::from(actor);
                let may = match operation.scope {
                    scope::ROOM => rights.room,
                    scope::PEER => rights.moderate || (own && rights.own),
                    _ => rights.objects,
                };
                let exists = match operation.scope {
                    scope::ROOM => true,
                    scope::PEER => present.keys().any(|p| u64::from(*p) == operation.id),
                    _ => object.is_some(),
                };
                vec![
                    (operation.scope <= scope::OBJECT, Code::BadState),
                    (operation.scope != scope::ROOM || operation.id == 0, Code::BadState),
                    (may, Code::Forbidden),
                    (exists, Code::NoSuchEntity),
                    (!on_object || owns, Code::Conflict),
                    (version, Code::Conflict),
                ]
            }
            operation::CREATE => vec![
                (on_object && operation.mode & 0xef <= mode::TAKE, Code::BadState),
                ([0, u64::from(actor)].contains(&(operation.id >> 32)), Code::BadState),
                (rights.objects, Code::Forbidden),
                (object.is_none(), Code::NoSuchEntity),
                (may_have(actor), Code::PeerObjects),
            ],
            operation::DELETE => vec![
                (on_object, Code::BadState),
                (rights.objects || rights.moderate, Code::Forbidden),
                (object.is_some(), Code::NoSuchEntity),
                (owns || rights.moderate, Code::Conflict),
            ],
            operation::CLAIM => vec![
                (on_object, Code::BadState),
                (rights.objects, Code::Forbidden),
                (object.is_some(), Code::NoSuchEntity),
                (
                    owns || object.is_some_and(|o| o.owner == 0 || o.mode & 0xf != mode::FIXED),
                    Code::Conflict,
                ),
                (
                    may_have(actor)
                        || object.is_some_and(|o| o.owner != 0 && o.mode & 0xf == mode::ASK),
                    Code::PeerObjects,
                ),
            ],
            operation::GIVE => vec![
                (on_object, Code::BadState),
                (rights.objects || rights.moderate, Code::Forbidden),
                (object.is_some(), Code::NoSuchEntity),
                (owns || rights.moderate, Code::Conflict),
                (inside, Code::NoSuchEntity),
                (may_have(operation.peer), Code::PeerObjects),
            ],
            operation::HOST => {
                let hosts = self.host(present) == actor && rights.own;
                vec![(rights.moderate || hosts, Code::Forbidden), (inside, Code::NoSuchEntity)]
            }
            _ => vec![(false, Code::BadState)],
        };
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, code)| code)
    }

    fn row(&self, operation: &Operation) -> Option<&ModelField> {
        let entity = (operation.scope, operation.id);
        self.fields.iter().find(|row| row.entity == entity && row.key == operation.key)
    }

    fn carry_out(&mut self, actor: u32, operation: &Operation) {
        let (id, entity) = (operation.id, (operation.scope, operation.id));
        match operation.kind {
            operation::SET => {
                self.fields.retain(|f| f.entity != entity || f.key != operation.key);
                if operation.value.kind != value::NONE {
                    let (key, value) = (operation.key.clone(), operation.value.clone());
                    self.fields.push(ModelField { entity, key, value, version: self.version });
                }
            }
            operation::CREATE => {
                let (owner, mode) = (actor, operation.mode);
                self.objects.push(ModelObject { id, owner, last_owner: owner, mode })
            }
            operation::DELETE => {
                self.objects.retain(|o| o.id != id);
                self.fields.retain(|f| f.entity != entity);
            }
            operation::HOST => self.chosen = operation.peer,
            kind => {
                let object = self.objects.iter_mut().find(|o| o.id == id).expect("checked");
                let taken = [0, actor].contains(&object.owner) || object.mode & 0xf == mode::TAKE;
                if kind == operation::GIVE {
                    object.owner = operation.peer;
                } else if taken {
                    object.owner = actor;
                }
                if object.owner != 0 {
                    object.last_owner = object.owner;
                }
            }
        }
    }
}
