//! The simplest replica that a client can make of its state stream. For tests, here and in
//! `nucleus-sim`.

use std::collections::BTreeMap;

use nucleus_protocol::session::{
    Change, Entity, Field, StateSnapshot, StateUpdate, change, scope, value,
};

/// A copy of the state, made of a snapshot and the updates after it.
#[derive(Default)]
pub struct Replica {
    version: u64,
    host: u32,
    entities: BTreeMap<(u8, u64), Entity>,
}

impl Replica {
    /// Creates a replica from a snapshot.
    pub fn new(snapshot: StateSnapshot) -> Self {
        let StateSnapshot { version, host, entities } = snapshot;
        let entities = entities.into_iter().map(|e| ((e.scope, e.id), e)).collect();
        Self { version, host, entities }
    }

    /// Returns the state as a snapshot.
    pub fn snapshot(&self) -> StateSnapshot {
        let entities = self.entities.values().cloned().collect();
        StateSnapshot { version: self.version, host: self.host, entities }
    }

    /// Applies the next update.
    pub fn apply(&mut self, update: StateUpdate) {
        assert_eq!(update.version, self.version + 1, "a version was skipped");
        assert!(!update.changes.is_empty(), "an update without changes");
        self.version = update.version;
        update.changes.into_iter().for_each(|change| self.change(change));
    }

    fn change(&mut self, change: Change) {
        let id = (change.scope, change.id);
        let entity = |owner, mode| Entity { scope: id.0, id: id.1, owner, mode, fields: vec![] };
        match change.kind {
            change::SET => {
                if id.0 != scope::OBJECT {
                    self.entities.entry(id).or_insert_with(|| entity(0, 0));
                }
                self.set(id, change);
            }
            change::CREATED => {
                let before = self.entities.insert(id, entity(change.peer, change.mode));
                assert_eq!(before, None, "created twice");
            }
            change::DELETED => assert!(self.entities.remove(&id).is_some(), "deleted twice"),
            change::OWNER => {
                self.entities.get_mut(&id).expect("an object that exists").owner = change.peer
            }
            change::CLAIMED => {
                assert!(
                    self.entities.contains_key(&id),
                    "an object that does not exist was claimed"
                )
            }
            change::HOST => self.host = change.peer,
            other => panic!("an unknown change {other}"),
        }
    }

    fn set(&mut self, id: (u8, u64), change: Change) {
        let entity = self.entities.get_mut(&id).expect("an object that exists");
        entity.fields.retain(|field| field.key != change.key);
        if change.value.kind != value::NONE {
            let at = entity.fields.partition_point(|field| field.key < change.key);
            let version = self.version;
            entity.fields.insert(at, Field { key: change.key, value: change.value, version });
        }
        if id.0 != scope::OBJECT && entity.fields.is_empty() {
            self.entities.remove(&id);
        }
    }
}
