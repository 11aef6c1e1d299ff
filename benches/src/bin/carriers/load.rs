//! What the clients of all carriers send.

use std::time::Duration;

use nucleus_client::{Pose, Transform};
use tokio::time::{MissedTickBehavior, interval};

/// Poses a second.
pub(crate) const HZ: f64 = 60.0;
/// A client could not join.
#[derive(Debug, thiserror::Error)]
#[error("a client could not join: {0}")]
pub(crate) struct JoinError(pub(crate) String);

impl JoinError {
    pub(crate) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Returns the pose of a client at a time in seconds.
pub(crate) fn pose(client: u32, time: f32) -> Pose {
    let position = [time.cos(), 1.65, client as f32];
    Pose { head: Transform { position, rotation: [0.0, 0.0, 0.0, 1.0] }, left: None, right: None }
}

/// Returns a timer of the frames, which skips those that are late.
pub(crate) fn frames() -> tokio::time::Interval {
    let mut frames = interval(Duration::from_secs_f64(1.0 / HZ));
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    frames
}
