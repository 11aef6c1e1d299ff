//! [`Social`]: the social session, in which users can be reached outside rooms and call each other.

mod event;
mod options;
mod requests;
mod rooms;
mod state;
mod task;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{CallRequest, Code, Entered, WatchRooms, WatchUsers, call_act};
use tokio::sync::{Mutex, mpsc};

use crate::rooms::Query;
use crate::session::{CurrentEndpoint, SocialSession};
pub use event::{CallId, SocialEvent, Status, UserInfo};
pub use options::{EnterOptions, enter};
use requests::SocialRequests;
pub use rooms::RoomInfo;
pub use state::SocialError;
use task::{SocialConnector, SocialTask};

/// Events in the channel to the application; further events wait in the task of the social session.
const EVENTS: usize = 64;
/// Longest time that [`Social::leave`] waits until the last packets are sent.
const DRAIN: Duration = Duration::from_millis(200);

/// The social session of a user's device, returned by [`enter`]. It is independent of the sessions
/// in rooms, and connects the users of the same tenant and product.
///
/// With a social session, a device can be called, can call other users, and can watch users and
/// rooms.
///
/// Share it by reference or in an [`Arc`]. Any number of tasks may send requests at the same time;
/// one task at a time receives with [`Social::next`]. [`Social::leave`] leaves and waits for the
/// server's confirmation; dropping the value leaves without waiting.
///
/// The client resumes a lost session by itself, see [`SocialEvent::Interrupted`].
pub struct Social {
    endpoint: CurrentEndpoint,
    requests: Arc<SocialRequests>,
    events: Mutex<mpsc::Receiver<SocialEvent>>,
    entered: Entered,
}

impl Social {
    fn open(connector: SocialConnector, session: SocialSession) -> Social {
        let endpoint = CurrentEndpoint::new(session.endpoint().clone());
        let entered = session.entered().clone();
        let (sender, receiver) = session.split();
        let requests = Arc::new(SocialRequests::new(Status::from_wire(connector.options.status)));
        // Before the first session there is no call that could have ended.
        let _ = requests.state().attach(sender, &entered);
        let (events, event_receiver) = mpsc::channel(EVENTS);
        let backlog = VecDeque::new();
        let current = endpoint.clone();
        let task = SocialTask {
            connector,
            endpoint: current,
            requests: requests.clone(),
            receiver,
            events,
            backlog,
        };
        tokio::spawn(task.run());
        Social { endpoint, requests, events: Mutex::new(event_receiver), entered }
    }

    /// Returns this client's user id from the token.
    pub fn user(&self) -> String {
        event::text(&self.entered.user)
    }

    /// Returns how long a call rings before it ends with [`Code::NoAnswer`](crate::Code::NoAnswer).
    pub fn ring_time(&self) -> Duration {
        Duration::from_millis(self.entered.ring_ms.into())
    }

    /// Waits for the next event. Returns `None` after [`SocialEvent::Closed`]. Cancel-safe.
    ///
    /// An application must call this method in a loop, even if it uses only [`Self::users`]. When
    /// 1,024 events wait, the client stops reading the session, requests fail with
    /// [`SocialError::Interrupted`], and the server finally closes the session.
    pub async fn next(&self) -> Option<SocialEvent> {
        self.events.lock().await.recv().await
    }

    /// Sets this device's status.
    ///
    /// Other users see the status of the user: busy if any device is busy or the user is in a call
    /// or called, otherwise online if any device is online, otherwise away.
    pub async fn set_status(&self, status: Status) {
        self.requests.set_status(status).await;
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
        if roles.len() + users.len() > limits::MAX_WATCH_NAMES {
            return Err(SocialError::Limit("at most 64 roles and users can be watched"));
        }
        let watch = WatchUsers { request: 0, roles: names(roles)?, users: names(users)? };
        self.requests.watch_users(watch).await
    }

    /// Returns the watched users that are connected, in the order of their ids.
    pub fn users(&self) -> Vec<UserInfo> {
        self.requests.users()
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
        if version.len() > limits::MAX_APPLICATION_VERSION {
            return Err(SocialError::Limit("the version must have at most 32 bytes"));
        }
        query.validate().map_err(SocialError::Limit)?;
        let (version, filters) = (version.as_bytes().to_vec(), query.into_filters());
        self.requests.watch_rooms(WatchRooms { request: 0, version, filters }).await
    }

    /// Returns the watched rooms in the order of their names.
    pub fn rooms(&self) -> Vec<RoomInfo> {
        self.requests.state().rooms.rooms()
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
        if users.is_empty() || users.len() > limits::MAX_CALL_USERS {
            return Err(SocialError::Limit("a call is for 1 to 16 users"));
        }
        if text.len() > limits::MAX_CALL_TEXT {
            return Err(SocialError::Limit("the text of a call has at most 256 bytes"));
        }
        let users = names(users)?;
        let text = text.as_bytes().to_vec();
        let request = CallRequest { request: 0, act: call_act::START, call: 0, users, text };
        self.requests.call(request).await
    }

    /// Accepts an incoming call. Also succeeds if this device already has the call because both
    /// users called each other at the same moment.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn accept(&self, call: CallId) -> Result<(), SocialError> {
        match self.act(call, call_act::ACCEPT, Vec::new()).await {
            Err(SocialError::Refused { code: Some(Code::Answered), .. })
                if self.requests.is_own_call(call) =>
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
        self.act(call, call_act::REJECT, Vec::new()).await
    }

    /// Cancels a call that no user has accepted yet.
    ///
    /// # Errors
    /// [`SocialError::Refused`] with [`Code::Answered`](crate::Code::Answered) if a user has
    /// already accepted; the call continues. For others see [`SocialError`].
    pub async fn cancel(&self, call: CallId) -> Result<(), SocialError> {
        self.act(call, call_act::CANCEL, Vec::new()).await
    }

    /// Leaves a call, accepted or not. If fewer than two members remain, the call ends for all.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn hang_up(&self, call: CallId) -> Result<(), SocialError> {
        self.act(call, call_act::HANG_UP, Vec::new()).await
    }

    /// Calls another user into a call. [`SocialEvent::MemberJoined`] or [`SocialEvent::Passed`]
    /// follows.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub async fn add(&self, call: CallId, user: &str) -> Result<(), SocialError> {
        self.act(call, call_act::ADD, names(&[user])?).await
    }

    /// Leaves the social session. Watchers see this at once, and the device leaves its call. Takes
    /// at most 1.2 s.
    pub async fn leave(&self) {
        if let Some(sender) = self.requests.sender() {
            sender.leave().await;
        }
        self.requests.close();
        // The process may end right after this call, so let the last packets go out first.
        let _ = tokio::time::timeout(DRAIN, self.endpoint.get().wait_idle()).await;
    }

    /// Sends a request about an existing call.
    async fn act(&self, call: CallId, act: u8, users: Vec<Vec<u8>>) -> Result<(), SocialError> {
        let request = CallRequest { request: 0, act, call: call.0, users, text: Vec::new() };
        self.requests.call(request).await.map(drop)
    }
}

impl Drop for Social {
    fn drop(&mut self) {
        self.requests.close();
    }
}

fn names(names: &[&str]) -> Result<Vec<Vec<u8>>, SocialError> {
    if names.iter().any(|name| name.is_empty() || name.len() > limits::MAX_NAME) {
        return Err(SocialError::Limit("a user or role must have 1 to 128 bytes"));
    }
    Ok(names.iter().map(|name| name.as_bytes().to_vec()).collect())
}
