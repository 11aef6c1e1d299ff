//! Short lines of the fullest rooms.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use nucleus_core::control::SeriesFigures;
use nucleus_core::ids::{PeerId, RoomInstanceId, RoomKey};
use nucleus_core::room_stats::share_ppm;
use nucleus_core::traffic::{LinkLosses, LinkTraffic, RoomTraffic, TRAFFIC_ROOMS};

use super::ring::{Ring, Values};
use super::{SeriesSpan, step_at};

/// Values of a line of a room: ten minutes.
pub const ROOM_VALUES: usize = 60;
/// The step of the lines.
const STEP: Duration = SeriesSpan::Hour.step();

/// Steps for which a room is kept while its shard does not answer: a minute. A shard that is busy answers
/// again by then, and of a room that ended meanwhile no line stays for longer.
const MISSED_STEPS: u64 = 6;
/// Most rooms that are kept of shards that do not answer, beside those that were read.
const KEPT_ROOMS: usize = TRAFFIC_ROOMS;

/// Steps whose newest value is what a list shows of a room.
const NEWEST_STEPS: usize = 3;
/// Least datagrams of a link in a step of which a share says something: one that is lost is 5 % then.
const LEAST_SENT: u64 = 20;

/// The lines of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomLine {
    /// The room instance.
    pub instance: RoomInstanceId,
    /// Tenant, product and name.
    pub key: Arc<RoomKey>,
    /// Participants at the end of each step, the oldest first.
    pub peers: Values,
    /// Bytes in a second to the clients that were there at both ends of the step.
    pub bytes_out: Values,
    /// The share of the datagrams of these clients that were lost in the step, in parts per million.
    pub loss_in: Values,
    /// The share of the datagrams to these clients that were lost in the step, in parts per million.
    pub loss_out: Values,
    /// The largest share of one client, of those that have sent at least 20 datagrams in the step.
    pub worst_loss_in: Values,
    /// The largest share of one client, of those to which as many were sent in the step.
    pub worst_loss_out: Values,
}

impl RoomLine {
    /// Returns the loss of the worst link in the worse direction, in parts per million: of each direction the
    /// newest known value of the last three.
    pub fn newest_worst_loss(&self) -> Option<u32> {
        let newest =
            |values: &Values| values.iter().rev().take(NEWEST_STEPS).copied().flatten().next();
        newest(&self.worst_loss_in).max(newest(&self.worst_loss_out))
    }
}

#[derive(Debug)]
struct KeptRoom {
    instance: RoomInstanceId,
    /// The number of its shard.
    shard: u16,
    key: Arc<RoomKey>,
    /// The newest number of participants.
    newest_peers: u32,
    /// The newest sums of each peer.
    links: BTreeMap<PeerId, LinkTraffic>,
    /// The step of these.
    step: u64,
    peers: Ring,
    bytes_out: Ring,
    loss_in: Ring,
    loss_out: Ring,
    worst_loss_in: Ring,
    worst_loss_out: Ring,
}

/// The lines of at most [`TRAFFIC_ROOMS`] rooms, and of at most [`KEPT_ROOMS`] whose shard does not answer.
#[derive(Debug, Default)]
pub(super) struct RoomSeries {
    rooms: HashMap<RoomInstanceId, KeptRoom>,
    newest: Option<u64>,
}

impl RoomSeries {
    /// Takes the figures of the rooms. Forgets rooms that are not among the fullest any more. A room of a
    /// shard that did not answer stays for [`MISSED_STEPS`]: the steps are gaps.
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
        let is_silent = |shard: u16| matches!(figures.losses.get(usize::from(shard)), Some(None));
        self.rooms.retain(|_, room| {
            room.step == step || (is_silent(room.shard) && step - room.step <= MISSED_STEPS)
        });
        self.limit_kept(step);
    }

    /// Forgets rooms that were not read in this step, beyond [`KEPT_ROOMS`]: those that were read last stay,
    /// of them the fullest.
    fn limit_kept(&mut self, step: u64) {
        let mut kept: Vec<_> = self.rooms.values().filter(|room| room.step != step).collect();
        if kept.len() <= KEPT_ROOMS {
            return;
        }
        kept.sort_by_key(|room| Reverse((room.step, room.newest_peers)));
        let beyond: Vec<_> = kept[KEPT_ROOMS..].iter().map(|room| room.instance).collect();
        for instance in beyond {
            self.rooms.remove(&instance);
        }
    }

    /// Returns the lines, those of the fullest room first.
    pub(super) fn lines(&self, now: Duration) -> Vec<RoomLine> {
        let step = step_at(now, STEP);
        let last = self.newest.filter(|newest| newest + 1 == step).unwrap_or(step);
        let oldest = last.saturating_sub(ROOM_VALUES as u64);
        let mut rooms: Vec<_> =
            self.rooms.values().filter(|room| !room.peers.is_over(oldest)).collect();
        rooms.sort_by(|a, b| b.newest_peers.cmp(&a.newest_peers).then_with(|| a.key.cmp(&b.key)));
        let line = |room: &KeptRoom| RoomLine {
            instance: room.instance,
            key: room.key.clone(),
            peers: room.peers.values(last),
            bytes_out: room.bytes_out.values(last),
            loss_in: room.loss_in.values(last),
            loss_out: room.loss_out.values(last),
            worst_loss_in: room.worst_loss_in.values(last),
            worst_loss_out: room.worst_loss_out.values(last),
        };
        rooms.into_iter().map(line).collect()
    }
}

impl KeptRoom {
    fn new(room: &RoomTraffic, step: u64) -> Self {
        let ring = || Ring::new(ROOM_VALUES);
        Self {
            instance: room.instance,
            shard: room.shard,
            key: room.key.clone(),
            newest_peers: 0,
            links: BTreeMap::new(),
            step,
            peers: ring(),
            bytes_out: ring(),
            loss_in: ring(),
            loss_out: ring(),
            worst_loss_in: ring(),
            worst_loss_out: ring(),
        }
    }

    fn record(&mut self, step: u64, room: &RoomTraffic) {
        let links = room.links.iter().map(|link| (link.peer, *link)).collect();
        let before = std::mem::replace(&mut self.links, links);
        let is_next = std::mem::replace(&mut self.step, step) + 1 == step;
        self.newest_peers = room.peers;
        self.peers.set(step, Some(room.peers.into()));
        let growth = if is_next { growth(&before, &self.links) } else { Vec::new() };
        let bytes = growth.iter().map(|link| link.bytes_out).reduce(u64::saturating_add);
        self.bytes_out.set(step, bytes.map(|bytes| bytes / STEP.as_secs().max(1)));
        let mut losses = LinkLosses::default();
        growth.iter().for_each(|link| losses.add(link.losses));
        self.loss_in.set(step, share(losses.lost_in, losses.sent_in));
        self.loss_out.set(step, share(losses.lost_out, losses.sent_out));
        let of_links = || growth.iter().map(|link| link.losses);
        let worst_in = worst(of_links().map(|losses| (losses.lost_in, losses.sent_in)));
        let worst_out = worst(of_links().map(|losses| (losses.lost_out, losses.sent_out)));
        self.worst_loss_in.set(step, worst_in);
        self.worst_loss_out.set(step, worst_out);
    }
}

/// Returns by how much the sums of each peer have grown, of those that were there at both ends of the step.
/// Of the others nobody knows when in the step they came or left.
fn growth(
    before: &BTreeMap<PeerId, LinkTraffic>,
    now: &BTreeMap<PeerId, LinkTraffic>,
) -> Vec<LinkTraffic> {
    let grown = |(peer, now): (&PeerId, &LinkTraffic)| {
        let before = before.get(peer)?;
        Some(LinkTraffic {
            bytes_in: now.bytes_in.saturating_sub(before.bytes_in),
            bytes_out: now.bytes_out.saturating_sub(before.bytes_out),
            losses: now.losses.since(before.losses),
            ..*now
        })
    };
    now.iter().filter_map(grown).collect()
}

/// Returns the share of what was lost in the step; `None`: nothing was sent.
fn share(lost: u64, sent: u64) -> Option<u64> {
    share_ppm(lost, sent).map(u64::from)
}

/// Returns the largest share of what was lost, of pairs of lost and sent; `None`: none has enough.
fn worst(links: impl Iterator<Item = (u64, u64)>) -> Option<u64> {
    links.filter(|(_, sent)| *sent >= LEAST_SENT).filter_map(|(lost, sent)| share(lost, sent)).max()
}
