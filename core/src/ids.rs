//! What things are called: ids of rooms, peers, sessions and requests, and the names above them.

use std::fmt;

pub use nucleus_protocol::ids::PeerId;
use serde::{Deserialize, Serialize};

/// A room instance, unique in this server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u64);

/// One session of a participant. A resume makes the next one; what an earlier session still says or
/// is told counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The participant.
    pub peer: PeerId,
    /// Counts the participant's sessions from 1.
    pub session: u32,
}

/// One session outside rooms; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u64);

/// Names a request to a machine; the reply bears it. Whoever asks chooses it and uses it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The product a client belongs to; rooms of different products never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// Immersive meetings and training.
    Atom,
    /// Remote assistance.
    Assist,
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Atom, Self::Assist];

    /// As tokens and command lines name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Atom => "atom",
            Self::Assist => "assist",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A product of a tenant. Rooms, lobbies and users of different ones never meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProductKey {
    /// From the token.
    pub tenant: String,
    /// From the token.
    pub product: Product,
}

impl ProductKey {
    /// The room of that name.
    pub fn room(&self, name: impl Into<String>) -> RoomKey {
        RoomKey { owner: self.clone(), name: name.into() }
    }
}

/// A room's name with whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomKey {
    /// Whose room.
    pub owner: ProductKey,
    /// As joined.
    pub name: String,
}

/// The rooms of a tenant that a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomPattern {
    /// Every one.
    Any,
    /// The one of this name.
    Exact(String),
    /// Those whose name starts so.
    Prefix(String),
}

impl RoomPattern {
    /// Whether a room of this name may be entered.
    #[must_use]
    pub fn admits(&self, room: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => room == name,
            Self::Prefix(prefix) => room.starts_with(prefix.as_str()),
        }
    }

    /// A name, or a prefix with `*` at its end; `None` for a star elsewhere, which would look like a
    /// pattern and not be one.
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
