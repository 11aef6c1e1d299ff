//! The users outside rooms and their calls, with devices that record the messages to them.
//!
//! [`SocialLog`] carries out all outputs of the social machine. It creates no rooms for calls; it
//! only records which users are invited to them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use nucleus_core::control::CallSummary;
use nucleus_core::ids::{DeviceId, RequestId, ServerInstanceId};
use nucleus_core::limits::Limits;
use nucleus_core::plane_event::CallTotals;
use nucleus_core::social::{
    CallAct, CallSeed, DeviceRequest, EnterRequest, Social, SocialConfig, SocialInput, SocialOutput,
};
use nucleus_protocol::session::{self, CallReply, CallUpdate, Code, Entered, Schema, status};
use nucleus_protocol::time::Time;

use crate::client::parts;
use crate::task::SimTask;

/// How long a call rings in the simulation, in ms.
pub const RING_TIME: u64 = 30_000;
/// Largest number of calls at the same time in the simulation.
pub const CALLS: usize = 2;

/// The social machine in its task, and a log of its outputs.
pub struct SocialWorld {
    task: SimTask<Social>,
    /// The current time.
    pub now: Time,
    /// The outputs of the machine.
    pub log: SocialLog,
    /// The number of the next call.
    pub next_call: u64,
    newest_request: u64,
}

/// A log of the outputs of the social machine.
#[derive(Debug, Default)]
pub struct SocialLog {
    /// While true, no room can be created.
    pub no_rooms: bool,
    /// The messages to devices as text, without the lists of users.
    pub messages: Vec<(DeviceId, String)>,
    /// The lists of users sent to watchers.
    pub user_lists: Vec<(DeviceId, session::UserList)>,
    /// Users with an invitation to a call's room, one entry for each invitation.
    pub invited: Vec<String>,
    /// Calls that have begun and not ended, according to the audit outputs.
    pub audits: usize,
    /// The caller of each call that has begun and not ended, according to the history's outputs.
    pub calls: BTreeMap<u64, String>,
    /// What was reported of the calls that have ended, by their numbers.
    pub ended: BTreeMap<u64, CallTotals>,
    /// The newest list of calls for the control plane.
    pub listed: Vec<CallSummary>,
    replies: HashMap<RequestId, Result<DeviceId, Code>>,
}

impl Default for SocialWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl SocialWorld {
    /// Creates a world without users.
    pub fn new() -> Self {
        let ring_time = Duration::from_millis(RING_TIME);
        let limits = Limits { ring_time, tenant_calls: CALLS as u32, ..Limits::default() };
        Self {
            task: SimTask::new(Social::new(SocialConfig {
                limits,
                clock_epoch: 1,
                server_instance: ServerInstanceId([1; 8]),
                entries: Vec::new(),
            })),
            now: Time::from_millis(1_000),
            log: SocialLog::default(),
            next_call: 1,
            newest_request: 0,
        }
    }

    /// Passes an input to the machine and carries out the outputs.
    pub fn post(&mut self, input: SocialInput) {
        self.post_together([input]);
    }

    /// Passes several inputs to the machine, which takes all of them in one run.
    pub fn post_together(&mut self, inputs: impl IntoIterator<Item = SocialInput>) {
        inputs
            .into_iter()
            .for_each(|input| assert!(self.task.post(input).is_ok(), "the machine has ended"));
        self.settle();
    }

    /// Lets a device enter.
    ///
    /// # Errors
    ///
    /// The code with which the device is refused.
    pub fn try_enter(&mut self, enter: EnterRequest) -> Result<DeviceId, Code> {
        self.newest_request += 1;
        let request = RequestId(self.newest_request);
        self.post(SocialInput::Enter { request, enter });
        self.reply(request).expect("a reply")
    }

    /// Removes and returns the reply to a request to enter.
    pub fn reply(&mut self, request: RequestId) -> Option<Result<DeviceId, Code>> {
        self.log.replies.remove(&request)
    }

    /// Lets a device of the user enter with this role and status. Panics if the device is refused.
    pub fn enter_as(&mut self, user: &str, role: &str, status: u8) -> DeviceId {
        let name = user.to_uppercase();
        let enter = EnterRequest { user: user.into(), name, role: role.into(), status };
        self.try_enter(enter).unwrap()
    }

    /// Lets a device of the user enter as an online technician.
    pub fn enter(&mut self, user: &str) -> DeviceId {
        self.enter_as(user, "technician", status::ONLINE)
    }

    /// Lets the device leave.
    pub fn leave(&mut self, device: DeviceId) {
        self.post(SocialInput::Leave(device, Code::Left));
    }

    /// Lets the device's session be lost.
    pub fn lose(&mut self, device: DeviceId) {
        self.post(SocialInput::Lost(device));
    }

    /// Passes a request of the device to the machine.
    pub fn ask(&mut self, device: DeviceId, request: DeviceRequest) {
        self.post(SocialInput::Ask(device, request));
    }

    /// Lets the device start, accept, reject, cancel or leave a call, or add a user to a call.
    pub fn act(&mut self, device: DeviceId, act: CallAct) {
        let seed = CallSeed { call: self.next_call, room: self.next_call.into() };
        self.next_call += 1;
        self.ask(device, DeviceRequest::Call(0, Some(act), seed));
    }

    /// Lets the device call users, and returns the number of the call.
    pub fn start(&mut self, device: DeviceId, users: &[&str]) -> u64 {
        let call = self.next_call;
        self.act(
            device,
            CallAct::Start(users.iter().map(|u| (*u).to_owned()).collect(), "why".into()),
        );
        call
    }

    /// Lets time pass in one step.
    pub fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.settle();
        let due = self.deadline();
        assert!(due.is_none_or(|due| due > self.now), "{due:?} is due at {:?}", self.now);
    }

    /// Returns the machine's deadline.
    pub fn deadline(&self) -> Option<Time> {
        self.task.deadline()
    }

    /// Returns true if the machine's task has ended.
    pub fn is_over(&self) -> bool {
        self.task.is_over()
    }

    fn settle(&mut self) {
        let log = &mut self.log;
        self.task.run(self.now, &mut |_, output| log.carry_out(output));
    }

    /// Removes and returns the new messages of all devices.
    pub fn take_messages(&mut self) -> BTreeMap<DeviceId, Vec<String>> {
        let mut by_device = BTreeMap::<DeviceId, Vec<String>>::new();
        for (device, line) in self.log.messages.drain(..) {
            by_device.entry(device).or_default().push(line);
        }
        by_device
    }

    /// Removes the new messages of all devices and returns those of one device.
    pub fn messages_of(&mut self, device: DeviceId) -> Vec<String> {
        self.take_messages().remove(&device).unwrap_or_default()
    }
}

impl SocialLog {
    fn carry_out(&mut self, output: SocialOutput) -> Option<SocialInput> {
        match output {
            SocialOutput::EnterReply { request, result } => {
                self.replies.insert(request, result);
            }
            SocialOutput::Send(device, message) => self.receive(device, &message),
            SocialOutput::Disconnect(device, code) => {
                self.messages.push((device, format!("closed {code}")));
            }
            SocialOutput::OpenRoom { call, users, .. } => {
                self.invited.extend(users);
                let result = if self.no_rooms { Err(Code::ServerFull) } else { Ok(()) };
                return Some(SocialInput::RoomOpened { call, result });
            }
            SocialOutput::Invite { user, invited: true, .. } => self.invited.push(user),
            SocialOutput::Invite { user, invited: false, .. } => {
                let at = self.invited.iter().position(|invited| *invited == user).unwrap();
                self.invited.remove(at);
            }
            SocialOutput::Calls(_, calls) => self.listed = calls,
            SocialOutput::CallStarted { call, caller } => {
                assert!(!self.ended.contains_key(&call), "call {call} had ended");
                assert_eq!(self.calls.insert(call, caller), None, "call {call} began twice");
            }
            SocialOutput::CallEnded { call, caller, totals } => {
                assert_eq!(self.calls.remove(&call).as_ref(), Some(&caller), "call {call}");
                assert_eq!(totals.members.first(), Some(&caller), "call {call}");
                self.ended.insert(call, *totals);
            }
            SocialOutput::Audit { ended: None, .. } => self.audits += 1,
            SocialOutput::Audit { ended: Some(_), .. } => self.audits -= 1,
        }
        None
    }

    fn receive(&mut self, device: DeviceId, message: &[u8]) {
        let (schema, body) = parts(message);
        let line = match schema {
            Schema::Entered => {
                format!("entered {}", session::owned::<Entered>(body).unwrap().call)
            }
            Schema::CallReply => {
                let CallReply { code, call, .. } = session::owned(body).unwrap();
                format!("reply {code} {call}")
            }
            Schema::CallUpdate => update_line(&session::owned(body).unwrap()),
            Schema::UserList => {
                return self.user_lists.push((device, session::owned(body).unwrap()));
            }
            other => panic!("{other:?}"),
        };
        self.messages.push((device, line));
    }
}

/// Returns an update as text. The members are sorted, because their order has no meaning.
fn update_line(update: &CallUpdate) -> String {
    let CallUpdate { call, kind, user, room, code, members, text, .. } = update;
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut members: Vec<String> = members.iter().map(|m| string(m)).collect();
    members.sort();
    let kinds = [
        "",
        "incoming",
        "ringing_ended",
        "calling",
        "accepted",
        "joined",
        "left",
        "passed",
        "ended",
    ];
    let kind = kinds[usize::from(*kind)];
    let room = string(room).replace(&format!("call-{call:032x}"), "room");
    let line = [kind, &string(user), &room, &code.to_string(), &members.join("+"), &string(text)];
    line.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}
