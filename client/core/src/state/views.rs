//! [`StateViews`]: the shared state as an application has seen it, with callbacks for changes.

use std::collections::BTreeMap;
use std::fmt;

use super::{EntityId, Object, ObjectId, StateChange, Value};

/// Names a callback of [`StateViews`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchNumber(u64);

/// A change as a callback gets it.
#[derive(Clone, Copy, Debug)]
pub struct ViewChange<'a> {
    /// The change.
    pub change: &'a StateChange,
    /// The value that a field had before; `None` if there was none, or if the change is of no field.
    pub before: Option<&'a Value>,
}

type Callback = Box<dyn FnMut(ViewChange<'_>) + Send>;

struct Watch {
    number: WatchNumber,
    /// `None`: every entity.
    of: Option<EntityId>,
    callback: Callback,
}

/// The shared state as an application has seen it.
///
/// `Room::field` reads the newest state, which may be ahead of the events that the application has
/// taken. This state changes only when the application passes an event on, so a callback finds exactly
/// what the changes before have made of it.
///
/// ```
/// use nucleus_client_core::event::RoomEvent;
/// use nucleus_client_core::state::{ObjectId, StateViews};
///
/// # fn frame(events: impl Iterator<Item = RoomEvent>) {
/// let mut views = StateViews::default();
/// let door = ObjectId::scene(7);
/// views.watch(door, |change| println!("{:?} was {:?}", change.change, change.before));
/// // In each frame:
/// for event in events {
///     if let RoomEvent::State(change) = &event {
///         views.apply(change);
///     }
/// }
/// # }
/// ```
#[derive(Default)]
pub struct StateViews {
    objects: BTreeMap<ObjectId, Object>,
    fields: BTreeMap<EntityId, BTreeMap<String, Value>>,
    watches: Vec<Watch>,
    next: u64,
}

impl fmt::Debug for StateViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateViews")
            .field("objects", &self.objects)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

impl StateViews {
    /// Calls `callback` at each change of an entity: of its fields, its owner, its creation, its
    /// deletion, and claims. The callbacks are called in the order in which they were added.
    pub fn watch(
        &mut self,
        of: impl Into<EntityId>,
        callback: impl FnMut(ViewChange<'_>) + Send + 'static,
    ) -> WatchNumber {
        self.add(Some(of.into()), Box::new(callback))
    }

    /// Calls `callback` at each change of anything.
    pub fn watch_all(
        &mut self,
        callback: impl FnMut(ViewChange<'_>) + Send + 'static,
    ) -> WatchNumber {
        self.add(None, Box::new(callback))
    }

    fn add(&mut self, of: Option<EntityId>, callback: Callback) -> WatchNumber {
        let number = WatchNumber(self.next);
        self.next += 1;
        self.watches.push(Watch { number, of, callback });
        number
    }

    /// Removes a callback.
    pub fn unwatch(&mut self, number: WatchNumber) {
        self.watches.retain(|watch| watch.number != number);
    }

    /// Makes the change of a `RoomEvent::State`, and calls the callbacks.
    pub fn apply(&mut self, change: &StateChange) {
        let before = self.make(change);
        let of = entity(change);
        let fits = |watch: &&mut Watch| watch.of.is_none() || watch.of == of;
        for watch in self.watches.iter_mut().filter(fits) {
            (watch.callback)(ViewChange { change, before: before.as_ref() });
        }
    }

    /// Makes a change. Returns the value that its field had.
    fn make(&mut self, change: &StateChange) -> Option<Value> {
        match change {
            StateChange::Field { entity, key, value, .. } => {
                let fields = self.fields.entry(*entity).or_default();
                let before = match value {
                    Some(value) => fields.insert(key.clone(), value.clone()),
                    None => fields.remove(key),
                };
                if fields.is_empty() {
                    self.fields.remove(entity);
                }
                return before;
            }
            StateChange::Created { object, owner, mode, .. } => {
                let created = Object { id: *object, owner: *owner, mode: *mode };
                self.objects.insert(*object, created);
            }
            StateChange::Deleted { entity, .. } => {
                self.fields.remove(entity);
                if let EntityId::Object(object) = entity {
                    self.objects.remove(object);
                }
            }
            StateChange::Owner { object, owner, .. } => {
                if let Some(object) = self.objects.get_mut(object) {
                    object.owner = *owner;
                }
            }
            StateChange::Claimed { .. } | StateChange::Host { .. } => {}
        }
        None
    }

    /// Returns an object, if it exists.
    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(&id)
    }

    /// Iterates over all objects in the order of their ids.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Object> {
        self.objects.values()
    }

    /// Returns a field, if it exists.
    pub fn field(&self, of: impl Into<EntityId>, key: &str) -> Option<&Value> {
        self.fields.get(&of.into())?.get(key)
    }

    /// Iterates over an entity's fields in the order of their keys.
    pub fn fields(&self, of: impl Into<EntityId>) -> impl Iterator<Item = (&str, &Value)> {
        let fields = self.fields.get(&of.into()).into_iter().flatten();
        fields.map(|(key, value)| (key.as_str(), value))
    }
}

/// Returns the entity that a change is of; `None` for a change of the host.
fn entity(change: &StateChange) -> Option<EntityId> {
    Some(match change {
        StateChange::Field { entity, .. } | StateChange::Deleted { entity, .. } => *entity,
        StateChange::Created { object, .. }
        | StateChange::Owner { object, .. }
        | StateChange::Claimed { object, .. } => EntityId::Object(*object),
        StateChange::Host { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::roster::PeerId;
    use crate::state::ObjectMode;

    const DOOR: ObjectId = ObjectId(7);

    fn field(entity: EntityId, key: &str, value: Option<Value>) -> StateChange {
        StateChange::Field { entity, key: key.to_owned(), value, by: None }
    }

    fn created(object: ObjectId) -> StateChange {
        let (owner, mode) = (Some(PeerId(1)), ObjectMode::TAKE);
        StateChange::Created { object, owner, mode, by: None }
    }

    #[test]
    fn a_callback_finds_the_change_and_what_was_before() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut views = StateViews::default();
        let to = told.clone();
        let watch = views.watch(DOOR, move |change| {
            to.lock().unwrap().push((change.change.clone(), change.before.cloned()));
        });
        let all = Arc::new(Mutex::new(0));
        let count = all.clone();
        views.watch_all(move |_| *count.lock().unwrap() += 1);
        let door = EntityId::Object(DOOR);
        let changes = [
            created(DOOR),
            field(door, "open", Some(true.into())),
            field(EntityId::Room, "open", Some(1.into())),
            field(door, "open", Some(false.into())),
            StateChange::Owner { object: DOOR, owner: None, by: None },
            StateChange::Host { host: None },
        ];
        changes.iter().for_each(|change| views.apply(change));
        assert_eq!(views.object(DOOR).unwrap().owner, None);
        assert_eq!(views.field(DOOR, "open"), Some(&Value::Bool(false)));
        assert_eq!(views.fields(EntityId::Room).count(), 1);
        let befores: Vec<_> = told.lock().unwrap().iter().map(|told| told.1.clone()).collect();
        assert_eq!(befores, [None, None, Some(Value::Bool(true)), None]);
        views.unwatch(watch);
        views.apply(&StateChange::Deleted { entity: door, by: None });
        assert_eq!((views.objects().len(), views.field(DOOR, "open")), (0, None));
        assert_eq!((told.lock().unwrap().len(), *all.lock().unwrap()), (4, 7));
    }

    #[test]
    fn changes_of_what_is_unknown_do_no_harm() {
        let mut views = StateViews::default();
        views.apply(&StateChange::Owner { object: DOOR, owner: None, by: None });
        views.apply(&field(DOOR.into(), "a", None));
        views.apply(&StateChange::Deleted { entity: DOOR.into(), by: None });
        assert_eq!(views.objects().len() + views.fields(DOOR).count(), 0);
    }
}
