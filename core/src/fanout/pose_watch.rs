//! The newest poses of a room, kept while somebody looks at the plan of the room.

use std::collections::HashMap;
use std::time::Duration;

use nucleus_protocol::realtime::pose::{POSE_BYTES, Pose};
use nucleus_protocol::time::Time;

use super::entry::Recipient;
use crate::ids::PeerId;
use crate::room_stats::HeadPose;

/// How long the poses of a room are kept after the last question for them. A page asks every second or two.
const WATCH_TIME: Duration = Duration::from_secs(10);
/// Most rooms of a shard whose poses are kept: more pages than operators look at. A pose takes some 50
/// bytes. If all are taken, a tenant that has fewer gets one from the tenant that has the most.
pub(super) const WATCHED_ROOMS: usize = 16;

/// The front of a payload: the head without hands.
type HeadBytes = [u8; POSE_BYTES];

/// The newest poses of the peers of one room.
#[derive(Debug)]
pub(super) struct PoseWatch {
    /// The name of the room's tenant.
    tenant: String,
    until: Time,
    /// When the newest pose of each peer came, and its head. Those of peers who have left go with the next
    /// question.
    poses: HashMap<PeerId, (Time, HeadBytes)>,
}

impl PoseWatch {
    /// Begins to keep poses.
    pub(super) fn new(now: Time, tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), until: now + WATCH_TIME, poses: HashMap::new() }
    }

    /// Returns the name of the room's tenant.
    pub(super) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Returns until when the poses are kept.
    pub(super) fn until(&self) -> Time {
        self.until
    }

    /// Returns whether nobody looks any more.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.until < now
    }

    /// Notes a pose that was relayed. Returns false if nobody looks any more.
    pub(super) fn note(&mut self, now: Time, peer: PeerId, payload: &[u8]) -> bool {
        if let Some(head) = payload.first_chunk::<POSE_BYTES>() {
            self.poses.insert(peer, (now, *head));
        }
        !self.is_over(now)
    }

    /// Returns the newest pose of each peer of the room, and keeps the next ones for [`WATCH_TIME`].
    pub(super) fn look(&mut self, now: Time, peers: &[Recipient]) -> Vec<HeadPose> {
        self.until = now + WATCH_TIME;
        let noted = std::mem::take(&mut self.poses);
        let mut found = Vec::new();
        for Recipient { peer, .. } in peers {
            let Some((came, head)) = noted.get(peer) else { continue };
            self.poses.insert(*peer, (*came, *head));
            let mut whole = *head;
            // Without hands and extensions, which are not kept.
            whole[0] = 0;
            if let Ok((pose, _)) = Pose::parse(&whole) {
                found.push(HeadPose { peer: *peer, head: pose.head, age: now.since(*came) });
            }
        }
        found
    }
}
