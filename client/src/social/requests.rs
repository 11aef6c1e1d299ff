//! Sends the requests of a social session and waits for the replies.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nucleus_protocol::session::{CallRequest, WatchRooms, WatchUsers, encode};
use tokio::sync::{Notify, Semaphore};

use super::event::UserInfo;
use super::state::{CallResult, SocialError, SocialState, StartedSocialRequest};
use super::{CallId, Status};
use crate::session::SocialSender;

/// Requests that may be pending at the same time; further ones wait.
const MAX_PENDING: usize = 16;

/// The requests of a social session. Shared by the application and the task of the social session.
pub(super) struct SocialRequests {
    state: Mutex<SocialState>,
    permits: Semaphore,
    /// Wakes the task when the application has closed the social session.
    closing: Notify,
}

/// Removes a pending request if its caller stops waiting before the request is sent.
///
/// A request that was sent stays: its reply changes what the client knows about this device's call.
pub(super) struct PendingSocialGuard<'a> {
    pub(super) requests: &'a SocialRequests,
    pub(super) number: u32,
    pub(super) sent: bool,
}

impl Drop for PendingSocialGuard<'_> {
    fn drop(&mut self) {
        if !self.sent {
            self.requests.state().remove_unsent(self.number);
        }
    }
}

impl SocialRequests {
    pub(super) fn new(status: Status) -> Self {
        let state = Mutex::new(SocialState::new(status));
        Self { state, permits: Semaphore::new(MAX_PENDING), closing: Notify::new() }
    }

    /// Sends a request about a call and waits for the reply.
    pub(super) async fn call(&self, mut request: CallRequest) -> CallResult {
        self.request(request.act, |number| {
            request.request = number;
            encode(&request)
        })
        .await
    }

    /// Replaces the watched users, and waits for the first list.
    pub(super) async fn watch_users(&self, mut watch: WatchUsers) -> Result<(), SocialError> {
        let result = self.request(0, |number| {
            watch.request = number;
            let message = encode(&watch);
            self.state().watched_users = Some(watch);
            message
        });
        result.await.map(drop)
    }

    /// Replaces the watched rooms, and waits for the first list.
    pub(super) async fn watch_rooms(&self, mut watch: WatchRooms) -> Result<(), SocialError> {
        let result = self.request(0, |number| {
            watch.request = number;
            let message = encode(&watch);
            self.state().rooms.watch(watch);
            message
        });
        result.await.map(drop)
    }

    /// Sets the status and sends it. Without a session, the status is sent with the next one.
    pub(super) async fn set_status(&self, status: Status) {
        let sender = {
            let mut state = self.state();
            state.status = status;
            state.sender()
        };
        if let Some(sender) = sender {
            // If the session is lost, the task notices that itself.
            let _ = sender.send_with(|| self.state().status_message()).await;
        }
    }

    /// Waits until the application has closed the social session.
    pub(super) async fn closing(&self) {
        self.closing.notified().await;
    }

    /// Sends the status, unless it is `entered_status`, and the watches over a new session.
    ///
    /// Each message is made at the moment when it is written. The application may change the status
    /// or a watch at the same time, and the last message must contain the last change.
    pub(super) async fn restore(&self, sender: &SocialSender, entered_status: u8) {
        if self.state().status.to_wire() != entered_status {
            // If the session is lost again, the task notices that itself.
            let _ = sender.send_with(|| self.state().status_message()).await;
        }
        let users = || self.state().watched_users.as_ref().map(encode).unwrap_or_default();
        let _ = sender.send_with(users).await;
        let rooms = || self.state().rooms.watch_message().unwrap_or_default();
        let _ = sender.send_with(rooms).await;
    }

    /// Sends the message that `message` makes for a request number, and waits for the reply. `act`
    /// is one of [`call_act`](nucleus_protocol::session::call_act), or 0 for a request that is not
    /// about a call.
    async fn request(&self, act: u8, message: impl FnOnce(u32) -> Vec<u8>) -> CallResult {
        let _permit = self.permits.acquire().await.map_err(|_| SocialError::Closed)?;
        let StartedSocialRequest { sender, number, result } = self.state().start(act)?;
        let mut guard = PendingSocialGuard { requests: self, number, sent: false };
        let message = || {
            guard.sent = true;
            message(number)
        };
        // On an error the session has ended, and the task has not noticed yet.
        sender.send_with(message).await.map_err(|_| SocialError::Interrupted)?;
        result.await.unwrap_or(Err(SocialError::Interrupted))
    }

    /// Returns the watched users that are connected.
    pub(super) fn users(&self) -> Vec<UserInfo> {
        self.state().users()
    }

    pub(super) fn sender(&self) -> Option<SocialSender> {
        self.state().sender()
    }

    /// Sets whether the application is too far behind with its events. The session is then not
    /// read, so replies do not arrive either.
    pub(super) fn set_behind(&self, behind: bool) {
        self.state().set_behind(behind);
    }

    /// Ends all pending requests because the session is lost.
    pub(super) fn interrupt(&self) {
        self.state().interrupt();
    }

    /// Closes the session, ends all pending requests, and refuses new ones.
    pub(super) fn close(&self) {
        self.permits.close();
        self.state().close();
        self.closing.notify_one();
    }

    /// Returns whether this device started or accepted the call.
    pub(super) fn is_own_call(&self, call: CallId) -> bool {
        self.state().is_own_call(call)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SocialState> {
        // No code panics while it holds the lock, and each step leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
