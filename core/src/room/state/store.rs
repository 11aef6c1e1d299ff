//! The entities with their fields, and the bytes that they take in a snapshot. All changes go
//! through [`Store`], so the count of bytes is always exact.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use nucleus_protocol::session::{Entity, Field, Value, scope};

/// Encoded bytes of a `StateSnapshot` without its entities: version, host, the list.
pub(super) const SNAPSHOT_BYTES: usize = 8 + 4 + 8;
/// Encoded bytes of an `Entity` without its fields: scope, id, owner, mode, the list.
const ENTITY_BYTES: usize = 1 + 8 + 4 + 1 + 8;
/// Encoded bytes of a `Field` without the contents of key and value: key, value (kind, bits,
/// bytes), version.
const FIELD_BYTES: usize = 8 + (1 + 8 + 8) + 8;

/// The name of an entity. The order is that of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntityId {
    /// The kind of the entity, one of [`scope`].
    pub(super) scope: u8,
    /// The number within the scope; 0 for the room.
    pub(super) id: u64,
}

impl EntityId {
    pub(super) fn peer(peer: u32) -> Self {
        Self { scope: scope::PEER, id: peer.into() }
    }
}

/// An entity with its fields. The entity of the room, or of a peer, exists while it has fields. An
/// object exists from its creation to its deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EntityRecord {
    /// The owner of an object, 0 for none.
    pub(super) owner: u32,
    /// The mode of an object: one of [`mode`](nucleus_protocol::session::mode).
    pub(super) mode: u8,
    fields: BTreeMap<Vec<u8>, StoredField>,
}

/// The value of a field, and the version of the state that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredField {
    pub(super) value: Value,
    pub(super) version: u64,
}

impl EntityRecord {
    pub(super) fn object(owner: u32, mode: u8) -> Self {
        Self { owner, mode, fields: BTreeMap::new() }
    }

    /// Returns the number of fields.
    pub(super) fn fields(&self) -> usize {
        self.fields.len()
    }

    fn bytes(&self) -> usize {
        ENTITY_BYTES + self.fields.iter().map(|(key, field)| field.bytes(key)).sum::<usize>()
    }

    fn to_wire(&self, id: EntityId) -> Entity {
        let field = |(key, stored): (&Vec<u8>, &StoredField)| Field {
            key: key.clone(),
            value: stored.value.clone(),
            version: stored.version,
        };
        let fields = self.fields.iter().map(field).collect();
        Entity { scope: id.scope, id: id.id, owner: self.owner, mode: self.mode, fields }
    }
}

impl StoredField {
    fn bytes(&self, key: &[u8]) -> usize {
        FIELD_BYTES + key.len() + self.value.bytes.len()
    }
}

/// All entities of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Store {
    entities: BTreeMap<EntityId, EntityRecord>,
    /// The number of objects.
    objects: usize,
    /// The number of objects of each owner.
    owned: BTreeMap<u32, usize>,
    /// Encoded bytes of all entities.
    bytes: usize,
}

impl Store {
    /// Returns the bytes of a snapshot's body.
    pub(super) fn bytes(&self) -> usize {
        SNAPSHOT_BYTES + self.bytes
    }

    /// Returns the number of objects.
    pub(super) fn objects(&self) -> usize {
        self.objects
    }

    /// Returns the number of objects of `owner`.
    pub(super) fn owned(&self, owner: u32) -> usize {
        self.owned.get(&owner).copied().unwrap_or(0)
    }

    pub(super) fn entity(&self, id: EntityId) -> Option<&EntityRecord> {
        self.entities.get(&id)
    }

    pub(super) fn field(&self, id: EntityId, key: &[u8]) -> Option<&StoredField> {
        self.entities.get(&id)?.fields.get(key)
    }

    /// Returns the objects of `owners` with their modes. `owners` must be sorted.
    pub(super) fn owned_by(&self, owners: &[u32]) -> Vec<(EntityId, u8)> {
        let objects = self.entities.range(EntityId { scope: scope::OBJECT, id: 0 }..);
        let owned = objects.filter(|(_, object)| owners.binary_search(&object.owner).is_ok());
        owned.map(|(id, object)| (*id, object.mode)).collect()
    }

    /// Returns the keys of an entity's fields, sorted.
    pub(super) fn keys(&self, id: EntityId) -> Vec<Vec<u8>> {
        let entity = self.entities.get(&id);
        entity.map_or_else(Vec::new, |entity| entity.fields.keys().cloned().collect())
    }

    /// Returns the ids of all objects.
    pub(super) fn object_ids(&self) -> Vec<EntityId> {
        let objects = self.entities.range(EntityId { scope: scope::OBJECT, id: 0 }..);
        objects.map(|(id, _)| *id).collect()
    }

    /// Returns all entities as a snapshot encodes them.
    pub(super) fn to_wire(&self) -> Vec<Entity> {
        self.entities.iter().map(|(id, entity)| entity.to_wire(*id)).collect()
    }

    /// Adds an entity that does not exist yet.
    pub(super) fn insert(&mut self, id: EntityId, entity: EntityRecord) {
        if id.scope == scope::OBJECT {
            self.objects += 1;
            self.add_owned(entity.owner);
        }
        self.bytes += entity.bytes();
        self.entities.insert(id, entity);
    }

    /// Removes an entity with its fields.
    pub(super) fn remove(&mut self, id: EntityId) -> Option<EntityRecord> {
        let entity = self.entities.remove(&id)?;
        if id.scope == scope::OBJECT {
            self.objects -= 1;
            self.remove_owned(entity.owner);
        }
        self.bytes -= entity.bytes();
        Some(entity)
    }

    /// Sets or removes a field, and returns its previous value. Creates and removes the entity of
    /// the room or a peer as needed. An object must exist.
    pub(super) fn set(
        &mut self,
        id: EntityId,
        key: &[u8],
        field: Option<StoredField>,
    ) -> Option<StoredField> {
        if id.scope != scope::OBJECT && field.is_some() && !self.entities.contains_key(&id) {
            self.insert(id, EntityRecord::default());
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

    /// Gives an object to `owner`, and returns the previous owner.
    pub(super) fn set_owner(&mut self, id: EntityId, owner: u32) -> Option<u32> {
        let entity = self.entities.get_mut(&id)?;
        let before = std::mem::replace(&mut entity.owner, owner);
        self.remove_owned(before);
        self.add_owned(owner);
        Some(before)
    }

    fn add_owned(&mut self, owner: u32) {
        *self.owned.entry(owner).or_default() += 1;
    }

    fn remove_owned(&mut self, owner: u32) {
        if let Entry::Occupied(mut count) = self.owned.entry(owner) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
