//! Gathers the figures of a live room: who is in it from the room, the links from the shard, and the
//! round trips from QUIC. Neither the room nor the shard waits for any of it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nucleus_core::control::{ControlError, LivePeerStats, LiveRoomStats};
use nucleus_core::ids::{PeerId, RoomId, RoomInstanceId};
use nucleus_core::room_stats::{HeadPose, LiveLinkStats};
use nucleus_core::traffic::{LinkLosses, LinkTraffic, RoomTraffic, TRAFFIC_ROOMS, TrafficSlice};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::registry::RoomRegistry;
use super::room_handle::RoomHandle;
use super::session_probe::{ProbedRoom, SessionProbe};
use crate::shard::{ShardHandle, ShardMail};

/// Longest wait for a shard. One that hangs for longer must not hide the figures of others: a live stream
/// waits 0.9 s for a room, and the control plane 2 s for everything.
const SHARD_PATIENCE: Duration = Duration::from_millis(700);
/// Longest wait for all links of a shard, which come in many parts.
const TRAFFIC_PATIENCE: Duration = Duration::from_millis(1_500);

impl RoomRegistry {
    /// Returns the figures of a room's peers.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchRoom`].
    pub async fn stats(&self, instance: RoomInstanceId) -> Result<LiveRoomStats, ControlError> {
        let room = self.instance(instance).ok_or(ControlError::NoSuchRoom)?;
        let (probed, links) = tokio::join!(room.probe(), links(&room));
        let ProbedRoom { content, sessions } = probed?;
        let shard_answered = links.is_some();
        let mut links = links.unwrap_or_default();
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
        Ok(LiveRoomStats { room: self.summary(&room), shard_answered, peers })
    }

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
        let poses = ask(&room.shard, |take| ShardMail::HeadPoses(room.id, room.key.clone(), take));
        let (poses, stats) = tokio::join!(poses, self.stats(instance));
        Ok((stats?, poses.flatten()))
    }
}

/// Asks a shard, and waits for the answer. `None`: it has ended, or does not answer in time.
async fn ask<T: Send + 'static>(
    shard: &ShardHandle,
    question: impl FnOnce(Box<dyn FnOnce(T) + Send>) -> ShardMail,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    // Fails if the control plane has given up.
    let take = Box::new(move |answer| drop(tell.send(answer)));
    let answer = async {
        shard.post(question(take)).await;
        told.await.ok()
    };
    timeout(SHARD_PATIENCE, answer).await.ok().flatten()
}

/// Asks the shard for the figures of a room's links.
async fn links(room: &RoomHandle) -> Option<HashMap<PeerId, LiveLinkStats>> {
    let links: Vec<LiveLinkStats> =
        ask(&room.shard, |take| ShardMail::RoomLinks(room.id, take)).await?;
    Some(links.into_iter().map(|link| (link.peer, link)).collect())
}

/// The sums over the links of a shard.
#[derive(Default)]
struct LinkSumsOfRooms {
    losses: LinkLosses,
    rooms: HashMap<RoomId, Vec<LinkTraffic>>,
}

impl RoomRegistry {
    /// Returns what was lost on the links of each shard, and the figures of the fullest rooms. `None` for the
    /// losses, and no rooms of a shard: it did not answer in time. No room is asked: the numbers of peers are
    /// published, and the shards tell the figures of their links in small parts, all at the same time.
    pub async fn traffic(&self) -> (Vec<Option<LinkLosses>>, Vec<RoomTraffic>) {
        let mut losses = Vec::new();
        let mut links = HashMap::new();
        for sums in sums_of_shards(&self.shards).await {
            losses.push(sums.as_ref().map(|sums| sums.losses));
            links.extend(sums.map(|sums| sums.rooms).unwrap_or_default());
        }
        let mut rooms: Vec<_> = self.rooms.iter().map(|room| room.clone()).collect();
        rooms.retain(|room| self.number_of(&room.shard).is_some_and(|at| losses[at].is_some()));
        rooms.sort_by_cached_key(|room| (Reverse(room.figures.peers()), room.id.0));
        rooms.truncate(TRAFFIC_ROOMS);
        let shard = |room: &RoomHandle| self.number_of(&room.shard).unwrap_or_default();
        let rooms = rooms.into_iter().map(|room| RoomTraffic {
            instance: room.instance,
            shard: u16::try_from(shard(&room)).unwrap_or(u16::MAX),
            key: room.key.clone(),
            peers: room.figures.peers(),
            links: links.remove(&room.id).unwrap_or_default(),
        });
        (losses, rooms.collect())
    }
}

/// Asks all shards for their links at the same time. `None`: the shard did not answer in time.
async fn sums_of_shards(shards: &[Arc<ShardHandle>]) -> Vec<Option<LinkSumsOfRooms>> {
    let mut asking = JoinSet::new();
    for (number, shard) in shards.iter().cloned().enumerate() {
        asking.spawn(async move {
            let sums = timeout(TRAFFIC_PATIENCE, LinkSumsOfRooms::of_shard(&shard)).await;
            (number, sums.ok().flatten())
        });
    }
    let mut all: Vec<_> = shards.iter().map(|_| None).collect();
    while let Some(answered) = asking.join_next().await {
        if let Ok((number, sums)) = answered {
            all[number] = sums;
        }
    }
    all
}

impl LinkSumsOfRooms {
    /// Asks for the links of a shard. `None`: it has ended, or does not answer in time.
    async fn of_shard(shard: &ShardHandle) -> Option<Self> {
        let (mut sums, mut next) = (Self::default(), Some(0));
        while let Some(from) = next {
            let slice = ask(shard, |take| ShardMail::Traffic(from, take)).await?;
            next = sums.add(&slice);
        }
        Some(sums)
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Plays a shard that answers the first parts of three, and then hangs.
    fn play(parts: usize) -> Arc<ShardHandle> {
        let (shard, mut mail) = ShardHandle::without_thread();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(mail) = mail.recv().await {
                match mail {
                    ShardMail::Traffic(from, take) if from < parts => {
                        let left = LinkLosses { sent_in: 10, lost_in: 1, ..LinkLosses::default() };
                        let next = (from < 2).then_some(from + 1);
                        take(TrafficSlice { links: Vec::new(), left, next });
                    }
                    other => kept.push(other),
                }
            }
        });
        shard
    }

    #[tokio::test]
    async fn shards_that_hang_hide_no_others_and_are_asked_at_the_same_time() {
        let shards = [play(3), play(0), play(2), play(0), play(3)];
        let begin = Instant::now();
        let answered: Vec<_> = sums_of_shards(&shards).await;
        // Three of them hang: one after another they would take three times as long.
        assert!(begin.elapsed() < 2 * SHARD_PATIENCE, "{:?}", begin.elapsed());
        let sent: Vec<_> =
            answered.iter().map(|sums| sums.as_ref().map(|sums| sums.losses.sent_in)).collect();
        assert_eq!(sent, [Some(30), None, None, None, Some(30)], "half of a shard is not its sum");
    }
}
