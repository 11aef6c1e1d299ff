//! Sessions outside rooms: users, their status, and calls. As with every archived message, **a
//! released struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

use super::SessionSetting;

/// The status of a user.
pub mod status {
    /// The user has no session. No list shows such a user.
    pub const OFFLINE: u8 = 0;
    /// The user can be called.
    pub const ONLINE: u8 = 1;
    /// The user accepts no calls, or is in a call.
    pub const BUSY: u8 = 2;
    /// The user can be called, but may not be at the device.
    pub const AWAY: u8 = 3;
}

/// The acts of a [`CallRequest`].
pub mod call_act {
    /// Calls 1 to 16 `users`; `text` is the subject.
    pub const START: u8 = 1;
    /// Accepts the call.
    pub const ACCEPT: u8 = 2;
    /// Rejects the call.
    pub const REJECT: u8 = 3;
    /// Cancels a call that nobody has accepted yet.
    pub const CANCEL: u8 = 4;
    /// Leaves the call.
    pub const HANG_UP: u8 = 5;
    /// Calls one more user, the single entry of `users`.
    pub const ADD: u8 = 6;
}

/// The kinds of a [`CallUpdate`].
pub mod call_update {
    /// `user` calls this user, and the call rings. `members` are in the call; `text` is the
    /// subject.
    pub const INCOMING: u8 = 1;
    /// The call stopped ringing; `code` is the reason.
    pub const RINGING_ENDED: u8 = 2;
    /// This user calls `members`.
    pub const CALLING: u8 = 3;
    /// The call was accepted; `members` meet in `room`.
    pub const ACCEPTED: u8 = 4;
    /// `user` joined the call.
    pub const JOINED: u8 = 5;
    /// `user` left the call; `code` is the reason.
    pub const LEFT: u8 = 6;
    /// `user` was called but does not join; `code` is the reason. The call continues.
    pub const PASSED: u8 = 7;
    /// The call ended; `code` is the reason.
    pub const ENDED: u8 = 8;
}

/// A client asks for a session outside rooms, in which it can be called and can watch users and
/// rooms.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Enter {
    /// The join token, a JWT.
    pub token: Vec<u8>,
    /// Display name, UTF-8, 0 to 128 bytes; if empty, the token's name is used.
    pub name: Vec<u8>,
    /// The device's status: one of [`status`] except [`status::OFFLINE`].
    pub status: u8,
}

/// The server's answer to a successful [`Enter`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// User id from the token.
    pub user: Vec<u8>,
    /// Display name.
    pub name: Vec<u8>,
    /// Role from the token.
    pub role: Vec<u8>,
    /// The server's clock when it sent this message, µs.
    pub server_time: u64,
    /// The epoch of the server's clock, which changes when the server restarts.
    pub clock_epoch: u32,
    /// The server instance id, random: see [`crate::ids::ServerInstanceId`].
    pub server_instance: [u8; 8],
    /// How long a call rings, ms.
    pub ring_ms: u32,
    /// The call that this user is in or that rings for this user; its [`CallUpdate`] follows. 0 for
    /// none.
    pub call: u64,
    /// Where a client that lost its session may enter again: see [`super::Joined::entries`].
    pub entries: Vec<Vec<u8>>,
    /// What holds for this session: see [`super::SessionSettings`].
    pub settings: Vec<SessionSetting>,
}

/// A client subscribes to users. This replaces its earlier subscription to users.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WatchUsers {
    /// The client's number of this request.
    pub request: u32,
    /// Roles whose users are watched.
    pub roles: Vec<Vec<u8>>,
    /// Ids of further users to watch. If both lists are empty, every user is watched. Together both
    /// hold at most 64 names.
    pub users: Vec<Vec<u8>>,
}

/// A client sets its device's status.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SetStatus {
    /// The new status, one of [`status`] except [`status::OFFLINE`].
    pub status: u8,
}

/// The watched users: the complete list in answer to [`WatchUsers`], then each change.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct UserList {
    /// The number of the [`WatchUsers`] that this list answers.
    pub request: u32,
    /// 0, or the [`super::Code`] that refuses the request.
    pub code: u16,
    /// 1 if `users` is the complete list, which replaces the earlier one; 0 if it holds the
    /// changes.
    pub whole: u8,
    /// Number of matching users, including those that the list leaves out.
    pub total: u32,
    /// New users, and users whose status changed.
    pub users: Vec<UserInfo>,
    /// Ids of users that are no longer in the list. To be applied before `users`.
    pub gone: Vec<Vec<u8>>,
}

/// A user as the list shows it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// User id from the token.
    pub user: Vec<u8>,
    /// Display name.
    pub name: Vec<u8>,
    /// Role from the token.
    pub role: Vec<u8>,
    /// The user's status, one of [`status`].
    pub status: u8,
}

/// A client acts on a call.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// The client's number of this request.
    pub request: u32,
    /// The act, one of [`call_act`].
    pub act: u8,
    /// Number of the call; 0 for [`call_act::START`].
    pub call: u64,
    /// Ids of the users to call, for [`call_act::START`] and [`call_act::ADD`]; else empty.
    pub users: Vec<Vec<u8>>,
    /// For [`call_act::START`]: the subject that called users see, at most 256 bytes; else empty.
    pub text: Vec<u8>,
}

/// The server's answer to a [`CallRequest`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CallReply {
    /// The number of the [`CallRequest`].
    pub request: u32,
    /// 0, or the [`super::Code`] that refuses the request.
    pub code: u16,
    /// Number of the call. [`call_act::START`] assigns it.
    pub call: u64,
}

/// A change in a call of this user.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CallUpdate {
    /// Number of the call.
    pub call: u64,
    /// The kind of the change, one of [`call_update`]. Fields that the kind does not use are 0 or
    /// empty.
    pub kind: u8,
    /// Id of the user whom the change concerns.
    pub user: Vec<u8>,
    /// The display name of `user`.
    pub name: Vec<u8>,
    /// The room's name.
    pub room: Vec<u8>,
    /// The reason, a [`super::Code`].
    pub code: u16,
    /// Ids of users in the call.
    pub members: Vec<Vec<u8>>,
    /// Subject of the call.
    pub text: Vec<u8>,
}
