//! What steers who hears what. Bound like every archived message: **a released struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

use super::stream;
use crate::groups::GROUP_BYTES;

/// The two lanes of reliable messages, each in order, neither waiting for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What happens: small, and soon.
    Events,
    /// What is large: in pieces, behind the events.
    Bulk,
}

impl Lane {
    /// Both, in the order of [`Lane::index`].
    pub const ALL: [Lane; 2] = [Lane::Events, Lane::Bulk];

    /// 0 or 1.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The byte that opens its streams.
    pub const fn stream(self) -> u8 {
        match self {
            Lane::Events => stream::EVENTS,
            Lane::Bulk => stream::BULK,
        }
    }

    /// The lane of streams that this byte opens.
    pub fn of_stream(kind: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.stream() == kind)
    }
}

/// A client says which groups it wants to hear, in place of what it said before; answered by a
/// [`super::StateReply`] of the same number.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The client's number for it, of the same count as its requests for changes of the state.
    pub request: u32,
    /// A bit set, see [`crate::groups::GroupSet`].
    pub groups: [u8; GROUP_BYTES],
}

/// What a client is [`Throttled`] in.
pub mod throttled {
    /// Its events are read more slowly than they come.
    pub const EVENTS: u8 = 1;
    /// The pieces of its bulk lane are.
    pub const BULK: u8 = 2;
    /// Its requests are.
    pub const REQUESTS: u8 = 3;
    /// Realtime messages of it were dropped, for they were more than a link may send.
    pub const REALTIME: u8 = 4;
    /// Voice of it was dropped, for as many as may speak at once did.
    pub const SPEAKERS: u8 = 5;
    /// Voice of it was dropped, for it is muted.
    pub const MUTED: u8 = 6;
}

/// The server tells a client that it is slowed down, or not heard.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// One of [`throttled`].
    pub what: u8,
}
