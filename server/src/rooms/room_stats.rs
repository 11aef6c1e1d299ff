//! Gathers the figures of a live room: who is in it from the room, the links from the shard, and the
//! round trips from QUIC. Neither the room nor the shard waits for any of it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use nucleus_core::control::{ControlError, LivePeerStats, LiveRoomStats};
use nucleus_core::ids::{PeerId, RoomId, RoomInstanceId};
use nucleus_core::room_stats::{HeadPose, LiveLinkStats};
use nucleus_core::traffic::{LinkLosses, LinkTraffic, RoomTraffic, TRAFFIC_ROOMS, TrafficSlice};
use tokio::sync::oneshot;

use super::registry::RoomRegistry;
use super::room_handle::RoomHandle;
use super::session_probe::{ProbedRoom, SessionProbe};
use crate::shard::{ShardHandle, ShardMail};

impl RoomRegistry {
    /// Returns the figures of a room's peers.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`].
    pub async fn stats(&self, instance: RoomInstanceId) -> Result<LiveRoomStats, ControlError> {
        let room = self.instance(instance).ok_or(ControlError::NoSuchRoom)?;
        let ProbedRoom { content, sessions } = room.probe().await?;
        let mut links = links(&room).await;
        let mut sessions: HashMap<PeerId, SessionProbe> = sessions.into_iter().collect();
        let peers = content.peers.into_iter().map(|peer| {
            let probe = sessions.remove(&peer.peer).filter(|_| !peer.lost);
            let path = probe.as_ref().and_then(|probe| probe.path.upgrade());
            LivePeerStats {
                agent: probe.and_then(|probe| probe.agent).map(|agent| agent.to_string()),
                session: path.map(|path| path.figures()),
                link: links.remove(&peer.peer),
                peer,
            }
        });
        let peers = peers.collect();
        Ok(LiveRoomStats { room: self.summary(&room), peers })
    }
}

impl RoomRegistry {
    /// Returns the figures of a room's peers, and where their heads are; `None`: the shard does not keep it.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`].
    pub async fn plan(
        &self,
        instance: RoomInstanceId,
    ) -> Result<(LiveRoomStats, Option<Vec<HeadPose>>), ControlError> {
        let room = self.instance(instance).ok_or(ControlError::NoSuchRoom)?;
        let (tell, told) = oneshot::channel();
        // Fails if the control plane has given up.
        let take = Box::new(move |poses| drop(tell.send(poses)));
        room.shard.post(ShardMail::HeadPoses(room.id, take)).await;
        let poses = told.await.unwrap_or_default();
        Ok((self.stats(instance).await?, poses))
    }
}

/// Asks the shard for the figures of a room's links. A shard that has ended knows none.
async fn links(room: &RoomHandle) -> HashMap<PeerId, LiveLinkStats> {
    let (tell, told) = oneshot::channel();
    // Fails if the control plane has given up.
    let take = Box::new(move |links| drop(tell.send(links)));
    room.shard.post(ShardMail::RoomLinks(room.id, take)).await;
    let links: Vec<LiveLinkStats> = told.await.unwrap_or_default();
    links.into_iter().map(|link| (link.peer, link)).collect()
}

/// The sums over the links of all shards.
#[derive(Default)]
struct LinkSumsOfRooms {
    losses: LinkLosses,
    rooms: HashMap<RoomId, Vec<LinkTraffic>>,
}

impl RoomRegistry {
    /// Returns what was lost on all links, and the figures of the fullest rooms. `None` for the losses, and
    /// no rooms: a shard has ended. No room is asked: the numbers of peers are published, and the shards tell
    /// the figures of their links in small parts.
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
        let rooms = rooms.into_iter().map(|room| RoomTraffic {
            instance: room.instance,
            key: room.key.clone(),
            peers: room.figures.peers(),
            links: sums.rooms.remove(&room.id).unwrap_or_default(),
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
            self.rooms.entry(link.room).or_default().push(*link);
        }
        slice.next
    }
}
