//! The state that the application desires in every session: whether this client is muted, and its
//! groups. What no server has confirmed is sent again with the next session.

use std::sync::Arc;

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::act;
use tokio::sync::{Mutex, MutexGuard};

use super::RoomShared;
use super::requests::{RoomRequests, StateError};

/// The desired state of one room. A lock is held until the server has answered, so that an older
/// value never overtakes a newer one.
#[derive(Default)]
pub(super) struct DesiredState {
    muted: Mutex<Desired<bool>>,
    groups: Mutex<Desired<GroupSet>>,
}

/// A value that the application has set, if it has.
#[derive(Default)]
struct Desired<T> {
    value: Option<T>,
    /// Whether a server has taken the value, for the peer that this client is.
    is_confirmed: bool,
}

impl<T: Copy> Desired<T> {
    fn new(value: T) -> Self {
        Self { value: Some(value), is_confirmed: false }
    }

    /// Takes the result of the request for the value. A lost session is no error: the next session
    /// is told.
    fn settle(&mut self, result: Result<u64, StateError>) -> Result<(), StateError> {
        self.is_confirmed = result.is_ok();
        match result {
            Ok(_) | Err(StateError::NotConnected | StateError::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the value if the server must be told again. A new peer has confirmed nothing.
    fn unconfirmed(&mut self, is_new_peer: bool) -> Option<T> {
        self.is_confirmed &= !is_new_peer;
        self.value.filter(|_| !self.is_confirmed)
    }
}

impl DesiredState {
    pub(super) async fn set_muted(
        &self,
        requests: &RoomRequests,
        muted: bool,
    ) -> Result<(), StateError> {
        let mut desired = self.muted.lock().await;
        *desired = Desired::new(muted);
        request_muted(requests, desired, muted).await
    }

    pub(super) async fn subscribe(
        &self,
        requests: &RoomRequests,
        groups: GroupSet,
    ) -> Result<(), StateError> {
        let mut desired = self.groups.lock().await;
        *desired = Desired::new(groups);
        request_groups(requests, desired, groups).await
    }
}

async fn request_muted(
    requests: &RoomRequests,
    mut desired: MutexGuard<'_, Desired<bool>>,
    muted: bool,
) -> Result<(), StateError> {
    let act = if muted { act::MUTE_SELF } else { act::UNMUTE_SELF };
    desired.settle(requests.moderate(act, 0, 0).await)
}

async fn request_groups(
    requests: &RoomRequests,
    mut desired: MutexGuard<'_, Desired<GroupSet>>,
    groups: GroupSet,
) -> Result<(), StateError> {
    desired.settle(requests.subscribe(groups).await)
}

/// Sends what a new session does not know. Runs in tasks of their own, because the room's task must
/// read the replies. If the session is lost again, the next one is told.
pub(super) fn repeat(shared: &Arc<RoomShared>, is_new_peer: bool) {
    let room = shared.clone();
    tokio::spawn(async move {
        let mut desired = room.desired.muted.lock().await;
        if let Some(muted) = desired.unconfirmed(is_new_peer) {
            let _told = request_muted(&room.requests, desired, muted).await;
        }
    });
    let room = shared.clone();
    tokio::spawn(async move {
        let mut desired = room.desired.groups.lock().await;
        if let Some(groups) = desired.unconfirmed(is_new_peer) {
            let _told = request_groups(&room.requests, desired, groups).await;
        }
    });
}
