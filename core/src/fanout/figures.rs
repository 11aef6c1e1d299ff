//! The figures of the links of a live room, read when somebody asks.

use std::cmp::Reverse;
use std::time::Duration;

use nucleus_protocol::link::Route;
use nucleus_protocol::time::Time;

use super::Fanout;
use super::entry::LinkEntry;
use super::pose_watch::{PoseWatch, WATCHED_ROOMS};
use super::room::RoomFanout;
use crate::ids::{PeerId, RoomId};
use crate::plane_event::PeerLinks;
use crate::room_stats::{HeadPose, LiveLinkStats, share_ppm};
use crate::traffic::{LinkLosses, LinkTraffic, TRAFFIC_LINKS, TrafficSlice};

impl Fanout {
    /// Returns what there is to say of all links of a peer together, the open one included; `None`: the
    /// peer has no open link.
    pub fn peer_links(&self, now: Time, room: RoomId, peer: PeerId) -> Option<PeerLinks> {
        let index = *self.link_of.get(&(room, peer))?;
        let entry = self.links[index as usize].as_ref()?;
        Some(PeerLinks {
            totals: entry.sums(now).totals(),
            moments: entry.routes.moments().clone(),
        })
    }

    /// Returns the figures of the next links from the index `from` on, 0 for the first ones.
    pub fn traffic(&self, now: Time, from: usize) -> TrafficSlice {
        let end = from.saturating_add(TRAFFIC_LINKS).min(self.links.len());
        let links = self.links.get(from..end).unwrap_or_default().iter().flatten();
        let links = links.map(|entry| {
            let sums = entry.sums(now);
            LinkTraffic {
                room: self.rooms[entry.room].id,
                peer: entry.recipient.peer,
                bytes_in: sums.bytes_in,
                bytes_out: sums.bytes_out,
                losses: sums.losses(),
            }
        });
        TrafficSlice {
            links: links.collect(),
            left: if from == 0 { self.left } else { LinkLosses::default() },
            next: (end < self.links.len()).then_some(end),
        }
    }

    /// Returns the newest head poses of a room's peers, and keeps the next ones for ten seconds. `None`: the
    /// room has no links here, or too many other rooms are looked at. The first answer has no poses: they
    /// are kept only while somebody asks. `tenant` is the name of the room's tenant.
    pub fn head_poses(&mut self, now: Time, room: RoomId, tenant: &str) -> Option<Vec<HeadPose>> {
        let at = *self.room_of.get(&room)?;
        self.watched.retain(|at| {
            let watch = &mut self.rooms[*at].watch;
            watch.take_if(|watch| watch.is_over(now));
            watch.is_some()
        });
        if self.rooms[at].watch.is_none() {
            if self.watched.len() >= WATCHED_ROOMS && !self.take_watch_for(tenant) {
                return None;
            }
            self.watched.push(at);
            self.rooms[at].watch = Some(Box::new(PoseWatch::new(now, tenant)));
            return Some(Vec::new());
        }
        let room = &mut self.rooms[at];
        let mut watch = room.watch.take()?;
        let poses = watch.look(now, room.recipients());
        room.watch = Some(watch);
        Some(poses)
    }

    /// Forgets the poses of a room of the tenant that has the most rooms whose poses are kept: of the room
    /// for which nobody has asked for the longest time. Returns false if `tenant` would have more than that
    /// tenant then.
    fn take_watch_for(&mut self, tenant: &str) -> bool {
        let watches = || self.watched.iter().filter_map(|at| self.rooms[*at].watch.as_deref());
        let count = |of: &str| watches().filter(|watch| watch.tenant() == of).count();
        let most = watches().max_by_key(|watch| (count(watch.tenant()), Reverse(watch.until())));
        let Some(most) = most.filter(|most| count(most.tenant()) > count(tenant) + 1) else {
            return false;
        };
        let is_it = |at: &usize| {
            self.rooms[*at].watch.as_deref().is_some_and(|watch| std::ptr::eq(watch, most))
        };
        let Some(place) = self.watched.iter().position(is_it) else { return false };
        let at = self.watched.swap_remove(place);
        self.rooms[at].watch = None;
        true
    }

    /// Returns the figures of the links of a room's peers: none if the room has no links here.
    pub fn room_links(&self, now: Time, room: RoomId) -> Vec<LiveLinkStats> {
        let Some(room) = self.room_of.get(&room).map(|at| &self.rooms[*at]) else {
            return Vec::new();
        };
        let links = room.recipients().iter();
        let links = links.filter_map(|recipient| self.links[recipient.link as usize].as_ref());
        links.map(|entry| figures(now, room, entry)).collect()
    }
}

fn figures(now: Time, room: &RoomFanout, entry: &LinkEntry) -> LiveLinkStats {
    let (sums, report) = (entry.sums(now), entry.link.client_report());
    let on_fallback = entry.link.route().map(|(route, _)| matches!(route, Route::Session));
    // The first packet number is 0. A client that has received nothing reports it as the largest.
    let reported = report.filter(|report| report.received > 0);
    let loss_out_ppm = reported.and_then(|report| {
        let sent = u64::from(report.largest) + 1;
        share_ppm(sent.saturating_sub(report.received.into()), sent)
    });
    let delay = report.and_then(|report| report.delay);
    LiveLinkStats {
        peer: entry.recipient.peer,
        on_fallback: on_fallback.filter(|_| entry.has_plane),
        jitter: delay.map(|delay| Duration::from_micros(u64::from(delay.spread) * 10)),
        loss_in_ppm: sums.loss_ppm(),
        loss_out_ppm,
        datagrams_in: sums.datagrams_in,
        datagrams_out: sums.datagrams_out,
        bytes_in: sums.bytes_in,
        bytes_out: sums.bytes_out,
        withheld: sums.withheld,
        speaking: room.is_speaking(now, entry.recipient.slot),
    }
}
