//! Short lines of the fullest rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nucleus_core::control::SeriesFigures;
use nucleus_core::ids::{RoomInstanceId, RoomKey};
use nucleus_core::traffic::{RoomTraffic, TRAFFIC_ROOMS};

use super::columns::loss_between;
use super::ring::{Ring, Values};
use super::{SeriesSpan, step_at};

/// Values of a line of a room: ten minutes.
pub const ROOM_VALUES: usize = 60;
/// The step of the lines.
const STEP: Duration = SeriesSpan::Hour.step();

/// The lines of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomLine {
    /// The room instance.
    pub instance: RoomInstanceId,
    /// Tenant, product and name.
    pub key: Arc<RoomKey>,
    /// Participants at the end of each step, the oldest first.
    pub peers: Values,
    /// Bytes to the clients in a second.
    pub bytes_out: Values,
    /// The share of the clients' datagrams that were lost in the step, in parts per million.
    pub loss_in: Values,
    /// The share of the server's datagrams that were lost in the step, in parts per million.
    pub loss_out: Values,
}

#[derive(Debug)]
struct KeptRoom {
    newest: RoomTraffic,
    /// The step of `newest`.
    step: u64,
    peers: Ring,
    bytes_out: Ring,
    loss_in: Ring,
    loss_out: Ring,
}

/// The lines of at most [`TRAFFIC_ROOMS`] rooms.
#[derive(Debug, Default)]
pub(super) struct RoomSeries {
    rooms: HashMap<RoomInstanceId, KeptRoom>,
    newest: Option<u64>,
}

impl RoomSeries {
    /// Takes the figures of the rooms. Forgets rooms that are not among the fullest any more.
    pub(super) fn record(&mut self, now: Duration, figures: &SeriesFigures) {
        let step = step_at(now, STEP);
        if self.newest.is_some_and(|newest| newest >= step) {
            return;
        }
        self.newest = Some(step);
        for room in figures.rooms.iter().take(TRAFFIC_ROOMS) {
            let kept = self.rooms.entry(room.instance).or_insert_with(|| KeptRoom::new(room, step));
            kept.record(step, room);
        }
        self.rooms.retain(|_, room| room.step == step);
    }

    /// Returns the lines, those of the fullest room first.
    pub(super) fn lines(&self, now: Duration) -> Vec<RoomLine> {
        let step = step_at(now, STEP);
        let last = self.newest.filter(|newest| newest + 1 == step).unwrap_or(step);
        let oldest = last.saturating_sub(ROOM_VALUES as u64);
        let mut rooms: Vec<_> =
            self.rooms.values().filter(|room| !room.peers.is_over(oldest)).collect();
        rooms.sort_by(|a, b| {
            b.newest.peers.cmp(&a.newest.peers).then_with(|| a.newest.key.cmp(&b.newest.key))
        });
        let line = |room: &KeptRoom| RoomLine {
            instance: room.newest.instance,
            key: room.newest.key.clone(),
            peers: room.peers.values(last),
            bytes_out: room.bytes_out.values(last),
            loss_in: room.loss_in.values(last),
            loss_out: room.loss_out.values(last),
        };
        rooms.into_iter().map(line).collect()
    }
}

impl KeptRoom {
    fn new(room: &RoomTraffic, step: u64) -> Self {
        let ring = || Ring::new(ROOM_VALUES);
        let (peers, bytes_out, loss_in, loss_out) = (ring(), ring(), ring(), ring());
        Self { newest: room.clone(), step, peers, bytes_out, loss_in, loss_out }
    }

    fn record(&mut self, step: u64, room: &RoomTraffic) {
        let before = std::mem::replace(&mut self.newest, room.clone());
        let is_next = std::mem::replace(&mut self.step, step) + 1 == step;
        self.peers.set(step, Some(room.peers.into()));
        // The sums are over the present links: less than before if somebody has left.
        let sent = room.bytes_out.checked_sub(before.bytes_out).filter(|_| is_next);
        self.bytes_out.set(step, sent.map(|bytes| bytes / STEP.as_secs().max(1)));
        let (was, is) = (before.losses, room.losses);
        let loss = |was, is| if is_next { loss_between(was, is) } else { None };
        self.loss_in.set(step, loss((was.lost_in, was.sent_in), (is.lost_in, is.sent_in)));
        self.loss_out.set(step, loss((was.lost_out, was.sent_out), (is.lost_out, is.sent_out)));
    }
}
