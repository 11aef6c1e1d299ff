//! The lanes of reliable messages, the acknowledgement of events, subscriptions to groups, and
//! reports about throttling. As with every archived message, **a released struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

use super::stream;
use crate::groups::GROUP_BYTES;

/// A lane of reliable messages. A lane keeps its messages in order and never waits for the other
/// lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Small messages, sent first.
    Events,
    /// Large messages, sent in pieces and only while no event waits.
    Bulk,
}

impl Lane {
    /// Both lanes, in the order of [`Lane::index`].
    pub const ALL: [Lane; 2] = [Lane::Events, Lane::Bulk];

    /// Returns the lane's index, 0 or 1.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the type byte of the lane's streams.
    pub const fn stream(self) -> u8 {
        match self {
            Lane::Events => stream::EVENTS,
            Lane::Bulk => stream::BULK,
        }
    }

    /// Returns the lane of streams with this type byte, if they belong to a lane.
    pub fn of_stream(kind: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.stream() == kind)
    }
}

/// The server acknowledges a client's events. The client may forget them: no resume asks for them
/// again.
///
/// Both counts are cumulative over all sessions of the peer, and wrap, like those of
/// [`super::Joined`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EventAck {
    /// How many of the peer's events the room has taken.
    pub events_taken: u32,
    /// How many pieces of the peer's bulk lane the room has taken.
    pub bulk_taken: u32,
}

/// A client replaces the set of groups that it subscribes to. The server answers with a
/// [`super::StateReply`] of the same number.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The client's number of this request, from the same sequence as its [`super::StateRequest`]s.
    pub request: u32,
    /// The groups as a bit set, see [`crate::groups::GroupSet`].
    pub groups: [u8; GROUP_BYTES],
}

/// The limits of [`Throttled`] that a client's messages can reach.
pub mod throttled {
    /// The server reads the client's events more slowly than they arrive.
    pub const EVENTS: u8 = 1;
    /// The server reads the client's pieces on the bulk lane more slowly than they arrive.
    pub const BULK: u8 = 2;
    /// The server reads the client's requests more slowly than they arrive.
    pub const REQUESTS: u8 = 3;
    /// The server dropped realtime messages of the client, which sent more than a link may send.
    pub const REALTIME: u8 = 4;
    /// The server dropped voice of the client, because the room had reached its speaker limit.
    pub const SPEAKERS: u8 = 5;
    /// The server dropped voice of the client, because the client is muted.
    pub const MUTED: u8 = 6;
}

/// The server tells a client that it slows down or drops the client's messages.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// The limit, one of [`throttled`].
    pub what: u8,
}
