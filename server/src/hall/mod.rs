//! The hall of one tenant's product: who can be reached without being in a room, and their calls. A
//! pure state machine, driven by one task a hall ([`task`]).
//!
//! A device is one session. A user may have several; what concerns the user goes to all of them.

mod call;
mod calls;
mod outgoing;
mod people;
pub mod registry;
pub mod task;
#[cfg(test)]
mod tests;
mod views;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::session::{self, CallReply, Code, Entered};
use nucleus_protocol::time::Time;

pub use calls::{Act, CallSeed};
use calls::{Asking, CallOutput, Calls};
pub use outgoing::{HallOutgoing, HallQueue, hall_outgoing};
use people::People;
pub use views::Filter;
use views::Views;

use crate::limits;

/// The role that neither watches nor calls.
const OBSERVER: &str = "observer";

/// One session in the hall; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device(pub u64);

/// What a hall is set to.
#[derive(Clone, Debug)]
pub struct HallConfig {
    /// How long a call rings.
    pub ring_time: Duration,
    /// Calls at a time.
    pub calls: usize,
    /// Changes when the server restarts.
    pub clock_epoch: u32,
}

/// A device that wants in; its token has been verified.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// User id from the token.
    pub user: String,
    /// Display name.
    pub name: String,
    /// Role from the token.
    pub role: String,
    /// One of [`session::status`], but not offline.
    pub status: u8,
}

/// What a session asks of the hall.
#[derive(Clone, Debug)]
pub enum HallRequest {
    /// Chooses the device's status, one of [`session::status`] but not offline.
    SetStatus(u8),
    /// Watches people, or asks for what breaks the limits; with the client's number.
    Watch(u32, Option<Filter>),
    /// Acts on a call, or asks for what breaks the limits; with the client's number.
    Call(u32, Option<Act>, CallSeed),
}

/// What a hall wants done.
#[derive(Debug)]
pub enum HallOutput {
    /// A message for a session.
    Send(Device, Bytes),
    /// Close the session and say why.
    Disconnect(Device, Code),
    /// Make the room of a call for these users, and say how that went by [`Hall::handle_room_opened`].
    OpenRoom(u64, String, Vec<String>),
    /// Let a user into a call's room too.
    Invite(String, String),
    /// Let a user into a call's room no more; one that is in stays.
    Uninvite(String, String),
    /// For the log: a call of these users began, or ended with a code.
    Audit(u64, Vec<String>, Option<Code>),
}

/// See the module.
pub struct Hall {
    config: HallConfig,
    people: People,
    views: Views,
    calls: Calls,
    next_device: u64,
    ending: bool,
    outputs: VecDeque<HallOutput>,
}

impl Hall {
    /// An empty hall.
    pub fn new(config: HallConfig) -> Self {
        Self {
            calls: Calls::new(config.ring_time, config.calls),
            config,
            people: People::default(),
            views: Views::default(),
            next_device: 1,
            ending: false,
            outputs: VecDeque::new(),
        }
    }

    /// Lets a device in; `Entered` is the first thing it is told.
    ///
    /// # Errors
    ///
    /// [`Code::ShuttingDown`].
    pub fn handle_enter(&mut self, now: Time, visitor: Visitor) -> Result<Device, Code> {
        if self.ending {
            return Err(Code::ShuttingDown);
        }
        let device = Device(self.next_device);
        self.next_device += 1;
        let replaced = self.people.enter(now, device, visitor.clone());
        let call = self.calls.of(&visitor.user);
        let entered = Entered {
            user: visitor.user.clone().into_bytes(),
            name: visitor.name.clone().into_bytes(),
            role: visitor.role.clone().into_bytes(),
            server_time: now.as_micros(),
            clock_epoch: self.config.clock_epoch,
            ring_ms: self.config.ring_time.as_millis() as u32,
            call: call.map_or(0, |call| call.id),
        };
        let state = call.and_then(|call| call.state(&visitor.user, &self.people));
        self.send(device, session::encode(&entered));
        if let Some(state) = state {
            self.send(device, session::encode(&state));
        }
        self.calls.returned(&visitor.user);
        if let Some(oldest) = replaced {
            self.put_out(now, oldest, Code::Replaced);
        }
        Ok(device)
    }

    /// The device goes on purpose, or is made to.
    pub fn handle_leave(&mut self, now: Time, device: Device, code: Code) {
        self.put_out(now, device, code);
    }

    /// The device's session died without a word.
    pub fn handle_lost(&mut self, now: Time, device: Device) {
        self.views.forget(device);
        if let Some((user, true)) = self.people.part(now, device) {
            self.calls.lost(now, &user);
        }
    }

    /// Does what a device asks for.
    pub fn handle_request(&mut self, now: Time, device: Device, request: HallRequest) {
        match request {
            HallRequest::SetStatus(status) => self.people.set_status(now, device, status),
            HallRequest::Watch(request, filter) => self.watch(device, request, filter),
            HallRequest::Call(request, act, seed) => self.call(now, device, (request, act), seed),
        }
    }

    /// The room of a call has been made, or could not be.
    pub fn handle_room_opened(&mut self, now: Time, call: u64, result: Result<(), Code>) {
        self.calls.room_opened(&self.people, call, result);
        self.carry_on(now);
    }

    /// The room of a call is over.
    pub fn handle_room_over(&mut self, now: Time, call: u64) {
        self.calls.room_over(call);
        self.carry_on(now);
    }

    /// Ends the hall: everybody is told why.
    pub fn handle_shutdown(&mut self, now: Time, code: Code) {
        self.ending = true;
        self.calls.shut_down(code);
        self.carry_on(now);
        let everybody: Vec<Device> = self.people.every_device().collect();
        everybody.into_iter().for_each(|device| self.put_out(now, device, code));
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.calls.handle_timeout(now);
        self.carry_on(now);
        if self.views_due().is_some_and(|due| due <= now) {
            let changes = self.people.take_changes();
            let told = self.views.update(&changes, &self.people);
            let sent = told.into_iter().map(|(device, told)| HallOutput::Send(device, told));
            self.outputs.extend(sent);
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    pub fn deadline(&self) -> Option<Time> {
        self.views_due().into_iter().chain(self.calls.deadline()).min()
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<HallOutput> {
        self.outputs.pop_front()
    }

    /// Nobody is here and nothing is pending: the hall may be forgotten.
    pub fn is_over(&self) -> bool {
        self.people.is_empty() && self.calls.is_empty()
    }

    fn put_out(&mut self, now: Time, device: Device, code: Code) {
        self.views.forget(device);
        let Some((user, last)) = self.people.part(now, device) else { return };
        if last {
            self.calls.left(&user);
            self.carry_on(now);
        }
        self.outputs.push_back(HallOutput::Disconnect(device, code));
    }

    fn watch(&mut self, device: Device, request: u32, filter: Option<Filter>) {
        if self.people.at(device).is_none() {
            return;
        }
        let told = match filter {
            None => Views::refuse(request, Code::BadState),
            Some(_) if self.people.observes(device) => Views::refuse(request, Code::Forbidden),
            Some(filter) => self.views.watch(device, (request, filter), &self.people),
        };
        self.outputs.push_back(HallOutput::Send(device, told));
    }

    /// The more watch, the longer changes are collected: so many updates a second at most.
    fn views_due(&self) -> Option<Time> {
        let spread =
            Duration::from_secs(self.views.len() as u64) / limits::PEOPLE_UPDATES_PER_SECOND;
        Some(self.people.changed_since()? + limits::PEOPLE_BATCH.max(spread))
    }

    /// The answer goes out in front of what comes of it.
    fn call(
        &mut self,
        now: Time,
        device: Device,
        (request, act): (u32, Option<Act>),
        seed: CallSeed,
    ) {
        let starts = matches!(act, Some(Act::Start(..) | Act::Add(..)));
        let may = !starts || self.people.may_start(now, device);
        let Some(person) = self.people.at(device) else { return };
        let observes = self.people.observes(device);
        let asking = Asking { user: &person.user, observes, device };
        let result = match act {
            Some(_) if !may => Err(Code::JoinRate),
            Some(act) => self.calls.act(now, (asking, &self.people), act, seed),
            None => Err(Code::BadState),
        };
        if starts && result.is_ok() {
            self.people.started(device);
        }
        let (code, call) = result.map_or_else(|code| (code as u16, 0), |call| (0, call));
        self.send(device, session::encode(&CallReply { request, code, call }));
        self.carry_on(now);
    }

    /// What has come of calls goes to people and sessions.
    fn carry_on(&mut self, now: Time) {
        for output in std::mem::take(&mut self.calls.outputs) {
            let output = match output {
                CallOutput::Tell(user, except, update) => {
                    let message = Bytes::from(session::encode(&update));
                    let devices = self.people.devices(&user).filter(|at| Some(*at) != except);
                    let sent = devices.map(|at| HallOutput::Send(at, message.clone()));
                    self.outputs.extend(sent);
                    continue;
                }
                CallOutput::Engaged(user, engaged) => {
                    self.people.set_engaged(now, &user, engaged);
                    continue;
                }
                CallOutput::OpenRoom(call, room, guests) => {
                    HallOutput::OpenRoom(call, room, guests)
                }
                CallOutput::Invite(room, user) => HallOutput::Invite(room, user),
                CallOutput::Uninvite(room, user) => HallOutput::Uninvite(room, user),
                CallOutput::Audit(call, users, code) => HallOutput::Audit(call, users, code),
            };
            self.outputs.push_back(output);
        }
    }

    fn send(&mut self, device: Device, message: Vec<u8>) {
        self.outputs.push_back(HallOutput::Send(device, message.into()));
    }
}
