//! What the session side and a shard's fan-out say to each other.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::{RootSecret, Suite};
use nucleus_protocol::realtime::ConnectionId;

use crate::ids::{PeerId, RoomId, SessionId};

/// What a fan-out is told, but for datagrams.
pub enum FanoutInput {
    /// Make a link for a peer, in place of one that it has; answered by [`LinkEvent::Opened`] or
    /// [`LinkEvent::Refused`].
    OpenLink(Box<OpenLink>),
    /// The peer is gone: its link dies at once.
    CloseLink {
        /// Its room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
    },
    /// The link of this session, if it is there, hears these groups from now on; a new one hears none.
    Subscribe {
        /// Its room.
        room: RoomId,
        /// The session.
        session: SessionId,
        /// The groups.
        groups: GroupSet,
    },
    /// The voice of this session is dropped from now on, or is not any more; a new link's is not.
    Mute {
        /// Its room.
        room: RoomId,
        /// The session.
        session: SessionId,
        /// Whether it is dropped.
        muted: bool,
    },
    /// The session has heard its peer otherwise than by a datagram.
    Active {
        /// Its room.
        room: RoomId,
        /// The session.
        session: SessionId,
    },
    /// The share of a core (0 to 1) that the shard has used since the last report. It chooses the tick.
    Load(f32),
}

/// A link to be made.
pub struct OpenLink {
    /// The room it is a membership of.
    pub room: RoomId,
    /// The session that the link is for.
    pub session: SessionId,
    /// The peer's slot in the room.
    pub slot: u16,
    /// Never reused in the session.
    pub link_id: u32,
    /// The AEAD.
    pub suite: Suite,
    /// Root of the link's keys.
    pub root: RootSecret,
    /// Fresh random bytes: connection ids and path challenges come from them.
    pub seed: [u8; 32],
}

/// What a fan-out wants others to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanoutOutput {
    /// Something happened to a link.
    Link {
        /// The room concerned.
        room: RoomId,
        /// The session that the link is for.
        session: SessionId,
        /// What happened.
        event: LinkEvent,
    },
    /// These connection ids lead to a link from now on.
    IdsBorn([ConnectionId; 2]),
    /// These connection ids lead nowhere any more.
    IdsDied([ConnectionId; 2]),
}

/// What happened to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
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
    Idle,
    /// Something authentic came, for the first time or after `Idle`.
    Active,
    /// Messages of it are held back or dropped: one of [`nucleus_protocol::session::throttled`].
    Throttled(u8),
}
