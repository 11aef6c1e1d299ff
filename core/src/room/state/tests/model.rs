//! The rules once more, written differently: rows in no order, looked for from end to end, and a
//! request tried on a copy of everything. Slow, and easy to compare with docs/PROTOCOL.md.

use std::collections::BTreeMap;

use nucleus_protocol::session::{
    ANY_VERSION, Code, Entity, Field, Operation, StateSnapshot, Value, mode, operation, scope,
    value,
};

use super::Rights;

/// The room's peers: number, whether they are present.
pub(super) type PresentPeers = BTreeMap<u32, bool>;

#[derive(Clone, Default)]
pub(super) struct StateModel {
    pub(super) version: u64,
    chosen: u32,
    objects: Vec<ModelObject>,
    fields: Vec<ModelField>,
}

#[derive(Clone)]
struct ModelObject {
    id: u64,
    owner: u32,
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
    pub(super) fn request(
        &mut self,
        (actor, rights): (u32, Rights),
        present: &PresentPeers,
        operations: &[Operation],
    ) -> Result<(), (Code, u16)> {
        let mut copy = self.clone();
        copy.version += 1;
        for (index, asked) in operations.iter().enumerate() {
            match copy.refusal(actor, rights, present, asked) {
                Some(code) => return Err((code, index as u16)),
                None => copy.carry_out(actor, asked),
            }
        }
        *self = copy;
        Ok(())
    }

    /// Whether the end of this peer's place changes anything.
    pub(super) fn leave(&mut self, peer: u32) -> bool {
        let before = (self.objects.len(), self.fields.len());
        let with_room = |o: &ModelObject| o.mode >= mode::WITH_ROOM;
        let kept = self.objects.iter_mut().filter(|o| o.owner == peer && with_room(o));
        let handed_on = kept.map(|o| o.owner = 0).count();
        self.objects.retain(|o| o.owner != peer);
        let (objects, own) = (self.objects.clone(), (scope::PEER, u64::from(peer)));
        self.fields.retain(|f| {
            let its_object = objects.iter().any(|o| (scope::OBJECT, o.id) == f.entity);
            f.entity != own && (f.entity.0 != scope::OBJECT || its_object)
        });
        let was_host = self.chosen == peer;
        if was_host {
            self.chosen = 0;
        }
        let after = (self.objects.len(), self.fields.len());
        let changed = before != after || handed_on > 0 || was_host;
        self.version += u64::from(changed);
        changed
    }

    /// All objects and the room's fields are gone.
    pub(super) fn clear(&mut self) {
        let before = (self.objects.len(), self.fields.len());
        self.objects.clear();
        self.fields.retain(|f| f.entity.0 == scope::PEER);
        self.version += u64::from(before != (self.objects.len(), self.fields.len()));
    }

    /// A moderator makes `peer` the host.
    pub(super) fn choose(&mut self, peer: u32) {
        self.chosen = peer;
        self.version += 1;
    }

    pub(super) fn host(&self, present: &PresentPeers) -> u32 {
        if present.get(&self.chosen) == Some(&true) {
            return self.chosen;
        }
        present.iter().filter(|(_, here)| **here).map(|(peer, _)| *peer).min().unwrap_or(0)
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
        asked: &Operation,
    ) -> Option<Code> {
        let object = self.objects.iter().find(|o| o.id == asked.id);
        let mine = object.is_some_and(|o| o.owner == actor);
        let on_object = asked.scope == scope::OBJECT;
        let here = present.contains_key(&asked.peer);
        // (what must hold, else this code), in the order in which it is told.
        let rules: Vec<(bool, Code)> = match asked.kind {
            operation::SET => {
                let row = self.row(asked).map_or(0, |row| row.version);
                let version = asked.expected == ANY_VERSION || asked.expected == row;
                let own = asked.scope == scope::PEER && asked.id == u64::from(actor);
                let may = match asked.scope {
                    scope::ROOM => rights.room,
                    scope::PEER => rights.moderate || (own && rights.own),
                    _ => rights.objects,
                };
                let there = match asked.scope {
                    scope::ROOM => true,
                    scope::PEER => present.keys().any(|p| u64::from(*p) == asked.id),
                    _ => object.is_some(),
                };
                vec![
                    (asked.scope <= scope::OBJECT, Code::BadState),
                    (asked.scope != scope::ROOM || asked.id == 0, Code::BadState),
                    (may, Code::Forbidden),
                    (there, Code::NoSuchEntity),
                    (!on_object || mine, Code::Conflict),
                    (version, Code::Conflict),
                ]
            }
            operation::CREATE => vec![
                (on_object && asked.mode & 0xef <= mode::TAKE, Code::BadState),
                ([0, u64::from(actor)].contains(&(asked.id >> 32)), Code::BadState),
                (rights.objects, Code::Forbidden),
                (object.is_none(), Code::NoSuchEntity),
            ],
            operation::DELETE => vec![
                (on_object, Code::BadState),
                (rights.objects || rights.moderate, Code::Forbidden),
                (object.is_some(), Code::NoSuchEntity),
                (mine || rights.moderate, Code::Conflict),
            ],
            operation::CLAIM => vec![
                (on_object, Code::BadState),
                (rights.objects, Code::Forbidden),
                (object.is_some(), Code::NoSuchEntity),
                (
                    mine || object.is_some_and(|o| o.owner == 0 || o.mode & 0xf != mode::FIXED),
                    Code::Conflict,
                ),
            ],
            operation::GIVE => vec![
                (on_object, Code::BadState),
                (rights.objects || rights.moderate, Code::Forbidden),
                (object.is_some(), Code::NoSuchEntity),
                (mine || rights.moderate, Code::Conflict),
                (here, Code::NoSuchEntity),
            ],
            operation::HOST => {
                let hosts = self.host(present) == actor && rights.own;
                vec![(rights.moderate || hosts, Code::Forbidden), (here, Code::NoSuchEntity)]
            }
            _ => vec![(false, Code::BadState)],
        };
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, code)| code)
    }

    fn row(&self, asked: &Operation) -> Option<&ModelField> {
        let entity = (asked.scope, asked.id);
        self.fields.iter().find(|row| row.entity == entity && row.key == asked.key)
    }

    fn carry_out(&mut self, actor: u32, asked: &Operation) {
        let (id, entity) = (asked.id, (asked.scope, asked.id));
        match asked.kind {
            operation::SET => {
                self.fields.retain(|f| f.entity != entity || f.key != asked.key);
                if asked.value.kind != value::NONE {
                    let (key, value) = (asked.key.clone(), asked.value.clone());
                    self.fields.push(ModelField { entity, key, value, version: self.version });
                }
            }
            operation::CREATE => {
                self.objects.push(ModelObject { id, owner: actor, mode: asked.mode })
            }
            operation::DELETE => {
                self.objects.retain(|o| o.id != id);
                self.fields.retain(|f| f.entity != entity);
            }
            operation::HOST => self.chosen = asked.peer,
            kind => {
                let object = self.objects.iter_mut().find(|o| o.id == id).expect("checked");
                let taken = [0, actor].contains(&object.owner) || object.mode & 0xf == mode::TAKE;
                if kind == operation::GIVE {
                    object.owner = asked.peer;
                } else if taken {
                    object.owner = actor;
                }
            }
        }
    }
}
