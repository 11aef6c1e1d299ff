//! SocialRequests under way: asking, waiting for the answer, and what happens when none comes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nucleus_protocol::session::{CallRequest, WatchRooms, WatchUsers, encode};
use tokio::sync::{Notify, Semaphore};

use super::event::UserInfo;
use super::state::{CallResult, SocialError, SocialState};
use super::{CallId, Status};
use crate::session::SocialSender;

/// SocialRequests under way; further ones wait for their turn.
const MAX_PENDING: usize = 16;

/// Asks the server and waits for its answers. Shared by the application and the hall's task.
pub(super) struct SocialRequests {
    state: Mutex<SocialState>,
    permits: Semaphore,
    /// Wakes the hall's task when the application has closed the hall.
    closing: Notify,
}

/// Forgets a request whose caller does not wait any more, where it was not sent. The answer to one that
/// was says what this device has done all the same.
pub(super) struct PendingSocialGuard<'a> {
    pub(super) requests: &'a SocialRequests,
    pub(super) request: u32,
    pub(super) sent: bool,
}

impl Drop for PendingSocialGuard<'_> {
    fn drop(&mut self) {
        if !self.sent {
            self.requests.state().forget(self.request);
        }
    }
}

impl SocialRequests {
    pub(super) fn new(status: Status) -> Self {
        let state = Mutex::new(SocialState::new(status));
        Self { state, permits: Semaphore::new(MAX_PENDING), closing: Notify::new() }
    }

    /// Acts on a call and waits for the answer.
    pub(super) async fn call(&self, mut asked: CallRequest) -> CallResult {
        self.ask(asked.act, |request| {
            asked.request = request;
            encode(&asked)
        })
        .await
    }

    /// Watches users in place of what was watched before, and waits for the first list.
    pub(super) async fn watch(&self, mut watch: WatchUsers) -> Result<(), SocialError> {
        let asked = self.ask(0, |request| {
            watch.request = request;
            let message = encode(&watch);
            self.state().watched = Some(watch);
            message
        });
        asked.await.map(drop)
    }

    /// Watches rooms in place of what was watched before, and waits for the first list.
    pub(super) async fn watch_rooms(&self, mut watch: WatchRooms) -> Result<(), SocialError> {
        let asked = self.ask(0, |request| {
            watch.request = request;
            let message = encode(&watch);
            self.state().rooms.watch(watch);
            message
        });
        asked.await.map(drop)
    }

    /// Tells the status; one that cannot be told now goes with the next session.
    pub(super) async fn tell_status(&self, status: Status) {
        let sender = {
            let mut state = self.state();
            state.status = status;
            state.sender()
        };
        if let Some(sender) = sender {
            // A session that is lost says so itself.
            let _ = sender.send_with(|| self.state().status_message()).await;
        }
    }

    /// Waits until the application has closed the hall.
    pub(super) async fn closing(&self) {
        self.closing.notified().await;
    }

    /// Tells a new session what the application wants, as it is by then: it may want something else at
    /// this very moment, and what goes out last must be what it wanted last.
    pub(super) async fn restore_watches(&self, sender: &SocialSender, status: u8) {
        if self.state().status.to_wire() != status {
            // A session that is lost again says so itself, here and below.
            let _ = sender.send_with(|| self.state().status_message()).await;
        }
        let users = || self.state().watched.as_ref().map(encode).unwrap_or_default();
        let _ = sender.send_with(users).await;
        let rooms = || self.state().rooms.watch_message().unwrap_or_default();
        let _ = sender.send_with(rooms).await;
    }

    /// Sends the message that `message` makes for a request number, and waits for the answer. `act`: one
    /// of [`call_act`](nucleus_protocol::session::call_act), or 0 for what is not about a call.
    async fn ask(&self, act: u8, message: impl FnOnce(u32) -> Vec<u8>) -> CallResult {
        let _permit = self.permits.acquire().await.map_err(|_| SocialError::Closed)?;
        let (sender, request, outcome) = self.state().begin(act)?;
        let mut forget = PendingSocialGuard { requests: self, request, sent: false };
        let message = || {
            forget.sent = true;
            message(request)
        };
        // The session's end is known here before the hall's task has seen it.
        sender.send_with(message).await.map_err(|_| SocialError::Interrupted)?;
        outcome.await.unwrap_or(Err(SocialError::Interrupted))
    }

    /// Those who are watched, as far as they are there.
    pub(super) fn users(&self) -> Vec<UserInfo> {
        self.state().everybody()
    }

    pub(super) fn sender(&self) -> Option<SocialSender> {
        self.state().sender()
    }

    /// Whether answers cannot be heard because the application does not take its events.
    pub(super) fn set_behind(&self, behind: bool) {
        self.state().set_behind(behind);
    }

    /// The session is lost.
    pub(super) fn interrupt(&self) {
        self.state().interrupt();
    }

    /// Nothing more will come of it.
    pub(super) fn close(&self) {
        self.permits.close();
        self.state().close();
        self.closing.notify_one();
    }

    /// This device started or took the call.
    pub(super) fn is_own_call(&self, call: CallId) -> bool {
        self.state().is_own_call(call)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SocialState> {
        // Nobody panics while holding it, and the state is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
