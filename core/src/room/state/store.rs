//! The entities with their fields, the bytes that they take in a snapshot, and how many objects
//! count to each user. All changes go through [`Store`], so the counts are always exact.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// The user to whom an object counts: that of its owner, or of its last owner if it has none.
    pub(super) user: Option<Arc<str>>,
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
    pub(super) fn object(owner: u32, user: Arc<str>, mode: u8) -> Self {
        Self { owner, user: Some(user), mode, fields: BTreeMap::new() }
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

/// The number of objects that count to each user. Has no user without objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ObjectCounts(BTreeMap<Arc<str>, usize>);

impl ObjectCounts {
    fn of(&self, user: &str) -> usize {
        self.0.get(user).copied().unwrap_or(0)
    }

    /// Returns a user's name, shared with the other objects of the user.
    fn shared(&self, user: &str) -> Arc<str> {
        self.0.get_key_value(user).map_or_else(|| Arc::from(user), |(shared, _)| shared.clone())
    }

    fn add(&mut self, user: Option<Arc<str>>) {
        if let Some(user) = user {
            *self.0.entry(user).or_default() += 1;
        }
    }

    fn remove(&mut self, user: Option<&str>) {
        let Some(user) = user else { return };
        let Some(count) = self.0.get_mut(user) else { return };
        *count -= 1;
        if *count == 0 {
            self.0.remove(user);
        }
    }
}

/// All entities of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Store {
    entities: BTreeMap<EntityId, EntityRecord>,
    /// The number of objects.
    objects: usize,
    users: ObjectCounts,
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

    /// Returns the number of objects that count to `user`.
    pub(super) fn objects_of(&self, user: &str) -> usize {
        self.users.of(user)
    }

    /// Returns a user's name as the user's objects share it.
    pub(super) fn shared_user(&self, user: &str) -> Arc<str> {
        self.users.shared(user)
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
            self.users.add(entity.user.clone());
        }
        self.bytes += entity.bytes();
        self.entities.insert(id, entity);
    }

    /// Removes an entity with its fields.
    pub(super) fn remove(&mut self, id: EntityId) -> Option<EntityRecord> {
        let entity = self.entities.remove(&id)?;
        if id.scope == scope::OBJECT {
            self.objects -= 1;
            self.users.remove(entity.user.as_deref());
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

    /// Gives an object to a peer, to whose user it counts from now on. Returns the previous owner
    /// and user.
    pub(super) fn set_owner(
        &mut self,
        id: EntityId,
        owner: u32,
        user: Option<Arc<str>>,
    ) -> Option<(u32, Option<Arc<str>>)> {
        let entity = self.entities.get_mut(&id)?;
        let before = std::mem::replace(&mut entity.user, user.clone());
        self.users.remove(before.as_deref());
        self.users.add(user);
        Some((std::mem::replace(&mut entity.owner, owner), before))
    }

    /// Takes the owner from an object. The object still counts to the owner's user: otherwise a
    /// user who leaves and joins again could fill the room.
    pub(super) fn release(&mut self, id: EntityId) {
        if let Some(entity) = self.entities.get_mut(&id) {
            entity.owner = 0;
        }
    }
}
