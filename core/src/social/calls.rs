//! The calls of one product of a tenant: starting, accepting and leaving them. A user is in at most
//! one call, as a member or as a called user, and is busy for everybody else meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use nucleus_protocol::limits::MAX_CALL_USERS;
use nucleus_protocol::session::{CallUpdate, Code, call_update};
use nucleus_protocol::time::Time;

use super::call::{Call, CallAct, CallHistory, CallParty, CallSeed, CallState, PartyState, bytes};
use super::input::SocialOutput;
use super::users::Users;
use crate::control::CallSummary;
use crate::ids::DeviceId;

/// The user who acts on a call, and the device used for it.
#[derive(Clone, Copy)]
pub(super) struct ActingUser<'a> {
    pub(super) user: &'a str,
    /// Whether the device is an observer's, which may not call anybody.
    pub(super) observes: bool,
    pub(super) device: DeviceId,
    /// All users who are present.
    pub(super) users: &'a Users,
}

/// An effect of a change of calls.
#[derive(Debug)]
pub(super) enum CallOutput {
    /// Sends an update to all devices of a user except one.
    Send { user: String, except: Option<DeviceId>, update: CallUpdate },
    /// The user has become busy, or is not busy any more.
    Engaged { user: String, engaged: bool },
    /// An output of the social machine.
    Social(SocialOutput),
    /// A call has ended.
    Over { call: u64, history: CallHistory },
}

/// All calls of a tenant's product.
pub(super) struct Calls {
    ring_time: Duration,
    /// The most calls at a time.
    limit: usize,
    calls: BTreeMap<u64, Call>,
    /// The call of each user who is in one.
    call_of: HashMap<String, u64>,
    /// The deadline of each call that has one.
    deadlines: BTreeSet<(Time, u64)>,
    pub(super) outputs: Vec<CallOutput>,
}

impl Calls {
    pub(super) fn new(ring_time: Duration, limit: usize) -> Self {
        let (calls, call_of, deadlines) = Default::default();
        Self { ring_time, limit, calls, call_of, deadlines, outputs: Vec::new() }
    }

    /// Carries out an action of a user and returns the number of the call. Appends the effects to
    /// `outputs`.
    ///
    /// # Errors
    ///
    /// The code to refuse the action with.
    pub(super) fn act(
        &mut self,
        now: Time,
        actor: ActingUser<'_>,
        act: CallAct,
        seed: CallSeed,
    ) -> Result<u64, Code> {
        match act {
            CallAct::Start(users, text) => self.start(now, actor, users, text, seed),
            CallAct::Accept(call) => self.accept(now, actor, call),
            CallAct::Reject(call) => self.reject(actor, call),
            CallAct::Cancel(call) => self.cancel(actor, call),
            CallAct::HangUp(call) => self.hang_up(actor, call),
            CallAct::Add(call, user) => self.add(now, actor, call, user),
        }
    }

    /// Returns true if the action makes another user's devices ring. A call to the user's own caller
    /// does not: it accepts that user's call.
    pub(super) fn starts_ringing(&self, user: &str, act: &CallAct) -> bool {
        match act {
            CallAct::Start(called, _) => self.crossing(user, called).is_none(),
            CallAct::Add(..) => true,
            _ => false,
        }
    }

    /// Returns the call that rings at a user who calls nobody but the caller.
    fn crossing(&self, user: &str, called: &[String]) -> Option<u64> {
        let call = self.call_of(user)?;
        match &call.party(user)?.state {
            PartyState::Ringing { by, .. } if called == [by.as_str()] => Some(call.id),
            _ => None,
        }
    }

    /// Returns the call that a user is in, as a member or as a called user.
    pub(super) fn call_of(&self, user: &str) -> Option<&Call> {
        self.calls.get(self.call_of.get(user)?)
    }

    /// Returns all calls, as the control plane shows them.
    pub(super) fn summaries(&self, now: Time) -> Vec<CallSummary> {
        self.calls.values().map(|call| call.summary(now)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Notes that the user has a session again.
    pub(super) fn user_returned(&mut self, user: &str) {
        self.set_lost_at(user, None);
    }

    /// Notes that the user's last session is lost. The user stays in the call for a grace period.
    pub(super) fn user_lost(&mut self, now: Time, user: &str) {
        self.set_lost_at(user, Some(now));
    }

    /// Removes a user whose last session has left from the call.
    pub(super) fn user_left(&mut self, user: &str) {
        let Some(call) = self.take_call_of(user) else { return };
        let member = call.is_member(user);
        let code = if member { Code::Left } else { Code::Unreachable };
        self.remove_party(call, user, None, code);
    }

    /// Takes the outcome of [`SocialOutput::OpenRoom`]: sends the room to the members, or ends the
    /// call.
    pub(super) fn room_opened(&mut self, users: &Users, id: u64, result: Result<(), Code>) {
        if self.calls.get(&id).is_none_or(|call| call.state != CallState::Opening) {
            return;
        }
        let Some(mut call) = self.take(id) else { return };
        if let Err(code) = result {
            return self.end(call, code);
        }
        call.state = CallState::Open;
        for member in call.members() {
            let state = call.state_for(member, users);
            let user = || member.to_owned();
            let sent = state.map(|update| CallOutput::Send { user: user(), except: None, update });
            self.outputs.extend(sent);
        }
        self.put_back(call);
    }

    /// Ends the call whose room is over.
    pub(super) fn room_over(&mut self, id: u64) {
        if let Some(call) = self.take(id) {
            self.end(call, Code::Left);
        }
    }

    /// Ends a call on behalf of an operator: for its users, as if its room were over. Returns the call as it
    /// was.
    pub(super) fn end_call(&mut self, now: Time, id: u64) -> Option<CallSummary> {
        let call = self.take(id)?;
        let ended = call.summary(now);
        self.end(call, Code::Left);
        Some(ended)
    }

    /// Ends every call.
    pub(super) fn shut_down(&mut self, code: Code) {
        while let Some(call) =
            self.calls.first_key_value().map(|(id, _)| *id).and_then(|id| self.take(id))
        {
            self.end(call, code);
        }
    }

    /// Removes the users whose deadline has passed from their calls.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            let Some(call) = self.take(id) else { return };
            let Some(party) = call.overdue(now) else { return self.put_back(call) };
            let code = match party.state {
                PartyState::Ringing { until, .. } if party.deadline(call.state) == Some(until) => {
                    Code::NoAnswer
                }
                PartyState::Ringing { .. } => Code::Unreachable,
                PartyState::Member => Code::TimedOut,
            };
            let user = party.user.clone();
            self.remove_party(call, &user, None, code);
        }
    }

    /// Returns the earliest deadline of all calls.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn start(
        &mut self,
        now: Time,
        actor: ActingUser<'_>,
        users: Vec<String>,
        text: String,
        seed: CallSeed,
    ) -> Result<u64, Code> {
        if let Some(id) = self.crossing(actor.user, &users) {
            return self.accept(now, actor, id);
        }
        if self.call_of(actor.user).is_some() {
            return Err(Code::Busy);
        }
        if actor.observes {
            return Err(Code::Forbidden);
        }
        if users.iter().any(|user| user == actor.user) {
            return Err(Code::BadState);
        }
        let called = self.reachable(actor.users, users)?;
        if self.calls.len() >= self.limit {
            return Err(Code::TenantCalls);
        }
        if self.calls.contains_key(&seed.call) {
            return Err(Code::Internal);
        }
        let caller =
            CallParty { user: actor.user.to_owned(), state: PartyState::Member, lost_at: None };
        let room = format!("call-{:032x}", seed.room);
        let (state, parties) = (CallState::Ringing, vec![caller]);
        let history = CallHistory::new(now, actor.user);
        let mut call = Call { id: seed.call, room, text, state, parties, history };
        self.engage(actor.user, call.id);
        called.into_iter().for_each(|user| self.ring(now, &mut call, actor.user, user));
        self.send_state(&call, actor.users, |party| !party.is_member(), None);
        self.send_state(&call, actor.users, CallParty::is_member, Some(actor.device));
        let everybody = call.parties.iter().map(|party| party.user.clone()).collect();
        self.audit(call.id, everybody, None);
        let caller = actor.user.to_owned();
        self.output(SocialOutput::CallStarted { call: call.id, caller });
        self.put_back(call);
        Ok(seed.call)
    }

    fn accept(&mut self, now: Time, actor: ActingUser<'_>, id: u64) -> Result<u64, Code> {
        self.check_ringing(actor.user, id)?;
        let mut call = self.take(id).ok_or(Code::Internal)?;
        self.stop_ringing(&call, actor.user, Some(actor.device), Code::Answered);
        if let Some(party) = call.party_mut(actor.user) {
            party.state = PartyState::Member;
        }
        call.history.note_accepted(now, actor.user);
        if call.state == CallState::Ringing {
            for other in call.parties.extract_if(.., |party| !party.is_member()).collect::<Vec<_>>()
            {
                self.stop_ringing(&call, &other.user, None, Code::Answered);
                self.release(&other.user);
            }
            call.state = CallState::Opening;
            let users = call.members().map(str::to_owned).collect();
            self.output(SocialOutput::OpenRoom { call: id, room: call.room.clone(), users });
        } else {
            self.invite(&call, actor.user, true);
        }
        if call.state == CallState::Open {
            self.send_state(&call, actor.users, |party| party.user == actor.user, None);
            let name = bytes(actor.users.user(actor.user).map_or("", |user| &user.name));
            let update = CallUpdate { name, ..call.update(call_update::JOINED) };
            self.send_to_other_members(&call, actor.user, update);
        }
        self.put_back(call);
        Ok(id)
    }

    fn reject(&mut self, actor: ActingUser<'_>, id: u64) -> Result<u64, Code> {
        self.check_ringing(actor.user, id)?;
        let call = self.take(id).ok_or(Code::Internal)?;
        self.remove_party(call, actor.user, Some(actor.device), Code::Declined);
        Ok(id)
    }

    fn cancel(&mut self, actor: ActingUser<'_>, id: u64) -> Result<u64, Code> {
        let call = self.calls.get(&id).filter(|call| call.is_member(actor.user));
        if call.ok_or(Code::NoSuchEntity)?.state != CallState::Ringing {
            return Err(Code::Answered);
        }
        let call = self.take(id).ok_or(Code::Internal)?;
        self.remove_party(call, actor.user, Some(actor.device), Code::Cancelled);
        Ok(id)
    }

    fn hang_up(&mut self, actor: ActingUser<'_>, id: u64) -> Result<u64, Code> {
        let call = self.calls.get(&id).filter(|call| call.is_member(actor.user));
        if call.ok_or(Code::NoSuchEntity)?.state == CallState::Ringing {
            return self.cancel(actor, id);
        }
        let call = self.take(id).ok_or(Code::Internal)?;
        self.remove_party(call, actor.user, Some(actor.device), Code::Left);
        Ok(id)
    }

    fn add(
        &mut self,
        now: Time,
        actor: ActingUser<'_>,
        id: u64,
        user: String,
    ) -> Result<u64, Code> {
        let call = self.calls.get(&id).filter(|call| call.is_member(actor.user));
        let call =
            call.filter(|call| call.state != CallState::Ringing).ok_or(Code::NoSuchEntity)?;
        if actor.observes {
            return Err(Code::Forbidden);
        }
        if call.parties.len() >= MAX_CALL_USERS {
            return Err(Code::RoomFull);
        }
        self.reachable(actor.users, vec![user.clone()])?;
        let mut call = self.take(id).ok_or(Code::Internal)?;
        self.ring(now, &mut call, actor.user, user.clone());
        self.send_state(&call, actor.users, |party| party.user == user, None);
        self.put_back(call);
        Ok(id)
    }

    /// Returns those of the `called` users who can be called.
    ///
    /// # Errors
    ///
    /// If there is none: [`Code::Busy`] if at least one of them is busy, else
    /// [`Code::Unreachable`].
    fn reachable(&self, users: &Users, called: Vec<String>) -> Result<Vec<String>, Code> {
        let busy = |user: &String| {
            let chosen = users.user(user).is_some_and(|user| user.wants_no_calls());
            chosen || self.call_of.contains_key(user)
        };
        let any_busy = called.iter().any(busy);
        let free = |user: &String| users.user(user).is_some() && !busy(user);
        let free: Vec<String> = called.into_iter().filter(free).collect();
        match (free.is_empty(), any_busy) {
            (false, _) => Ok(free),
            (true, true) => Err(Code::Busy),
            (true, false) => Err(Code::Unreachable),
        }
    }

    /// Checks that the call rings at the user.
    ///
    /// # Errors
    ///
    /// [`Code::Answered`] if the user has accepted it already, else [`Code::NoSuchEntity`].
    fn check_ringing(&self, user: &str, id: u64) -> Result<(), Code> {
        let call = self.calls.get(&id).ok_or(Code::NoSuchEntity)?;
        match call.party(user).map(|party| &party.state) {
            Some(PartyState::Ringing { .. }) => Ok(()),
            Some(PartyState::Member) if call.state != CallState::Ringing => Err(Code::Answered),
            _ => Err(Code::NoSuchEntity),
        }
    }

    /// Adds a called user to a call.
    fn ring(&mut self, now: Time, call: &mut Call, by: &str, user: String) {
        self.engage(&user, call.id);
        call.history.note_called(&user);
        let state = PartyState::Ringing { by: by.to_owned(), until: now + self.ring_time };
        call.parties.push(CallParty { user, state, lost_at: None });
    }

    /// Removes a user from a call. Tells the user's devices except one, then the remaining members.
    fn remove_party(&mut self, mut call: Call, user: &str, except: Option<DeviceId>, code: Code) {
        let Some(at) = call.parties.iter().position(|party| party.user == user) else {
            return self.put_back(call);
        };
        let was_member = call.parties.remove(at).is_member();
        let (own, others) = if was_member {
            (call_update::ENDED, call_update::LEFT)
        } else {
            (call_update::RINGING_ENDED, call_update::PASSED)
        };
        self.send(user, except, with_code(call.update(own), code));
        if was_member && call.state != CallState::Ringing {
            self.invite(&call, user, false);
        }
        self.release(user);
        if call.is_over() {
            return self.end(call, code);
        }
        self.send_to_other_members(&call, user, with_code(call.update(others), code));
        self.put_back(call);
    }

    /// Ends a call for all its users.
    fn end(&mut self, call: Call, code: Code) {
        let everybody = call.parties.iter().map(|party| party.user.clone()).collect();
        self.audit(call.id, everybody, Some(code));
        for party in &call.parties {
            if party.is_member() {
                self.send(&party.user, None, with_code(call.update(call_update::ENDED), code));
            } else {
                self.stop_ringing(&call, &party.user, None, Code::Cancelled);
            }
            if party.is_member() && call.state != CallState::Ringing {
                self.invite(&call, &party.user, false);
            }
            self.release(&party.user);
        }
        self.outputs.push(CallOutput::Over { call: call.id, history: call.history });
    }

    fn set_lost_at(&mut self, user: &str, lost_at: Option<Time>) {
        let Some(mut call) = self.take_call_of(user) else { return };
        if let Some(party) = call.party_mut(user) {
            party.lost_at = lost_at;
        }
        self.put_back(call);
    }

    /// Takes a call out to change it. [`Self::put_back`] or [`Self::end`] must follow.
    fn take(&mut self, id: u64) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        call.deadline().map(|at| self.deadlines.remove(&(at, id)));
        Some(call)
    }

    fn take_call_of(&mut self, user: &str) -> Option<Call> {
        let id = *self.call_of.get(user)?;
        self.take(id)
    }

    fn put_back(&mut self, call: Call) {
        self.deadlines.extend(call.deadline().map(|at| (at, call.id)));
        self.calls.insert(call.id, call);
    }

    fn engage(&mut self, user: &str, id: u64) {
        self.call_of.insert(user.to_owned(), id);
        self.outputs.push(CallOutput::Engaged { user: user.to_owned(), engaged: true });
    }

    fn release(&mut self, user: &str) {
        self.call_of.remove(user);
        self.outputs.push(CallOutput::Engaged { user: user.to_owned(), engaged: false });
    }

    fn output(&mut self, output: SocialOutput) {
        self.outputs.push(CallOutput::Social(output));
    }

    fn invite(&mut self, call: &Call, user: &str, invited: bool) {
        let (room, user) = (call.room.clone(), user.to_owned());
        self.output(SocialOutput::Invite { room, user, invited });
    }

    fn audit(&mut self, call: u64, users: Vec<String>, ended: Option<Code>) {
        self.output(SocialOutput::Audit { call, users, ended });
    }

    /// Sends an update to the devices of a user except one.
    fn send(&mut self, user: &str, except: Option<DeviceId>, update: CallUpdate) {
        self.outputs.push(CallOutput::Send { user: user.to_owned(), except, update });
    }

    /// Stops the ringing of the user's devices except one.
    fn stop_ringing(&mut self, call: &Call, user: &str, except: Option<DeviceId>, code: Code) {
        self.send(user, except, with_code(call.update(call_update::RINGING_ENDED), code));
    }

    /// Sends an update about a user to the other members.
    fn send_to_other_members(&mut self, call: &Call, user: &str, update: CallUpdate) {
        for member in call.members().filter(|member| *member != user) {
            self.send(member, None, CallUpdate { user: bytes(user), ..update.clone() });
        }
    }

    /// Sends the whole state of the call to the selected users, to all their devices except one.
    fn send_state(
        &mut self,
        call: &Call,
        users: &Users,
        selected: impl Fn(&CallParty) -> bool,
        except: Option<DeviceId>,
    ) {
        for party in call.parties.iter().filter(|party| selected(party)) {
            if let Some(state) = call.state_for(&party.user, users) {
                self.send(&party.user, except, state);
            }
        }
    }
}

fn with_code(update: CallUpdate, code: Code) -> CallUpdate {
    CallUpdate { code: code as u16, ..update }
}
