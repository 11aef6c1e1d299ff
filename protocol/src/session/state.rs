//! The shared state of a room, which its peers change together. A newcomer gets a snapshot of the
//! state. As with every archived message, **a released struct never changes**.
//!
//! The state consists of *entities*: the room itself, each peer, and objects. An entity has
//! *fields*. A field is a key and a typed value, with the version at which it was set. A client
//! asks for changes with a [`StateRequest`], which the server applies completely or not at all. The
//! server answers with a [`StateReply`] on the control stream, and sends a [`StateUpdate`] to every
//! peer, the requesting one included, on the state stream.

use rkyv::{Archive, Deserialize, Serialize};

/// The kinds of an entity. A kind and a number identify an entity.
pub mod scope {
    /// The room itself; its number is 0.
    pub const ROOM: u8 = 0;
    /// A peer, with its peer number. The entity exists while the participant does.
    pub const PEER: u8 = 1;
    /// An object, with a number that its creator chose. The upper 32 bits are the creator's peer
    /// number, or 0 for an object of the scene. The creator chooses the lower 32 bits freely.
    pub const OBJECT: u8 = 2;
}

/// The kinds of an [`Operation`].
pub mod operation {
    /// Sets a field, or removes it if the value has no type.
    pub const SET: u8 = 1;
    /// Creates an object, owned by the requesting peer. `mode` is one of [`super::mode`].
    pub const CREATE: u8 = 2;
    /// Deletes an object with its fields.
    pub const DELETE: u8 = 3;
    /// Claims an object. The claim takes effect at once if the object's mode permits it or nobody
    /// owns the object; otherwise the server tells the owner.
    pub const CLAIM: u8 = 4;
    /// Gives an object to `peer`.
    pub const GIVE: u8 = 5;
    /// Makes `peer` the host.
    pub const HOST: u8 = 6;
}

/// The ownership and lifetime of an object: one of the first three, optionally with
/// [`mode::WITH_ROOM`].
pub mod mode {
    /// Only the owner can give the object away.
    pub const FIXED: u8 = 0;
    /// Other peers may claim the object, and its owner decides.
    pub const ASK: u8 = 1;
    /// A peer that claims the object becomes its owner at once.
    pub const TAKE: u8 = 2;
    /// The object outlives its owner. Nobody owns it then, until a peer claims it.
    pub const WITH_ROOM: u8 = 0x10;
}

/// The types of a [`Value`].
pub mod value {
    /// No value: removes the field.
    pub const NONE: u8 = 0;
    /// False or true, 0 or 1 in `bits`.
    pub const BOOL: u8 = 1;
    /// A signed integer, two's complement in `bits`.
    pub const INTEGER: u8 = 2;
    /// An IEEE 754 double in `bits`; NaN is refused.
    pub const FLOAT: u8 = 3;
    /// UTF-8 in `bytes`.
    pub const TEXT: u8 = 4;
    /// Arbitrary bytes in `bytes`.
    pub const BYTES: u8 = 5;
}

/// The expected version that every version of a field matches.
pub const ANY_VERSION: u64 = u64::MAX;

/// A typed value. Fields that its type does not use are zero or empty.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// The value's type, one of [`value`].
    pub kind: u8,
    /// The value of the numeric types.
    pub bits: u64,
    /// The value of [`value::TEXT`] and [`value::BYTES`].
    pub bytes: Vec<u8>,
}

/// One requested change. Fields that its kind does not use are zero or empty.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The operation's kind, one of [`operation`].
    pub kind: u8,
    /// The entity's kind, one of [`scope`].
    pub scope: u8,
    /// The entity's number.
    pub id: u64,
    /// For [`operation::CREATE`]: the object's mode.
    pub mode: u8,
    /// For [`operation::GIVE`] and [`operation::HOST`]: the new owner or host.
    pub peer: u32,
    /// For [`operation::SET`]: the field's key, UTF-8, 1 to 64 bytes.
    pub key: Vec<u8>,
    /// For [`operation::SET`]: the new value.
    pub value: Value,
    /// For [`operation::SET`]: the version that the field must have, 0 if it must not exist, or
    /// [`ANY_VERSION`].
    pub expected: u64,
}

/// A client asks for changes. The server applies all operations in order, or none.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StateRequest {
    /// The client's number of this request, which the reply repeats.
    pub request: u32,
    /// 1 to 64 operations.
    pub operations: Vec<Operation>,
}

/// The server's answer to a [`StateRequest`], [`super::Moderate`] or [`super::Subscribe`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StateReply {
    /// The client's number of the request.
    pub request: u32,
    /// 0 for success, else the [`super::Code`] that refuses the request.
    pub code: u16,
    /// Index of the refused operation, from 0.
    pub failed: u16,
    /// The state's version: the one with the request's changes, or the one at which the request was
    /// refused.
    pub version: u64,
}

/// A field of an entity.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's key, UTF-8, 1 to 64 bytes.
    pub key: Vec<u8>,
    /// The field's value, never [`value::NONE`].
    pub value: Value,
    /// The state's version that set the field.
    pub version: u64,
}

/// An entity with its fields.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// The entity's kind, one of [`scope`].
    pub scope: u8,
    /// The entity's number.
    pub id: u64,
    /// Peer number of an object's owner, 0 for none.
    pub owner: u32,
    /// An object's mode, see [`mode`].
    pub mode: u8,
    /// The entity's fields, in the order of their keys' bytes.
    pub fields: Vec<Field>,
}

/// The whole state, the first message on every state stream. Until a session has a state stream,
/// its state is empty and has version 0.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSnapshot {
    /// The state's version.
    pub version: u64,
    /// Peer number of the chosen host. 0 if none was chosen: then the host is the present peer with
    /// the lowest number.
    pub host: u32,
    /// All objects, and all other entities that have fields, in the order of scope and number.
    pub entities: Vec<Entity>,
}

/// The changes that make up the next version of the state.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct StateUpdate {
    /// The new version, one more than the previous.
    pub version: u64,
    /// Number of the peer that requested the changes; 0 if the server made them by itself.
    pub peer: u32,
    /// The changes, in the order in which to apply them.
    pub changes: Vec<Change>,
}

/// One change of the state. Fields that its kind does not use are zero or empty.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The change's kind, one of [`change`].
    pub kind: u8,
    /// The entity's kind, one of [`scope`].
    pub scope: u8,
    /// The entity's number.
    pub id: u64,
    /// Number of the new owner, the claiming peer, or the host.
    pub peer: u32,
    /// A new object's mode.
    pub mode: u8,
    /// The field's key.
    pub key: Vec<u8>,
    /// The field's value.
    pub value: Value,
}

/// The kinds of a [`Change`].
pub mod change {
    /// A field was set, or removed if the value is [`super::value::NONE`].
    pub const SET: u8 = 1;
    /// An object without fields was created. Its owner is `peer`.
    pub const CREATED: u8 = 2;
    /// An entity was deleted with its fields.
    pub const DELETED: u8 = 3;
    /// An object's owner is now `peer`; 0 for nobody.
    pub const OWNER: u8 = 4;
    /// `peer` claims an object; the owner may give it.
    pub const CLAIMED: u8 = 5;
    /// The chosen host is now `peer`; 0 for none.
    pub const HOST: u8 = 6;
}
