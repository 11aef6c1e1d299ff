//! The shared state of a room: what its peers change together and a newcomer gets as a whole.
//!
//! It is made of entities: the room, its peers, and objects. Each has fields, a key and a typed
//! [`Value`] with the version of the state that set it; an object also has an owner. An application
//! reads its [`Replica`] through [`crate::Room::field`] and the methods beside it, and asks for
//! changes by a [`Batch`], which the server takes as a whole or not at all.
//!
//! Nothing here knows a session or a task: updates in, changes out.

mod batch;
mod change;
mod entity;
mod replica;
mod value;

#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchError};
pub use change::StateChange;
pub use entity::{EntityId, ObjectId, ObjectMode, Ownership};
pub use replica::{Field, Object, Replica};
pub use value::Value;

/// What the server says of the state makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    /// No version, or not the next one.
    #[error("state version {found} came where {expected} was due")]
    Version {
        /// One more than the version before.
        expected: u64,
        /// As received.
        found: u64,
    },
    /// A scope that this version does not know, or a number that its scope does not have.
    #[error("there is no entity of scope {scope} with number {id}")]
    Entity {
        /// As received.
        scope: u8,
        /// As received.
        id: u64,
    },
    /// An object changed that is not there.
    #[error("object {0} changed, but is not there")]
    Missing(ObjectId),
    /// An entity, or a field of one, is there twice.
    #[error("an entity or a field of it is there twice")]
    Duplicate,
    /// A key that is empty, longer than 64 bytes or not UTF-8.
    #[error("a field's key is empty, too long or not UTF-8")]
    Key,
    /// A value of an unknown type, or one that its type does not have.
    #[error("a value of type {0} is none")]
    Value(u8),
    /// A mode that this version does not know.
    #[error("an object has the unknown mode {0}")]
    ObjectMode(u8),
    /// A change that this version does not know.
    #[error("a change is of the unknown kind {0}")]
    Change(u8),
    /// More of something than a room's state may have.
    #[error("the state has more {0} than it may")]
    Full(&'static str),
}
