//! The inputs and outputs of a shard's fan-out, other than datagrams.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::{RootSecret, Suite};
use nucleus_protocol::realtime::ConnectionId;

use crate::ids::{PeerId, RoomId, SessionId};
#[cfg(doc)]
use crate::limits;

/// The commands to a fan-out.
pub enum FanoutInput {
    /// Makes a link for a peer. Closes the peer's earlier link, if there is one. The reply is
    /// [`LinkEvent::Opened`] or [`LinkEvent::Refused`].
    OpenLink(Box<OpenLink>),
    /// Closes the link of a peer that has left.
    CloseLink {
        /// The peer's room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
    },
    /// Replaces the groups that the link of this session subscribes to. A new link subscribes to
    /// none. Ignored if the session has no link.
    Subscribe {
        /// The peer's room.
        room: RoomId,
        /// The session.
        session: SessionId,
        /// The groups.
        groups: GroupSet,
    },
    /// Starts or stops dropping the voice messages of this session. A new link is not muted.
    /// Ignored if the session has no link.
    Mute {
        /// The peer's room.
        room: RoomId,
        /// The session.
        session: SessionId,
        /// Whether voice is dropped.
        muted: bool,
    },
    /// Reports that the session has received something from its peer on a stream.
    Active {
        /// The peer's room.
        room: RoomId,
        /// The session.
        session: SessionId,
    },
    /// Reports that the process did not run for a while, so that datagrams of unknown age wait in
    /// buffers. The messages in them are dropped for [`limits::BACKLOG_TIME`]: those that come inside
    /// sessions, and those on the realtime port unless the kernel has stamped them.
    StoodStill {
        /// Whether the kernel stamps the datagrams of the realtime port with their arrival.
        stamped: bool,
    },
    /// Reports the share of a core (0 to 1) that the shard has used since the last report. The
    /// fan-out chooses the tick from this load.
    Load(f32),
}

/// The data of a link to be made.
pub struct OpenLink {
    /// The room of the link.
    pub room: RoomId,
    /// The session that the link is for.
    pub session: SessionId,
    /// The peer's slot in the room.
    pub slot: u16,
    /// What the link is made from.
    pub link: LinkParameters,
}

/// What a link is made from.
#[derive(Clone)]
pub struct LinkParameters {
    /// The number of the link, never reused in the session.
    pub link_id: u32,
    /// The AEAD suite.
    pub suite: Suite,
    /// The secret that the link's keys are derived from. A client without a realtime port does not
    /// learn it.
    pub root: RootSecret,
    /// Fresh random bytes for the connection ids and path challenges.
    pub seed: [u8; 32],
    /// Most bytes of frames in a datagram to the client.
    pub max_body: usize,
}

/// The outputs of a fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanoutOutput {
    /// Reports an event of a link to its room.
    Link {
        /// The room of the link.
        room: RoomId,
        /// The session that the link is for.
        session: SessionId,
        /// The event.
        event: LinkEvent,
    },
    /// Reports new connection ids, which name a link from now on.
    IdsBorn([ConnectionId; 2]),
    /// Reports connection ids that name no link any more.
    IdsDied([ConnectionId; 2]),
}

/// An event of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The link is ready under these connection ids.
    Opened {
        /// The id to use.
        connection_id: ConnectionId,
        /// The spare id.
        spare: ConnectionId,
    },
    /// The shard has reached its limit of links.
    Refused,
    /// No authentic datagram arrived on either plane for the time `Limits::away_after`.
    Silent,
    /// An authentic datagram arrived, for the first time or after `Silent`.
    Active,
    /// The peer's messages are held back or dropped. The value is one of
    /// [`nucleus_protocol::session::throttled`].
    Throttled(u8),
}
