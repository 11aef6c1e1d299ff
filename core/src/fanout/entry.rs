//! A link with what the fan-out knows of it.

use std::time::Duration;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::Link;
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::time::Time;

use super::input::{FanoutOutput, LinkEvent};
use crate::ids::{PeerId, RoomId, SessionId};
use crate::limits;
use crate::rate::Bucket;

/// A peer of the room with its link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipient {
    pub(super) slot: u16,
    pub(super) peer: PeerId,
    pub(super) link: u32,
}

pub(super) struct LinkEntry {
    pub(super) link: Link,
    /// Index of its room.
    pub(super) room: usize,
    pub(super) recipient: Recipient,
    /// Which of the peer's sessions it belongs to.
    pub(super) session: u32,
    pub(super) ids: [ConnectionId; 2],
    /// The groups that its peer hears.
    pub(super) groups: GroupSet,
    /// Its peer's voice is dropped.
    pub(super) muted: bool,
    pub(super) ingress: Bucket,
    pub(super) ingress_bytes: Bucket,
    pub(super) egress: Bucket,
    /// Time of the last authentic datagram on either plane, at first of the link's birth.
    pub(super) heard: Time,
    /// Time of the last one with messages in it, zero before the first.
    pub(super) spoke: Time,
    /// What the session side was told last of its silence; `None`: nothing yet.
    pub(super) told_idle: Option<bool>,
    /// When the session side may be told again that its peer is throttled.
    pub(super) tell_throttled_at: Time,
    pub(super) on_fallback: bool,
    /// When the timer queue will look at this link next.
    pub(super) timer: Time,
    /// The link itself has something to send and stands in `outputs`.
    pub(super) queued: bool,
}

impl LinkEntry {
    pub(super) fn event(&self, room: RoomId, event: LinkEvent) -> FanoutOutput {
        let session = SessionId { peer: self.recipient.peer, session: self.session };
        FanoutOutput::Link { room, session, event }
    }

    /// When its silence is news.
    pub(super) fn idle_at(&self, away_after: Duration) -> Time {
        if self.told_idle == Some(true) {
            return Time::MAX;
        }
        let grid = limits::SILENCE_GRID.as_micros() as u64;
        let only_keep_alives = self.heard.since(self.spoke) > limits::ONLY_KEEP_ALIVES_AFTER;
        let grace = if only_keep_alives { limits::KEEP_ALIVE_GRACE } else { Duration::ZERO };
        Time::from_micros((self.heard + away_after + grace).as_micros().next_multiple_of(grid))
    }

    pub(super) fn deadline(&self, away_after: Duration) -> Time {
        let idle = self.idle_at(away_after);
        self.link.deadline().map_or(idle, |t| t.min(idle))
    }
}
