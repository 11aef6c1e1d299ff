//! The shared state of a room: what its peers change together and a newcomer gets as a whole. Bound
//! like every archived message: **a released struct never changes**.
//!
//! The state is made of *entities*: the room itself, each peer, and objects. Each has *fields*, a key
//! and a typed value with the version at which it was set. A client asks for changes by a
//! [`StateRequest`], all of them or none; the server answers it by a [`StateReply`] on the control
//! stream, and tells everybody, whoever asked too, by a [`StateUpdate`] on the state stream.

use rkyv::{Archive, Deserialize, Serialize};

/// What an entity is; with a number of its own it names one.
pub mod scope {
    /// The room itself; its number is 0.
    pub const ROOM: u8 = 0;
    /// A peer, by its number. Begins and ends with its place.
    pub const PEER: u8 = 1;
    /// An object, by the number that its maker gave it: the maker's peer number in the upper half
    /// and what it likes in the lower, or 0 in the upper half for an object that belongs to the scene.
    pub const OBJECT: u8 = 2;
}

/// What an [`Operation`] does.
pub mod operation {
    /// Sets a field, or removes it by a value without a type.
    pub const SET: u8 = 1;
    /// Makes an object; it belongs to whoever asks. `mode` is one of [`super::mode`].
    pub const CREATE: u8 = 2;
    /// Removes an object with its fields.
    pub const DELETE: u8 = 3;
    /// Asks for an object's ownership: given at once where its mode says so or nobody owns it, else
    /// its owner hears of it.
    pub const CLAIM: u8 = 4;
    /// Gives an object to `peer`.
    pub const GIVE: u8 = 5;
    /// Makes `peer` the host.
    pub const HOST: u8 = 6;
}

/// How an object is owned, and how long it lives: one of the first three, and [`mode::WITH_ROOM`] or
/// not.
pub mod mode {
    /// Its owner alone gives it away.
    pub const FIXED: u8 = 0;
    /// Others may ask for it.
    pub const ASK: u8 = 1;
    /// Whoever asks for it has it.
    pub const TAKE: u8 = 2;
    /// It outlives its owner, and then belongs to nobody until somebody claims it.
    pub const WITH_ROOM: u8 = 0x10;
}

/// What a [`Value`] is.
pub mod value {
    /// Nothing: removes the field.
    pub const NONE: u8 = 0;
    /// False or true, 0 or 1 in `bits`.
    pub const BOOL: u8 = 1;
    /// A signed integer, two's complement in `bits`.
    pub const INTEGER: u8 = 2;
    /// An IEEE 754 double in `bits`; not a number is refused.
    pub const FLOAT: u8 = 3;
    /// UTF-8 in `bytes`.
    pub const TEXT: u8 = 4;
    /// Anything, in `bytes`.
    pub const BYTES: u8 = 5;
}

/// "Whatever version the field has."
pub const ANY_VERSION: u64 = u64::MAX;

/// A typed value. What its type does not use is zero or empty.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// One of [`value`].
    pub kind: u8,
    /// The numbers.
    pub bits: u64,
    /// Text and bytes.
    pub bytes: Vec<u8>,
}

/// One change that is asked for. What its kind does not use is zero or empty.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// One of [`operation`].
    pub kind: u8,
    /// The entity: one of [`scope`] ...
    pub scope: u8,
    /// ... and its number.
    pub id: u64,
    /// For [`operation::CREATE`].
    pub mode: u8,
    /// For [`operation::GIVE`] and [`operation::HOST`].
    pub peer: u32,
    /// For [`operation::SET`]: the field, UTF-8, 1 to 64 bytes.
    pub key: Vec<u8>,
    /// For [`operation::SET`].
    pub value: Value,
    /// For [`operation::SET`]: the version that the field must have, 0 = there must be none, or
    /// [`ANY_VERSION`].
    pub expected: u64,
}

/// A client asks for changes: all of them, in order, or none.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StateRequest {
    /// The client's number for it, which the reply names.
    pub request: u32,
    /// 1 to 64.
    pub operations: Vec<Operation>,
}

/// What became of a request.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StateReply {
    /// The client's number.
    pub request: u32,
    /// 0 = done, else a [`super::Code`].
    pub code: u16,
    /// The operation that was refused, from 0.
    pub failed: u16,
    /// The state's version: with the request's changes, or the one that they were judged by.
    pub version: u64,
}

/// A field of an entity.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// UTF-8, 1 to 64 bytes.
    pub key: Vec<u8>,
    /// Never [`value::NONE`].
    pub value: Value,
    /// The state's version that set it.
    pub version: u64,
}

/// An entity with its fields.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// One of [`scope`].
    pub scope: u8,
    /// Its number.
    pub id: u64,
    /// An object's owner, 0 = nobody.
    pub owner: u32,
    /// Of objects, one of [`mode`].
    pub mode: u8,
    /// In the order of their keys' bytes.
    pub fields: Vec<Field>,
}

/// The whole state, first on every state stream. A session without a state stream has an empty state
/// of version 0.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSnapshot {
    /// Its version.
    pub version: u64,
    /// The host that was chosen, 0 = none: the present peer with the least number is it.
    pub host: u32,
    /// Entities that have fields, and all objects, in the order of scope and number.
    pub entities: Vec<Entity>,
}

/// The next version of the state.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StateUpdate {
    /// One more than the version before.
    pub version: u64,
    /// The peer that asked for it; 0 = the server's own doing.
    pub peer: u32,
    /// In the order in which they are to be applied.
    pub changes: Vec<Change>,
}

/// One change. What its kind does not use is zero or empty.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// One of [`change`].
    pub kind: u8,
    /// The entity: one of [`scope`] ...
    pub scope: u8,
    /// ... and its number.
    pub id: u64,
    /// The new owner, who asks, or the host.
    pub peer: u32,
    /// Of a new object.
    pub mode: u8,
    /// The field.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Value,
}

/// What a [`Change`] is.
pub mod change {
    /// A field has this value now; none: it is gone.
    pub const SET: u8 = 1;
    /// An object is there, without fields, and belongs to `peer`.
    pub const CREATED: u8 = 2;
    /// An entity is gone with its fields.
    pub const DELETED: u8 = 3;
    /// An object belongs to `peer` now; 0 = to nobody.
    pub const OWNER: u8 = 4;
    /// `peer` asks for an object; its owner may give it.
    pub const CLAIMED: u8 = 5;
    /// `peer` is the chosen host now; 0 = nobody is.
    pub const HOST: u8 = 6;
}
