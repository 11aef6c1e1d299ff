//! What a client asks for: checked while it is put together, so that a mistake is told where it was
//! made and not by the server.

use nucleus_protocol::limits::{MAX_STATE_KEY, MAX_STATE_OPERATIONS, MAX_STATE_VALUE};
use nucleus_protocol::session::{self, ANY_VERSION, Operation, operation};

use super::{EntityId, ObjectId, ObjectMode, Value};
use crate::roster::PeerId;

/// Changes that take place together, in this order, or not at all. 1 to 64 operations, 16 KiB in
/// all.
///
/// What is allowed follows from the join token: by its role to everybody but an observer the fields of
/// its own peer and objects, to a presenter the room's fields as well, to a host everything; and by its
/// grants `state.objects`, `state.room` and `moderate`.
///
/// ```
/// use nucleus_client::state::{Batch, EntityId, ObjectMode, ObjectId};
/// # let me = nucleus_client::PeerId(1);
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
    /// How many were asked for; those past the limit are not kept.
    count: usize,
    /// The first mistake.
    error: Option<BatchError>,
}

/// A batch breaks a limit; nothing of it was sent. Operations count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// None or too many.
    #[error("a batch has 1 to {MAX_STATE_OPERATIONS} operations, not {0}")]
    Count(usize),
    /// The key is empty or too long.
    #[error("operation {operation}: a key has 1 to {MAX_STATE_KEY} bytes, not {len}")]
    Key {
        /// Which operation.
        operation: usize,
        /// Bytes of the key.
        len: usize,
    },
    /// The text or byte string is too long.
    #[error("operation {operation}: a value has at most {MAX_STATE_VALUE} bytes, not {len}")]
    Value {
        /// Which operation.
        operation: usize,
        /// Bytes of the value.
        len: usize,
    },
    /// A float that is not a number, which would not equal itself.
    #[error("operation {operation}: the float is not a number")]
    NotANumber {
        /// Which operation.
        operation: usize,
    },
    /// The operations together are too large.
    #[error("a batch of {len} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes of the whole request.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field, whatever it was. Of an object only its owner may; `key` has 1 to 64 bytes.
    pub fn set(self, entity: impl Into<EntityId>, key: &str, value: impl Into<Value>) -> Self {
        self.field(entity.into(), key, Some(value.into()), ANY_VERSION)
    }

    /// Removes a field, also one that is not there.
    pub fn remove(self, entity: impl Into<EntityId>, key: &str) -> Self {
        self.field(entity.into(), key, None, ANY_VERSION)
    }

    /// Sets a field if it still has `version` ([`super::Field::version`]; 0: if it is not there),
    /// else the whole batch is refused with [`crate::Code::Conflict`].
    pub fn compare_and_set(
        self,
        entity: impl Into<EntityId>,
        key: &str,
        version: u64,
        value: impl Into<Value>,
    ) -> Self {
        self.field(entity.into(), key, Some(value.into()), version)
    }

    /// Removes a field if it still has `version`, as [`Self::compare_and_set`].
    pub fn compare_and_remove(self, entity: impl Into<EntityId>, key: &str, version: u64) -> Self {
        self.field(entity.into(), key, None, version)
    }

    /// Makes an object, which then belongs to this client.
    pub fn create(self, object: ObjectId, mode: ObjectMode) -> Self {
        let create = blank(operation::CREATE, object.into());
        self.push(Operation { mode: mode.to_wire(), ..create })
    }

    /// Removes an object with its fields.
    pub fn delete(self, object: ObjectId) -> Self {
        self.push(blank(operation::DELETE, object.into()))
    }

    /// Asks for an object's ownership, see [`super::Ownership`].
    pub fn claim(self, object: ObjectId) -> Self {
        self.push(blank(operation::CLAIM, object.into()))
    }

    /// Gives an object to `peer`.
    pub fn give(self, object: ObjectId, peer: PeerId) -> Self {
        self.push(Operation { peer: peer.0, ..blank(operation::GIVE, object.into()) })
    }

    /// Makes `peer` the host.
    pub fn host(self, peer: PeerId) -> Self {
        self.push(Operation { peer: peer.0, ..blank(operation::HOST, EntityId::Room) })
    }

    /// The operations as they travel, or what is wrong with them.
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
        self.push(Operation { key, value, expected, ..blank(operation::SET, entity) })
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

/// An operation that needs nothing but its entity.
fn blank(kind: u8, entity: EntityId) -> Operation {
    let (scope, id) = entity.parts();
    let (key, value) = (Vec::new(), session::Value::default());
    Operation { kind, scope, id, mode: 0, peer: 0, key, value, expected: 0 }
}
