//! Users of one tenant's product who can be reached without being in a room, whoever watches them, and
//! their calls.
//!
//! A device is one session. A user may have several; what concerns the user goes to all of them.

mod call;
mod calls;
mod input;
mod users;
mod watchers;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::session::{self, CallReply, Code, Entered};
use nucleus_protocol::time::Time;

use crate::Machine;
use crate::ids::{DeviceId, RequestId};
use crate::limits::{self, Limits};
pub use call::{CallAct, CallSeed};
use calls::{Asking, CallOutput, Calls};
pub use input::{DeviceRequest, SocialInput, SocialOutput};
use users::Users;
pub use users::Visitor;
pub use watchers::UserFilter;
use watchers::Watchers;

/// What the social machine is set to.
#[derive(Clone, Debug)]
pub struct SocialConfig {
    /// The server's bounds.
    pub limits: Limits,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
}

/// Users, watchers and calls of one tenant's product.
pub struct Social {
    config: SocialConfig,
    users: Users,
    watchers: Watchers,
    calls: Calls,
    next_device: u64,
    ending: bool,
    outputs: VecDeque<SocialOutput>,
}

impl Machine for Social {
    type Input = SocialInput;
    type Output = SocialOutput;
    const TIMEOUT: SocialInput = SocialInput::Timeout;

    fn handle(&mut self, now: Time, input: SocialInput) {
        match input {
            SocialInput::Timeout => self.handle_timeout(now),
            SocialInput::Enter { request, visitor } => self.enter(now, request, visitor),
            SocialInput::Leave(device, code) => self.put_out(now, device, code),
            SocialInput::Lost(device) => self.handle_lost(now, device),
            SocialInput::Ask(device, asked) => self.handle_request(now, device, asked),
            SocialInput::RoomOpened { call, result } => {
                self.calls.room_opened(&self.users, call, result);
                self.carry_on(now);
            }
            SocialInput::RoomOver(call) => {
                self.calls.room_over(call);
                self.carry_on(now);
            }
            SocialInput::Shutdown(code) => self.handle_shutdown(now, code),
        }
    }

    fn poll(&mut self) -> Option<SocialOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        self.watchers_due().into_iter().chain(self.calls.deadline()).min()
    }

    /// Nobody is here and nothing is pending.
    fn is_over(&self) -> bool {
        self.users.is_empty() && self.calls.is_empty()
    }
}

impl Social {
    /// Nobody is there yet.
    pub fn new(config: SocialConfig) -> Self {
        Self {
            calls: Calls::new(config.limits.ring_time, config.limits.tenant_calls as usize),
            config,
            users: Users::default(),
            watchers: Watchers::default(),
            next_device: 1,
            ending: false,
            outputs: VecDeque::new(),
        }
    }

    /// Lets a device in; `Entered` is the first message that it is told.
    fn enter(&mut self, now: Time, request: RequestId, visitor: Visitor) {
        if self.ending {
            let result = Err(Code::ShuttingDown);
            return self.outputs.push_back(SocialOutput::EnterReply { request, result });
        }
        let device = DeviceId(self.next_device);
        self.next_device += 1;
        self.outputs.push_back(SocialOutput::EnterReply { request, result: Ok(device) });
        let replaced = self.users.enter(now, device, visitor.clone());
        let call = self.calls.of(&visitor.user);
        let entered = Entered {
            user: visitor.user.clone().into_bytes(),
            name: visitor.name.clone().into_bytes(),
            role: visitor.role.clone().into_bytes(),
            server_time: now.as_micros(),
            clock_epoch: self.config.clock_epoch,
            ring_ms: self.config.limits.ring_time.as_millis() as u32,
            call: call.map_or(0, |call| call.id),
        };
        let state = call.and_then(|call| call.state(&visitor.user, &self.users));
        self.send(device, session::encode(&entered));
        if let Some(state) = state {
            self.send(device, session::encode(&state));
        }
        self.calls.returned(&visitor.user);
        if let Some(oldest) = replaced {
            self.put_out(now, oldest, Code::Replaced);
        }
    }

    fn handle_lost(&mut self, now: Time, device: DeviceId) {
        self.watchers.forget(device);
        if let Some((user, true)) = self.users.part(now, device) {
            self.calls.lost(now, &user);
        }
    }

    fn handle_request(&mut self, now: Time, device: DeviceId, asked: DeviceRequest) {
        match asked {
            DeviceRequest::SetStatus(status) => self.users.set_status(now, device, status),
            DeviceRequest::Watch(request, filter) => self.watch(device, request, filter),
            DeviceRequest::Call(request, act, seed) => self.call(now, device, request, act, seed),
        }
    }

    /// Everybody is told why.
    fn handle_shutdown(&mut self, now: Time, code: Code) {
        self.ending = true;
        self.calls.shut_down(code);
        self.carry_on(now);
        let everybody: Vec<DeviceId> = self.users.every_device().collect();
        everybody.into_iter().for_each(|device| self.put_out(now, device, code));
    }

    fn handle_timeout(&mut self, now: Time) {
        self.calls.handle_timeout(now);
        self.carry_on(now);
        if self.watchers_due().is_some_and(|due| due <= now) {
            let changes = self.users.take_changes();
            let told = self.watchers.update(&changes, &self.users);
            let sent = told.into_iter().map(|(device, told)| SocialOutput::Send(device, told));
            self.outputs.extend(sent);
        }
    }

    fn put_out(&mut self, now: Time, device: DeviceId, code: Code) {
        self.watchers.forget(device);
        let Some((user, last)) = self.users.part(now, device) else { return };
        if last {
            self.calls.left(&user);
            self.carry_on(now);
        }
        self.outputs.push_back(SocialOutput::Disconnect(device, code));
    }

    fn watch(&mut self, device: DeviceId, request: u32, filter: Option<UserFilter>) {
        if self.users.at(device).is_none() {
            return;
        }
        let told = match filter {
            None => Watchers::refuse(request, Code::BadState),
            Some(_) if self.users.observes(device) => Watchers::refuse(request, Code::Forbidden),
            Some(filter) => self.watchers.watch(device, request, filter, &self.users),
        };
        self.outputs.push_back(SocialOutput::Send(device, told));
    }

    /// The more watch, the longer changes are collected: so many updates a second at most.
    fn watchers_due(&self) -> Option<Time> {
        let spread =
            Duration::from_secs(self.watchers.len() as u64) / limits::WATCHERS_UPDATES_PER_SECOND;
        Some(self.users.changed_since()? + limits::WATCHERS_BATCH.max(spread))
    }

    /// The answer goes out in front of what comes of it.
    fn call(
        &mut self,
        now: Time,
        device: DeviceId,
        request: u32,
        act: Option<CallAct>,
        seed: CallSeed,
    ) {
        let starts = matches!(act, Some(CallAct::Start(..) | CallAct::Add(..)));
        let may = !starts || self.users.may_start(now, device);
        let Some(user) = self.users.at(device) else { return };
        let observes = self.users.observes(device);
        let asking = Asking { user: &user.user, observes, device, present: &self.users };
        let result = match act {
            Some(_) if !may => Err(Code::JoinRate),
            Some(act) => self.calls.act(now, asking, act, seed),
            None => Err(Code::BadState),
        };
        if starts && result.is_ok() {
            self.users.started(device);
        }
        let (code, call) = result.map_or_else(|code| (code as u16, 0), |call| (0, call));
        self.send(device, session::encode(&CallReply { request, code, call }));
        self.carry_on(now);
    }

    /// What has come of calls goes to users and sessions.
    fn carry_on(&mut self, now: Time) {
        for output in std::mem::take(&mut self.calls.outputs) {
            match output {
                CallOutput::Tell { user, except, update } => {
                    let message = Bytes::from(session::encode(&update));
                    let devices = self.users.devices(&user).filter(|at| Some(*at) != except);
                    let sent = devices.map(|at| SocialOutput::Send(at, message.clone()));
                    self.outputs.extend(sent);
                }
                CallOutput::Engaged(user, engaged) => {
                    self.users.set_engaged(now, &user, engaged);
                }
                CallOutput::Outside(output) => self.outputs.push_back(output),
            }
        }
    }

    fn send(&mut self, device: DeviceId, message: Vec<u8>) {
        self.outputs.push_back(SocialOutput::Send(device, message.into()));
    }
}
