//! What the session side and a shard say to each other.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::{Root, Suite};
use nucleus_protocol::realtime::ConnectionId;

use super::{PeerId, RoomId};
use crate::room::Seat;

/// What a shard is told from the session side.
pub enum ShardCommand {
    /// Make a link for a peer, in place of one that it has; answered by `Opened` or `Refused`.
    OpenLink(Box<OpenLink>),
    /// The peer is gone: its link dies at once.
    CloseLink {
        /// Its room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
    },
    /// The link of this session of a peer, if it is there, hears these groups from now on; a new one
    /// hears none.
    Subscribe {
        /// Its room.
        room: RoomId,
        /// The session of the peer.
        seat: Seat,
        /// The groups.
        groups: GroupSet,
    },
    /// The voice of this session of a peer is dropped from now on, or is not any more; a new link's is
    /// not.
    Mute {
        /// Its room.
        room: RoomId,
        /// The session of the peer.
        seat: Seat,
        /// Whether it is dropped.
        muted: bool,
    },
}

/// A link to be made.
pub struct OpenLink {
    /// The room it is a membership of.
    pub room: RoomId,
    /// The session of the peer that the link is for.
    pub seat: Seat,
    /// The peer's slot in the room.
    pub slot: u16,
    /// Never reused in the session.
    pub link_id: u32,
    /// The AEAD.
    pub suite: Suite,
    /// Root of the link's keys.
    pub root: Root,
    /// Fresh random bytes: connection ids and path challenges come from them.
    pub seed: [u8; 32],
}

/// What a shard tells the session side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardEvent {
    /// The room concerned.
    pub room: RoomId,
    /// The session of a peer that the link is for.
    pub seat: Seat,
    /// What happened.
    pub what: LinkNews,
}

/// What happened to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkNews {
    /// It is ready under these connection ids.
    Opened {
        /// The one to use.
        connection_id: ConnectionId,
        /// The spare.
        spare: ConnectionId,
    },
    /// The shard has no place for it.
    Refused,
    /// Nothing authentic came on either plane for `away_after`.
    Quiet,
    /// Something authentic came, for the first time or after `Quiet`.
    Heard,
    /// Messages of it are held back or dropped: one of [`nucleus_protocol::session::throttled`].
    Throttled(u8),
}
