//! What has fields, and how objects are owned.

use std::fmt;

use nucleus_protocol::session::{mode, scope};

use super::StateFault;
use crate::roster::PeerId;

/// Something that has fields. In the order in which a digest goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityId {
    /// The room itself.
    Room,
    /// A peer; its fields go with its place.
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

    /// Scope and number, as they travel.
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

/// Names an object of the room; its maker chooses it, see [`crate::Room::new_object_id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// An object that `maker` makes; `number` is the maker's to choose.
    pub fn new(maker: PeerId, number: u32) -> Self {
        Self(u64::from(maker.0) << 32 | u64::from(number))
    }

    /// An object of the scene, which every application that loads it knows under this number:
    /// whoever comes first makes it.
    pub fn scene(number: u32) -> Self {
        Self(number.into())
    }

    /// Who made it; `None` for one of the scene.
    pub fn maker(self) -> Option<PeerId> {
        PeerId::from_wire((self.0 >> 32) as u32)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 32, self.0 as u32)
    }
}

/// What somebody else's claim of an owned object does. One that nobody owns is had by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Nothing: its owner alone gives it away.
    Fixed,
    /// Its owner hears of it ([`super::StateChange::Claimed`]) and may give it.
    Ask,
    /// Whoever asks has it.
    Take,
}

/// How an object is owned, and how long it lives. Chosen when it is made, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectMode {
    /// What a claim does.
    pub ownership: Ownership,
    /// It outlives its owner, and then belongs to nobody until somebody claims it; otherwise it
    /// goes with its owner.
    pub with_room: bool,
}

impl ObjectMode {
    /// [`Ownership::Fixed`], goes with its owner.
    pub const FIXED: ObjectMode = ObjectMode { ownership: Ownership::Fixed, with_room: false };
    /// [`Ownership::Ask`], goes with its owner.
    pub const ASK: ObjectMode = ObjectMode { ownership: Ownership::Ask, with_room: false };
    /// [`Ownership::Take`], goes with its owner.
    pub const TAKE: ObjectMode = ObjectMode { ownership: Ownership::Take, with_room: false };

    /// The same, but it outlives its owner.
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
