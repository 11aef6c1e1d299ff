//! [`Social`]: the social session, in which users can be reached outside rooms and call each other.

mod options;
mod task;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nucleus_client_core::RequestNumber;
use nucleus_client_core::session::DrivenClient;
use nucleus_client_core::social::{
    CallId, CallResult, RoomInfo, SocialClient, SocialError, SocialEvent, Status, UserInfo,
};
use nucleus_protocol::session::{Code, call_act};
use nucleus_protocol::time::Time;

use crate::on_drop::OnDrop;
use crate::rooms::Query;
use crate::session::{ClientHandle, CurrentEndpoint};
pub use options::{EnterOptions, enter};

/// Longest time that [`Social::leave`] waits until the last packets are sent.
const DRAIN: Duration = Duration::from_millis(200);

/// The social session of a user's device, returned by [`enter`]. It is independent of the sessions
/// in rooms, and connects the users of the same tenant and product.
///
/// With a social session, a device can be called, can call other users, and can watch users and
/// rooms.
///
/// Share it by reference or in an `Arc`. Any number of tasks may send requests at the same time;
/// one task at a time receives. [`Social::leave`] leaves and waits for the
/// server's confirmation; dropping the value leaves without waiting.
///
/// The client resumes a lost session by itself, see [`SocialEvent::Interrupted`].
pub struct Social {
    endpoint: CurrentEndpoint,
    client: ClientHandle<SocialClient>,
    user: String,
    ring_time: Duration,
    /// Whether the application has taken [`SocialEvent::Closed`].
    is_over: AtomicBool,
}

impl Social {
    /// Returns this client's user id from the token.
    pub fn user(&self) -> String {
        self.user.clone()
    }

    /// Returns how long a call rings before it ends with [`Code::NoAnswer`](crate::Code::NoAnswer).
    pub fn ring_time(&self) -> Duration {
        self.ring_time
    }

    /// Waits for the next event. Returns `None` after [`SocialEvent::Closed`]. Cancel-safe.
    ///
    /// An application must take events all the time, even if it uses only [`Self::users`]. When
    /// 1,024 events wait, the client stops reading the session, requests fail with
    /// [`SocialError::Interrupted`], and the server finally closes the session.
    pub async fn next(&self) -> Option<SocialEvent> {
        loop {
            let arrived = self.client.arrived();
            let mut arrived = std::pin::pin!(arrived);
            // Register before the check, so that nothing that arrives after the check is missed.
            arrived.as_mut().enable();
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if self.is_over.load(Ordering::Relaxed) {
                return None;
            }
            arrived.await;
        }
    }

    /// Returns the next event, but never waits: `None` if there is none now.
    pub fn try_next(&self) -> Option<SocialEvent> {
        let event = self.client.take_event()?;
        if matches!(event, SocialEvent::Closed { .. }) {
            self.is_over.store(true, Ordering::Relaxed);
        }
        Some(event)
    }

    /// Returns the events since the last call. Never waits. For programs that do their work once a
    /// frame.
    pub fn poll(&self) -> impl Iterator<Item = SocialEvent> + use<'_> {
        std::iter::from_fn(|| self.try_next())
    }

    /// Sets this device's status.
    ///
    /// Other users see the status of the user: busy if any device is busy or the user is in a call
    /// or called, otherwise online if any device is online, otherwise away.
    pub fn set_status(&self, status: Status) {
        self.client.change(|client, now| client.set_status(now, status));
    }

    /// Watches the users that have one of `roles` or are one of `users`, together at most 64 names.
    /// If both are empty, watches all users of the tenant and product.
    ///
    /// Replaces the users that were watched before. The watched users that are connected already
    /// are reported by a [`SocialEvent::Users`]. Observers may not watch users.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn watch_users(&self, roles: &[&str], users: &[&str]) -> Result<(), SocialError> {
        self.request(|client, now| client.watch_users(now, roles, users)).await.map(drop)
    }

    /// Returns the watched users that are connected, in the order of their ids.
    pub fn users(&self) -> Vec<UserInfo> {
        self.client.read().users().cloned().collect()
    }

    /// Watches the rooms of the lobby that match `query` and have this version of the application.
    ///
    /// Replaces the rooms that were watched before. The first list is reported by a
    /// [`SocialEvent::Rooms`]. Locked rooms and rooms with a password are listed, hidden rooms are
    /// not. If more than 500 rooms match, the oldest 500 are listed.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn watch_rooms(&self, version: &str, query: Query) -> Result<(), SocialError> {
        self.request(|client, now| client.watch_rooms(now, version, query.clone())).await.map(drop)
    }

    /// Returns the watched rooms in the order of their names.
    pub fn rooms(&self) -> Vec<RoomInfo> {
        self.client.read().rooms().cloned().collect()
    }

    /// Calls 1 to 16 users on all of their devices. `text`, at most 256 bytes, is shown to them.
    /// [`SocialEvent::Accepted`] or [`SocialEvent::Ended`] follows.
    ///
    /// If two users call each other at the same moment, their two calls become one call, which both
    /// users receive.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn start(&self, users: &[&str], text: &str) -> Result<CallId, SocialError> {
        self.request(|client, now| client.start(now, users, text)).await
    }

    /// Accepts an incoming call. Also succeeds if this device already has the call because both
    /// users called each other at the same moment.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn accept(&self, call: CallId) -> Result<(), SocialError> {
        match self.act(call, call_act::ACCEPT, None).await {
            Err(SocialError::Refused { code: Some(Code::Answered), .. })
                if self.client.read().is_own_call(call) =>
            {
                Ok(())
            }
            result => result,
        }
    }

    /// Rejects an incoming call for all devices of this user.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn reject(&self, call: CallId) -> Result<(), SocialError> {
        self.act(call, call_act::REJECT, None).await
    }

    /// Cancels a call that no user has accepted yet.
    ///
    /// # Errors
    /// [`SocialError::Refused`] with [`Code::Answered`](crate::Code::Answered) if a user has
    /// already accepted; the call continues. For others see [`SocialError`].
    pub async fn cancel(&self, call: CallId) -> Result<(), SocialError> {
        self.act(call, call_act::CANCEL, None).await
    }

    /// Leaves a call, accepted or not. If fewer than two members remain, the call ends for all.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn hang_up(&self, call: CallId) -> Result<(), SocialError> {
        self.act(call, call_act::HANG_UP, None).await
    }

    /// Calls another user into a call. [`SocialEvent::MemberJoined`] or [`SocialEvent::Passed`]
    /// follows.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn add(&self, call: CallId, user: &str) -> Result<(), SocialError> {
        self.act(call, call_act::ADD, Some(user)).await
    }

    /// Leaves the social session. Watchers see this at once, and the device leaves its call. Takes
    /// at most 1.2 s.
    pub async fn leave(&self) {
        self.client.change(SocialClient::leave);
        self.client.wait_for(|client, _| client.session().is_closed().then_some(())).await;
        // The process may end right after this call, so let the last packets go out first.
        let _ = tokio::time::timeout(DRAIN, self.endpoint.get().wait_idle()).await;
    }

    /// Sends a request about an existing call.
    async fn act(&self, call: CallId, act: u8, user: Option<&str>) -> Result<(), SocialError> {
        self.request(|client, now| client.act(now, call, act, user)).await.map(drop)
    }

    /// Makes a request as soon as fewer than 16 are pending, and waits for its result.
    async fn request(
        &self,
        start: impl Fn(&mut SocialClient, Time) -> Result<RequestNumber, SocialError>,
    ) -> CallResult {
        let started = self.client.wait_for(|client, now| {
            let started = start(client, now);
            (started != Err(SocialError::TooMany)).then_some(started)
        });
        let request = started.await?;
        // Wakes those who wait for its place.
        let _forget = OnDrop(|| self.client.change(|client, _| client.forget(request)));
        self.client.wait_for(|client, _| client.take_result(request)).await
    }
}

impl Drop for Social {
    fn drop(&mut self) {
        self.client.change(SocialClient::close);
    }
}
