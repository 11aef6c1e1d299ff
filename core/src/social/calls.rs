//! Calls: who rings whom, who takes it, who leaves. A user is in one call at a time, as a
//! member or as one who is called, and busy to all others meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use nucleus_protocol::limits::MAX_CALL_USERS;
use nucleus_protocol::session::{CallUpdate, Code, call_update};
use nucleus_protocol::time::Time;

use super::call::{Call, CallAct, CallSeed, CallState, Part, Party, bytes};
use super::input::SocialOutput;
use super::users::Users;
use crate::ids::DeviceId;

/// Who acts.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) user: &'a str,
    /// Observers call nobody.
    pub(super) observes: bool,
    pub(super) device: DeviceId,
    /// Everybody who is there.
    pub(super) present: &'a Users,
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum CallOutput {
    /// For all devices of a user but one.
    Tell { user: String, except: Option<DeviceId>, update: CallUpdate },
    /// The user is busy from now on, or no more.
    Engaged(String, bool),
    /// For those outside.
    Outside(SocialOutput),
}

/// All calls of a tenant's product.
pub(super) struct Calls {
    ring_time: Duration,
    limit: usize,
    calls: BTreeMap<u64, Call>,
    /// Whose call is which.
    engaged: HashMap<String, u64>,
    /// When each call that has something due is to be looked at.
    due: BTreeSet<(Time, u64)>,
    pub(super) outputs: Vec<CallOutput>,
}

impl Calls {
    pub(super) fn new(ring_time: Duration, limit: usize) -> Self {
        let (calls, engaged, due) = Default::default();
        Self { ring_time, limit, calls, engaged, due, outputs: Vec::new() }
    }

    /// Does what a user asks for; the number of the call, or why not. What comes of it is in `outputs`.
    pub(super) fn act(
        &mut self,
        now: Time,
        asking: Asking<'_>,
        act: CallAct,
        seed: CallSeed,
    ) -> Result<u64, Code> {
        match act {
            CallAct::Start(users, text) => self.start(now, asking, users, text, seed),
            CallAct::Accept(call) => self.accept(asking, call),
            CallAct::Reject(call) => self.reject(asking, call),
            CallAct::Cancel(call) => self.cancel(asking, call),
            CallAct::HangUp(call) => self.hang_up(asking, call),
            CallAct::Add(call, user) => self.add(now, asking, call, user),
        }
    }

    /// The call that a user is in or called to.
    pub(super) fn of(&self, user: &str) -> Option<&Call> {
        self.calls.get(self.engaged.get(user)?)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The user has a session again.
    pub(super) fn returned(&mut self, user: &str) {
        self.set_lost(user, None);
    }

    /// The user's last session is lost.
    pub(super) fn lost(&mut self, now: Time, user: &str) {
        self.set_lost(user, Some(now));
    }

    /// The user's last session has left.
    pub(super) fn left(&mut self, user: &str) {
        let Some(call) = self.take_of(user) else { return };
        let member = call.is_member(user);
        let code = if member { Code::Left } else { Code::Unreachable };
        self.part(call, user, None, code);
    }

    /// The room has been made, or not.
    pub(super) fn room_opened(&mut self, present: &Users, id: u64, result: Result<(), Code>) {
        if self.calls.get(&id).is_none_or(|call| call.state != CallState::Opening) {
            return;
        }
        let Some(mut call) = self.take(id) else { return };
        if let Err(code) = result {
            return self.end(call, code);
        }
        call.state = CallState::Open;
        for member in call.members() {
            let state = call.state(member, present);
            let user = || member.to_owned();
            let told = state.map(|update| CallOutput::Tell { user: user(), except: None, update });
            self.outputs.extend(told);
        }
        self.keep(call);
    }

    /// The room is over, and the call with it.
    pub(super) fn room_over(&mut self, id: u64) {
        if let Some(call) = self.take(id) {
            self.end(call, Code::Left);
        }
    }

    /// Ends every call.
    pub(super) fn shut_down(&mut self, code: Code) {
        while let Some(call) =
            self.calls.first_key_value().map(|(id, _)| *id).and_then(|id| self.take(id))
        {
            self.end(call, code);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        while let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            let Some(call) = self.take(id) else { return };
            let Some(party) = call.overdue(now) else { return self.keep(call) };
            let code = match party.part {
                Part::Rung { until, .. } if party.due(call.state) == Some(until) => Code::NoAnswer,
                Part::Rung { .. } => Code::Unreachable,
                Part::Member => Code::TimedOut,
            };
            let user = party.user.clone();
            self.part(call, &user, None, code);
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    fn start(
        &mut self,
        now: Time,
        asking: Asking<'_>,
        users: Vec<String>,
        text: String,
        seed: CallSeed,
    ) -> Result<u64, Code> {
        if let Some(call) = self.of(asking.user) {
            let id = call.id;
            // Whoever is called, and calls exactly the one who calls, means the same call.
            return match call.party(asking.user).map(|party| &party.part) {
                Some(Part::Rung { by, .. }) if users == [by.as_str()] => self.accept(asking, id),
                _ => Err(Code::Busy),
            };
        }
        if asking.observes {
            return Err(Code::Forbidden);
        }
        if users.iter().any(|user| user == asking.user) {
            return Err(Code::BadState);
        }
        let rung = self.reachable(asking.present, users)?;
        if self.calls.len() >= self.limit {
            return Err(Code::TenantCalls);
        }
        if self.calls.contains_key(&seed.call) {
            return Err(Code::Internal);
        }
        let caller = Party { user: asking.user.to_owned(), part: Part::Member, lost: None };
        let room = format!("call-{:032x}", seed.room);
        let (state, parties) = (CallState::Ringing, vec![caller]);
        let mut call = Call { id: seed.call, room, text, state, parties };
        self.engage(asking.user, call.id);
        rung.into_iter().for_each(|user| self.ring(now, &mut call, asking.user, user));
        self.tell_state(&call, asking.present, |party| !party.is_member(), None);
        self.tell_state(&call, asking.present, Party::is_member, Some(asking.device));
        let everybody = call.parties.iter().map(|party| party.user.clone()).collect();
        self.audit(call.id, everybody, None);
        self.keep(call);
        Ok(seed.call)
    }

    fn accept(&mut self, asking: Asking<'_>, id: u64) -> Result<u64, Code> {
        self.check_rung(asking.user, id)?;
        let mut call = self.take(id).ok_or(Code::Internal)?;
        self.quiet(&call, asking.user, Some(asking.device), Code::Answered);
        if let Some(party) = call.party_mut(asking.user) {
            party.part = Part::Member;
        }
        if call.state == CallState::Ringing {
            for other in call.parties.extract_if(.., |party| !party.is_member()).collect::<Vec<_>>()
            {
                self.quiet(&call, &other.user, None, Code::Answered);
                self.release(&other.user);
            }
            call.state = CallState::Opening;
            let users = call.members().map(str::to_owned).collect();
            self.outside(SocialOutput::OpenRoom { call: id, room: call.room.clone(), users });
        } else {
            self.invite(&call, asking.user, true);
        }
        if call.state == CallState::Open {
            self.tell_state(&call, asking.present, |party| party.user == asking.user, None);
            let name = bytes(asking.present.user(asking.user).map_or("", |user| &user.name));
            let update = CallUpdate { name, ..call.update(call_update::JOINED) };
            self.tell_others(&call, asking.user, update);
        }
        self.keep(call);
        Ok(id)
    }

    fn reject(&mut self, asking: Asking<'_>, id: u64) -> Result<u64, Code> {
        self.check_rung(asking.user, id)?;
        let call = self.take(id).ok_or(Code::Internal)?;
        self.part(call, asking.user, Some(asking.device), Code::Declined);
        Ok(id)
    }

    fn cancel(&mut self, asking: Asking<'_>, id: u64) -> Result<u64, Code> {
        let call = self.calls.get(&id).filter(|call| call.is_member(asking.user));
        if call.ok_or(Code::NoSuchEntity)?.state != CallState::Ringing {
            return Err(Code::Answered);
        }
        let call = self.take(id).ok_or(Code::Internal)?;
        self.part(call, asking.user, Some(asking.device), Code::Cancelled);
        Ok(id)
    }

    fn hang_up(&mut self, asking: Asking<'_>, id: u64) -> Result<u64, Code> {
        let call = self.calls.get(&id).filter(|call| call.is_member(asking.user));
        if call.ok_or(Code::NoSuchEntity)?.state == CallState::Ringing {
            return self.cancel(asking, id);
        }
        let call = self.take(id).ok_or(Code::Internal)?;
        self.part(call, asking.user, Some(asking.device), Code::Left);
        Ok(id)
    }

    fn add(&mut self, now: Time, asking: Asking<'_>, id: u64, user: String) -> Result<u64, Code> {
        let call = self.calls.get(&id).filter(|call| call.is_member(asking.user));
        let call =
            call.filter(|call| call.state != CallState::Ringing).ok_or(Code::NoSuchEntity)?;
        if asking.observes {
            return Err(Code::Forbidden);
        }
        if call.parties.len() >= MAX_CALL_USERS {
            return Err(Code::RoomFull);
        }
        self.reachable(asking.present, vec![user.clone()])?;
        let mut call = self.take(id).ok_or(Code::Internal)?;
        self.ring(now, &mut call, asking.user, user.clone());
        self.tell_state(&call, asking.present, |party| party.user == user, None);
        self.keep(call);
        Ok(id)
    }

    /// Those of the users who can be called; when there are none, why.
    fn reachable(&self, present: &Users, users: Vec<String>) -> Result<Vec<String>, Code> {
        let busy = |user: &String| {
            let chosen = present.user(user).is_some_and(|user| user.wants_no_calls());
            chosen || self.engaged.contains_key(user)
        };
        let any_busy = users.iter().any(busy);
        let free = |user: &String| present.user(user).is_some() && !busy(user);
        let free: Vec<String> = users.into_iter().filter(free).collect();
        match (free.is_empty(), any_busy) {
            (false, _) => Ok(free),
            (true, true) => Err(Code::Busy),
            (true, false) => Err(Code::Unreachable),
        }
    }

    fn check_rung(&self, user: &str, id: u64) -> Result<(), Code> {
        let call = self.calls.get(&id).ok_or(Code::NoSuchEntity)?;
        match call.party(user).map(|party| &party.part) {
            Some(Part::Rung { .. }) => Ok(()),
            Some(Part::Member) if call.state != CallState::Ringing => Err(Code::Answered),
            _ => Err(Code::NoSuchEntity),
        }
    }

    fn ring(&mut self, now: Time, call: &mut Call, by: &str, user: String) {
        self.engage(&user, call.id);
        let part = Part::Rung { by: by.to_owned(), until: now + self.ring_time };
        call.parties.push(Party { user, part, lost: None });
    }

    /// A user is out of the call: his devices but one are told, then those who are left.
    fn part(&mut self, mut call: Call, user: &str, except: Option<DeviceId>, code: Code) {
        let Some(at) = call.parties.iter().position(|party| party.user == user) else {
            return self.keep(call);
        };
        let was_member = call.parties.remove(at).is_member();
        let (own, others) = if was_member {
            (call_update::ENDED, call_update::LEFT)
        } else {
            (call_update::RINGING_ENDED, call_update::PASSED)
        };
        self.tell(user, except, with(call.update(own), code));
        if was_member && call.state != CallState::Ringing {
            self.invite(&call, user, false);
        }
        self.release(user);
        if call.is_over() {
            return self.end(call, code);
        }
        self.tell_others(&call, user, with(call.update(others), code));
        self.keep(call);
    }

    /// The call is over for everybody who is left.
    fn end(&mut self, call: Call, code: Code) {
        let everybody = call.parties.iter().map(|party| party.user.clone()).collect();
        self.audit(call.id, everybody, Some(code));
        for party in &call.parties {
            if party.is_member() {
                self.tell(&party.user, None, with(call.update(call_update::ENDED), code));
            } else {
                self.quiet(&call, &party.user, None, Code::Cancelled);
            }
            if party.is_member() && call.state != CallState::Ringing {
                self.invite(&call, &party.user, false);
            }
            self.release(&party.user);
        }
    }

    fn set_lost(&mut self, user: &str, lost: Option<Time>) {
        let Some(mut call) = self.take_of(user) else { return };
        if let Some(party) = call.party_mut(user) {
            party.lost = lost;
        }
        self.keep(call);
    }

    /// Takes a call out to change it; [`Self::keep`] or [`Self::end`] must follow.
    fn take(&mut self, id: u64) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        call.due().map(|due| self.due.remove(&(due, id)));
        Some(call)
    }

    fn take_of(&mut self, user: &str) -> Option<Call> {
        let id = *self.engaged.get(user)?;
        self.take(id)
    }

    fn keep(&mut self, call: Call) {
        self.due.extend(call.due().map(|due| (due, call.id)));
        self.calls.insert(call.id, call);
    }

    fn engage(&mut self, user: &str, id: u64) {
        self.engaged.insert(user.to_owned(), id);
        self.outputs.push(CallOutput::Engaged(user.to_owned(), true));
    }

    fn release(&mut self, user: &str) {
        self.engaged.remove(user);
        self.outputs.push(CallOutput::Engaged(user.to_owned(), false));
    }

    fn outside(&mut self, output: SocialOutput) {
        self.outputs.push(CallOutput::Outside(output));
    }

    fn invite(&mut self, call: &Call, user: &str, invited: bool) {
        let (room, user) = (call.room.clone(), user.to_owned());
        self.outside(SocialOutput::Invite { room, user, invited });
    }

    fn audit(&mut self, call: u64, users: Vec<String>, ended: Option<Code>) {
        self.outside(SocialOutput::Audit { call, users, ended });
    }

    fn tell(&mut self, user: &str, except: Option<DeviceId>, update: CallUpdate) {
        self.outputs.push(CallOutput::Tell { user: user.to_owned(), except, update });
    }

    /// The user's devices but one ring no more.
    fn quiet(&mut self, call: &Call, user: &str, except: Option<DeviceId>, code: Code) {
        self.tell(user, except, with(call.update(call_update::RINGING_ENDED), code));
    }

    /// Tells the other members of a user.
    fn tell_others(&mut self, call: &Call, user: &str, update: CallUpdate) {
        for member in call.members().filter(|member| *member != user) {
            self.tell(member, None, CallUpdate { user: bytes(user), ..update.clone() });
        }
    }

    fn tell_state(
        &mut self,
        call: &Call,
        present: &Users,
        whom: impl Fn(&Party) -> bool,
        except: Option<DeviceId>,
    ) {
        for party in call.parties.iter().filter(|party| whom(party)) {
            if let Some(state) = call.state(&party.user, present) {
                self.tell(&party.user, except, state);
            }
        }
    }
}

fn with(update: CallUpdate, code: Code) -> CallUpdate {
    CallUpdate { code: code as u16, ..update }
}
