//! A client's copy of a room's shared state.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use nucleus_protocol::limits::{MAX_STATE, MAX_STATE_FIELDS, MAX_STATE_KEY, MAX_STATE_OBJECTS};
use nucleus_protocol::session::{Change, StateSnapshot, StateUpdate, change};

use super::{EntityId, ObjectId, ObjectMode, StateChange, StateFault, Value};
use crate::roster::{PeerId, Presence, Roster};

/// Bytes of a field in a snapshot in addition to its key and value. The size of a snapshot has a
/// limit.
const FIELD_COST: usize = 33;

/// A field of an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The value.
    pub value: Value,
    /// The version of the state that set the field, for [`super::Batch::compare_and_set`].
    pub version: u64,
}

/// An object of the room. Its fields are read like those of other entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Id of the object.
    pub id: ObjectId,
    /// The owner; `None` until a peer claims the object.
    pub owner: Option<PeerId>,
    /// Ownership and lifetime.
    pub mode: ObjectMode,
}

type Fields = BTreeMap<String, Field>;

/// A client's copy of a room's shared state. Empty and of version 0 until a snapshot arrives.
///
/// Holds at most 4,096 objects and 1 MiB of fields. A message that exceeds these limits is an
/// error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    version: u64,
    host: Option<PeerId>,
    objects: BTreeMap<ObjectId, Object>,
    /// The fields of each entity that has fields. An object with fields is also in `objects`.
    fields: BTreeMap<EntityId, Fields>,
    /// Cost of all fields together, see [`cost`].
    cost: usize,
}

impl Replica {
    /// Creates an empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the version of the state. Each update increases it by one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns a field, if it exists.
    pub fn field(&self, entity: EntityId, key: &str) -> Option<&Field> {
        self.fields.get(&entity)?.get(key)
    }

    /// Iterates over an entity's fields in the order of their keys.
    pub fn fields(&self, entity: EntityId) -> impl Iterator<Item = (&str, &Field)> {
        let fields = self.fields.get(&entity).into_iter().flatten();
        fields.map(|(key, field)| (key.as_str(), field))
    }

    /// Iterates over all objects in the order of their ids.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Object> {
        self.objects.values()
    }

    /// Returns an object, if it exists.
    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(&id)
    }

    /// Returns the host: the chosen host while it is present, or else the present peer with the
    /// smallest id.
    pub fn host(&self, roster: &Roster) -> Option<PeerId> {
        let present =
            |id: &PeerId| roster.peer(*id).is_some_and(|peer| peer.presence == Presence::Present);
        let smallest = || roster.iter().map(|peer| peer.id).find(present);
        self.host.filter(present).or_else(smallest)
    }

    /// Replaces this state by a snapshot and returns the differences.
    ///
    /// # Errors
    /// [`StateFault`] if the snapshot is invalid. The state is then unchanged.
    pub fn apply_snapshot(
        &mut self,
        snapshot: StateSnapshot,
    ) -> Result<Vec<StateChange>, StateFault> {
        let newer = Replica::from_snapshot(snapshot)?;
        Ok(std::mem::replace(self, newer).difference(self))
    }

    /// Applies the next update and returns the changes in their order. The choice of another host
    /// is not among them; call [`Self::host`] instead.
    ///
    /// # Errors
    /// [`StateFault`] if the update is invalid. The replica is then inconsistent, and the session
    /// must be closed.
    pub fn apply_update(&mut self, update: StateUpdate) -> Result<Vec<StateChange>, StateFault> {
        let expected = self.version.wrapping_add(1);
        if update.version != expected {
            return Err(StateFault::Version { expected, found: update.version });
        }
        self.version = update.version;
        let by = PeerId::from_wire(update.peer);
        let mut changes = Vec::new();
        for change in update.changes {
            changes.extend(self.apply(change, by)?);
        }
        self.check_bounds()?;
        Ok(changes)
    }

    /// Clears the state, for another room instance, and returns the changes.
    pub fn clear(&mut self) -> Vec<StateChange> {
        std::mem::take(self).difference(self)
    }

    /// Returns the SHA-256 digest of the whole state. All clients at the same version have the same
    /// digest.
    ///
    /// The digest covers these values, in little-endian:
    /// * version (u64) and chosen host (u32);
    /// * for each object and each other entity with fields, in the order of scope and number: scope
    ///   (u8), number (u64), owner (u32), mode (u8), number of fields (u32);
    /// * for each field of that entity, in the order of keys: length of the key (u32), key, type
    ///   (u8), bits (u64), length of the bytes (u32), bytes, version (u64).
    pub fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.version.to_le_bytes());
        context.update(&number(self.host).to_le_bytes());
        let room_and_peers = self.fields.keys().filter(|e| !matches!(e, EntityId::Object(_)));
        for entity in room_and_peers {
            self.digest_entity(&mut context, *entity, None);
        }
        for object in self.objects.values() {
            self.digest_entity(&mut context, object.id.into(), Some(object));
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        out
    }

    fn digest_entity(
        &self,
        context: &mut digest::Context,
        entity: EntityId,
        object: Option<&Object>,
    ) {
        let (scope, id) = entity.parts();
        context.update(&[scope]);
        context.update(&id.to_le_bytes());
        context.update(&number(object.and_then(|o| o.owner)).to_le_bytes());
        context.update(&[object.map_or(0, |o| o.mode.to_wire())]);
        let count = self.fields.get(&entity).map_or(0, Fields::len);
        context.update(&(count as u32).to_le_bytes());
        for (key, field) in self.fields(entity) {
            let (kind, bits, bytes) = field.value.parts();
            context.update(&(key.len() as u32).to_le_bytes());
            context.update(key.as_bytes());
            context.update(&[kind]);
            context.update(&bits.to_le_bytes());
            context.update(&(bytes.len() as u32).to_le_bytes());
            context.update(bytes);
            context.update(&field.version.to_le_bytes());
        }
    }

    fn from_snapshot(snapshot: StateSnapshot) -> Result<Self, StateFault> {
        let mut state = Replica { version: snapshot.version, ..Self::default() };
        state.host = PeerId::from_wire(snapshot.host);
        for wire in snapshot.entities {
            let entity = EntityId::from_wire(wire.scope, wire.id)?;
            if let EntityId::Object(id) = entity {
                let mode = ObjectMode::from_wire(wire.mode)?;
                state.create(Object { id, owner: PeerId::from_wire(wire.owner), mode })?;
            } else if state.fields.contains_key(&entity) {
                return Err(StateFault::Duplicate);
            }
            for field in wire.fields {
                if field.version > state.version {
                    let (expected, found) = (state.version, field.version);
                    return Err(StateFault::Version { expected, found });
                }
                let (kind, key) = (field.value.kind, key(field.key)?);
                let value = Value::from_wire(field.value)?.ok_or(StateFault::Value(kind))?;
                if state.field(entity, &key).is_some() {
                    return Err(StateFault::Duplicate);
                }
                state.set(entity, key, Field { value, version: field.version })?;
            }
        }
        state.check_bounds()?;
        Ok(state)
    }

    /// Applies a change and returns it for the application; `None` for the choice of a host.
    fn apply(
        &mut self,
        wire: Change,
        by: Option<PeerId>,
    ) -> Result<Option<StateChange>, StateFault> {
        if wire.kind == change::HOST {
            self.host = PeerId::from_wire(wire.peer);
            return Ok(None);
        }
        let entity = EntityId::from_wire(wire.scope, wire.id)?;
        let peer = PeerId::from_wire(wire.peer);
        Ok(Some(match (wire.kind, entity) {
            (change::SET, _) => {
                let (key, value) = (key(wire.key)?, Value::from_wire(wire.value)?);
                let version = self.version;
                match value.clone() {
                    Some(value) => self.set(entity, key.clone(), Field { value, version })?,
                    None => self.unset(entity, &key)?,
                }
                StateChange::Field { entity, key, value, by }
            }
            (change::CREATED, EntityId::Object(object)) => {
                let mode = ObjectMode::from_wire(wire.mode)?;
                self.create(Object { id: object, owner: peer, mode })?;
                StateChange::Created { object, owner: peer, mode, by }
            }
            (change::DELETED, EntityId::Object(_) | EntityId::Peer(_)) => {
                self.delete(entity)?;
                StateChange::Deleted { entity, by }
            }
            (change::OWNER, EntityId::Object(object)) => {
                self.object_mut(object)?.owner = peer;
                StateChange::Owner { object, owner: peer, by }
            }
            (change::CLAIMED, EntityId::Object(object)) => {
                self.object_mut(object)?;
                let no_peer = StateFault::Entity { scope: wire.scope, id: wire.id };
                StateChange::Claimed { object, by: peer.ok_or(no_peer)? }
            }
            (change::CREATED | change::DELETED | change::OWNER | change::CLAIMED, _) => {
                return Err(StateFault::Entity { scope: wire.scope, id: wire.id });
            }
            (unknown, _) => return Err(StateFault::Change(unknown)),
        }))
    }

    fn create(&mut self, object: Object) -> Result<(), StateFault> {
        let before = self.objects.insert(object.id, object);
        if before.is_some() { Err(StateFault::Duplicate) } else { Ok(()) }
    }

    fn delete(&mut self, entity: EntityId) -> Result<(), StateFault> {
        if let EntityId::Object(id) = entity {
            self.objects.remove(&id).ok_or(StateFault::Missing(id))?;
        }
        // A peer without fields is valid too.
        let fields = self.fields.remove(&entity).unwrap_or_default();
        self.cost -= fields.iter().map(|(key, field)| cost(key, field)).sum::<usize>();
        Ok(())
    }

    fn set(&mut self, entity: EntityId, key: String, field: Field) -> Result<(), StateFault> {
        self.check_exists(entity)?;
        let fields = self.fields.entry(entity).or_default();
        self.cost += cost(&key, &field);
        let key_cost = key.len();
        if let Some(before) = fields.insert(key, field) {
            self.cost -= key_cost + before.value.len() + FIELD_COST;
        }
        if fields.len() > MAX_STATE_FIELDS { Err(StateFault::Full("fields")) } else { Ok(()) }
    }

    fn unset(&mut self, entity: EntityId, key: &str) -> Result<(), StateFault> {
        self.check_exists(entity)?;
        let Some(fields) = self.fields.get_mut(&entity) else { return Ok(()) };
        if let Some(before) = fields.remove(key) {
            self.cost -= cost(key, &before);
        }
        if fields.is_empty() {
            self.fields.remove(&entity);
        }
        Ok(())
    }

    fn check_exists(&self, entity: EntityId) -> Result<(), StateFault> {
        match entity {
            EntityId::Object(id) if !self.objects.contains_key(&id) => Err(StateFault::Missing(id)),
            _ => Ok(()),
        }
    }

    fn object_mut(&mut self, id: ObjectId) -> Result<&mut Object, StateFault> {
        self.objects.get_mut(&id).ok_or(StateFault::Missing(id))
    }

    /// Checks the limits. Called at the end of a message, because the server chooses the order of
    /// the changes in it.
    fn check_bounds(&self) -> Result<(), StateFault> {
        if self.objects.len() > MAX_STATE_OBJECTS {
            Err(StateFault::Full("objects"))
        } else if self.cost > MAX_STATE {
            Err(StateFault::Full("bytes"))
        } else {
            Ok(())
        }
    }

    /// Returns the changes that lead from this state to `newer`.
    fn difference(&self, newer: &Replica) -> Vec<StateChange> {
        let mut changes = Vec::new();
        // The mode of an object never changes, so an object with another mode is a new one.
        let stays =
            |object: &Object| newer.object(object.id).is_some_and(|now| now.mode == object.mode);
        for object in self.objects.values().filter(|object| !stays(object)) {
            changes.push(StateChange::Deleted { entity: object.id.into(), by: None });
        }
        let is_gone =
            |e: &&EntityId| matches!(e, EntityId::Peer(_)) && !newer.fields.contains_key(e);
        for entity in self.fields.keys().filter(is_gone) {
            changes.push(StateChange::Deleted { entity: *entity, by: None });
        }
        self.field_changes(newer, EntityId::Room, &mut changes);
        for entity in newer.fields.keys().filter(|e| matches!(e, EntityId::Peer(_))) {
            self.field_changes(newer, *entity, &mut changes);
        }
        for Object { id, owner, mode } in newer.objects.values().copied() {
            let before = self.object(id).filter(|object| stays(object));
            match before {
                None => {
                    changes.push(StateChange::Created { object: id, owner, mode, by: None });
                    Replica::new().field_changes(newer, id.into(), &mut changes);
                }
                Some(before) => {
                    if before.owner != owner {
                        changes.push(StateChange::Owner { object: id, owner, by: None });
                    }
                    self.field_changes(newer, id.into(), &mut changes);
                }
            }
        }
        changes
    }

    fn field_changes(&self, newer: &Replica, entity: EntityId, changes: &mut Vec<StateChange>) {
        let mut changed = |key: &str, value: Option<Value>| {
            changes.push(StateChange::Field { entity, key: key.to_owned(), value, by: None });
        };
        for (key, _) in self.fields(entity).filter(|(k, _)| newer.field(entity, k).is_none()) {
            changed(key, None);
        }
        for (key, field) in newer.fields(entity) {
            if self.field(entity, key) != Some(field) {
                changed(key, Some(field.value.clone()));
            }
        }
    }
}

/// Returns the bytes of a field in a snapshot.
fn cost(key: &str, field: &Field) -> usize {
    key.len() + field.value.len() + FIELD_COST
}

fn number(peer: Option<PeerId>) -> u32 {
    peer.map_or(0, |peer| peer.0)
}

fn key(bytes: Vec<u8>) -> Result<String, StateFault> {
    if bytes.is_empty() || bytes.len() > MAX_STATE_KEY {
        return Err(StateFault::Key);
    }
    String::from_utf8(bytes).map_err(|_| StateFault::Key)
}
