//! [`PoseInterpolator`]: the poses of everybody at one moment.

use std::collections::HashMap;

use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::time::Time;

use super::track::{Certainty, PoseTrack};
use crate::roster::PeerId;

/// Senders and keys whose poses are kept, at 4 KiB each: more than a room has peers.
const MAX_TRACKS: usize = 4_096;
/// Keys of one sender whose poses are kept: a body and the things that it moves. Without this limit,
/// one sender could take the tracks of all others.
const MAX_SENDER_TRACKS: usize = 64;

/// The poses of one sender, channel and key.
#[derive(Debug)]
struct KeyTrack {
    channel: u8,
    key: u16,
    /// The value of [`PoseInterpolator::added`] at the newest pose.
    used: u64,
    track: PoseTrack,
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
///
/// Of each sender, the 64 keys are kept that were used last. If all 4,096 tracks are in use, a new
/// sender takes a track of the sender that has the most.
#[derive(Debug, Default)]
pub struct PoseInterpolator {
    /// No list is empty.
    senders: HashMap<PeerId, Vec<KeyTrack>>,
    /// Tracks of all senders.
    count: usize,
    /// Poses that were added so far.
    added: u64,
}

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
        self.added += 1;
        let used = self.added;
        let tracks = self.senders.get_mut(&from).map_or(&mut [][..], Vec::as_mut_slice);
        if let Some(known) = tracks.iter_mut().find(|t| (t.channel, t.key) == (channel, key)) {
            known.used = used;
            known.track.add(captured, arrived, pose);
            return;
        }
        let own = tracks.len();
        if own == MAX_SENDER_TRACKS || self.count == MAX_TRACKS {
            let loser = if own > 0 { Some(from) } else { self.largest_sender() };
            let Some(loser) = loser else { return };
            self.drop_least_recent(loser);
        }
        let mut track = PoseTrack::new();
        track.add(captured, arrived, pose);
        self.senders.entry(from).or_default().push(KeyTrack { channel, key, used, track });
        self.count += 1;
    }

    /// Returns the sender with the most tracks; `None` if each sender has only one.
    fn largest_sender(&self) -> Option<PeerId> {
        let several = self.senders.iter().filter(|(_, tracks)| tracks.len() > 1);
        several.max_by_key(|(from, tracks)| (tracks.len(), from.0)).map(|(from, _)| *from)
    }

    /// Forgets the key of a sender that was used least recently.
    fn drop_least_recent(&mut self, from: PeerId) {
        let Some(tracks) = self.senders.get_mut(&from) else { return };
        let least = (0..tracks.len()).min_by_key(|&index| tracks[index].used);
        if let Some(least) = least {
            tracks.swap_remove(least);
            self.count -= 1;
        }
    }

    /// Returns the poses to show in the frame of the server's time `frame`, in no particular order.
    /// `now` is the local time. Both must not be earlier than in the frame before.
    pub fn poses_at(&mut self, now: Time, frame: Time) -> impl Iterator<Item = ShownPose> {
        self.senders.iter_mut().flat_map(move |(&from, tracks)| {
            tracks.iter_mut().filter_map(move |KeyTrack { channel, key, track, .. }| {
                let (pose, shown, certainty) = track.show(now, frame)?;
                let (channel, key, newest) = (*channel, *key, track.newest()?);
                Some(ShownPose { from, channel, key, pose, shown, newest, certainty })
            })
        })
    }

    /// Forgets the poses of a peer that has left.
    pub fn remove_peer(&mut self, peer: PeerId) {
        self.count -= self.senders.remove(&peer).map_or(0, |tracks| tracks.len());
    }

    /// Forgets all poses.
    pub fn clear(&mut self) {
        self.senders.clear();
        self.count = 0;
    }
}
