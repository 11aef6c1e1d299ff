//! Requests for changes of the state. A [`Batch`] checks the limits while it is built, so that a
//! mistake is found at its operation, before the request is sent.

use nucleus_protocol::limits::{MAX_STATE_KEY, MAX_STATE_OPERATIONS, MAX_STATE_VALUE};
use nucleus_protocol::session::{self, ANY_VERSION, Operation, operation};

use super::{EntityId, ObjectId, ObjectMode, Value};
use crate::roster::PeerId;

/// Operations that the server applies together and in this order, or not at all. A batch has 1 to
/// 64 operations and at most 16 KiB.
///
/// The role in the join token decides which operations are allowed:
///
/// | role | allows |
/// |---|---|
/// | `observer` | nothing |
/// | `participant`, `technician` or any other | the own peer's fields, and objects |
/// | `presenter` | also the room's fields |
/// | `host`, `expert` | also moderation: the fields of all peers, and deleting or giving any object |
///
/// The grants `state.objects`, `state.room` and `moderate` in the token add rights to the role.
///
/// ```
/// use nucleus_client_core::state::{Batch, EntityId, ObjectMode, ObjectId};
/// # let me = nucleus_client_core::roster::PeerId(1);
/// let cup = ObjectId::new(me, 1);
/// let batch = Batch::new()
///     .set(EntityId::Room, "topic", "fire drill")
///     .compare_and_set(EntityId::Room, "round", 0, 1)
///     .create(cup, ObjectMode::TAKE.with_room())
///     .set(cup, "color", "red");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    operations: Vec<Operation>,
    /// Number of requested operations. Operations beyond the limit are counted, but not stored.
    count: usize,
    /// The first violated limit.
    error: Option<BatchError>,
}

/// The reason why a batch is not sent: it violates a limit. Indexes begin at 0; the
/// texts count operations from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The batch has no operations or too many.
    #[error("a batch must have 1 to {MAX_STATE_OPERATIONS} operations, not {0}")]
    Count(usize),
    /// A key is empty or too long.
    #[error("operation {}: a key must have 1 to {MAX_STATE_KEY} bytes, not {len}", .operation + 1)]
    Key {
        /// Index of the operation.
        operation: usize,
        /// Size of the key in bytes.
        len: usize,
    },
    /// A text or byte string is too long.
    #[error("operation {}: a value must have at most {MAX_STATE_VALUE} bytes, not {len}", .operation + 1)]
    Value {
        /// Index of the operation.
        operation: usize,
        /// Size of the value in bytes.
        len: usize,
    },
    /// A float is NaN, which would not equal itself.
    #[error("operation {}: the float is NaN", .operation + 1)]
    NotANumber {
        /// Index of the operation.
        operation: usize,
    },
    /// The operations together are too large.
    #[error("a batch of {len} bytes is over the limit of {limit}")]
    TooLarge {
        /// Size of the request in bytes.
        len: usize,
        /// Largest allowed size in bytes.
        limit: usize,
    },
}

impl Batch {
    /// Creates an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field, without a check of its current value. `key` has 1 to 64 bytes. Only the owner
    /// of an object may set the object's fields.
    pub fn set(self, entity: impl Into<EntityId>, key: &str, value: impl Into<Value>) -> Self {
        self.field(entity.into(), key, Some(value.into()), ANY_VERSION)
    }

    /// Removes a field. Also succeeds if the field does not exist.
    pub fn remove(self, entity: impl Into<EntityId>, key: &str) -> Self {
        self.field(entity.into(), key, None, ANY_VERSION)
    }

    /// Sets a field if it still has `version` (see [`super::Field::version`]). Version 0 means that
    /// the field does not exist. If the field has another version, the whole batch is refused with
    /// [`nucleus_protocol::session::Code::Conflict`].
    pub fn compare_and_set(
        self,
        entity: impl Into<EntityId>,
        key: &str,
        version: u64,
        value: impl Into<Value>,
    ) -> Self {
        self.field(entity.into(), key, Some(value.into()), version)
    }

    /// Removes a field if it still has `version`. Otherwise the whole batch is refused, as in
    /// [`Self::compare_and_set`].
    pub fn compare_and_remove(self, entity: impl Into<EntityId>, key: &str, version: u64) -> Self {
        self.field(entity.into(), key, None, version)
    }

    /// Creates an object, which this client then owns.
    pub fn create(self, object: ObjectId, mode: ObjectMode) -> Self {
        let create = bare_operation(operation::CREATE, object.into());
        self.push(Operation { mode: mode.to_wire(), ..create })
    }

    /// Deletes an object and its fields.
    pub fn delete(self, object: ObjectId) -> Self {
        self.push(bare_operation(operation::DELETE, object.into()))
    }

    /// Claims the ownership of an object. The object's [`super::Ownership`] decides the effect.
    pub fn claim(self, object: ObjectId) -> Self {
        self.push(bare_operation(operation::CLAIM, object.into()))
    }

    /// Makes `peer` the owner of an object.
    pub fn give(self, object: ObjectId, peer: PeerId) -> Self {
        self.push(Operation { peer: peer.0, ..bare_operation(operation::GIVE, object.into()) })
    }

    /// Makes `peer` the chosen host.
    pub fn host(self, peer: PeerId) -> Self {
        self.push(Operation { peer: peer.0, ..bare_operation(operation::HOST, EntityId::Room) })
    }

    /// Returns the operations in wire format.
    ///
    /// # Errors
    /// The first limit that the batch violates.
    pub fn into_operations(self) -> Result<Vec<Operation>, BatchError> {
        match self.error {
            Some(error) => Err(error),
            None if self.count == 0 || self.count > MAX_STATE_OPERATIONS => {
                Err(BatchError::Count(self.count))
            }
            None => Ok(self.operations),
        }
    }

    fn field(mut self, entity: EntityId, key: &str, value: Option<Value>, expected: u64) -> Self {
        self.check(key, value.as_ref());
        let value = value.map_or_else(session::Value::default, session::Value::from);
        let key = key.as_bytes().to_vec();
        self.push(Operation { key, value, expected, ..bare_operation(operation::SET, entity) })
    }

    fn check(&mut self, key: &str, value: Option<&Value>) {
        let operation = self.count;
        let len = value.map_or(0, Value::len);
        let error = if key.is_empty() || key.len() > MAX_STATE_KEY {
            BatchError::Key { operation, len: key.len() }
        } else if len > MAX_STATE_VALUE {
            BatchError::Value { operation, len }
        } else if matches!(value, Some(Value::Float(number)) if number.is_nan()) {
            BatchError::NotANumber { operation }
        } else {
            return;
        };
        self.error.get_or_insert(error);
    }

    fn push(mut self, operation: Operation) -> Self {
        self.count += 1;
        if self.operations.len() < MAX_STATE_OPERATIONS {
            self.operations.push(operation);
        }
        self
    }
}

/// Returns an operation on an entity, without further parameters.
fn bare_operation(kind: u8, entity: EntityId) -> Operation {
    let (scope, id) = entity.parts();
    let (key, value) = (Vec::new(), session::Value::default());
    Operation { kind, scope, id, mode: 0, peer: 0, key, value, expected: 0 }
}
