//! The state that the application desires in every session: whether this client is muted, and its
//! groups. What no server has confirmed is sent again with the next session.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::act;

use super::RoomShared;
use super::requests::{RoomRequests, StateError};

/// The desired state of one room.
#[derive(Default)]
pub(super) struct DesiredState(Mutex<DesiredValues>);

#[derive(Default)]
struct DesiredValues {
    muted: Desired<bool>,
    groups: Desired<GroupSet>,
}

/// A value that the application has set, if it has.
struct Desired<T> {
    value: Option<T>,
    /// Whether a server has taken the value, for the peer that this client is.
    is_confirmed: bool,
    /// Counts the changes, so that a late reply confirms no newer value.
    change: u64,
}

impl<T> Default for Desired<T> {
    fn default() -> Self {
        Self { value: None, is_confirmed: false, change: 0 }
    }
}

impl<T: Clone> Desired<T> {
    /// Sets a value. Returns the number of the change.
    fn set(&mut self, value: T) -> u64 {
        (self.value, self.is_confirmed) = (Some(value), false);
        self.change += 1;
        self.change
    }

    /// Takes the result of the request for a change. To wait for a session is no error: the
    /// value is sent then.
    fn settle(&mut self, change: u64, result: Result<u64, StateError>) -> Result<(), StateError> {
        self.is_confirmed |= self.change == change && result.is_ok();
        match result {
            Ok(_) | Err(StateError::NotConnected | StateError::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the value that the server must be told again, with the number of its change. A new
    /// peer has confirmed nothing.
    fn unconfirmed(&mut self, is_new_peer: bool) -> Option<(T, u64)> {
        self.is_confirmed &= !is_new_peer;
        self.value.clone().filter(|_| !self.is_confirmed).map(|value| (value, self.change))
    }
}

impl DesiredState {
    pub(super) async fn set_muted(
        &self,
        requests: &RoomRequests,
        muted: bool,
    ) -> Result<(), StateError> {
        let change = self.state().muted.set(muted);
        let result = request_muted(requests, muted).await;
        self.state().muted.settle(change, result)
    }

    pub(super) async fn subscribe(
        &self,
        requests: &RoomRequests,
        groups: GroupSet,
    ) -> Result<(), StateError> {
        let change = self.state().groups.set(groups);
        let result = requests.subscribe(groups).await;
        self.state().groups.settle(change, result)
    }

    fn state(&self) -> MutexGuard<'_, DesiredValues> {
        // No code panics while it holds the lock, and each step leaves the data consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn request_muted(requests: &RoomRequests, muted: bool) -> Result<u64, StateError> {
    let act = if muted { act::MUTE_SELF } else { act::UNMUTE_SELF };
    requests.moderate(act, 0, 0).await
}

/// Sends what a new session does not know. Runs in tasks of their own, because the
/// room's task must read the replies.
pub(super) fn repeat(shared: &Arc<RoomShared>, is_new_peer: bool) {
    let (muted, groups) = {
        let mut state = shared.desired.state();
        (state.muted.unconfirmed(is_new_peer), state.groups.unconfirmed(is_new_peer))
    };
    if let Some((muted, change)) = muted {
        let shared = shared.clone();
        tokio::spawn(async move {
            let result = request_muted(&shared.requests, muted).await;
            // If the session is lost again, the next one is told.
            let _ = shared.desired.state().muted.settle(change, result);
        });
    }
    if let Some((groups, change)) = groups {
        let shared = shared.clone();
        tokio::spawn(async move {
            let result = shared.requests.subscribe(groups).await;
            let _ = shared.desired.state().groups.settle(change, result);
        });
    }
}
