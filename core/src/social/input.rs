//! What the social machine takes, and what it wants done.

use bytes::Bytes;
use nucleus_protocol::session::Code;

use super::call::{CallAct, CallSeed};
use super::users::Visitor;
use super::watchers::UserFilter;
use crate::ids::{DeviceId, RequestId};

/// What the social machine takes.
pub enum SocialInput {
    /// Time has passed.
    Timeout,
    /// A device wants in; answered by [`SocialOutput::EnterReply`].
    Enter {
        /// For the reply.
        request: RequestId,
        /// Who.
        visitor: Visitor,
    },
    /// The device goes on purpose, or is made to.
    Leave(DeviceId, Code),
    /// The device's session died without a word.
    Lost(DeviceId),
    /// A device asks for something.
    Ask(DeviceId, DeviceRequest),
    /// The room of a call has been made, or could not be.
    RoomOpened {
        /// The call.
        call: u64,
        /// Or why not.
        result: Result<(), Code>,
    },
    /// The room of a call is over.
    RoomOver(u64),
    /// End it all, and tell everybody why.
    Shutdown(Code),
}

/// What a device asks for.
#[derive(Clone, Debug)]
pub enum DeviceRequest {
    /// Chooses the device's status, one of [`nucleus_protocol::session::status`] but not offline.
    SetStatus(u8),
    /// Watches the users that fit the filter; `None`: the filter breaks the limits, and the request is refused.
    /// The number is the client's for the request.
    Watch(u32, Option<UserFilter>),
    /// Acts on a call; `None`: the act breaks the limits, and the request is refused. The number is the
    /// client's for the request.
    Call(u32, Option<CallAct>, CallSeed),
}

/// What the social machine wants done.
#[derive(Debug)]
pub enum SocialOutput {
    /// The reply to [`SocialInput::Enter`]: the device's id, or the code to refuse with. Comes in front
    /// of everything else that is for the device.
    EnterReply {
        /// Which request.
        request: RequestId,
        /// The id, or [`Code::ShuttingDown`].
        result: Result<DeviceId, Code>,
    },
    /// A message for a session.
    Send(DeviceId, Bytes),
    /// Close the session and say why.
    Disconnect(DeviceId, Code),
    /// Make the room of a call for these users alone, and say how that went by
    /// [`SocialInput::RoomOpened`].
    OpenRoom {
        /// The call.
        call: u64,
        /// The room's name.
        room: String,
        /// Its invited users.
        users: Vec<String>,
    },
    /// Let a user into a call's room too, or no more; one that is in stays.
    Invite {
        /// The room's name.
        room: String,
        /// Whom.
        user: String,
        /// False: no more.
        invited: bool,
    },
    /// For the log: a call of these users began, or ended with a code.
    Audit {
        /// The call.
        call: u64,
        /// Everybody in it.
        users: Vec<String>,
        /// Why it ended; `None`: it began.
        ended: Option<Code>,
    },
}
