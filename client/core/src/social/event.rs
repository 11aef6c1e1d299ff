//! The events that a social session delivers to the application.

use nucleus_protocol::session::{CallUpdate, Code, call_update, status};

use crate::sized::HeldBytes;

/// The number of a call, unique on its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Whether a user can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The user can be called.
    Online,
    /// The user does not want to be called, or is in a call.
    Busy,
    /// The user can be called, but may not answer.
    Away,
}

impl Status {
    /// Returns the number on the wire.
    pub fn to_wire(self) -> u8 {
        match self {
            Status::Online => status::ONLINE,
            Status::Busy => status::BUSY,
            Status::Away => status::AWAY,
        }
    }

    /// Converts a number from the wire. A number that this version does not know means away.
    pub fn from_wire(number: u8) -> Status {
        match number {
            status::ONLINE => Status::Online,
            status::BUSY => Status::Busy,
            _ => Status::Away,
        }
    }
}

/// A user with at least one social session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// User id from the token.
    pub user: String,
    /// Display name.
    pub name: String,
    /// Role from the token.
    pub role: String,
    /// Whether the user can be called.
    pub status: Status,
}

impl From<nucleus_protocol::session::UserInfo> for UserInfo {
    fn from(user: nucleus_protocol::session::UserInfo) -> Self {
        Self {
            user: text(&user.user),
            name: text(&user.name),
            role: text(&user.role),
            status: Status::from_wire(user.status),
        }
    }
}

impl HeldBytes for UserInfo {
    fn held_bytes(&self) -> usize {
        self.user.len() + self.name.len() + self.role.len()
    }
}

/// An event of the social session, returned by `Social::next`.
///
/// A call belongs to a user, not to a device: every device of the user receives the call's events.
/// A `code` is `None` if this version does not know its number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocialEvent {
    /// The watched rooms changed. `Social::rooms` returns all of them.
    Rooms {
        /// Names of the rooms that are new or have changed.
        changed: Vec<String>,
        /// Names of the rooms that have ended or no longer match.
        gone: Vec<String>,
        /// Number of rooms that match, including those beyond the 500 that are listed.
        total: u32,
    },
    /// A user calls this user. The device should ring.
    Incoming {
        /// The call.
        call: CallId,
        /// User id of the caller.
        from: String,
        /// Display name of the caller.
        name: String,
        /// Text of the caller about the call.
        text: String,
    },
    /// The call no longer rings on this device. The device should stop ringing.
    RingingEnded {
        /// The call.
        call: CallId,
        /// The reason: [`Code::Answered`] or [`Code::Declined`] on another device,
        /// [`Code::Cancelled`] or [`Code::NoAnswer`]. `None` also if the call ended while the
        /// session was lost.
        code: Option<Code>,
    },
    /// This user has started a call, on another device, or on this one if the session was lost
    /// before the reply to the request came.
    Calling {
        /// The call.
        call: CallId,
        /// User ids of the called users.
        users: Vec<String>,
    },
    /// The call was accepted. Its members meet in `room`: join that room with
    /// `connect`. Reported again after [`SocialEvent::Returned`], with the
    /// current members.
    Accepted {
        /// The call.
        call: CallId,
        /// The room's name.
        room: String,
        /// User ids of the members.
        members: Vec<String>,
        /// Whether this device started or accepted the call. Also true if the session was lost
        /// before the reply to that request came. If false, another device of this user started or
        /// accepted the call.
        this_device: bool,
    },
    /// A user joined the call.
    MemberJoined {
        /// The call.
        call: CallId,
        /// User id of the new member.
        user: String,
        /// Display name of the new member.
        name: String,
    },
    /// A member left the call. The call continues.
    MemberLeft {
        /// The call.
        call: CallId,
        /// User id of the user.
        user: String,
        /// The reason.
        code: Option<Code>,
    },
    /// A called user did not join: [`Code::Declined`], [`Code::NoAnswer`] or [`Code::Unreachable`].
    /// The call continues.
    Passed {
        /// The call.
        call: CallId,
        /// User id of the user.
        user: String,
        /// The reason.
        code: Option<Code>,
    },
    /// The call has ended.
    Ended {
        /// The call.
        call: CallId,
        /// The reason: [`Code::Left`] if the other members hung up, or the reason why no user
        /// accepted. `None` also if the call ended while the session was lost.
        code: Option<Code>,
    },
    /// The watched users changed. `Social::users` returns all of them.
    Users {
        /// Users that are new or have changed.
        changed: Vec<UserInfo>,
        /// User ids of users that are no longer connected or watched.
        gone: Vec<String>,
        /// Number of users that match, including those beyond the 1,000 that are listed.
        total: u32,
    },
    /// The session was lost, and the client tries to resume it. [`SocialEvent::Returned`] or
    /// [`SocialEvent::Closed`] follows.
    Interrupted {
        /// The reason that the server gave; `None` if the connection was lost without one.
        code: Option<Code>,
        /// The reason as text for a person.
        text: String,
    },
    /// The session is back. The status and the watched users and rooms are as before. A call that
    /// continues is reported again.
    Returned,
    /// The session is closed. This is the last event.
    Closed {
        /// The reason that the server or this client gave; `None` if the connection was lost
        /// without one.
        code: Option<Code>,
        /// The reason as text for a person.
        text: String,
    },
}

impl HeldBytes for SocialEvent {
    fn held_bytes(&self) -> usize {
        match self {
            SocialEvent::Rooms { changed, gone, .. } => changed.held_bytes() + gone.held_bytes(),
            SocialEvent::Users { changed, gone, .. } => changed.held_bytes() + gone.held_bytes(),
            SocialEvent::Incoming { from, name, text, .. } => from.len() + name.len() + text.len(),
            SocialEvent::Calling { users, .. } => users.held_bytes(),
            SocialEvent::Accepted { room, members, .. } => room.len() + members.held_bytes(),
            SocialEvent::MemberJoined { user, name, .. } => user.len() + name.len(),
            SocialEvent::MemberLeft { user, .. } | SocialEvent::Passed { user, .. } => user.len(),
            SocialEvent::Interrupted { text, .. } | SocialEvent::Closed { text, .. } => text.len(),
            SocialEvent::RingingEnded { .. }
            | SocialEvent::Ended { .. }
            | SocialEvent::Returned => 0,
        }
    }
}

/// Converts an update of a call. Returns `None` for a kind that this version does not know.
pub(super) fn call_event(update: CallUpdate, this_device: bool) -> Option<SocialEvent> {
    let call = CallId(update.call);
    let (user, name) = (text(&update.user), text(&update.name));
    let code = Code::from_number(update.code.into());
    let members = || update.members.iter().map(|member| text(member)).collect();
    Some(match update.kind {
        call_update::INCOMING => {
            SocialEvent::Incoming { call, from: user, name, text: text(&update.text) }
        }
        call_update::RINGING_ENDED => SocialEvent::RingingEnded { call, code },
        call_update::CALLING => SocialEvent::Calling { call, users: members() },
        call_update::ACCEPTED => SocialEvent::Accepted {
            call,
            room: text(&update.room),
            members: members(),
            this_device,
        },
        call_update::JOINED => SocialEvent::MemberJoined { call, user, name },
        call_update::LEFT => SocialEvent::MemberLeft { call, user, code },
        call_update::PASSED => SocialEvent::Passed { call, user, code },
        call_update::ENDED => SocialEvent::Ended { call, code },
        _ => return None,
    })
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
