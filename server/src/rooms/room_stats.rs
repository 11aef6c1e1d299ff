//! Gathers the figures of a live room: who is in it from the room, the links from the shard, and the
//! round trips from QUIC. Neither the room nor the shard waits for any of it.

use std::collections::HashMap;

use nucleus_core::control::{ControlError, LivePeerStats, LiveRoomStats};
use nucleus_core::ids::{PeerId, RoomInstanceId};
use nucleus_core::room_stats::LiveLinkStats;
use tokio::sync::oneshot;

use super::registry::RoomRegistry;
use super::room_handle::RoomHandle;
use super::session_probe::{ProbedRoom, SessionProbe};
use crate::shard::ShardMail;

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

/// Asks the shard for the figures of a room's links. A shard that has ended knows none.
async fn links(room: &RoomHandle) -> HashMap<PeerId, LiveLinkStats> {
    let (tell, told) = oneshot::channel();
    // Fails if the control plane has given up.
    let take = Box::new(move |links| drop(tell.send(links)));
    room.shard.post(ShardMail::RoomLinks(room.id, take)).await;
    let links: Vec<LiveLinkStats> = told.await.unwrap_or_default();
    links.into_iter().map(|link| (link.peer, link)).collect()
}
