//! The hall as an application sees it: being reachable without a room, who else is, and calls.

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
use crate::session::SocialSession;
pub use event::{CallId, SocialEvent, Status, UserInfo};
pub use options::{EnterOptions, enter};
use requests::SocialRequests;
pub use rooms::RoomInfo;
pub use state::SocialError;
use task::{SocialConnector, SocialTask};

/// Events handed over to the application before it takes them; more wait in the hall's task.
const EVENTS: usize = 64;
/// How long a leave waits for its last packets to go out.
const DRAIN: Duration = Duration::from_millis(200);

/// The hall of a tenant's product, a session of its own beside that of a room. Share it by reference or in
/// an [`Arc`]: any task may act, one at a time receives. Dropping it leaves without ceremony.
///
/// A lost session is taken up again by itself, see [`SocialEvent::Interrupted`].
pub struct Social {
    endpoint: quinn::Endpoint,
    requests: Arc<SocialRequests>,
    events: Mutex<mpsc::Receiver<SocialEvent>>,
    entered: Entered,
}

impl Social {
    fn open(connector: SocialConnector, session: SocialSession) -> Social {
        let (entered, endpoint) = (session.entered().clone(), connector.endpoint.clone());
        let (sender, receiver) = session.split();
        let requests = Arc::new(SocialRequests::new(Status::from_wire(connector.options.status)));
        // Nothing was known before the first session.
        let _ = requests.state().attach(sender, &entered);
        let (events, taken) = mpsc::channel(EVENTS);
        let backlog = VecDeque::new();
        let task = SocialTask { connector, requests: requests.clone(), receiver, events, backlog };
        tokio::spawn(task.run());
        Social { endpoint, requests, events: Mutex::new(taken), entered }
    }

    /// This client's user id, as the token says.
    pub fn user(&self) -> String {
        event::text(&self.entered.user)
    }

    /// How long a call rings before it ends with [`Code::NoAnswer`](crate::Code::NoAnswer).
    pub fn ring_time(&self) -> Duration {
        Duration::from_millis(self.entered.ring_ms.into())
    }

    /// Waits for what happens next; `None` after [`SocialEvent::Closed`]. Cancel-safe.
    ///
    /// An application has to call it again and again, even one that only wants [`Self::users`]: a
    /// thousand events behind, nothing more is read, requests fail with [`SocialError::Interrupted`], and
    /// the server cuts the session in the end.
    pub async fn next(&self) -> Option<SocialEvent> {
        self.events.lock().await.recv().await
    }

    /// Chooses this device's status. The user is busy if any of his devices says so, or while in a call or
    /// called; else online if any device is.
    pub async fn set_status(&self, status: Status) {
        self.requests.tell_status(status).await;
    }

    /// Watches everybody who has one of `roles` or is one of `users`, together at most 64 names; both
    /// empty: everybody. In place of what was watched before; who is there already comes as a
    /// [`SocialEvent::Users`] too. Not for observers.
    pub async fn watch_users(&self, roles: &[&str], users: &[&str]) -> Result<(), SocialError> {
        if roles.len() + users.len() > limits::MAX_WATCH_NAMES {
            return Err(SocialError::Limit("a view of people names at most 64 roles and users"));
        }
        let watch = WatchUsers { request: 0, roles: names(roles)?, users: names(users)? };
        self.requests.watch(watch).await
    }

    /// Those who are watched, as far as they are there, in the order of their ids.
    pub fn users(&self) -> Vec<UserInfo> {
        self.requests.users()
    }

    /// Watches the rooms of the lobby that fit, of this version of the application, in place of what was
    /// watched before; the first list comes as a [`SocialEvent::Rooms`] too. Locked rooms and those with a
    /// password are shown, hidden ones are not; of more than 500 the oldest.
    pub async fn watch_rooms(&self, version: &str, query: Query) -> Result<(), SocialError> {
        if version.len() > limits::MAX_APPLICATION_VERSION {
            return Err(SocialError::Limit("the version must have at most 32 bytes"));
        }
        if let Some(problem) = query.problem() {
            return Err(SocialError::Limit(problem));
        }
        let (version, filters) = (version.as_bytes().to_vec(), query.into_filters());
        self.requests.watch_rooms(WatchRooms { request: 0, version, filters }).await
    }

    /// The rooms that are watched, in the order of their names.
    pub fn rooms(&self) -> Vec<RoomInfo> {
        self.requests.state().rooms.rooms()
    }

    /// Calls 1 to 16 users on all of their devices; whoever takes it first has the call. `text`, at most
    /// 256 bytes, tells them what it is about. [`SocialEvent::Accepted`] or [`SocialEvent::Ended`] follows.
    ///
    /// Two who call each other at the same moment are connected: the call is then the other one's.
    pub async fn start(&self, users: &[&str], text: &str) -> Result<CallId, SocialError> {
        if users.is_empty() || users.len() > limits::MAX_CALL_USERS {
            return Err(SocialError::Limit("a call is for 1 to 16 users"));
        }
        if text.len() > limits::MAX_CALL_TEXT {
            return Err(SocialError::Limit("the text of a call has at most 256 bytes"));
        }
        let users = names(users)?;
        let text = text.as_bytes().to_vec();
        let asked = CallRequest { request: 0, act: call_act::START, call: 0, users, text };
        self.requests.call(asked).await
    }

    /// Takes an incoming call. One that this device has taken already, because both called each other at
    /// the same moment, is taken.
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

    /// Does not take an incoming call, on no device.
    pub async fn reject(&self, call: CallId) -> Result<(), SocialError> {
        self.act(call, call_act::REJECT, Vec::new()).await
    }

    /// Takes back a call that nobody has taken yet. Too late:
    /// [`Code::Answered`](crate::Code::Answered), and the call goes on.
    pub async fn cancel(&self, call: CallId) -> Result<(), SocialError> {
        self.act(call, call_act::CANCEL, Vec::new()).await
    }

    /// Leaves a call, whether it was taken or not; with fewer than two members it ends for the rest too.
    pub async fn hang_up(&self, call: CallId) -> Result<(), SocialError> {
        self.act(call, call_act::HANG_UP, Vec::new()).await
    }

    /// Calls one more into a call; [`SocialEvent::MemberJoined`] or [`SocialEvent::Passed`] follows.
    pub async fn add(&self, call: CallId, user: &str) -> Result<(), SocialError> {
        self.act(call, call_act::ADD, names(&[user])?).await
    }

    /// Leaves: whoever watches is told at once, and a call is hung up. At most 1.2 s.
    pub async fn leave(&self) {
        if let Some(sender) = self.requests.sender() {
            sender.leave().await;
        }
        self.requests.close();
        // Only so that a process which ends now has sent its last packet.
        let _ = tokio::time::timeout(DRAIN, self.endpoint.wait_idle()).await;
    }

    async fn act(&self, call: CallId, act: u8, users: Vec<Vec<u8>>) -> Result<(), SocialError> {
        let asked = CallRequest { request: 0, act, call: call.0, users, text: Vec::new() };
        self.requests.call(asked).await.map(drop)
    }
}

impl Drop for Social {
    fn drop(&mut self) {
        self.requests.close();
    }
}

fn names(names: &[&str]) -> Result<Vec<Vec<u8>>, SocialError> {
    if names.iter().any(|name| name.is_empty() || name.len() > limits::MAX_NAME) {
        return Err(SocialError::Limit("a user or role has 1 to 128 bytes"));
    }
    Ok(names.iter().map(|name| name.as_bytes().to_vec()).collect())
}
