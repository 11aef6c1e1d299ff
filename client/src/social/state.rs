//! The state that the client keeps over its social sessions: status, watched users and rooms, the
//! current call, and pending requests.

use std::collections::{BTreeMap, HashMap};

use nucleus_protocol::session::{
    CallReply, CallUpdate, Code, Entered, RoomList, SetStatus, UserList, WatchUsers, call_act,
    call_update, encode,
};
use tokio::sync::oneshot;

use super::event::{SocialEvent, UserInfo, call_event, text};
use super::rooms::RoomWatch;
use super::{CallId, Status};
use crate::session::SocialSender;

/// The error of a request in a social session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocialError {
    /// The server refused the request: [`Code::Busy`], [`Code::Unreachable`], [`Code::Answered`]
    /// (another device or user was faster), [`Code::NoSuchEntity`] (there is no such call),
    /// [`Code::RoomFull`], [`Code::Forbidden`], [`Code::JoinRate`] (too many calls were started in
    /// a short time) or [`Code::TenantCalls`].
    #[error("the server refused: {}", .code.map_or_else(|| format!("code {number}"), |c| c.to_string()))]
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
    /// After [`SocialEvent::Returned`] a call that continues is reported again.
    #[error("no reply came: it is unknown whether the request succeeded")]
    Interrupted,
    /// The session is lost and the client is trying to resume it. Nothing was sent.
    #[error("the session is lost and not resumed yet; nothing was sent")]
    NotConnected,
    /// The social session is closed. Nothing was sent.
    #[error("the social session is closed")]
    Closed,
}

pub(super) type CallResult = Result<CallId, SocialError>;

/// The state of a [`Social`](super::Social) over all of its sessions.
pub(super) struct SocialState {
    /// Sends on the current session; `None` while there is no session.
    sender: Option<SocialSender>,
    next_number: u32,
    /// Requests without a reply, by number.
    pending: HashMap<u32, PendingSocialRequest>,
    /// Whether the application is too far behind with its events.
    behind: bool,
    closed: bool,
    /// Status of this device as the application set it last.
    pub(super) status: Status,
    /// The application's last request to watch users.
    pub(super) watched_users: Option<WatchUsers>,
    pub(super) rooms: RoomWatch,
    /// The watched users that are connected, by user id.
    users: BTreeMap<String, UserInfo>,
    /// The call that was reported to the application.
    current: Option<CurrentCall>,
    /// The call that this device started or accepted.
    own_call: Option<u64>,
    /// Whether the session was lost before the reply to a request that starts or accepts a call.
    own_call_unknown: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CurrentCall {
    call: u64,
    /// Whether the call still rings on this device.
    rings: bool,
}

/// A request with a number, ready to be sent.
pub(super) struct StartedSocialRequest {
    pub(super) sender: SocialSender,
    pub(super) number: u32,
    pub(super) result: oneshot::Receiver<CallResult>,
}

struct PendingSocialRequest {
    /// Sends the result to the caller; `None` if the caller already has a result.
    result: Option<oneshot::Sender<CallResult>>,
    /// One of [`call_act`], or 0 for a request that is not about a call.
    act: u8,
}

impl SocialState {
    pub(super) fn new(status: Status) -> Self {
        Self {
            sender: None,
            next_number: 1,
            pending: HashMap::new(),
            behind: false,
            closed: false,
            status,
            watched_users: None,
            rooms: RoomWatch::default(),
            users: BTreeMap::new(),
            current: None,
            own_call: None,
            own_call_unknown: false,
        }
    }

    /// Registers a new request and returns its number and the receiver of its result.
    pub(super) fn start(&mut self, act: u8) -> Result<StartedSocialRequest, SocialError> {
        if self.closed {
            return Err(SocialError::Closed);
        }
        let sender = self.sender.clone().ok_or(SocialError::NotConnected)?;
        if self.behind {
            return Err(SocialError::Interrupted);
        }
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let (sends_result, result) = oneshot::channel();
        self.pending.insert(number, PendingSocialRequest { result: Some(sends_result), act });
        Ok(StartedSocialRequest { sender, number, result })
    }

    /// Uses a new session. Returns the end of the current call, if that call no longer exists.
    pub(super) fn attach(
        &mut self,
        sender: SocialSender,
        entered: &Entered,
    ) -> Option<SocialEvent> {
        if self.closed {
            sender.close();
            return None;
        }
        self.sender = Some(sender);
        self.own_call_unknown &= entered.call != 0;
        let ended = self.current.take_if(|current| current.call != entered.call);
        ended.map(|CurrentCall { call, rings }| {
            let (call, code) = (CallId(call), None);
            if rings {
                SocialEvent::RingingEnded { call, code }
            } else {
                SocialEvent::Ended { call, code }
            }
        })
    }

    /// Returns the sender of the current session, if there is one.
    pub(super) fn sender(&self) -> Option<SocialSender> {
        self.sender.clone()
    }

    /// Returns the message that sets the status.
    pub(super) fn status_message(&self) -> Vec<u8> {
        encode(&SetStatus { status: self.status.to_wire() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Handles the reply to a request.
    pub(super) fn on_reply(&mut self, reply: &CallReply) {
        // An unknown number belongs to no pending request.
        let Some(PendingSocialRequest { result, act }) = self.pending.remove(&reply.request) else {
            return;
        };
        match act {
            _ if reply.code != 0 => {}
            call_act::START | call_act::ACCEPT => {
                self.own_call = Some(reply.call);
                self.current = Some(CurrentCall { call: reply.call, rings: false });
            }
            // This device receives no more events of the call.
            call_act::REJECT | call_act::CANCEL | call_act::HANG_UP => self.current = None,
            _ => {}
        }
        complete(result, call_result(reply.code, reply.call));
    }

    /// Completes a request successfully.
    fn succeed(&mut self, request: u32) {
        if let Some(PendingSocialRequest { result, .. }) = self.pending.remove(&request) {
            complete(result, call_result(0, 0));
        }
    }

    /// Applies a list of the watched users, or changes of the list.
    pub(super) fn on_user_list(&mut self, list: UserList) -> Option<SocialEvent> {
        if let Some(PendingSocialRequest { result, .. }) = self.pending.remove(&list.request) {
            complete(result, call_result(list.code, 0));
        }
        let current =
            self.watched_users.as_ref().is_some_and(|watch| watch.request == list.request);
        if !current || list.code != 0 {
            return None;
        }
        let changed: Vec<UserInfo> = list.users.into_iter().map(UserInfo::from).collect();
        let mut gone: Vec<String> = list.gone.iter().map(|user| text(user)).collect();
        if list.whole != 0 {
            let is_listed = |user: &String| changed.iter().any(|other| other.user == *user);
            gone = self.users.keys().filter(|user| !is_listed(user)).cloned().collect();
        }
        gone.iter().for_each(|user| drop(self.users.remove(user)));
        for user in &changed {
            self.users.insert(user.user.clone(), user.clone());
        }
        // A user that left and came back is not gone.
        gone.retain(|user| !self.users.contains_key(user));
        Some(SocialEvent::Users { changed, gone, total: list.total })
    }

    /// Applies a list of the watched rooms, or changes of the list.
    pub(super) fn on_room_list(&mut self, list: RoomList) -> Option<SocialEvent> {
        self.succeed(list.request);
        self.rooms.take(list)
    }

    /// Handles an update of a call and returns the events for the application.
    pub(super) fn on_call_update(
        &mut self,
        update: CallUpdate,
    ) -> impl Iterator<Item = SocialEvent> + use<> {
        let call = update.call;
        let mut ringing_ended = None;
        match update.kind {
            call_update::INCOMING => {
                self.current = Some(CurrentCall { call, rings: true });
                self.own_call_unknown = false;
            }
            call_update::CALLING | call_update::ACCEPTED => {
                if std::mem::take(&mut self.own_call_unknown) {
                    self.own_call = Some(call);
                }
                // Another device accepted the call while the session was lost.
                if self.current == Some(CurrentCall { call, rings: true })
                    && self.own_call != Some(call)
                {
                    let code = Some(Code::Answered);
                    ringing_ended = Some(SocialEvent::RingingEnded { call: CallId(call), code });
                }
                self.current = Some(CurrentCall { call, rings: false });
            }
            call_update::RINGING_ENDED | call_update::ENDED => {
                self.current.take_if(|current| current.call == call);
            }
            _ => {}
        }
        ringing_ended.into_iter().chain(call_event(update, self.own_call == Some(call)))
    }

    /// Returns the watched users that are connected.
    pub(super) fn users(&self) -> Vec<UserInfo> {
        self.users.values().cloned().collect()
    }

    /// Returns whether this device started or accepted the call.
    pub(super) fn is_own_call(&self, call: CallId) -> bool {
        self.own_call == Some(call.0)
    }

    /// Removes a request that was not sent.
    pub(super) fn remove_unsent(&mut self, request: u32) {
        self.pending.remove(&request);
    }

    /// Sets whether the application is too far behind with its events, so that replies are not
    /// read.
    pub(super) fn set_behind(&mut self, behind: bool) {
        if behind && !self.behind {
            self.interrupt_callers();
        }
        self.behind = behind;
    }

    /// Ends all pending requests because the session is lost.
    pub(super) fn interrupt(&mut self) {
        self.sender = None;
        self.end_all();
    }

    /// Closes the session at the application's request.
    pub(super) fn close(&mut self) {
        self.closed = true;
        if let Some(sender) = self.sender.take() {
            sender.close();
        }
        self.end_all();
    }

    /// Completes all callers with [`SocialError::Interrupted`]. The requests stay, because their
    /// replies still say what this device has done.
    fn interrupt_callers(&mut self) {
        for pending in self.pending.values_mut() {
            complete(pending.result.take(), Err(SocialError::Interrupted));
        }
    }

    /// Ends all pending requests, because no replies will come.
    fn end_all(&mut self) {
        self.interrupt_callers();
        let mut acts = self.pending.drain().map(|(_, pending)| pending.act);
        self.own_call_unknown |= acts.any(|act| matches!(act, call_act::START | call_act::ACCEPT));
    }
}

/// Hands the result to the caller, if the caller still waits.
fn complete(caller: Option<oneshot::Sender<CallResult>>, result: CallResult) {
    let _ = caller.map(|caller| caller.send(result));
}

fn call_result(number: u16, call: u64) -> CallResult {
    match number {
        0 => Ok(CallId(call)),
        number => Err(SocialError::Refused { code: Code::from_number(number.into()), number }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::requests::{PendingSocialGuard, SocialRequests};
    use super::*;

    #[test]
    fn a_call_is_known_until_it_is_over_for_this_device() {
        let requests = SocialRequests::new(Status::Online);
        let mut state = requests.state();
        let answer = |state: &mut SocialState, act, code| {
            let (result, _outcome) = oneshot::channel();
            state.pending.insert(1, PendingSocialRequest { result: Some(result), act });
            state.on_reply(&CallReply { request: 1, code, call: 7 });
            state.current
        };
        let update = |kind| CallUpdate { call: 7, kind, ..CallUpdate::default() };
        state.on_call_update(update(call_update::INCOMING)).next();
        assert_eq!(
            answer(&mut state, call_act::ACCEPT, 75),
            Some(CurrentCall { call: 7, rings: true }),
            "refused"
        );
        assert_eq!(answer(&mut state, call_act::REJECT, 0), None);
        assert_eq!(
            answer(&mut state, call_act::START, 0),
            Some(CurrentCall { call: 7, rings: false })
        );
        let accepted = state.on_call_update(update(call_update::ACCEPTED)).next();
        assert!(matches!(accepted, Some(SocialEvent::Accepted { this_device: true, .. })));
        assert_eq!(
            answer(&mut state, call_act::ADD, 0),
            Some(CurrentCall { call: 7, rings: false })
        );
        assert_eq!(answer(&mut state, call_act::HANG_UP, 0), None);
    }

    fn update(kind: u8) -> CallUpdate {
        CallUpdate { call: 7, kind, ..CallUpdate::default() }
    }

    /// A request that was sent.
    fn sent(requests: &SocialRequests, act: u8) -> oneshot::Receiver<CallResult> {
        let (result, outcome) = oneshot::channel();
        requests.state().pending.insert(1, PendingSocialRequest { result: Some(result), act });
        outcome
    }

    fn reply(requests: &SocialRequests) {
        requests.state().on_reply(&CallReply { request: 1, code: 0, call: 7 });
    }

    #[test]
    fn what_this_device_has_done_counts_though_nobody_waits_for_the_answer() {
        let requests = SocialRequests::new(Status::Online);
        drop(sent(&requests, call_act::ACCEPT));
        drop(PendingSocialGuard { requests: &requests, number: 1, sent: true });
        reply(&requests);
        assert_eq!(requests.state().current, Some(CurrentCall { call: 7, rings: false }));
        let events: Vec<_> =
            requests.state().on_call_update(update(call_update::ACCEPTED)).collect();
        assert!(
            matches!(events[..], [SocialEvent::Accepted { this_device: true, .. }]),
            "{events:?}"
        );

        // The application is behind, and the reply is read later.
        let mut outcome = sent(&requests, call_act::HANG_UP);
        requests.set_behind(true);
        assert_eq!(outcome.try_recv(), Ok(Err(SocialError::Interrupted)));
        reply(&requests);
        assert_eq!(requests.state().current, None);

        let _outcome = sent(&requests, call_act::HANG_UP);
        drop(PendingSocialGuard { requests: &requests, number: 1, sent: false });
        assert!(requests.state().pending.is_empty());
    }

    #[test]
    fn a_call_is_this_devices_also_where_the_answer_was_lost() {
        let requests = SocialRequests::new(Status::Online);
        let _outcome = sent(&requests, call_act::START);
        requests.interrupt();
        let handle = |kind| requests.state().on_call_update(update(kind)).collect::<Vec<_>>();
        handle(call_update::CALLING);
        let accepted = handle(call_update::ACCEPTED);
        assert!(
            matches!(accepted[..], [SocialEvent::Accepted { this_device: true, .. }]),
            "{accepted:?}"
        );

        // The accept never arrived: the call still rings, and another device accepts it.
        let requests = SocialRequests::new(Status::Online);
        let _outcome = sent(&requests, call_act::ACCEPT);
        requests.interrupt();
        let handle = |kind| requests.state().on_call_update(update(kind)).collect::<Vec<_>>();
        handle(call_update::INCOMING);
        let accepted = handle(call_update::ACCEPTED);
        let (call, code) = (CallId(7), Some(Code::Answered));
        assert_eq!(
            accepted[0],
            SocialEvent::RingingEnded { call, code },
            "the device must stop ringing"
        );
        assert!(matches!(accepted[1], SocialEvent::Accepted { this_device: false, .. }));
    }

    #[test]
    fn who_has_gone_and_come_again_is_not_gone() {
        let requests = SocialRequests::new(Status::Online);
        requests.state().watched_users =
            Some(WatchUsers { request: 2, roles: Vec::new(), users: Vec::new() });
        let user = nucleus_protocol::session::UserInfo {
            user: b"a".to_vec(),
            name: Vec::new(),
            role: Vec::new(),
            status: 1,
        };
        let gone = vec![b"a".to_vec(), b"b".to_vec()];
        let list = UserList { request: 2, users: vec![user], gone, ..UserList::default() };
        match requests.state().on_user_list(list) {
            Some(SocialEvent::Users { gone, .. }) => assert_eq!(gone, ["b"]),
            other => panic!("{other:?}"),
        }
    }
}
