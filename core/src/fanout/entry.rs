//! A link with its state in the fan-out.

use std::time::Duration;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::link::{Link, Path};
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::time::Time;

use super::input::{FanoutOutput, LinkEvent};
use super::routes::RouteLog;
use super::sent_numbers::SentNumbers;
use super::totals::LinkSums;
use crate::ids::{PeerId, RoomId, SessionId};
use crate::limits::{self, Limits};
use crate::rate::Bucket;

/// A peer of the room with its link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipient {
    pub(super) slot: u16,
    pub(super) peer: PeerId,
    pub(super) link: u32,
}

/// What a peer may still send. The budgets belong to the peer: a resume opens a new link with what
/// is left.
pub(super) struct IngressBudgets {
    /// Datagrams on the realtime port from the client's active path.
    pub(super) datagrams: Bucket,
    /// Datagrams on the realtime port from all other addresses.
    pub(super) elsewhere: Bucket,
    pub(super) messages: Bucket,
    pub(super) bytes: Bucket,
}

impl IngressBudgets {
    pub(super) fn new(now: Time, limits: &Limits) -> Self {
        let datagrams = limits::datagram_rate(limits);
        Self {
            datagrams: Bucket::new(now, datagrams),
            elsewhere: Bucket::new(now, datagrams),
            messages: Bucket::new(now, limits::message_rate(limits)),
            bytes: Bucket::new(now, limits::MESSAGE_BYTES_RATE),
        }
    }
}

/// A link, its peer, and their state in the fan-out.
pub(super) struct LinkEntry {
    pub(super) link: Link,
    /// Index of the room in [`Fanout`](super::Fanout).
    pub(super) room: usize,
    pub(super) recipient: Recipient,
    /// The number of the peer's session that the link is for.
    pub(super) session: u32,
    pub(super) ids: [ConnectionId; 2],
    /// The groups that the peer subscribes to.
    pub(super) groups: GroupSet,
    /// Whether the peer's voice messages are dropped.
    pub(super) muted: bool,
    pub(super) ingress: IngressBudgets,
    pub(super) egress_bytes: Bucket,
    /// When the newest authentic datagram arrived on either plane; at first, when the link was
    /// made.
    pub(super) last_received: Time,
    /// When the newest message arrived; zero before the first.
    pub(super) last_message: Time,
    /// Whether the client has a realtime plane. Without one it gets and sends no datagrams.
    pub(super) has_plane: bool,
    /// Whether the newest report to the room was [`LinkEvent::Silent`]; `None` before the first
    /// report.
    pub(super) reported_silent: Option<bool>,
    /// When the room may be told again that the peer is throttled.
    pub(super) next_throttled_report: Time,
    pub(super) on_fallback: bool,
    /// When the client changed to the fallback; `None`: it is on the realtime port.
    pub(super) fallback_since: Option<Time>,
    /// The figures of the peer's earlier links, and of this one those that [`Link`] does not count.
    pub(super) sums: LinkSums,
    /// What the client has sent on this link.
    pub(super) sent_numbers: SentNumbers,
    /// By which routes the peer's messages came. On the heap, because it is written for few datagrams.
    pub(super) routes: Box<RouteLog>,
    /// The number of the link's changes of its path when `routes` was written last; `None`: it was not
    /// written for this link yet.
    pub(super) noted_paths: Option<u64>,
    /// The time of the link's valid entry in the timer queue.
    pub(super) timer: Time,
    /// Whether the link has control frames to send and is listed in `link_outputs`.
    pub(super) queued: bool,
}

/// What the next link of a peer goes on with.
pub(super) struct ClosedLink {
    pub(super) ingress: IngressBudgets,
    pub(super) sums: LinkSums,
    pub(super) routes: Box<RouteLog>,
}

impl LinkEntry {
    /// Notes that the client has changed to the fallback, or back.
    pub(super) fn note_fallback(&mut self, now: Time) {
        let since = std::mem::replace(&mut self.fallback_since, self.on_fallback.then_some(now));
        self.sums.on_fallback += since.map(|at| now.since(at)).unwrap_or_default();
    }

    /// Returns the sums over this link and the earlier links of its peer.
    pub(super) fn sums(&self, now: Time) -> LinkSums {
        let mut sums = self.sums;
        sums.on_fallback += self.fallback_since.map(|at| now.since(at)).unwrap_or_default();
        sums.add(&self.link, &self.sent_numbers);
        sums
    }

    /// Notes the figures of the client that came with a datagram. Returns how many of them cannot be true.
    pub(super) fn note_figures(&mut self, now: Time) -> u64 {
        let counts = self.link.received_counts();
        // Nothing is known of a port from which nothing has come: its largest number is 0 too.
        let is_true = counts.received == 0 || self.sent_numbers.note(now, counts.largest);
        self.link.take_false_reports() + u64::from(!is_true)
    }

    /// Takes the entry of a link that is closed.
    pub(super) fn close(mut self, now: Time) -> ClosedLink {
        self.routes.end_link();
        let sums = self.sums(now);
        ClosedLink { sums, ingress: self.ingress, routes: self.routes }
    }

    /// Returns whether the link may have another path than when `routes` was written last. Asked for each
    /// datagram.
    pub(super) fn has_other_path(&self) -> bool {
        self.noted_paths != Some(self.link.path_changes())
    }

    /// Notes by which route the peer's messages come at `now`.
    pub(super) fn note_route(&mut self, now: Time) {
        if self.routes.note(now, &self.link, self.noted_paths.is_none()) {
            self.noted_paths = Some(self.link.path_changes());
        }
    }

    /// Makes an output of an event of this link.
    pub(super) fn event(&self, room: RoomId, event: LinkEvent) -> FanoutOutput {
        let session = SessionId { peer: self.recipient.peer, session: self.session };
        FanoutOutput::Link { room, session, event }
    }

    /// Takes a datagram on the realtime port off the budget of its path. Returns false if the budget
    /// is used up. Forged datagrams from elsewhere do not use up the budget of the client's path.
    pub(super) fn may_open(&mut self, now: Time, path: &Path) -> bool {
        match self.link.is_active_path(path) {
            true => self.ingress.datagrams.try_take(now),
            false => self.ingress.elsewhere.try_take(now),
        }
    }

    /// Returns the time at which the link counts as idle if nothing arrives before.
    pub(super) fn idle_at(&self, away_after: Duration) -> Time {
        if self.reported_silent == Some(true) {
            return Time::MAX;
        }
        let grid = limits::SILENCE_GRID.as_micros() as u64;
        let only_keep_alives =
            self.last_received.since(self.last_message) > limits::ONLY_KEEP_ALIVES_AFTER;
        let grace = if only_keep_alives { limits::KEEP_ALIVE_GRACE } else { Duration::ZERO };
        Time::from_micros(
            (self.last_received + away_after + grace).as_micros().next_multiple_of(grid),
        )
    }

    /// Returns the time at which the fan-out must look at the link next.
    pub(super) fn deadline(&self, away_after: Duration) -> Time {
        let idle = self.idle_at(away_after);
        self.link.deadline().map_or(idle, |t| t.min(idle))
    }
}
