//! Gathers the figures of the fullest rooms for the series. No room is asked: the numbers of peers are
//! published, and the shards tell the figures of their links in small parts.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use nucleus_core::ids::RoomId;
use nucleus_core::server_figures::{
    LinkLosses, LinkTraffic, RoomTraffic, TRAFFIC_ROOMS, TrafficSlice,
};
use tokio::sync::oneshot;

use super::registry::RoomRegistry;
use crate::shard::{ShardHandle, ShardMail};

/// The sums over the links of all shards.
#[derive(Default)]
struct LinkSumsOfRooms {
    losses: LinkLosses,
    rooms: HashMap<RoomId, LinkTraffic>,
}

impl RoomRegistry {
    /// Returns what was lost on all links, and the figures of the fullest rooms. `None` for the losses, and
    /// no rooms: a shard has ended.
    pub async fn traffic(&self) -> (Option<LinkLosses>, Vec<RoomTraffic>) {
        let mut sums = LinkSumsOfRooms::default();
        for shard in &self.shards {
            if !sums.add_shard(shard).await {
                return (None, Vec::new());
            }
        }
        let mut rooms: Vec<_> = self.rooms.iter().map(|room| room.clone()).collect();
        rooms.sort_by_cached_key(|room| (Reverse(room.figures.peers()), room.id.0));
        rooms.truncate(TRAFFIC_ROOMS);
        let rooms = rooms.into_iter().map(|room| {
            let links = sums.rooms.get(&room.id);
            RoomTraffic {
                instance: room.instance,
                key: room.key.clone(),
                peers: room.figures.peers(),
                bytes_in: links.map_or(0, |links| links.bytes_in),
                bytes_out: links.map_or(0, |links| links.bytes_out),
                losses: links.map(|links| links.losses).unwrap_or_default(),
            }
        });
        (Some(sums.losses), rooms.collect())
    }
}

impl LinkSumsOfRooms {
    /// Adds the links of a shard. Returns false if the shard has ended.
    async fn add_shard(&mut self, shard: &Arc<ShardHandle>) -> bool {
        let mut next = Some(0);
        while let Some(from) = next {
            let (tell, told) = oneshot::channel();
            // Fails if the control plane has given up.
            let take = Box::new(move |slice| drop(tell.send(slice)));
            shard.post(ShardMail::Traffic(from, take)).await;
            let Ok(slice) = told.await else { return false };
            next = self.add(&slice);
        }
        true
    }

    fn add(&mut self, slice: &TrafficSlice) -> Option<usize> {
        self.losses.add(slice.left);
        for link in &slice.links {
            self.losses.add(link.losses);
            let empty = LinkTraffic {
                room: link.room,
                bytes_in: 0,
                bytes_out: 0,
                losses: LinkLosses::default(),
            };
            let room = self.rooms.entry(link.room).or_insert(empty);
            room.bytes_in += link.bytes_in;
            room.bytes_out += link.bytes_out;
            room.losses.add(link.losses);
        }
        slice.next
    }
}
