//! What the client keeps over its sessions: status, views, the call it is in, and requests under way.

use std::collections::{BTreeMap, HashMap};

use nucleus_protocol::session::{
    CallReply, CallUpdate, Code, Entered, RoomList, SetStatus, UserList, WatchUsers, call_act,
    call_update, encode,
};
use tokio::sync::oneshot;

use super::event::{SocialEvent, UserInfo, call_event, text};
use super::rooms::RoomsView;
use super::{CallId, Status};
use crate::session::SocialSender;

/// A request did not succeed, or it is not known whether it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocialError {
    /// The server refused it: [`Code::Busy`], [`Code::Unreachable`], [`Code::Answered`] (somebody was
    /// faster), [`Code::NoSuchEntity`] (no such call), [`Code::RoomFull`], [`Code::Forbidden`],
    /// [`Code::JoinRate`] (too many calls started in a short time) or [`Code::TenantCalls`].
    #[error("the server refused: {}", .code.map_or_else(|| format!("code {number}"), |c| c.to_string()))]
    Refused {
        /// Why, when this version knows the number.
        code: Option<Code>,
        /// The code's number.
        number: u16,
    },
    /// It breaks a limit; nothing was sent.
    #[error("{0}")]
    Limit(&'static str),
    /// No answer came: the session was lost with the request under way, or the application was too far
    /// behind with its events for the answer to be heard. It is not known whether it succeeded; after
    /// [`SocialEvent::Returned`] a call that goes on is told again.
    #[error("no answer came: it is not known whether the request succeeded")]
    Interrupted,
    /// The session is lost and being taken up again; nothing was sent.
    #[error("the session is being taken up again; nothing was sent")]
    NotConnected,
    /// The hall is closed; nothing was sent.
    #[error("the social session is closed")]
    Closed,
}

pub(super) type CallResult = Result<CallId, SocialError>;

/// What the client keeps. It lasts as long as the hall, over all of its sessions.
pub(super) struct SocialState {
    sender: Option<SocialSender>,
    next: u32,
    pending: HashMap<u32, PendingSocialRequest>,
    behind: bool,
    closed: bool,
    /// As the application set them last.
    pub(super) status: Status,
    pub(super) watched: Option<WatchUsers>,
    pub(super) rooms: RoomsView,
    users: BTreeMap<String, UserInfo>,
    /// The call that the application knows of, and whether it still rings here.
    known: Option<(u64, bool)>,
    /// The call that this device started or took.
    here: Option<u64>,
    /// The session was lost before it was known whether this device had started or taken one.
    unsure: bool,
}

struct PendingSocialRequest {
    /// Whoever waits, if anybody still does.
    done: Option<oneshot::Sender<CallResult>>,
    /// One of [`call_act`]; 0 for what is not about a call.
    act: u8,
}

impl SocialState {
    pub(super) fn new(status: Status) -> Self {
        Self {
            sender: None,
            next: 1,
            pending: HashMap::new(),
            behind: false,
            closed: false,
            status,
            watched: None,
            rooms: RoomsView::default(),
            users: BTreeMap::new(),
            known: None,
            here: None,
            unsure: false,
        }
    }

    /// A request begins: whom to send it through, its number, and where its outcome will come.
    pub(super) fn begin(
        &mut self,
        act: u8,
    ) -> Result<(SocialSender, u32, oneshot::Receiver<CallResult>), SocialError> {
        if self.closed {
            return Err(SocialError::Closed);
        }
        let sender = self.sender.clone().ok_or(SocialError::NotConnected)?;
        if self.behind {
            return Err(SocialError::Interrupted);
        }
        let request = self.next;
        self.next = self.next.wrapping_add(1);
        let (done, outcome) = oneshot::channel();
        self.pending.insert(request, PendingSocialRequest { done: Some(done), act });
        Ok((sender, request, outcome))
    }

    /// A session is there; what the application is to hear of the call that it knew.
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
        self.unsure &= entered.call != 0;
        let ended = self.known.take_if(|(call, _)| *call != entered.call);
        ended.map(|(call, rings)| {
            let (call, code) = (CallId(call), None);
            if rings {
                SocialEvent::RingingEnded { call, code }
            } else {
                SocialEvent::Ended { call, code }
            }
        })
    }

    /// The session that is there.
    pub(super) fn sender(&self) -> Option<SocialSender> {
        self.sender.clone()
    }

    /// The message that tells the status.
    pub(super) fn status_message(&self) -> Vec<u8> {
        encode(&SetStatus { status: self.status.to_wire() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The server has answered.
    pub(super) fn on_reply(&mut self, reply: &CallReply) {
        // One that is not under way is none of this session's.
        let Some(PendingSocialRequest { done, act }) = self.pending.remove(&reply.request) else {
            return;
        };
        match act {
            _ if reply.code != 0 => {}
            call_act::START | call_act::ACCEPT => {
                self.here = Some(reply.call);
                self.known = Some((reply.call, false));
            }
            // This device is told no more of it.
            call_act::REJECT | call_act::CANCEL | call_act::HANG_UP => self.known = None,
            _ => {}
        }
        tell(done, outcome(reply.code, reply.call));
    }

    /// A request has been answered well.
    pub(super) fn succeeded(&mut self, request: u32) {
        if let Some(PendingSocialRequest { done, .. }) = self.pending.remove(&request) {
            tell(done, outcome(0, 0));
        }
    }

    /// Takes what the server says of the people.
    pub(super) fn users(&mut self, told: UserList) -> Option<SocialEvent> {
        if let Some(PendingSocialRequest { done, .. }) = self.pending.remove(&told.request) {
            tell(done, outcome(told.code, 0));
        }
        let current = self.watched.as_ref().is_some_and(|watch| watch.request == told.request);
        if !current || told.code != 0 {
            return None;
        }
        let changed: Vec<UserInfo> = told.users.into_iter().map(UserInfo::from).collect();
        let mut gone: Vec<String> = told.gone.iter().map(|user| text(user)).collect();
        if told.whole != 0 {
            let there = |user: &String| changed.iter().any(|other| other.user == *user);
            gone = self.users.keys().filter(|user| !there(user)).cloned().collect();
        }
        gone.iter().for_each(|user| drop(self.users.remove(user)));
        for user in &changed {
            self.users.insert(user.user.clone(), user.clone());
        }
        // Who has come again is there.
        gone.retain(|user| !self.users.contains_key(user));
        Some(SocialEvent::Users { changed, gone, total: told.total })
    }

    /// Takes what the server says of the rooms.
    pub(super) fn room_list(&mut self, list: RoomList) -> Option<SocialEvent> {
        self.succeeded(list.request);
        self.rooms.take(list)
    }

    /// Takes what the server says of a call.
    pub(super) fn call(&mut self, update: CallUpdate) -> impl Iterator<Item = SocialEvent> + use<> {
        let call = update.call;
        let mut quiet = None;
        match update.kind {
            call_update::INCOMING => (self.known, self.unsure) = (Some((call, true)), false),
            call_update::CALLING | call_update::ACCEPTED => {
                if std::mem::take(&mut self.unsure) {
                    self.here = Some(call);
                }
                // It was taken while the session was lost.
                if self.known == Some((call, true)) && self.here != Some(call) {
                    let code = Some(Code::Answered);
                    quiet = Some(SocialEvent::RingingEnded { call: CallId(call), code });
                }
                self.known = Some((call, false));
            }
            call_update::RINGING_ENDED | call_update::ENDED => {
                self.known.take_if(|(known, _)| *known == call);
            }
            _ => {}
        }
        quiet.into_iter().chain(call_event(update, self.here == Some(call)))
    }

    /// The people who are watched, as far as they are there.
    pub(super) fn everybody(&self) -> Vec<UserInfo> {
        self.users.values().cloned().collect()
    }

    /// This device started or took the call.
    pub(super) fn is_own_call(&self, call: CallId) -> bool {
        self.here == Some(call.0)
    }

    /// The request was not sent.
    pub(super) fn forget(&mut self, request: u32) {
        self.pending.remove(&request);
    }

    /// Whether answers cannot be heard because the application does not take its events.
    pub(super) fn set_behind(&mut self, behind: bool) {
        if behind && !self.behind {
            self.give_up();
        }
        self.behind = behind;
    }

    /// The session is lost.
    pub(super) fn interrupt(&mut self) {
        self.sender = None;
        self.end();
    }

    /// The application has closed the hall.
    pub(super) fn close(&mut self) {
        self.closed = true;
        if let Some(sender) = self.sender.take() {
            sender.close();
        }
        self.end();
    }

    /// Nobody is to wait for an answer any more.
    fn give_up(&mut self) {
        for pending in self.pending.values_mut() {
            tell(pending.done.take(), Err(SocialError::Interrupted));
        }
    }

    /// No answer will come.
    fn end(&mut self) {
        self.give_up();
        let mut acts = self.pending.drain().map(|(_, pending)| pending.act);
        self.unsure |= acts.any(|act| matches!(act, call_act::START | call_act::ACCEPT));
    }
}

/// Whoever does not wait any more does not want to know.
fn tell(done: Option<oneshot::Sender<CallResult>>, outcome: CallResult) {
    let _ = done.map(|done| done.send(outcome));
}

fn outcome(number: u16, call: u64) -> CallResult {
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
            let (done, _outcome) = oneshot::channel();
            state.pending.insert(1, PendingSocialRequest { done: Some(done), act });
            state.on_reply(&CallReply { request: 1, code, call: 7 });
            state.known
        };
        let update = |kind| CallUpdate { call: 7, kind, ..CallUpdate::default() };
        state.call(update(call_update::INCOMING)).next();
        assert_eq!(answer(&mut state, call_act::ACCEPT, 75), Some((7, true)), "refused");
        assert_eq!(answer(&mut state, call_act::REJECT, 0), None);
        assert_eq!(answer(&mut state, call_act::START, 0), Some((7, false)));
        let here = state.call(update(call_update::ACCEPTED)).next();
        assert!(matches!(here, Some(SocialEvent::Accepted { here: true, .. })));
        assert_eq!(answer(&mut state, call_act::ADD, 0), Some((7, false)));
        assert_eq!(answer(&mut state, call_act::HANG_UP, 0), None);
    }

    fn update(kind: u8) -> CallUpdate {
        CallUpdate { call: 7, kind, ..CallUpdate::default() }
    }

    /// A request that was sent.
    fn sent(requests: &SocialRequests, act: u8) -> oneshot::Receiver<CallResult> {
        let (done, outcome) = oneshot::channel();
        requests.state().pending.insert(1, PendingSocialRequest { done: Some(done), act });
        outcome
    }

    fn reply(requests: &SocialRequests) {
        requests.state().on_reply(&CallReply { request: 1, code: 0, call: 7 });
    }

    #[test]
    fn what_this_device_has_done_counts_though_nobody_waits_for_the_answer() {
        let requests = SocialRequests::new(Status::Online);
        drop(sent(&requests, call_act::ACCEPT));
        drop(PendingSocialGuard { requests: &requests, request: 1, sent: true });
        reply(&requests);
        assert_eq!(requests.state().known, Some((7, false)));
        let heard: Vec<_> = requests.state().call(update(call_update::ACCEPTED)).collect();
        assert!(matches!(heard[..], [SocialEvent::Accepted { here: true, .. }]), "{heard:?}");

        // The application is behind, and hears it later.
        let mut outcome = sent(&requests, call_act::HANG_UP);
        requests.set_behind(true);
        assert_eq!(outcome.try_recv(), Ok(Err(SocialError::Interrupted)));
        reply(&requests);
        assert_eq!(requests.state().known, None);

        let _outcome = sent(&requests, call_act::HANG_UP);
        drop(PendingSocialGuard { requests: &requests, request: 1, sent: false });
        assert!(requests.state().pending.is_empty());
    }

    #[test]
    fn a_call_is_this_devices_also_where_the_answer_was_lost() {
        let requests = SocialRequests::new(Status::Online);
        let _outcome = sent(&requests, call_act::START);
        requests.interrupt();
        let heard = |kind| requests.state().call(update(kind)).collect::<Vec<_>>();
        heard(call_update::CALLING);
        let accepted = heard(call_update::ACCEPTED);
        assert!(matches!(accepted[..], [SocialEvent::Accepted { here: true, .. }]), "{accepted:?}");

        // The accept never arrived: it still rings, and somebody else takes it.
        let requests = SocialRequests::new(Status::Online);
        let _outcome = sent(&requests, call_act::ACCEPT);
        requests.interrupt();
        let heard = |kind| requests.state().call(update(kind)).collect::<Vec<_>>();
        heard(call_update::INCOMING);
        let accepted = heard(call_update::ACCEPTED);
        let (call, code) = (CallId(7), Some(Code::Answered));
        assert_eq!(accepted[0], SocialEvent::RingingEnded { call, code }, "it must not ring on");
        assert!(matches!(accepted[1], SocialEvent::Accepted { here: false, .. }));
    }

    #[test]
    fn who_has_gone_and_come_again_is_not_gone() {
        let requests = SocialRequests::new(Status::Online);
        requests.state().watched =
            Some(WatchUsers { request: 2, roles: Vec::new(), users: Vec::new() });
        let user = nucleus_protocol::session::UserInfo {
            user: b"a".to_vec(),
            name: Vec::new(),
            role: Vec::new(),
            status: 1,
        };
        let gone = vec![b"a".to_vec(), b"b".to_vec()];
        let told = UserList { request: 2, users: vec![user], gone, ..UserList::default() };
        match requests.state().users(told) {
            Some(SocialEvent::Users { gone, .. }) => assert_eq!(gone, ["b"]),
            other => panic!("{other:?}"),
        }
    }
}
