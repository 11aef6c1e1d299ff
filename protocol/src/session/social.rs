//! Sessions outside rooms: who can be reached, and calls. Bound like every archived message: **a
//! released struct never changes**.

use rkyv::{Archive, Deserialize, Serialize};

/// Whether a user can be reached.
pub mod status {
    /// Has no session; whoever is it is in no list.
    pub const OFFLINE: u8 = 0;
    /// Can be called.
    pub const ONLINE: u8 = 1;
    /// Wants no calls, or is in one.
    pub const BUSY: u8 = 2;
    /// Can be called, but the person may not be there.
    pub const AWAY: u8 = 3;
}

/// What a [`CallRequest`] does.
pub mod call_act {
    /// Calls `users`, 1 to 16; `text` says what it is about.
    pub const START: u8 = 1;
    /// Takes the call.
    pub const ACCEPT: u8 = 2;
    /// Does not take it.
    pub const REJECT: u8 = 3;
    /// Takes back a call that nobody has taken yet.
    pub const CANCEL: u8 = 4;
    /// Leaves the call.
    pub const HANG_UP: u8 = 5;
    /// Calls one more, the only one of `users`.
    pub const ADD: u8 = 6;
}

/// What a [`CallUpdate`] tells.
pub mod call_update {
    /// `user` calls: it rings. `members` are in the call, `text` says what it is about.
    pub const INCOMING: u8 = 1;
    /// It rings no more, and `code` says why.
    pub const RINGING_ENDED: u8 = 2;
    /// This user calls `members`.
    pub const CALLING: u8 = 3;
    /// The call is taken: `members` meet in `room`.
    pub const ACCEPTED: u8 = 4;
    /// `user` is in the call now.
    pub const JOINED: u8 = 5;
    /// `user` is no more, and `code` says why.
    pub const LEFT: u8 = 6;
    /// `user`, who was called, does not come; `code` says why. The call goes on.
    pub const PASSED: u8 = 7;
    /// The call is over, and `code` says why.
    pub const ENDED: u8 = 8;
}

/// A client asks to be reachable, and to look around, without a room.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Enter {
    /// The join token, a JWT.
    pub token: Vec<u8>,
    /// Display name, UTF-8, 0 to 128 bytes; empty takes the token's.
    pub name: Vec<u8>,
    /// One of [`status`], but not offline.
    pub status: u8,
}

/// The client is in.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// User id from the token.
    pub user: Vec<u8>,
    /// Display name.
    pub name: Vec<u8>,
    /// Role from the token.
    pub role: Vec<u8>,
    /// The server's clock, µs, when this was sent.
    pub server_time: u64,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
    /// How long a call rings, ms.
    pub ring_ms: u32,
    /// The call that this user is in or called to, whose [`CallUpdate`] follows; 0: none.
    pub call: u64,
}

/// A client wants to see who is there, in place of what it watched before.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WatchUsers {
    /// The client's number for it.
    pub request: u32,
    /// Whoever has one of these roles, ...
    pub roles: Vec<Vec<u8>>,
    /// ... and these users; both empty: everybody. Together at most 64 names.
    pub users: Vec<Vec<u8>>,
}

/// A client chooses its device's status.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SetStatus {
    /// One of [`status`], but not offline.
    pub status: u8,
}

/// Who is there: whole in answer to [`WatchUsers`], then what changed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct UserList {
    /// Of the [`WatchUsers`] that it answers.
    pub request: u32,
    /// 0, or the [`super::Code`] with which that was refused.
    pub code: u16,
    /// 1: everybody that is shown; what was known before is void. 0: what changed.
    pub whole: u8,
    /// How many there are that match, shown or not.
    pub total: u32,
    /// Newcomers, and whose status changed.
    pub users: Vec<UserInfo>,
    /// Users that are shown no more; to be applied first.
    pub gone: Vec<Vec<u8>>,
}

/// A user that can be seen.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// User id from the token.
    pub user: Vec<u8>,
    /// Display name.
    pub name: Vec<u8>,
    /// Role from the token.
    pub role: Vec<u8>,
    /// One of [`status`].
    pub status: u8,
}

/// A client acts on a call.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// The client's number for it.
    pub request: u32,
    /// One of [`call_act`].
    pub act: u8,
    /// Which call; 0 to start one.
    pub call: u64,
    /// For [`call_act::START`] and [`call_act::ADD`]; else empty.
    pub users: Vec<Vec<u8>>,
    /// For [`call_act::START`]: at most 256 bytes for the person who is called; else empty.
    pub text: Vec<u8>,
}

/// What became of a [`CallRequest`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CallReply {
    /// Its number.
    pub request: u32,
    /// 0, or the [`super::Code`] with which it was refused.
    pub code: u16,
    /// The call; of a start its number from now on.
    pub call: u64,
}

/// Something happened to a call of this user's.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CallUpdate {
    /// Which.
    pub call: u64,
    /// One of [`call_update`]; what it does not use is 0 or empty.
    pub kind: u8,
    /// Whom it is about.
    pub user: Vec<u8>,
    /// The display name of `user`.
    pub name: Vec<u8>,
    /// The room's name.
    pub room: Vec<u8>,
    /// A [`super::Code`].
    pub code: u16,
    /// User ids.
    pub members: Vec<Vec<u8>>,
    /// What the call is about.
    pub text: Vec<u8>,
}
