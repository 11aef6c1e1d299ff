//! A link with what the shard knows of it.

use std::time::Duration;

use nucleus_protocol::link::Link;
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::time::Time;

use super::stage::Member;
use super::{LinkNews, RoomId, ShardEvent};
use crate::rate::Bucket;
use crate::room::Seat;

pub(super) struct LinkEntry {
    pub(super) link: Link,
    pub(super) stage: usize,
    pub(super) member: Member,
    /// Which of the peer's sessions it belongs to.
    pub(super) session: u32,
    pub(super) ids: [ConnectionId; 2],
    pub(super) ingress: Bucket,
    pub(super) ingress_bytes: Bucket,
    pub(super) egress: Bucket,
    /// Time of the last authentic datagram, whether its absence is news, and whether the session side
    /// knows the link as quiet: it does until the first one.
    pub(super) heard: Time,
    pub(super) watched: bool,
    pub(super) quiet: bool,
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
        if self.watched && !self.quiet { self.heard + away_after } else { Time::MAX }
    }

    pub(super) fn next_timeout(&self, away_after: Duration) -> Time {
        let quiet = self.quiet_at(away_after);
        self.link.poll_timeout().map_or(quiet, |t| t.min(quiet))
    }
}
