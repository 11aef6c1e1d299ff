//! [`SocialClient`]: a user's device outside rooms, over all of its sessions. It can be called, calls
//! other users, and watches users and rooms.
//!
//! A shell drives it as a [`DrivenClient`].

mod calls;
mod event;
mod requests;
mod rooms;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use nucleus_protocol::session::{
    Enter, Entered, Features, Schema, SetStatus, UserList, WatchUsers, encode, owned,
};
use nucleus_protocol::time::Time;

use crate::limits;
use crate::requests::Requests;
use crate::session::join_token::JoinToken;
use crate::session::{
    Capabilities, ClientOptions, ClientOutput, ClientSession, DrivenClient, JoinError,
    ProtocolError, ReceivedItem, SessionInput, SessionPurpose, SessionStep, check_opening,
};
use crate::sized::{EventCost, EventQueue, SizedMap};
use calls::{CallState, PendingSocialRequest};
use event::text;
pub use event::{CallId, SocialEvent, Status, UserInfo};
pub use requests::{CallResult, SocialError};
pub use rooms::RoomInfo;
use rooms::RoomWatch;

/// Requests that may be pending at the same time.
const MAX_PENDING: usize = 16;

/// What a client tells a server when it opens a social session.
#[derive(Clone)]
pub struct SocialEnter {
    /// The join token, a JWT of at most 4 KiB.
    pub token: String,
    /// Display name, at most 128 bytes. If empty, the name in the token is used.
    pub name: String,
    /// Initial status.
    pub status: Status,
    /// Name and version of the application, for the server's operator.
    pub agent: String,
}

impl std::fmt::Debug for SocialEnter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is as secret as a password and must not reach a log.
        f.debug_struct("SocialEnter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SocialEnter {
    /// Checks the limits that the server enforces too.
    ///
    /// # Errors
    /// The first limit that is not kept, as one line.
    pub fn check(&self) -> Result<(), &'static str> {
        check_opening(&self.token, &self.name, &self.agent)
    }
}

/// A user's device outside rooms, over all of its sessions.
pub struct SocialClient {
    session: ClientSession,
    options: SocialEnter,
    token: JoinToken,
    /// The server's newest `Entered`; `None` before the first session.
    entered: Option<Entered>,
    /// Status of this device as the application set it last.
    status: Status,
    /// Status that the server knows, in this session.
    told_status: u8,
    requests: Requests<PendingSocialRequest, CallResult>,
    /// The application's last request to watch users.
    watched_users: Option<WatchUsers>,
    rooms: RoomWatch,
    /// The watched users that are connected, by user id.
    users: SizedMap<String, UserInfo>,
    calls: CallState,
    events: EventQueue<SocialEvent>,
    /// Whether the waiting events have stopped the reading of the session.
    is_behind: bool,
    is_leaving: bool,
    failure: Option<JoinError>,
}

/// An output of a [`SocialClient`], besides those of its session.
pub enum SocialOutput {
    /// A fresh token is wanted: call [`SocialClient::take_token`].
    TokenWanted,
}

impl DrivenClient for SocialClient {
    type Output = SocialOutput;
    type Event = SocialEvent;

    fn handle(&mut self, now: Time, input: SessionInput<'_>) {
        self.session.handle(now, input);
        self.advance(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.session.handle_timeout(now);
        self.token.handle_timeout(now, &mut self.session);
        self.advance(now);
    }

    fn deadline(&self) -> Option<Time> {
        self.session.deadline()
    }

    fn poll(&mut self) -> Option<ClientOutput<SocialOutput>> {
        if self.token.take_due() {
            return Some(ClientOutput::Own(SocialOutput::TokenWanted));
        }
        self.session.poll_output().map(ClientOutput::Session)
    }

    fn take_event(&mut self, now: Time) -> Option<SocialEvent> {
        let event = self.events.pop()?;
        if self.is_behind {
            self.advance(now);
        }
        Some(event)
    }

    fn is_behind(&self) -> bool {
        self.is_behind
    }

    fn join_token(&self) -> &str {
        self.token.newest()
    }

    fn session(&self) -> &ClientSession {
        &self.session
    }
}

impl SocialClient {
    /// Creates a client and begins to enter at `server`, `host:port`. Check the options before, with
    /// [`SocialEnter::check`].
    pub fn new(now: Time, server: &str, mut options: SocialEnter, config: ClientOptions) -> Self {
        let (agent, capabilities) = (options.agent.clone(), Capabilities::default());
        let mut session =
            ClientSession::new(SessionPurpose::Social, server, agent, capabilities, config);
        let token = std::mem::take(&mut options.token);
        session.start(now);
        Self {
            session,
            status: options.status,
            told_status: options.status.to_wire(),
            options,
            token: JoinToken::new(token, config.has_token_provider),
            entered: None,
            requests: Requests::new(MAX_PENDING),
            watched_users: None,
            rooms: RoomWatch::default(),
            users: SizedMap::default(),
            calls: CallState::default(),
            events: EventQueue::new(limits::SOCIAL_EVENTS),
            is_behind: false,
            is_leaving: false,
            failure: None,
        }
    }

    /// Takes the token that [`SocialOutput::TokenWanted`] asks for; `None` if there is none now.
    pub fn take_token(&mut self, now: Time, token: Option<String>) {
        // Without a return there is no use for it.
        let _unused = self.token.take_answer(now, &mut self.session, token);
        self.advance(now);
    }

    /// Leaves: watchers see this at once, and the device leaves its call. The client is closed
    /// within 1 s.
    pub fn leave(&mut self, now: Time) {
        self.is_leaving = true;
        self.session.leave(now);
        self.advance(now);
    }

    /// Leaves at once, without waiting for an answer.
    pub fn close(&mut self, now: Time) {
        self.session.close();
        self.advance(now);
    }

    /// Returns whether the client has left, or is closed for good.
    pub fn is_closed(&self) -> bool {
        self.session.is_closed() || self.is_leaving
    }

    /// Returns the server's newest `Entered`; `None` before the first session.
    pub fn entered(&self) -> Option<&Entered> {
        self.entered.as_ref()
    }

    /// Takes the error of the first join, if it has failed for good.
    pub fn take_failure(&mut self) -> Option<JoinError> {
        self.failure.take()
    }

    /// Returns the watched users that are connected, in the order of their ids.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &UserInfo> {
        self.users.entries().values()
    }

    /// Returns the watched rooms in the order of their names.
    pub fn rooms(&self) -> impl ExactSizeIterator<Item = &RoomInfo> {
        self.rooms.rooms()
    }

    /// Returns whether this device started or accepted the call.
    pub fn is_own_call(&self, call: CallId) -> bool {
        self.calls.is_own(call)
    }

    fn advance(&mut self, now: Time) {
        loop {
            self.set_behind(self.events.is_full());
            let Some(step) = self.session.next_step(now) else { break };
            self.apply(now, step);
        }
        if self.status.to_wire() != self.told_status && self.session.can_send() {
            self.told_status = self.status.to_wire();
            self.session.send(encode(&SetStatus { status: self.told_status }));
        }
    }

    /// Sets whether the application is too far behind with its events. The session is then not
    /// read, so replies do not arrive either.
    fn set_behind(&mut self, is_behind: bool) {
        if is_behind && !self.is_behind {
            self.interrupt_callers();
        }
        self.is_behind = is_behind;
        self.session.set_reading(!is_behind);
    }

    fn apply(&mut self, now: Time, step: SessionStep) {
        match step {
            SessionStep::Open { .. } => self.open(),
            SessionStep::Answered { body, .. } => match owned::<Entered>(&body) {
                Ok(entered) => self.begin(entered),
                Err(error) => self.session.fail(error.into()),
            },
            SessionStep::NotJoined(error) => {
                let has_entered = self.entered.is_some();
                self.token.not_joined(now, &mut self.session, error, has_entered);
            }
            SessionStep::Received(item) => {
                if let Err(error) = self.receive(item) {
                    self.session.fail(error);
                }
            }
            SessionStep::Written(_) => {}
            SessionStep::Lost { code, text } => {
                self.end_requests();
                if self.events.is_overfull() {
                    return self.session.end_untaken(code);
                }
                self.push(SocialEvent::Interrupted { code, text });
            }
            SessionStep::Failed(error) => {
                self.failure = Some(error);
                self.end_requests();
            }
            SessionStep::Closed { code, text } => {
                self.end_requests();
                self.push(SocialEvent::Closed { code, text });
            }
        }
    }

    fn open(&mut self) {
        self.told_status = self.status.to_wire();
        let enter = encode(&Enter {
            token: self.token.bytes(),
            name: self.options.name.clone().into_bytes(),
            status: self.told_status,
        });
        self.session.open(&enter);
    }

    /// Begins a session: asks again for what is watched, and reports the end of a call that no
    /// longer exists.
    fn begin(&mut self, entered: Entered) {
        self.session.begin(Features::NONE, 0, [0; 2], &entered.entries);
        self.token.joined();
        let ended = self.calls.begin(entered.call);
        if self.entered.replace(entered).is_none() {
            return;
        }
        if let Some(users) = &self.watched_users {
            self.session.send(encode(users));
        }
        if let Some(rooms) = self.rooms.watch_message() {
            self.session.send(rooms);
        }
        self.push(SocialEvent::Returned);
        ended.into_iter().for_each(|event| self.push(event));
    }

    fn receive(&mut self, item: ReceivedItem) -> Result<(), ProtocolError> {
        let ReceivedItem::Control(schema, body) = item else {
            // The server opens no streams in a social session.
            return Err(ProtocolError::Unexpected(Schema::EventDown));
        };
        match schema {
            Schema::UserList => self.take_user_list(owned(&body)?)?,
            Schema::RoomList => {
                let list: nucleus_protocol::session::RoomList = owned(&body)?;
                self.finish(list.request, Ok(CallId(0)));
                let event = self.rooms.take(list)?;
                event.into_iter().for_each(|event| self.push(event));
            }
            Schema::CallReply => self.take_reply(&owned(&body)?),
            Schema::CallUpdate => {
                let events = self.calls.on_update(owned(&body)?);
                events.into_iter().for_each(|event| self.push(event));
            }
            other => return Err(ProtocolError::Unexpected(other)),
        }
        Ok(())
    }

    /// Applies a list of the watched users, or changes of the list.
    fn take_user_list(&mut self, list: UserList) -> Result<(), ProtocolError> {
        self.finish(list.request, requests::call_result(list.code, 0));
        let is_current =
            self.watched_users.as_ref().is_some_and(|watch| watch.request == list.request);
        if !is_current || list.code != 0 {
            return Ok(());
        }
        let changed: Vec<UserInfo> = list.users.into_iter().map(UserInfo::from).collect();
        let mut gone: Vec<String> = list.gone.iter().map(|user| text(user)).collect();
        if list.whole != 0 {
            let users: HashSet<&str> = changed.iter().map(|user| &*user.user).collect();
            let is_gone = |user: &&String| !users.contains(user.as_str());
            gone = self.users.entries().keys().filter(is_gone).cloned().collect();
        }
        gone.iter().for_each(|user| drop(self.users.remove(user)));
        if !self.users.has_room(limits::USERS, &changed) {
            return Err(ProtocolError::ListTooLong("users"));
        }
        for user in &changed {
            self.users.insert(user.user.clone(), user.clone());
        }
        // A user that left and came back is not gone.
        gone.retain(|user| !self.users.entries().contains_key(user));
        self.push(SocialEvent::Users { changed, gone, total: list.total });
        Ok(())
    }

    fn push(&mut self, event: SocialEvent) {
        self.events.push(event, EventCost::Counted);
    }
}
