//! The traffic of links and rooms at one moment, from which the control plane makes its series. It is read
//! from counters that are there anyway, a few times a minute, and costs nothing for a message.

use std::sync::Arc;

use crate::ids::{PeerId, RoomId, RoomInstanceId, RoomKey};

/// Links of a shard whose figures are read at once. The shard sends nothing meanwhile, so they are few.
pub const TRAFFIC_LINKS: usize = 256;
/// Most rooms whose figures are read: the fullest ones, five pages of a list.
pub const TRAFFIC_ROOMS: usize = 512;

/// Datagrams on UDP 5056 that were sent, and those of them that were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkLosses {
    /// Sent by clients, up to the newest that has arrived from each.
    pub sent_in: u64,
    /// Those of them that have not arrived.
    pub lost_in: u64,
    /// Sent to clients, up to the newest that each has reported.
    pub sent_out: u64,
    /// Those of them that have not arrived, as the clients report.
    pub lost_out: u64,
}

impl LinkLosses {
    /// Adds those of other links.
    pub fn add(&mut self, other: Self) {
        self.sent_in = self.sent_in.saturating_add(other.sent_in);
        self.lost_in = self.lost_in.saturating_add(other.lost_in);
        self.sent_out = self.sent_out.saturating_add(other.sent_out);
        self.lost_out = self.lost_out.saturating_add(other.lost_out);
    }

    /// Returns by how much they have grown since an earlier reading of the same links. A datagram that comes
    /// late was lost before.
    pub fn since(self, before: Self) -> Self {
        Self {
            sent_in: self.sent_in.saturating_sub(before.sent_in),
            lost_in: self.lost_in.saturating_sub(before.lost_in),
            sent_out: self.sent_out.saturating_sub(before.sent_out),
            lost_out: self.lost_out.saturating_sub(before.lost_out),
        }
    }
}

/// The sums over the links of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTraffic {
    /// The peer's room.
    pub room: RoomId,
    /// The peer's number in the room.
    pub peer: PeerId,
    /// Bytes of realtime datagrams from the client.
    pub bytes_in: u64,
    /// Bytes of realtime datagrams to the client.
    pub bytes_out: u64,
    /// Lost datagrams.
    pub losses: LinkLosses,
}

/// The figures of some links of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficSlice {
    /// The links, at most [`TRAFFIC_LINKS`].
    pub links: Vec<LinkTraffic>,
    /// The sums over the peers that have left, in the first slice; nothing in others.
    pub left: LinkLosses,
    /// Where the next slice begins; `None`: this is the last one.
    pub next: Option<usize>,
}

/// The links of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomTraffic {
    /// The room instance.
    pub instance: RoomInstanceId,
    /// The number of the shard that relays the room.
    pub shard: u16,
    /// Tenant, product and name.
    pub key: Arc<RoomKey>,
    /// Number of participants, those included who may still resume.
    pub peers: u32,
    /// The sums of each peer that has a link. Sums of a peer only grow; a peer that has left is missing.
    pub links: Vec<LinkTraffic>,
}
