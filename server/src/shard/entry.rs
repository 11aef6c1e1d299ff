//! A link with what the shard knows of it.

use std::time::Duration;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::Link;
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::time::Time;

use super::stage::Member;
use super::{LinkNews, RoomId, ShardEvent};
use crate::limits;
use crate::rate::Bucket;
use crate::room::Seat;

pub(super) struct LinkEntry {
    pub(super) link: Link,
    pub(super) stage: usize,
    pub(super) member: Member,
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
    pub(super) told_quiet: Option<bool>,
    /// When the session side may be told again that its peer is throttled.
    pub(super) tell_throttled_at: Time,
    pub(super) on_fallback: bool,
    /// When the timer queue will look at this link next.
    pub(super) timer: Time,
    /// The link itself has something to send and stands in `outputs`.
    pub(super) queued: bool,
}

impl LinkEntry {
    pub(super) fn news(&self, room: RoomId, what: LinkNews) -> ShardEvent {
        let seat = Seat { peer: self.member.peer, session: self.session };
        ShardEvent { room, seat, what }
    }

    /// When its silence is news.
    pub(super) fn quiet_at(&self, away_after: Duration) -> Time {
        if self.told_quiet == Some(true) {
            return Time::MAX;
        }
        let grid = limits::SILENCE_GRID.as_micros() as u64;
        let idle = self.heard.since(self.spoke) > limits::IDLE_AFTER;
        let grace = if idle { limits::IDLE_GRACE } else { Duration::ZERO };
        Time::from_micros((self.heard + away_after + grace).as_micros().next_multiple_of(grid))
    }

    pub(super) fn next_timeout(&self, away_after: Duration) -> Time {
        let quiet = self.quiet_at(away_after);
        self.link.deadline().map_or(quiet, |t| t.min(quiet))
    }
}
