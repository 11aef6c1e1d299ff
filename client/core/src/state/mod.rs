//! The shared state of a room. All peers can change it, and a new peer receives all of it.
//!
//! The state consists of entities: the room, its peers, and objects. Each entity has fields. A
//! field has a key, a typed [`Value`], and the version of the state that set it. An object also has
//! an owner.
//!
//! An application reads the state with `Room::field` and similar methods, and requests
//! changes with a [`Batch`], which the server applies completely or not at all. [`StateViews`] calls
//! it back at changes.
//!
//! This module does no I/O: [`Replica`] takes the server's messages and returns the changes.

mod batch;
mod change;
mod entity;
mod replica;
mod value;
mod views;

#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchError};
pub use change::StateChange;
pub use entity::{EntityId, ObjectId, ObjectMode, Ownership};
pub use replica::{Field, Object, Replica};
pub use value::Value;
pub use views::{StateViews, ViewChange, WatchNumber};

/// The reason why a message of the server about the state is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    /// The version is not the expected one.
    #[error("received state version {found}, expected {expected}")]
    Version {
        /// The expected version, usually the previous one plus one.
        expected: u64,
        /// The received version.
        found: u64,
    },
    /// The scope is unknown, or the number is not valid in its scope.
    #[error("there is no entity of scope {scope} with number {id}")]
    Entity {
        /// The received scope.
        scope: u8,
        /// The received number.
        id: u64,
    },
    /// A change of an object that does not exist.
    #[error("object {0} changed, but does not exist")]
    Missing(ObjectId),
    /// An entity, or a field of an entity, occurs twice.
    #[error("an entity, or a field of an entity, occurs twice")]
    Duplicate,
    /// A field's key is empty, longer than 64 bytes or not UTF-8.
    #[error("a field's key is empty, too long or not UTF-8")]
    Key,
    /// A value has an unknown type, or is not valid for its type.
    #[error("a value of type {0} is invalid")]
    Value(u8),
    /// An object has a mode that this version does not know.
    #[error("an object has the unknown mode {0}")]
    ObjectMode(u8),
    /// A change has a kind that this version does not know.
    #[error("a change has the unknown kind {0}")]
    Change(u8),
    /// The state exceeds a limit. Names the limited quantity.
    #[error("the state has more {0} than allowed")]
    Full(&'static str),
}
