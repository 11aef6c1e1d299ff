//! Ids of rooms, peers, sessions and requests, and the names of products and rooms.

pub use nucleus_protocol::ids::{PeerId, RoomInstanceId, ServerInstanceId};

pub use crate::product::Product;

/// The id of a room instance, unique while this server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u64);

/// The id of one session of a participant. A resume creates the next session; after that, inputs
/// and outputs that name an earlier session are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The participant.
    pub peer: PeerId,
    /// The number of the session, counted from 1 for each participant.
    pub session: u32,
}

/// The id of a device, which is one session outside rooms. Ids are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u64);

/// The id of a request to a machine, repeated in the reply. The requester chooses the id and uses
/// it for one request only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A product of a tenant. Each has its own rooms, lobby and users.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductKey {
    /// The tenant named in the token.
    pub tenant: String,
    /// The product named in the token.
    pub product: Product,
}

impl ProductKey {
    /// Returns the key of the room with this name.
    pub fn room(&self, name: impl Into<String>) -> RoomKey {
        RoomKey { owner: self.clone(), name: name.into() }
    }
}

/// A room's name together with the product and tenant that own it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey {
    /// The product and tenant that own the room.
    pub owner: ProductKey,
    /// The name that clients join by.
    pub name: String,
}

/// The rooms of a tenant that a token admits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomPattern {
    /// Every room.
    Any,
    /// The room with this name.
    Exact(String),
    /// The rooms whose names start with this prefix.
    Prefix(String),
}

impl RoomPattern {
    /// Returns true if the pattern admits to a room with this name.
    #[must_use]
    pub fn admits(&self, room: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => room == name,
            Self::Prefix(prefix) => room.starts_with(prefix.as_str()),
        }
    }

    /// Reads a room name, or a prefix that ends with `*`. Returns `None` if there is a `*`
    /// elsewhere, because the text would look like a pattern that the server does not support.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, prefix) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        if name.contains('*') {
            return None;
        }
        Some(if prefix { Self::Prefix(name.to_owned()) } else { Self::Exact(name.to_owned()) })
    }
}
