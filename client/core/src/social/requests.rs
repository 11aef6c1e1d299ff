//! The requests of a social session, and their results.

use nucleus_protocol::limits;
use nucleus_protocol::session::{
    CallReply, CallRequest, Code, WatchRooms, WatchUsers, call_act, encode,
};
use nucleus_protocol::time::Time;

use super::calls::PendingSocialRequest;
use super::event::CallId;
use super::{SocialClient, Status};
use crate::refusal;
use crate::requests::RequestNumber;
use crate::rooms::Query;

/// The error of a request in a social session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocialError {
    /// The server refused the request: [`Code::Busy`], [`Code::Unreachable`], [`Code::Answered`]
    /// (another device or user was faster), [`Code::NoSuchEntity`] (there is no such call),
    /// [`Code::RoomFull`], [`Code::Forbidden`], [`Code::JoinRate`] (too many calls were started in
    /// a short time) or [`Code::TenantCalls`].
    #[error(
        "the server refused ({}): {}.{}",
        refusal::code_name(*.code, *.number), refusal::reason(*.code), refusal::advice(*.code)
    )]
    Refused {
        /// The reason; `None` if this version does not know the number.
        code: Option<Code>,
        /// The reason's number on the wire.
        number: u16,
    },
    /// The request violates a limit. Nothing was sent.
    #[error("{0}")]
    Limit(&'static str),
    /// No reply was received. Either the session was lost, or the session was not read because the
    /// application was too far behind with its events. It is unknown whether the request succeeded.
    /// After `SocialEvent::Returned` a call that continues is reported again.
    #[error("no reply came: it is unknown whether the request succeeded")]
    Interrupted,
    /// The session is lost and the client is trying to resume it. Nothing was sent.
    #[error("the session is lost and not resumed yet; nothing was sent")]
    NotConnected,
    /// 16 requests wait for their replies, or their results for the caller. Nothing was sent.
    #[error("too many requests wait for the server; nothing was sent")]
    TooMany,
    /// The social session is closed. Nothing was sent.
    #[error("the social session is closed")]
    Closed,
}

/// The call of a request, or why there is none. A request that is not about a call has the call 0.
pub type CallResult = Result<CallId, SocialError>;

pub(super) fn call_result(number: u16, call: u64) -> CallResult {
    match number {
        0 => Ok(CallId(call)),
        number => Err(SocialError::Refused { code: Code::from_number(number.into()), number }),
    }
}

impl SocialClient {
    /// Calls 1 to 16 users on all of their devices. `text`, at most 256 bytes, is shown to them.
    /// [`Self::take_result`] returns the call.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub fn start(
        &mut self,
        now: Time,
        users: &[&str],
        text: &str,
    ) -> Result<RequestNumber, SocialError> {
        if users.is_empty() || users.len() > limits::MAX_CALL_USERS {
            return Err(SocialError::Limit("a call is for 1 to 16 users"));
        }
        if text.len() > limits::MAX_CALL_TEXT {
            return Err(SocialError::Limit("the text of a call has at most 256 bytes"));
        }
        let (users, text) = (names(users)?, text.as_bytes().to_vec());
        self.call(now, CallRequest { request: 0, act: call_act::START, call: 0, users, text })
    }

    /// Sends a request about an existing call: `act` is one of [`call_act`]. `user` is whom to add.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub fn act(
        &mut self,
        now: Time,
        call: CallId,
        act: u8,
        user: Option<&str>,
    ) -> Result<RequestNumber, SocialError> {
        let users = names(user.as_slice())?;
        self.call(now, CallRequest { request: 0, act, call: call.0, users, text: Vec::new() })
    }

    fn call(&mut self, now: Time, mut request: CallRequest) -> Result<RequestNumber, SocialError> {
        request.request = self.start_request(request.act)?;
        let number = request.request;
        self.session.send(encode(&request));
        self.advance(now);
        Ok(RequestNumber(number))
    }

    /// Watches the users that have one of `roles` or are one of `users`, together at most 64 names.
    /// If both are empty, watches all users of the tenant and product. Replaces the users that were
    /// watched before.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub fn watch_users(
        &mut self,
        now: Time,
        roles: &[&str],
        users: &[&str],
    ) -> Result<RequestNumber, SocialError> {
        if roles.len() + users.len() > limits::MAX_WATCH_NAMES {
            return Err(SocialError::Limit("at most 64 roles and users can be watched"));
        }
        let (roles, users) = (names(roles)?, names(users)?);
        let request = self.start_request(0)?;
        let watch = WatchUsers { request, roles, users };
        self.session.send(encode(&watch));
        self.watched_users = Some(watch);
        self.advance(now);
        Ok(RequestNumber(request))
    }

    /// Watches the rooms of the lobby that match `query` and have this version of the application.
    /// Replaces the rooms that were watched before.
    ///
    /// # Errors
    /// See [`SocialError`].
    pub fn watch_rooms(
        &mut self,
        now: Time,
        version: &str,
        query: Query,
    ) -> Result<RequestNumber, SocialError> {
        if version.len() > limits::MAX_APPLICATION_VERSION {
            return Err(SocialError::Limit("the version must have at most 32 bytes"));
        }
        query.validate().map_err(SocialError::Limit)?;
        let (version, filters) = (version.as_bytes().to_vec(), query.into_filters());
        let request = self.start_request(0)?;
        let watch = WatchRooms { request, version, filters };
        self.session.send(encode(&watch));
        self.rooms.watch(watch);
        self.advance(now);
        Ok(RequestNumber(request))
    }

    /// Sets this device's status, now or when there is a session.
    pub fn set_status(&mut self, now: Time, status: Status) {
        self.status = status;
        self.advance(now);
    }

    /// Takes the result of a request; `None` while there is none.
    pub fn take_result(&mut self, request: RequestNumber) -> Option<CallResult> {
        self.requests.take(request.0)
    }

    /// Forgets a request for whose result nobody waits. The reply still says what this device has
    /// done.
    pub fn forget(&mut self, request: RequestNumber) {
        self.requests.forget_result(request.0);
        if let Some(pending) = self.requests.get_mut(request.0) {
            pending.is_wanted = false;
        }
    }

    fn start_request(&mut self, act: u8) -> Result<u32, SocialError> {
        if self.is_closed() {
            Err(SocialError::Closed)
        } else if !self.session.is_running() {
            Err(SocialError::NotConnected)
        } else if self.is_behind {
            Err(SocialError::Interrupted)
        } else if !self.requests.has_capacity() || !self.session.can_send() {
            Err(SocialError::TooMany)
        } else {
            Ok(self.requests.start(PendingSocialRequest { act, is_wanted: true }))
        }
    }

    /// Handles the reply to a request.
    pub(super) fn take_reply(&mut self, reply: &CallReply) {
        // An unknown number belongs to no pending request.
        if let Some(pending) = self.finish(reply.request, call_result(reply.code, reply.call)) {
            self.calls.on_reply(pending.act, reply);
        }
    }

    /// Ends a request with its result.
    pub(super) fn finish(
        &mut self,
        request: u32,
        result: CallResult,
    ) -> Option<PendingSocialRequest> {
        let pending = self.requests.remove(request)?;
        if pending.is_wanted {
            self.requests.keep(request, result);
        }
        Some(pending)
    }

    /// Gives all callers [`SocialError::Interrupted`]. The requests stay, because their replies
    /// still say what this device has done.
    pub(super) fn interrupt_callers(&mut self) {
        let waiting: Vec<u32> = self.requests.pending().map(|(number, _)| number).collect();
        for number in waiting {
            let wanted = self.requests.get_mut(number).map(|p| std::mem::take(&mut p.is_wanted));
            if wanted == Some(true) {
                self.requests.keep(number, Err(SocialError::Interrupted));
            }
        }
    }

    /// Ends all pending requests, because no replies will come.
    pub(super) fn end_requests(&mut self) {
        self.interrupt_callers();
        for (_, pending) in self.requests.finish_if(|_| true) {
            self.calls.on_loss(pending.act);
        }
    }
}

fn names(names: &[&str]) -> Result<Vec<Vec<u8>>, SocialError> {
    if names.iter().any(|name| name.is_empty() || name.len() > limits::MAX_NAME) {
        return Err(SocialError::Limit("a user or role must have 1 to 128 bytes"));
    }
    Ok(names.iter().map(|name| name.as_bytes().to_vec()).collect())
}
