//! What an application hears outside of rooms.

use nucleus_protocol::session::{CallUpdate, Code, call_update, status};

/// A call, unique on its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Whether somebody can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Can be called.
    Online,
    /// Wants no calls, or is in one.
    Busy,
    /// Can be called, but may not be there.
    Away,
}

impl Status {
    pub(super) fn to_wire(self) -> u8 {
        match self {
            Status::Online => status::ONLINE,
            Status::Busy => status::BUSY,
            Status::Away => status::AWAY,
        }
    }

    /// A later version's status is that of somebody who may not be there.
    pub(super) fn from_wire(number: u8) -> Status {
        match number {
            status::ONLINE => Status::Online,
            status::BUSY => Status::Busy,
            _ => Status::Away,
        }
    }
}

/// Somebody who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// User id from the token.
    pub user: String,
    /// Display name.
    pub name: String,
    /// Role from the token.
    pub role: String,
    /// Whether they can be called.
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

/// Something happened outside of rooms.
///
/// Calls are the user's, not the device's: every device of a user hears of them. A code is `None` where
/// this version does not know its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocialEvent {
    /// Rooms that are watched have come, changed or gone: [`Social::rooms`](crate::Social::rooms) has them.
    Rooms {
        /// Names of those that are new or have changed.
        changed: Vec<String>,
        /// Names of those that are gone, or do not fit any more.
        gone: Vec<String>,
        /// Rooms that fit, also those beyond the 500 that are shown.
        total: u32,
    },
    /// Somebody calls: ring.
    Incoming {
        /// The call.
        call: CallId,
        /// User id of who calls.
        from: String,
        /// Display name of who calls.
        name: String,
        /// What it is about.
        text: String,
    },
    /// Ring no more.
    RingingEnded {
        /// The call.
        call: CallId,
        /// [`Code::Answered`] elsewhere, [`Code::Cancelled`], [`Code::NoAnswer`] or, on another device,
        /// [`Code::Declined`]; `None` also where it ended while the session was lost.
        code: Option<Code>,
    },
    /// This user calls, with another device, or with this one where the session was lost before it heard
    /// the answer.
    Calling {
        /// The call.
        call: CallId,
        /// Whom.
        users: Vec<String>,
    },
    /// The call is taken, and its members meet in `room`: [`connect`](crate::connect) with it. Comes
    /// again after [`SocialEvent::Returned`], with the members as they are then.
    Accepted {
        /// The call.
        call: CallId,
        /// The room's name.
        room: String,
        /// User ids.
        members: Vec<String>,
        /// This device called or took the call, also where it was lost before it heard the answer; else
        /// another one of this user's did.
        here: bool,
    },
    /// Somebody was added to the call.
    MemberJoined {
        /// The call.
        call: CallId,
        /// User id.
        user: String,
        /// Display name.
        name: String,
    },
    /// Somebody left the call, which goes on.
    MemberLeft {
        /// The call.
        call: CallId,
        /// User id.
        user: String,
        /// Why.
        code: Option<Code>,
    },
    /// Somebody who was called does not come: [`Code::Declined`], [`Code::NoAnswer`] or
    /// [`Code::Unreachable`]. The call goes on.
    Passed {
        /// The call.
        call: CallId,
        /// User id.
        user: String,
        /// Why.
        code: Option<Code>,
    },
    /// The call is over: [`Code::Left`] when the others hung up, or why it was never taken.
    Ended {
        /// The call.
        call: CallId,
        /// Why; `None` also where it ended while the session was lost.
        code: Option<Code>,
    },
    /// What changed of the people that are watched, see [`crate::Social::users`].
    Users {
        /// Newcomers, and whose status changed.
        changed: Vec<UserInfo>,
        /// User ids of those who are there no more.
        gone: Vec<String>,
        /// How many there are; a view shows at most 1,000.
        total: u32,
    },
    /// The session was lost; it is being taken up again.
    Interrupted {
        /// Why, when the server said so; `None` when the connection was lost.
        code: Option<Code>,
        /// The same for a person.
        text: String,
    },
    /// The session is back, with the status and the view of people as before. A call that goes on is
    /// told again.
    Returned,
    /// The session is over; nothing follows.
    Closed {
        /// Why, when the server or this client said so; `None` when the connection was lost.
        code: Option<Code>,
        /// The same for a person.
        text: String,
    },
}

/// `None`: a kind of a later version's.
pub(super) fn call_event(update: CallUpdate, here: bool) -> Option<SocialEvent> {
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
        call_update::ACCEPTED => {
            SocialEvent::Accepted { call, room: text(&update.room), members: members(), here }
        }
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
