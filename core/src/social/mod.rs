//! The users of one tenant's product who can be reached outside rooms, their watchers, and their
//! calls.
//!
//! A device is one session. A user may have several devices. Messages for the user go to all of
//! them.

mod call;
mod calls;
mod input;
mod starts;
mod users;
mod watchers;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::session::{self, CallReply, Code, Entered, SessionSetting, SessionSettings};
use nucleus_protocol::time::Time;

use crate::Machine;
use crate::ids::{DeviceId, RequestId, ServerInstanceId};
use crate::limits::{self, Limits};
use crate::rate::Rate;
pub use call::{CallAct, CallSeed};
use calls::{ActingUser, CallOutput, Calls};
pub use input::{DeviceRequest, SocialInput, SocialOutput};
use starts::CallStarts;
pub use users::EnterRequest;
use users::{RemovedDevice, Users};
pub use watchers::UserFilter;
use watchers::Watchers;

/// The settings of the social machine.
#[derive(Clone, Debug)]
pub struct SocialConfig {
    /// The server's limits.
    pub limits: Limits,
    /// Identifies the server's clock; changes when the server restarts.
    pub clock_epoch: u32,
    /// The server instance id.
    pub server_instance: ServerInstanceId,
    /// Where a client that lost its session may enter again, each as `host:port`.
    pub entries: Vec<Vec<u8>>,
}

/// Users, watchers and calls of one tenant's product.
pub struct Social {
    config: SocialConfig,
    users: Users,
    watchers: Watchers,
    calls: Calls,
    starts: CallStarts,
    next_device: u64,
    shutting_down: bool,
    outputs: VecDeque<SocialOutput>,
}

impl Machine for Social {
    type Input = SocialInput;
    type Output = SocialOutput;
    const TIMEOUT: SocialInput = SocialInput::Timeout;

    fn handle(&mut self, now: Time, input: SocialInput) {
        match input {
            SocialInput::Timeout => self.handle_timeout(now),
            SocialInput::Enter { request, enter } => self.enter(now, request, enter),
            SocialInput::Leave(device, code) => self.disconnect(now, device, code),
            SocialInput::Lost(device) => self.handle_lost(now, device),
            SocialInput::Ask(device, request) => self.handle_request(now, device, request),
            SocialInput::RoomOpened { call, result } => {
                self.calls.room_opened(&self.users, call, result);
                self.apply_call_outputs(now);
            }
            SocialInput::RoomOver(call) => {
                self.calls.room_over(call);
                self.apply_call_outputs(now);
            }
            SocialInput::Calls(request) => {
                let calls = self.calls.summaries(now);
                self.outputs.push_back(SocialOutput::Calls(request, calls));
            }
            SocialInput::EndCall(request, call) => {
                let ended = self.calls.end_call(now, call).into_iter().collect();
                self.apply_call_outputs(now);
                self.outputs.push_back(SocialOutput::Calls(request, ended));
            }
            SocialInput::Remove(user, code) => {
                let devices: Vec<DeviceId> = self.users.devices(&user).collect();
                devices.into_iter().for_each(|device| self.disconnect(now, device, code));
            }
            SocialInput::Shutdown(code) => self.handle_shutdown(now, code),
        }
    }

    fn poll(&mut self) -> Option<SocialOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        let deadlines = [self.watchers_due(), self.calls.deadline(), self.starts.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Returns true if there is no user, no call, and nobody's budget of calls to remember.
    fn is_over(&self) -> bool {
        let remembers = !self.starts.is_empty() && !self.shutting_down;
        self.users.is_empty() && self.calls.is_empty() && !remembers
    }
}

impl Social {
    /// Creates the machine without users.
    pub fn new(config: SocialConfig) -> Self {
        Self {
            calls: Calls::new(config.limits.ring_time, config.limits.tenant_calls as usize),
            config,
            users: Users::default(),
            watchers: Watchers::default(),
            starts: CallStarts::default(),
            next_device: 1,
            shutting_down: false,
            outputs: VecDeque::new(),
        }
    }

    /// Adds a device. `Entered` is the first message to it.
    fn enter(&mut self, now: Time, request: RequestId, enter: EnterRequest) {
        if self.shutting_down {
            let result = Err(Code::ShuttingDown);
            return self.outputs.push_back(SocialOutput::EnterReply { request, result });
        }
        let device = DeviceId(self.next_device);
        self.next_device += 1;
        self.outputs.push_back(SocialOutput::EnterReply { request, result: Ok(device) });
        let replaced = self.users.enter(now, device, enter.clone());
        let call = self.calls.call_of(&enter.user);
        let entered = Entered {
            user: enter.user.clone().into_bytes(),
            name: enter.name.clone().into_bytes(),
            role: enter.role.clone().into_bytes(),
            server_time: now.as_micros(),
            clock_epoch: self.config.clock_epoch,
            server_instance: self.config.server_instance.0,
            ring_ms: self.config.limits.ring_time.as_millis() as u32,
            call: call.map_or(0, |call| call.id),
            entries: self.config.entries.clone(),
            settings: settings(),
        };
        let state = call.and_then(|call| call.state_for(&enter.user, &self.users));
        self.send(device, session::encode(&entered));
        if let Some(state) = state {
            self.send(device, session::encode(&state));
        }
        self.calls.user_returned(&enter.user);
        if let Some(oldest) = replaced {
            self.disconnect(now, oldest, Code::Replaced);
        }
    }

    fn handle_lost(&mut self, now: Time, device: DeviceId) {
        self.watchers.remove(device);
        if let Some(RemovedDevice { user, was_last: true }) = self.users.remove_device(now, device)
        {
            self.calls.user_lost(now, &user);
        }
    }

    fn handle_request(&mut self, now: Time, device: DeviceId, request: DeviceRequest) {
        match request {
            DeviceRequest::SetStatus(status) => self.users.set_status(now, device, status),
            DeviceRequest::Watch(request, filter) => self.watch(device, request, filter),
            DeviceRequest::Call(request, act, seed) => self.call(now, device, request, act, seed),
        }
    }

    /// Ends all calls and disconnects all devices.
    fn handle_shutdown(&mut self, now: Time, code: Code) {
        self.shutting_down = true;
        self.calls.shut_down(code);
        self.apply_call_outputs(now);
        let devices: Vec<DeviceId> = self.users.all_devices().collect();
        devices.into_iter().for_each(|device| self.disconnect(now, device, code));
    }

    fn handle_timeout(&mut self, now: Time) {
        self.starts.handle_timeout(now);
        self.calls.handle_timeout(now);
        self.apply_call_outputs(now);
        if self.watchers_due().is_some_and(|due| due <= now) {
            let changes = self.users.take_changes();
            let updates = self.watchers.update(&changes, &self.users);
            let sent = updates.into_iter().map(|(device, list)| SocialOutput::Send(device, list));
            self.outputs.extend(sent);
        }
    }

    /// Removes a device and closes its session.
    fn disconnect(&mut self, now: Time, device: DeviceId, code: Code) {
        self.watchers.remove(device);
        let Some(removed) = self.users.remove_device(now, device) else { return };
        if removed.was_last {
            self.calls.user_left(&removed.user);
            self.apply_call_outputs(now);
        }
        self.outputs.push_back(SocialOutput::Disconnect(device, code));
    }

    /// Makes a device a watcher, or refuses that.
    fn watch(&mut self, device: DeviceId, request: u32, filter: Option<UserFilter>) {
        if self.users.user_of(device).is_none() {
            return;
        }
        let list = match filter {
            None => Watchers::refuse(request, Code::BadState),
            Some(_) if self.users.observes(device) => Watchers::refuse(request, Code::Forbidden),
            Some(filter) => self.watchers.watch(device, request, filter, &self.users),
        };
        self.outputs.push_back(SocialOutput::Send(device, list));
    }

    /// Returns the time of the next update to the watchers. With many watchers, changes are
    /// collected for longer, so that the number of updates per second stays bounded.
    fn watchers_due(&self) -> Option<Time> {
        let spread =
            Duration::from_secs(self.watchers.len() as u64) / limits::WATCHERS_UPDATES_PER_SECOND;
        Some(self.users.changed_since()? + limits::WATCHERS_BATCH.max(spread))
    }

    /// Carries out an action on a call. The reply is sent before the effects of the action.
    fn call(
        &mut self,
        now: Time,
        device: DeviceId,
        request: u32,
        act: Option<CallAct>,
        seed: CallSeed,
    ) {
        let Some(user) = self.users.user_of(device) else { return };
        let user_id = user.id.clone();
        let starts = act.as_ref().is_some_and(|act| self.calls.starts_ringing(&user_id, act));
        let within_rate = !starts || self.starts.may_start(now, &user_id);
        let observes = self.users.observes(device);
        let actor = ActingUser { user: &user.id, observes, device, users: &self.users };
        let result = match act {
            Some(_) if !within_rate => Err(Code::JoinRate),
            Some(act) => self.calls.act(now, actor, act, seed),
            None => Err(Code::BadState),
        };
        if starts && result.is_ok() {
            self.starts.count(now, &user_id);
        }
        let (code, call) = result.map_or_else(|code| (code as u16, 0), |call| (0, call));
        self.send(device, session::encode(&CallReply { request, code, call }));
        self.apply_call_outputs(now);
    }

    /// Handles the outputs of the calls: updates the users' statuses, and queues everything else as
    /// outputs of this machine.
    fn apply_call_outputs(&mut self, now: Time) {
        for output in std::mem::take(&mut self.calls.outputs) {
            match output {
                CallOutput::Send { user, except, update } => {
                    let message = Bytes::from(session::encode(&update));
                    let devices = self.users.devices(&user).filter(|at| Some(*at) != except);
                    let sent = devices.map(|at| SocialOutput::Send(at, message.clone()));
                    self.outputs.extend(sent);
                }
                CallOutput::Engaged { user, engaged } => {
                    self.users.set_engaged(now, &user, engaged);
                }
                CallOutput::Social(output) => self.outputs.push_back(output),
                CallOutput::Over { call, history } => {
                    let caller = history.caller().to_owned();
                    let totals = Box::new(history.end(now));
                    self.outputs.push_back(SocialOutput::CallEnded { call, caller, totals });
                }
            }
        }
    }

    fn send(&mut self, device: DeviceId, message: Vec<u8>) {
        self.outputs.push_back(SocialOutput::Send(device, message.into()));
    }
}

/// Returns what holds for every social session.
fn settings() -> Vec<SessionSetting> {
    let Rate { per_second, burst } = limits::SOCIAL_REQUESTS_RATE;
    let settings = SessionSettings {
        requests_per_s: per_second,
        request_burst: burst,
        ..SessionSettings::default()
    };
    settings.list_of(SessionSettings::SOCIAL)
}
