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
