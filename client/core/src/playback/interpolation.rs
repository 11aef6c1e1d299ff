//! [`PoseInterpolator`]: the poses of everybody at one moment.

use std::collections::HashMap;

use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::time::Time;

use super::track::{Certainty, PoseTrack};
use crate::roster::PeerId;

/// Senders and keys whose poses are kept, at 4 KiB each. The poses of others are not shown.
const MAX_TRACKS: usize = 4_096;

/// Identifies the poses that belong to one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TrackKey {
    from: PeerId,
    channel: u8,
    key: u16,
}

/// A pose as it is to be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ShownPose {
    /// The sender.
    pub from: PeerId,
    /// The application's channel.
    pub channel: u8,
    /// The application's key within the channel.
    pub key: u16,
    /// Head and hands at [`Self::shown`].
    pub pose: Pose,
    /// The moment that the pose shows, by the server's clock. Never earlier than in the frame before.
    pub shown: Time,
    /// When the newest pose of this sender and key was captured, by the server's clock. Tells how long
    /// the peer has been silent.
    pub newest: Time,
    /// How the pose was found.
    pub certainty: Certainty,
}

/// The poses of everybody, evenly in time.
///
/// A pose is known to be the newest until the next one arrives. The time from its capture to that
/// arrival is measured, and poses are shown later by as much as nearly all of these times. That delay
/// changes slowly.
#[derive(Debug, Default)]
pub struct PoseInterpolator(HashMap<TrackKey, PoseTrack>);

impl PoseInterpolator {
    /// Adds a pose that was captured and has arrived at these times of the server's clock.
    pub fn add(
        &mut self,
        from: PeerId,
        (channel, key): (u8, u16),
        captured: Time,
        arrived: Time,
        pose: Pose,
    ) {
        let key = TrackKey { from, channel, key };
        if self.0.len() < MAX_TRACKS || self.0.contains_key(&key) {
            let track = self.0.entry(key).or_insert_with(PoseTrack::new);
            track.add(captured, arrived, pose);
        }
    }

    /// Returns the poses to show in the frame of the server's time `frame`, in no particular order.
    /// `now` is the local time. Both must not be earlier than in the frame before.
    pub fn poses_at(&mut self, now: Time, frame: Time) -> impl Iterator<Item = ShownPose> {
        self.0.iter_mut().filter_map(move |(TrackKey { from, channel, key }, track)| {
            let (pose, shown, certainty) = track.show(now, frame)?;
            let (from, channel, key, newest) = (*from, *channel, *key, track.newest()?);
            Some(ShownPose { from, channel, key, pose, shown, newest, certainty })
        })
    }

    /// Forgets the poses of a peer that has left.
    pub fn remove_peer(&mut self, peer: PeerId) {
        self.0.retain(|key, _| key.from != peer);
    }

    /// Forgets all poses.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
