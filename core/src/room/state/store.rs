//! The entities with their fields, and what they come to in a snapshot: every change goes through
//! here, so that the count of bytes is exact at every step.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use nucleus_protocol::session::{Entity, Field, Value, scope};

/// Bytes of a `StateSnapshot` in place: version, host, the list of entities.
pub(super) const SNAPSHOT_BYTES: usize = 8 + 4 + 8;
/// Bytes of an `Entity` in place: scope, id, owner, mode, the list of fields.
const ENTITY_BYTES: usize = 1 + 8 + 4 + 1 + 8;
/// Bytes of a `Field` in place: key, value (kind, bits, bytes), version.
const FIELD_BYTES: usize = 8 + (1 + 8 + 8) + 8;

/// Names an entity; in the order of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntityId {
    /// One of [`scope`].
    pub(super) scope: u8,
    /// Its number.
    pub(super) id: u64,
}

impl EntityId {
    pub(super) fn peer(peer: u32) -> Self {
        Self { scope: scope::PEER, id: peer.into() }
    }
}

/// An entity as it is kept. The room's and a peer's exist while they have fields, objects from
/// their creation on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// An object's, 0 = nobody.
    pub(super) owner: u32,
    /// An object's.
    pub(super) mode: u8,
    fields: BTreeMap<Vec<u8>, Stored>,
}

/// A field's value and the version of the state that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) value: Value,
    pub(super) version: u64,
}

impl Record {
    pub(super) fn object(owner: u32, mode: u8) -> Self {
        Self { owner, mode, fields: BTreeMap::new() }
    }

    pub(super) fn fields(&self) -> usize {
        self.fields.len()
    }

    fn bytes(&self) -> usize {
        ENTITY_BYTES + self.fields.iter().map(|(key, field)| field.bytes(key)).sum::<usize>()
    }

    fn wire(&self, id: EntityId) -> Entity {
        let field = |(key, stored): (&Vec<u8>, &Stored)| Field {
            key: key.clone(),
            value: stored.value.clone(),
            version: stored.version,
        };
        let fields = self.fields.iter().map(field).collect();
        Entity { scope: id.scope, id: id.id, owner: self.owner, mode: self.mode, fields }
    }
}

impl Stored {
    fn bytes(&self, key: &[u8]) -> usize {
        FIELD_BYTES + key.len() + self.value.bytes.len()
    }
}

/// All entities of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Store {
    entities: BTreeMap<EntityId, Record>,
    objects: usize,
    /// How many objects each owner has.
    owned: BTreeMap<u32, usize>,
    /// Of all entities in a snapshot.
    bytes: usize,
}

impl Store {
    /// Bytes of a snapshot's body.
    pub(super) fn bytes(&self) -> usize {
        SNAPSHOT_BYTES + self.bytes
    }

    pub(super) fn objects(&self) -> usize {
        self.objects
    }

    /// Objects of `owner`'s.
    pub(super) fn owned(&self, owner: u32) -> usize {
        self.owned.get(&owner).copied().unwrap_or(0)
    }

    pub(super) fn entity(&self, id: EntityId) -> Option<&Record> {
        self.entities.get(&id)
    }

    pub(super) fn field(&self, id: EntityId, key: &[u8]) -> Option<&Stored> {
        self.entities.get(&id)?.fields.get(key)
    }

    /// Objects that belong to one of `owners`, which are in order.
    pub(super) fn owned_by(&self, owners: &[u32]) -> Vec<(EntityId, u8)> {
        let objects = self.entities.range(EntityId { scope: scope::OBJECT, id: 0 }..);
        let theirs = objects.filter(|(_, object)| owners.binary_search(&object.owner).is_ok());
        theirs.map(|(id, object)| (*id, object.mode)).collect()
    }

    /// The keys of an entity's fields, in order.
    pub(super) fn keys(&self, id: EntityId) -> Vec<Vec<u8>> {
        let entity = self.entities.get(&id);
        entity.map_or_else(Vec::new, |entity| entity.fields.keys().cloned().collect())
    }

    /// All objects.
    pub(super) fn object_ids(&self) -> Vec<EntityId> {
        let objects = self.entities.range(EntityId { scope: scope::OBJECT, id: 0 }..);
        objects.map(|(id, _)| *id).collect()
    }

    /// The entities as a snapshot has them.
    pub(super) fn wire(&self) -> Vec<Entity> {
        self.entities.iter().map(|(id, entity)| entity.wire(*id)).collect()
    }

    /// Puts an entity where none is.
    pub(super) fn insert(&mut self, id: EntityId, entity: Record) {
        if id.scope == scope::OBJECT {
            self.objects += 1;
            self.gain(entity.owner);
        }
        self.bytes += entity.bytes();
        self.entities.insert(id, entity);
    }

    /// Takes an entity out, with its fields.
    pub(super) fn remove(&mut self, id: EntityId) -> Option<Record> {
        let entity = self.entities.remove(&id)?;
        if id.scope == scope::OBJECT {
            self.objects -= 1;
            self.lose(entity.owner);
        }
        self.bytes -= entity.bytes();
        Some(entity)
    }

    /// Sets a field, or removes it; gives what was there. The room's and a peer's entity come and go
    /// with their fields; an object must be there.
    pub(super) fn set(
        &mut self,
        id: EntityId,
        key: &[u8],
        field: Option<Stored>,
    ) -> Option<Stored> {
        if id.scope != scope::OBJECT && field.is_some() && !self.entities.contains_key(&id) {
            self.insert(id, Record::default());
        }
        let entity = self.entities.get_mut(&id)?;
        let before = match field {
            Some(field) => {
                self.bytes += field.bytes(key);
                entity.fields.insert(key.to_vec(), field)
            }
            None => entity.fields.remove(key),
        };
        self.bytes -= before.as_ref().map_or(0, |field| field.bytes(key));
        if id.scope != scope::OBJECT && entity.fields.is_empty() {
            self.remove(id);
        }
        before
    }

    /// Gives an object to `owner`; says whose it was.
    pub(super) fn set_owner(&mut self, id: EntityId, owner: u32) -> Option<u32> {
        let entity = self.entities.get_mut(&id)?;
        let before = std::mem::replace(&mut entity.owner, owner);
        self.lose(before);
        self.gain(owner);
        Some(before)
    }

    fn gain(&mut self, owner: u32) {
        *self.owned.entry(owner).or_default() += 1;
    }

    fn lose(&mut self, owner: u32) {
        if let Entry::Occupied(mut count) = self.owned.entry(owner) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
