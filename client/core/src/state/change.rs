//! The changes of the state that are reported to the application.

use super::{EntityId, ObjectId, ObjectMode, Value};
use crate::roster::PeerId;

/// A change of the state.
///
/// `by` is the peer that requested the change, which may be this client. It is `None` if the server
/// made the change itself, or if the change comes from a snapshot.
///
/// A change and the roster are not synchronized: for about 0.1 s, a change may name a peer that has
/// not joined yet, or that has already left.
#[derive(Clone, Debug, PartialEq)]
pub enum StateChange {
    /// A field was set or removed.
    Field {
        /// The entity that has the field.
        entity: EntityId,
        /// The field's key.
        key: String,
        /// The new value; `None` if the field was removed.
        value: Option<Value>,
        /// The peer that requested the change, see [`StateChange`].
        by: Option<PeerId>,
    },
    /// An object was created. Its fields follow as [`StateChange::Field`].
    Created {
        /// The object.
        object: ObjectId,
        /// The object's owner, if the object has one.
        owner: Option<PeerId>,
        /// The object's ownership and lifetime.
        mode: ObjectMode,
        /// The peer that requested the change, see [`StateChange`].
        by: Option<PeerId>,
    },
    /// An object was deleted with its fields, or all fields of a peer were deleted.
    Deleted {
        /// The deleted object, or the peer whose fields were deleted.
        entity: EntityId,
        /// The peer that requested the change, see [`StateChange`].
        by: Option<PeerId>,
    },
    /// The owner of an object changed.
    Owner {
        /// The object.
        object: ObjectId,
        /// The new owner, if there is one.
        owner: Option<PeerId>,
        /// The peer that requested the change, see [`StateChange`].
        by: Option<PeerId>,
    },
    /// A peer asks for an object. The owner may give it to the peer with [`super::Batch::give`].
    /// Claims are not stored: a client without a session at that moment never receives the claim.
    Claimed {
        /// The object.
        object: ObjectId,
        /// The peer that asks.
        by: PeerId,
    },
    /// The host changed, because a peer was chosen, joined, left, or became away or present.
    Host {
        /// The new host, if there is one.
        host: Option<PeerId>,
    },
}

impl StateChange {
    /// Returns the bytes that the change holds on the heap.
    pub fn bytes(&self) -> usize {
        match self {
            StateChange::Field { key, value, .. } => {
                key.len() + value.as_ref().map_or(0, Value::len)
            }
            _ => 0,
        }
    }
}
