//! The inputs and outputs of the social machine.

use bytes::Bytes;
use nucleus_protocol::session::Code;

use super::call::{CallAct, CallSeed};
use super::users::EnterRequest;
use super::watchers::UserFilter;
use crate::control::CallSummary;
use crate::ids::{DeviceId, RequestId};
use crate::plane_event::CallTotals;

/// The inputs of the social machine.
pub enum SocialInput {
    /// Time has passed.
    Timeout,
    /// Adds a device. The reply is [`SocialOutput::EnterReply`].
    Enter {
        /// The id for the reply.
        request: RequestId,
        /// The device and its user.
        enter: EnterRequest,
    },
    /// Removes a device that leaves, or that is disconnected with this code.
    Leave(DeviceId, Code),
    /// Removes a device whose session was lost.
    Lost(DeviceId),
    /// Handles a request of a device.
    Ask(DeviceId, DeviceRequest),
    /// Reports the outcome of [`SocialOutput::OpenRoom`].
    RoomOpened {
        /// The call.
        call: u64,
        /// The reason, if the room could not be created.
        result: Result<(), Code>,
    },
    /// Reports that the room of the call with this number is over.
    RoomOver(u64),
    /// Asks which calls there are. The reply is [`SocialOutput::Calls`].
    Calls(RequestId),
    /// Ends a call on behalf of an operator. The reply is [`SocialOutput::Calls`] with this call, or with
    /// none if there is no such call.
    EndCall(RequestId, u64),
    /// Removes all devices of a user, and closes their sessions with this code.
    Remove(String, Code),
    /// Ends all calls and sessions with this code, and refuses new devices.
    Shutdown(Code),
}

/// A request of a device.
#[derive(Clone, Debug)]
pub enum DeviceRequest {
    /// Chooses the device's status: one of [`nucleus_protocol::session::status`], except offline.
    SetStatus(u8),
    /// Watches the users that fit the filter; `None` if the filter is invalid and the request must
    /// be refused. The number is the client's number of the request.
    Watch(u32, Option<UserFilter>),
    /// Acts on a call; `None` if the action is invalid and the request must be refused. The number
    /// is the client's number of the request.
    Call(u32, Option<CallAct>, CallSeed),
}

/// The outputs of the social machine.
#[derive(Debug)]
pub enum SocialOutput {
    /// The reply to [`SocialInput::Enter`]. It comes before all other outputs for the device.
    EnterReply {
        /// The request.
        request: RequestId,
        /// The id of the device, or the code to refuse with: [`Code::ShuttingDown`].
        result: Result<DeviceId, Code>,
    },
    /// Sends a message to a device.
    Send(DeviceId, Bytes),
    /// Closes the session of a device with this code.
    Disconnect(DeviceId, Code),
    /// Creates the room of a call, which only these users may join. The shell reports the outcome
    /// by [`SocialInput::RoomOpened`].
    OpenRoom {
        /// The call.
        call: u64,
        /// The room's name.
        room: String,
        /// The invited users.
        users: Vec<String>,
    },
    /// Invites a user to the room of a call, or ends the invitation. A user who has joined stays.
    Invite {
        /// The room's name.
        room: String,
        /// The user.
        user: String,
        /// Whether the user is invited now.
        invited: bool,
    },
    /// The reply to [`SocialInput::Calls`] and [`SocialInput::EndCall`].
    Calls(RequestId, Vec<CallSummary>),
    /// Reports for the history that a call began.
    CallStarted {
        /// The call.
        call: u64,
        /// The user who calls.
        caller: String,
    },
    /// Reports for the history that a call ended. Each call that began ends exactly once.
    CallEnded {
        /// The call.
        call: u64,
        /// The user who called.
        caller: String,
        /// What there is to say of the call.
        totals: Box<CallTotals>,
    },
    /// Logs that a call began or ended.
    Audit {
        /// The call.
        call: u64,
        /// All users in the call.
        users: Vec<String>,
        /// The code with which the call ended; `None` if it began.
        ended: Option<Code>,
    },
}
