//! A model of the calls, as simple as possible: a list of users that every rule searches
//! completely.

use nucleus_core::ids::DeviceId;
use nucleus_core::social::CallAct;
use nucleus_protocol::session::{Code, status};
use nucleus_sim::social::{CALLS, RING_TIME};

/// The part of a user in a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CallPart {
    None,
    /// The user has started the call with this number, which still rings.
    Calling(u64),
    Ringing {
        call: u64,
        by: String,
        until: u64,
    },
    /// The user is a member of the accepted call with this number.
    In(u64),
}

pub(super) struct ModelUser {
    pub(super) name: String,
    pub(super) devices: Vec<(DeviceId, u8)>,
    pub(super) part: CallPart,
    /// When the last device was lost, in ms.
    lost_at: Option<u64>,
    /// Number of the step in which the user got into the call.
    step: u64,
}

pub(super) struct SocialModel {
    pub(super) users: Vec<ModelUser>,
    /// ms.
    pub(super) now: u64,
    /// Whether rooms can be created.
    pub(super) rooms: bool,
    steps: u64,
    pub(super) messages: Vec<(DeviceId, String)>,
}

impl SocialModel {
    pub(super) fn new(users: &[&str], now: u64) -> Self {
        let user = |user: &&str| ModelUser {
            name: (*user).to_owned(),
            devices: Vec::new(),
            part: CallPart::None,
            lost_at: None,
            step: 0,
        };
        let users = users.iter().map(user).collect();
        Self { users, now, rooms: true, steps: 0, messages: Vec::new() }
    }

    pub(super) fn status(&self, user: usize) -> u8 {
        let user = &self.users[user];
        let chosen: Vec<u8> = user.devices.iter().map(|(_, status)| *status).collect();
        if user.part != CallPart::None || chosen.contains(&status::BUSY) {
            return status::BUSY;
        }
        if chosen.contains(&status::ONLINE) {
            return status::ONLINE;
        }
        if chosen.is_empty() { status::OFFLINE } else { status::AWAY }
    }

    pub(super) fn call_of(&self, user: usize) -> u64 {
        match &self.users[user].part {
            CallPart::None => 0,
            CallPart::Calling(call) | CallPart::In(call) | CallPart::Ringing { call, .. } => *call,
        }
    }

    pub(super) fn calls(&self) -> Vec<u64> {
        let mut calls: Vec<u64> = (0..self.users.len()).map(|user| self.call_of(user)).collect();
        calls.retain(|call| *call != 0);
        calls.sort_unstable();
        calls.dedup();
        calls
    }

    fn users_of_call(&self, call: u64, wanted: impl Fn(&CallPart) -> bool) -> Vec<usize> {
        let all = (0..self.users.len()).filter(|user| call != 0 && self.call_of(*user) == call);
        all.filter(|user| wanted(&self.users[*user].part)).collect()
    }

    pub(super) fn members(&self, call: u64) -> Vec<usize> {
        self.users_of_call(call, |part| matches!(part, CallPart::Calling(_) | CallPart::In(_)))
    }

    pub(super) fn ringing(&self, call: u64) -> Vec<usize> {
        self.users_of_call(call, |part| matches!(part, CallPart::Ringing { .. }))
    }

    fn names(&self, users: &[usize]) -> String {
        let mut names: Vec<&str> =
            users.iter().map(|user| self.users[*user].name.as_str()).collect();
        names.sort_unstable();
        names.join("+")
    }

    fn find(&self, user: &str) -> Option<usize> {
        self.users.iter().position(|other| other.name == user)
    }

    fn send(&mut self, user: usize, except: Option<DeviceId>, line: &str) {
        for (device, _) in &self.users[user].devices {
            if Some(*device) != except {
                self.messages.push((*device, line.to_owned()));
            }
        }
    }

    fn state(&self, user: usize) -> Option<String> {
        let call = self.call_of(user);
        Some(match &self.users[user].part {
            CallPart::None => return None,
            CallPart::Calling(_) => format!("calling 0 {} why", self.names(&self.ringing(call))),
            CallPart::In(_) => format!("accepted room 0 {}", self.names(&self.members(call))),
            CallPart::Ringing { by, .. } => {
                format!("incoming {by} 0 {} why", self.names(&self.members(call)))
            }
        })
    }

    pub(super) fn enter(&mut self, user: usize, device: DeviceId, status: u8) {
        self.users[user].devices.push((device, status));
        self.users[user].lost_at = None;
        self.messages.push((device, format!("entered {}", self.call_of(user))));
        let state = self.state(user);
        self.messages.extend(state.map(|state| (device, state)));
    }

    pub(super) fn leave(&mut self, user: usize, device: DeviceId) {
        self.users[user].devices.retain(|(other, _)| *other != device);
        if self.users[user].devices.is_empty() && self.call_of(user) != 0 {
            let ringing = matches!(self.users[user].part, CallPart::Ringing { .. });
            self.remove(user, None, if ringing { Code::Unreachable } else { Code::Left });
        }
        self.messages.push((device, "closed left".to_owned()));
    }

    pub(super) fn lose(&mut self, user: usize, device: DeviceId) {
        self.users[user].devices.retain(|(other, _)| *other != device);
        if self.users[user].devices.is_empty() && self.call_of(user) != 0 {
            self.users[user].lost_at = Some(self.now);
        }
    }

    pub(super) fn act(&mut self, user: usize, device: DeviceId, act: &CallAct, seed: u64) {
        let at = self.messages.len();
        let result = self.try_act(user, device, act, seed);
        let line = match result {
            Ok(call) => format!("reply 0 {call}"),
            Err(code) => format!("reply {} 0", code as u16),
        };
        self.messages.insert(at, (device, line));
    }

    fn try_act(
        &mut self,
        user: usize,
        device: DeviceId,
        act: &CallAct,
        seed: u64,
    ) -> Result<u64, Code> {
        let part = self.users[user].part.clone();
        let role = |call: u64| match &part {
            CallPart::Calling(own) if *own == call => 'c',
            CallPart::Ringing { call: own, .. } if *own == call => 'r',
            CallPart::In(own) if *own == call => 'i',
            _ => '-',
        };
        match act {
            CallAct::Start(users, _) => match &part {
                CallPart::Ringing { by, call, .. } if *users == [by.clone()] => {
                    self.accept(user, device, *call);
                    Ok(*call)
                }
                CallPart::None => self.start(user, device, users, seed),
                _ => Err(Code::Busy),
            },
            CallAct::Accept(call) | CallAct::Reject(call) => {
                match (role(*call), act) {
                    ('r', CallAct::Accept(_)) => self.accept(user, device, *call),
                    ('r', _) => self.remove(user, Some(device), Code::Declined),
                    ('i', _) => return Err(Code::Answered),
                    _ => return Err(Code::NoSuchEntity),
                }
                Ok(*call)
            }
            CallAct::Cancel(call) | CallAct::HangUp(call) => {
                match (role(*call), act) {
                    ('c', _) => self.remove(user, Some(device), Code::Cancelled),
                    ('i', CallAct::HangUp(_)) => self.remove(user, Some(device), Code::Left),
                    ('i', _) => return Err(Code::Answered),
                    _ => return Err(Code::NoSuchEntity),
                }
                Ok(*call)
            }
            CallAct::Add(call, added) => {
                if role(*call) != 'i' {
                    return Err(Code::NoSuchEntity);
                }
                let added = self.reachable(std::slice::from_ref(added))?[0];
                self.ring(added, *call, user);
                let state = self.state(added).unwrap();
                self.send(added, None, &state);
                Ok(*call)
            }
        }
    }

    fn reachable(&self, users: &[String]) -> Result<Vec<usize>, Code> {
        let users: Vec<usize> = users.iter().filter_map(|user| self.find(user)).collect();
        let free = |user: &usize| matches!(self.status(*user), status::ONLINE | status::AWAY);
        let found: Vec<usize> = users.iter().copied().filter(free).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let busy = users.iter().any(|user| self.status(*user) == status::BUSY);
        Err(if busy { Code::Busy } else { Code::Unreachable })
    }

    fn ring(&mut self, user: usize, call: u64, by: usize) {
        let until = self.now + RING_TIME;
        self.steps += 1;
        self.users[user].step = self.steps;
        self.users[user].part = CallPart::Ringing { call, by: self.users[by].name.clone(), until };
    }

    fn start(
        &mut self,
        user: usize,
        device: DeviceId,
        users: &[String],
        seed: u64,
    ) -> Result<u64, Code> {
        if users.contains(&self.users[user].name) {
            return Err(Code::BadState);
        }
        let found = self.reachable(users)?;
        if self.calls().len() >= CALLS {
            return Err(Code::TenantCalls);
        }
        self.steps += 1;
        self.users[user].step = self.steps;
        self.users[user].part = CallPart::Calling(seed);
        found.iter().for_each(|called| self.ring(*called, seed, user));
        for called in found {
            let state = self.state(called).unwrap();
            self.send(called, None, &state);
        }
        let state = self.state(user).unwrap();
        self.send(user, Some(device), &state);
        Ok(seed)
    }

    fn accept(&mut self, user: usize, device: DeviceId, call: u64) {
        self.send(user, Some(device), &format!("ringing_ended {}", Code::Answered as u16));
        self.users[user].part = CallPart::In(call);
        let caller = self.users_of_call(call, |part| matches!(part, CallPart::Calling(_)));
        if let [caller] = caller[..] {
            for other in self.ringing(call) {
                self.send(other, None, &format!("ringing_ended {}", Code::Answered as u16));
                self.users[other].part = CallPart::None;
                self.users[other].lost_at = None;
            }
            self.users[caller].part = CallPart::In(call);
            if !self.rooms {
                return self.finish(call, Code::ServerFull);
            }
            for member in self.members(call) {
                let state = self.state(member).unwrap();
                self.send(member, None, &state);
            }
            return;
        }
        let state = self.state(user).unwrap();
        self.send(user, None, &state);
        let line = format!("joined {} 0", self.users[user].name);
        for member in self.members(call) {
            if member != user {
                self.send(member, None, &line);
            }
        }
    }

    fn remove(&mut self, user: usize, except: Option<DeviceId>, code: Code) {
        let (call, number) = (self.call_of(user), code as u16);
        let member = self.members(call).contains(&user);
        self.users[user].part = CallPart::None;
        self.users[user].lost_at = None;
        self.send(
            user,
            except,
            &format!("{} {number}", if member { "ended" } else { "ringing_ended" }),
        );
        let (members, ringing) = (self.members(call), self.ringing(call));
        if members.is_empty() || (members.len() == 1 && ringing.is_empty()) {
            return self.finish(call, code);
        }
        let what = if member { "left" } else { "passed" };
        let line = format!("{what} {} {number}", self.users[user].name);
        members.into_iter().for_each(|member| self.send(member, None, &line));
    }

    pub(super) fn finish(&mut self, call: u64, code: Code) {
        for user in self.members(call) {
            self.users[user].part = CallPart::None;
            self.users[user].lost_at = None;
            self.send(user, None, &format!("ended {}", code as u16));
        }
        for user in self.ringing(call) {
            self.users[user].part = CallPart::None;
            self.users[user].lost_at = None;
            self.send(user, None, &format!("ringing_ended {}", Code::Cancelled as u16));
        }
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now += ms;
        loop {
            let due = |user: usize| -> Option<(u64, Code)> {
                let ModelUser { part, lost_at, .. } = &self.users[user];
                let lost = |grace: u64| lost_at.map(|at| at + grace);
                match part {
                    CallPart::None => None,
                    CallPart::Calling(_) => Some((lost(5_000)?, Code::TimedOut)),
                    CallPart::In(_) => Some((lost(30_000)?, Code::TimedOut)),
                    CallPart::Ringing { until, .. } => Some(match lost(5_000) {
                        Some(lost) if lost < *until => (lost, Code::Unreachable),
                        _ => (*until, Code::NoAnswer),
                    }),
                }
            };
            let all = (0..self.users.len()).filter_map(|user| Some((due(user)?, user)));
            let next = all.min_by_key(|((due, _), user)| (*due, self.users[*user].step));
            match next {
                Some(((due, code), user)) if due <= self.now => self.remove(user, None, code),
                _ => return,
            }
        }
    }
}
