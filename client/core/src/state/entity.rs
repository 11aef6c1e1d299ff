//! The ids of entities, and the rules of owning objects.

use std::fmt;

use nucleus_protocol::session::{mode, scope};

use super::StateFault;
use crate::roster::PeerId;

/// The id of an entity of the state: the room, a peer or an object. Ids are ordered as in
/// [`super::Replica::digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityId {
    /// The room itself.
    Room,
    /// A peer. Its fields are deleted when the participant leaves the room.
    Peer(PeerId),
    /// An object.
    Object(ObjectId),
}

impl EntityId {
    pub(super) fn from_wire(scope: u8, id: u64) -> Result<Self, StateFault> {
        match (scope, u32::try_from(id)) {
            (scope::ROOM, Ok(0)) => Ok(EntityId::Room),
            (scope::PEER, Ok(peer @ 1..)) => Ok(EntityId::Peer(PeerId(peer))),
            (scope::OBJECT, _) => Ok(EntityId::Object(ObjectId(id))),
            _ => Err(StateFault::Entity { scope, id }),
        }
    }

    /// Returns the scope and the number in wire format.
    pub(super) fn parts(self) -> (u8, u64) {
        match self {
            EntityId::Room => (scope::ROOM, 0),
            EntityId::Peer(peer) => (scope::PEER, peer.0.into()),
            EntityId::Object(object) => (scope::OBJECT, object.0),
        }
    }
}

impl From<PeerId> for EntityId {
    fn from(peer: PeerId) -> Self {
        EntityId::Peer(peer)
    }
}

impl From<ObjectId> for EntityId {
    fn from(object: ObjectId) -> Self {
        EntityId::Object(object)
    }
}

/// The id of an object of the room. The creator of the object chooses the id, see
/// `Room::new_object_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// Returns the id of an object that `maker` creates. The maker chooses `number`.
    pub fn new(maker: PeerId, number: u32) -> Self {
        Self(u64::from(maker.0) << 32 | u64::from(number))
    }

    /// Returns the id of an object that belongs to the scene. All clients that load the scene know
    /// the object by this number; the first client creates it.
    pub fn scene(number: u32) -> Self {
        Self(number.into())
    }

    /// Returns the peer that created the object; `None` for an object of the scene.
    pub fn maker(self) -> Option<PeerId> {
        PeerId::from_wire((self.0 >> 32) as u32)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 32, self.0 as u32)
    }
}

/// The effect of a claim by a peer that does not own the object. An object without an owner goes to
/// the first peer that claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The claim has no effect. Only the owner can give the object to another peer.
    Fixed,
    /// The owner receives [`super::StateChange::Claimed`] and may give the object to the peer.
    Ask,
    /// The peer becomes the owner at once.
    Take,
}

/// How an object is owned, and how long it exists. Chosen when the object is created, and never
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectMode {
    /// The effect of a claim.
    pub ownership: Ownership,
    /// Whether the object stays when its owner leaves the room. It then has no owner until a peer
    /// claims it. If false, the object is deleted when its owner leaves.
    pub with_room: bool,
}

impl ObjectMode {
    /// [`Ownership::Fixed`]; deleted when the owner leaves.
    pub const FIXED: ObjectMode = ObjectMode { ownership: Ownership::Fixed, with_room: false };
    /// [`Ownership::Ask`]; deleted when the owner leaves.
    pub const ASK: ObjectMode = ObjectMode { ownership: Ownership::Ask, with_room: false };
    /// [`Ownership::Take`]; deleted when the owner leaves.
    pub const TAKE: ObjectMode = ObjectMode { ownership: Ownership::Take, with_room: false };

    /// Returns the same mode, but the object stays when its owner leaves.
    pub const fn with_room(self) -> ObjectMode {
        ObjectMode { with_room: true, ..self }
    }

    pub(super) fn from_wire(wire: u8) -> Result<Self, StateFault> {
        let ownership = match wire & !mode::WITH_ROOM {
            mode::FIXED => Ownership::Fixed,
            mode::ASK => Ownership::Ask,
            mode::TAKE => Ownership::Take,
            _ => return Err(StateFault::ObjectMode(wire)),
        };
        Ok(ObjectMode { ownership, with_room: wire & mode::WITH_ROOM != 0 })
    }

    pub(super) fn to_wire(self) -> u8 {
        let ownership = match self.ownership {
            Ownership::Fixed => mode::FIXED,
            Ownership::Ask => mode::ASK,
            Ownership::Take => mode::TAKE,
        };
        ownership | if self.with_room { mode::WITH_ROOM } else { 0 }
    }
}
