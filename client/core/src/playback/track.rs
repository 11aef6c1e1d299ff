//! [`PoseTrack`]: the newest poses of one sender and key, and the pose between two of them.

use std::collections::VecDeque;
use std::time::Duration;

use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::time::Time;

use super::lateness::Lateness;
use super::slew::SlewedTime;

/// Poses that are kept: those of 350 ms at 90 Hz, of a second at 30 Hz.
const KEPT: usize = 32;
/// Poses whose lateness is remembered: those of four seconds at 30 Hz, of two at 72 Hz.
const REMEMBERED: usize = 128;
/// Longest time beyond the newest pose for which its movement goes on: a third of a stride.
const LONGEST_EXTRAPOLATION: Duration = Duration::from_millis(200);
/// The time after that in which the shown pose goes back to the newest one: a peer that sends nothing
/// more stands still.
const WAY_BACK: Duration = Duration::from_millis(300);
/// A longer time between two poses says nothing about the way between them.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// A faster change of the head's position is a teleport, in metres per second. Nobody runs or throws
/// a hand faster than that.
const TELEPORT_SPEED: f32 = 20.0;
/// A shorter change of the head's position is no teleport, in metres.
const TELEPORT_DISTANCE: f32 = 0.5;
/// How much faster or slower than real time a track is shown while its delay changes, in parts of a
/// thousand. People do not notice it in movements.
const SLEW: u32 = 100;

/// How a shown pose was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Certainty {
    /// It lies between two poses that the peer has sent.
    Interpolated,
    /// The next pose has not arrived, so the last movement goes on for 200 ms, and then back to the
    /// newest pose.
    Extrapolated,
    /// It is a pose as the peer has sent it: nothing is known of a movement.
    Held,
}

#[derive(Clone, Copy, Debug)]
struct Snapshot {
    captured: Time,
    pose: Pose,
}

/// The newest poses of one sender and key.
#[derive(Debug)]
pub(super) struct PoseTrack {
    /// In the order of their capture times.
    snapshots: VecDeque<Snapshot>,
    lateness: Lateness<REMEMBERED>,
    shown: SlewedTime,
}

impl PoseTrack {
    pub(super) fn new() -> Self {
        Self {
            snapshots: VecDeque::with_capacity(KEPT),
            lateness: Lateness::new(),
            shown: SlewedTime::new(SLEW, LONGEST_GAP),
        }
    }

    /// Adds a pose that arrived at the server's time `arrived`. A pose that is not newer than all
    /// others is dropped.
    pub(super) fn add(&mut self, captured: Time, arrived: Time, pose: Pose) {
        if let Some(newest) = self.snapshots.back() {
            if captured <= newest.captured {
                return;
            }
            // Until now only the pose before this one was there to show.
            let gap = captured.since(newest.captured);
            if gap < LONGEST_GAP {
                self.lateness.add(arrived.since(newest.captured));
            }
        }
        if self.snapshots.len() == KEPT {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(Snapshot { captured, pose });
    }

    /// Returns the pose to show in the frame of the server's time `frame`, the moment that it shows,
    /// and how it was found. `None` while there is none.
    pub(super) fn show(&mut self, now: Time, frame: Time) -> Option<(Pose, Time, Certainty)> {
        let newest = self.snapshots.back()?;
        if !self.lateness.is_known() {
            return Some((newest.pose, newest.captured, Certainty::Held));
        }
        let shown = self.shown.at(now, frame - self.lateness.usual());
        // The shown moment is usually a few poses ago, and those behind each other in memory are read
        // faster than those that a binary search would visit.
        let before = self.snapshots.iter().rposition(|snapshot| snapshot.captured <= shown);
        let after = before.map_or(0, |before| before + 1);
        let (pose, certainty) = match (after.checked_sub(1), self.snapshots.get(after)) {
            (Some(before), Some(after)) => between(&self.snapshots[before], after, shown),
            // The track begins later.
            (None, Some(first)) => (first.pose, Certainty::Held),
            (_, None) => {
                let before = self.snapshots.len().checked_sub(2).map(|at| &self.snapshots[at]);
                let beyond = before.and_then(|before| beyond(before, newest, shown));
                beyond.unwrap_or((newest.pose, Certainty::Held))
            }
        };
        Some((pose, shown, certainty))
    }

    /// Returns when the newest pose was captured.
    pub(super) fn newest(&self) -> Option<Time> {
        self.snapshots.back().map(|newest| newest.captured)
    }
}

/// Returns the pose at a time between two poses.
fn between(a: &Snapshot, b: &Snapshot, at: Time) -> (Pose, Certainty) {
    match is_movement(a, b) {
        true => (mix(&a.pose, &b.pose, share(a, b, at)), Certainty::Interpolated),
        false => (a.pose, Certainty::Held),
    }
}

/// Returns the pose at a time after two poses, if their movement can go on.
fn beyond(a: &Snapshot, b: &Snapshot, at: Time) -> Option<(Pose, Certainty)> {
    let time = at.since(b.captured);
    let forward = time.min(LONGEST_EXTRAPOLATION);
    let left = 1.0 - (time - forward).as_secs_f32() / WAY_BACK.as_secs_f32();
    if time.is_zero() || left <= 0.0 || !is_movement(a, b) {
        return None;
    }
    let at = b.captured + forward.mul_f32(left);
    Some((mix(&a.pose, &b.pose, share(a, b, at)), Certainty::Extrapolated))
}

/// Returns where a time lies between two poses: 0 at the first one, 1 at the second one.
fn share(a: &Snapshot, b: &Snapshot, at: Time) -> f32 {
    let whole = b.captured.since(a.captured).as_secs_f32();
    at.since(a.captured).as_secs_f32() / whole
}

/// Returns whether the change from one pose to the other is a movement, and no teleport.
fn is_movement(a: &Snapshot, b: &Snapshot) -> bool {
    let gap = b.captured.since(a.captured);
    let step = |axis: usize| a.pose.head.position[axis] - b.pose.head.position[axis];
    let distance = (0..3).map(|axis| step(axis).powi(2)).sum::<f32>().sqrt();
    gap < LONGEST_GAP
        && (distance < TELEPORT_DISTANCE || distance < TELEPORT_SPEED * gap.as_secs_f32())
}

fn mix(a: &Pose, b: &Pose, share: f32) -> Pose {
    let head = mix_transforms(&a.head, &b.head, share);
    // A hand that is tracked in only one of the poses moves with the head.
    let with_head = |hand: Transform, own: &Transform| {
        let moved = |i: usize| hand.position[i] - own.position[i] + head.position[i];
        Transform { position: std::array::from_fn(moved), ..hand }
    };
    let hand = |in_a: Option<Transform>, in_b: Option<Transform>| match (in_a, in_b) {
        (Some(in_a), Some(in_b)) => Some(mix_transforms(&in_a, &in_b, share)),
        (in_a, _) if share < 1.0 => in_a.map(|hand| with_head(hand, &a.head)),
        (_, in_b) => in_b.map(|hand| with_head(hand, &b.head)),
    };
    Pose { head, left: hand(a.left, b.left), right: hand(a.right, b.right) }
}

/// Mixes positions along the straight line, and rotations by the normalized sum of the quaternions:
/// for the small angles between two poses that is as good as a slerp.
fn mix_transforms(a: &Transform, b: &Transform, share: f32) -> Transform {
    let dot: f32 = (0..4).map(|i| a.rotation[i] * b.rotation[i]).sum();
    // A quaternion and its negative are the same rotation. Take the shorter way.
    let sign = if dot < 0.0 { -1.0 } else { 1.0 };
    let mixed: [f32; 4] =
        std::array::from_fn(|i| a.rotation[i] * (1.0 - share) + sign * b.rotation[i] * share);
    let length = mixed.iter().map(|part| part * part).sum::<f32>().sqrt();
    let is_direction = length.is_normal();
    Transform {
        position: std::array::from_fn(|i| a.position[i] + (b.position[i] - a.position[i]) * share),
        rotation: if is_direction { mixed.map(|part| part / length) } else { b.rotation },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Time = Time::from_millis(100_000);

    fn pose(x: f32) -> Pose {
        let head = Transform { position: [x, 1.7, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
        Pose { head, left: None, right: None }
    }

    fn snapshot(ms: u32, x: f32) -> Snapshot {
        Snapshot { captured: START + ms * MS, pose: pose(x) }
    }

    #[test]
    fn a_teleport_has_no_way() {
        let (a, b) = (snapshot(0, 0.0), snapshot(33, 5.0));
        assert_eq!(between(&a, &b, START + 30 * MS), (a.pose, Certainty::Held));
        assert_eq!(beyond(&a, &b, START + 40 * MS), None);
        // 0.6 m in 33 ms is a fast movement.
        let b = snapshot(33, 0.6);
        let x = between(&a, &b, START + 11 * MS).0.head.position[0];
        assert!((x - 0.2).abs() < 1e-5, "{x}");
        // Nothing is known of the way in ten seconds.
        let held = between(&a, &snapshot(10_000, 1.0), START + 5_000 * MS);
        assert_eq!(held, (a.pose, Certainty::Held));
    }

    #[test]
    fn an_extrapolation_is_bounded_and_goes_back() {
        let (a, b) = (snapshot(0, 0.0), snapshot(50, 0.05));
        let x = |ms: u32| beyond(&a, &b, START + ms * MS).unwrap().0.head.position[0];
        assert!((x(100) - 0.1).abs() < 1e-5, "{}", x(100));
        for (ms, expected) in [(250, 0.25), (400, 0.15), (520, 0.07)] {
            assert!((x(ms) - expected).abs() < 1e-4, "{ms} ms: {}", x(ms));
        }
        assert_eq!(beyond(&a, &b, START + 550 * MS), None, "the newest pose stays");
    }

    #[test]
    fn rotations_take_the_shorter_way_and_have_the_length_one() {
        let turned = |rotation| Transform { position: [0.0; 3], rotation };
        let a = turned([0.0, 0.0, 0.0, 1.0]);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let mixed = mix_transforms(&a, &turned([0.0, -half, 0.0, -half]), 0.5).rotation;
        let eighth = std::f32::consts::PI / 8.0;
        for (found, expected) in mixed.iter().zip([0.0, eighth.sin(), 0.0, eighth.cos()]) {
            assert!((found - expected).abs() < 1e-5, "{mixed:?}");
        }
        let zero = turned([0.0; 4]);
        assert_eq!(mix_transforms(&zero, &zero, 0.5).rotation, [0.0; 4], "and no NaN");
    }

    #[test]
    fn a_hand_that_is_lost_moves_with_the_head() {
        let hand = Transform { position: [0.3, 1.2, 0.1], rotation: [0.0, 0.0, 0.0, 1.0] };
        let a = Pose { left: Some(hand), ..pose(0.0) };
        let found = mix(&a, &pose(1.0), 0.5);
        let moved = found.left.unwrap().position;
        for (found, expected) in moved.iter().zip([0.8, 1.2, 0.1]) {
            assert!((found - expected).abs() < 1e-5, "{moved:?}");
        }
        assert_eq!(mix(&a, &pose(1.0), 1.0).left, None);
    }
}
