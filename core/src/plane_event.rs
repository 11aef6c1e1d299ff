//! What the planes tell the control plane without being asked: rooms, participants and calls that
//! come and go.
//!
//! The control plane keeps a history of them, and tells webhooks and open dashboards.

use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::session::Code;

use crate::ids::{PeerId, ProductKey, RoomInstanceId, RoomKey};
use crate::moments::MomentLog;

/// Something that has happened in the session plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaneEvent {
    /// A room began: somebody has joined it, or it was created to be joined.
    RoomStarted(RoomRef),
    /// A room has ended.
    RoomEnded(RoomRef, RoomTotals),
    /// A participant has joined. A resume is not a join.
    PeerJoined(RoomRef, Arc<RoomVisitor>),
    /// A participant has left for good.
    PeerLeft(RoomRef, Arc<RoomVisitor>, Box<Visit>),
    /// A user calls others.
    CallStarted(CallRef),
    /// A call is over.
    CallEnded(CallRef, Box<CallTotals>),
}

/// A room of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRef {
    /// The room instance.
    pub instance: RoomInstanceId,
    /// Tenant, product and name.
    pub key: Arc<RoomKey>,
}

/// What there is to say of a room at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomTotals {
    /// How long the room existed.
    pub lasted: Duration,
    /// Number of joins, without resumes.
    pub joins: u64,
    /// Most participants at a time, those included whose session was lost.
    pub most_peers: u32,
}

/// A participant of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomVisitor {
    /// The number in the room.
    pub peer: PeerId,
    /// The user id.
    pub user: String,
    /// The display name.
    pub name: String,
    /// The name of the role.
    pub role: String,
}

/// What there is to say of a participant at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The time from the join to the end.
    pub lasted: Duration,
    /// Why it ended. [`Code::TimedOut`]: the session was lost and never resumed.
    pub code: Code,
    /// How often the participant has resumed.
    pub resumes: u32,
    /// The realtime plane's figures of all its links together; `None`: the shard has not told them.
    pub links: Option<LinkTotals>,
    /// What happened in between, by the time since the join: what the room has noted and, if `links` is
    /// known, what the shard has noted.
    pub moments: MomentLog,
}

/// What a shard knows of a participant's links at their end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerLinks {
    /// The figures of all links together.
    pub totals: LinkTotals,
    /// By which routes the realtime messages came. The times are those of the server's clock.
    pub moments: MomentLog,
}

/// The realtime plane's figures of a participant's links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTotals {
    /// How long the realtime messages went through QUIC instead of UDP 5056.
    pub on_fallback: Duration,
    /// The median round trip of the session, as QUIC measures it; `None`: not measured.
    pub rtt_p50: Option<Duration>,
    /// The round trip that 95 of 100 measurements do not exceed; `None`: not measured.
    pub rtt_p95: Option<Duration>,
    /// The share of the client's datagrams that were lost, in parts per million; `None`: not
    /// measured.
    pub loss_ppm: Option<u32>,
    /// Messages that were not sent because the receiver's budget was used up.
    pub withheld: u64,
    /// Bytes of realtime datagrams from the client.
    pub bytes_in: u64,
    /// Bytes of realtime datagrams to the client.
    pub bytes_out: u64,
}

/// A call of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRef {
    /// The number of the call, unique among the calls of all times with high probability.
    pub call: u64,
    /// Tenant and product.
    pub owner: Arc<ProductKey>,
    /// The user id of who called.
    pub caller: String,
}

/// What there is to say of a call at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTotals {
    /// The time from the start to the end.
    pub lasted: Duration,
    /// The time from the first acceptance to the end; `None`: nobody has accepted.
    pub talked: Option<Duration>,
    /// The user ids of all who were members, the caller first.
    pub members: Vec<String>,
    /// The user ids of those who were called and never became members.
    pub missed: Vec<String>,
}
