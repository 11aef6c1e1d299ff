//! The users outside rooms and their calls, with devices that note what they are told.
//!
//! Here alone an output of the social machine is carried out. The rooms of calls are notes: who may be
//! in one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use nucleus_core::ids::{DeviceId, RequestId};
use nucleus_core::limits::Limits;
use nucleus_core::social::{
    CallAct, CallSeed, DeviceRequest, Social, SocialConfig, SocialInput, SocialOutput, Visitor,
};
use nucleus_protocol::session::{self, CallReply, CallUpdate, Code, Entered, Schema, status};
use nucleus_protocol::time::Time;

use crate::client::parts;
use crate::task::Task;

/// How long a call rings here, ms.
pub const RING_TIME: u64 = 30_000;
/// Calls at a time here.
pub const CALLS: usize = 2;

/// The social machine in its task, and what it has said, a line for each message.
pub struct SocialWorld {
    task: Task<Social>,
    /// The time now.
    pub now: Time,
    /// What the machine has said, as it was carried out.
    pub notes: SocialNotes,
    /// The number of the next call.
    pub next_call: u64,
    newest_request: u64,
}

/// What the social machine has had done.
#[derive(Debug, Default)]
pub struct SocialNotes {
    /// Rooms can't be made.
    pub no_rooms: bool,
    /// What devices were told, but for the people.
    pub heard: Vec<(DeviceId, String)>,
    /// Updates of what devices watch.
    pub users: Vec<(DeviceId, session::UserList)>,
    /// Users with an invitation to a call's room, once for each.
    pub invited: Vec<String>,
    /// Calls that have begun and not ended, by the log.
    pub audits: usize,
    replies: HashMap<RequestId, Result<DeviceId, Code>>,
}

impl Default for SocialWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl SocialWorld {
    /// Nobody is there.
    pub fn new() -> Self {
        let ring_time = Duration::from_millis(RING_TIME);
        let limits = Limits { ring_time, tenant_calls: CALLS as u32, ..Limits::default() };
        Self {
            task: Task::new(Social::new(SocialConfig { limits, clock_epoch: 1 })),
            now: Time::from_millis(1_000),
            notes: SocialNotes::default(),
            next_call: 1,
            newest_request: 0,
        }
    }

    /// Gives an input to the machine, and carries out what comes of it.
    pub fn post(&mut self, input: SocialInput) {
        self.post_together([input]);
    }

    /// Gives several inputs to the machine, which finds all of them in its mailbox.
    pub fn post_together(&mut self, inputs: impl IntoIterator<Item = SocialInput>) {
        inputs.into_iter().for_each(|input| assert!(self.task.post(input).is_ok(), "it is over"));
        self.settle();
    }

    /// A device asks to be let in.
    ///
    /// # Errors
    ///
    /// Why it was not.
    pub fn try_enter(&mut self, visitor: Visitor) -> Result<DeviceId, Code> {
        self.newest_request += 1;
        let request = RequestId(self.newest_request);
        self.post(SocialInput::Enter { request, visitor });
        self.reply(request).expect("a reply")
    }

    /// The reply to a request to enter, once.
    pub fn reply(&mut self, request: RequestId) -> Option<Result<DeviceId, Code>> {
        self.notes.replies.remove(&request)
    }

    /// A device of the user enters.
    pub fn enter_as(&mut self, user: &str, role: &str, status: u8) -> DeviceId {
        let name = user.to_uppercase();
        let visitor = Visitor { user: user.into(), name, role: role.into(), status };
        self.try_enter(visitor).unwrap()
    }

    /// A technician's device enters.
    pub fn enter(&mut self, user: &str) -> DeviceId {
        self.enter_as(user, "technician", status::ONLINE)
    }

    /// The device goes on purpose.
    pub fn leave(&mut self, device: DeviceId) {
        self.post(SocialInput::Leave(device, Code::Left));
    }

    /// The device's session dies without a word.
    pub fn lose(&mut self, device: DeviceId) {
        self.post(SocialInput::Lost(device));
    }

    /// The device asks for something.
    pub fn ask(&mut self, device: DeviceId, request: DeviceRequest) {
        self.post(SocialInput::Ask(device, request));
    }

    /// The device acts on a call.
    pub fn act(&mut self, device: DeviceId, act: CallAct) {
        let seed = CallSeed { call: self.next_call, room: self.next_call.into() };
        self.next_call += 1;
        self.ask(device, DeviceRequest::Call(0, Some(act), seed));
    }

    /// The device calls users; the call's number.
    pub fn start(&mut self, device: DeviceId, users: &[&str]) -> u64 {
        let call = self.next_call;
        self.act(
            device,
            CallAct::Start(users.iter().map(|u| (*u).to_owned()).collect(), "why".into()),
        );
        call
    }

    /// Time passes in one step.
    pub fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.settle();
        let due = self.deadline();
        assert!(due.is_none_or(|due| due > self.now), "{due:?} is due at {:?}", self.now);
    }

    /// When the machine wants to be called.
    pub fn deadline(&self) -> Option<Time> {
        self.task.deadline()
    }

    /// The machine's task has ended.
    pub fn is_over(&self) -> bool {
        self.task.is_over()
    }

    fn settle(&mut self) {
        let notes = &mut self.notes;
        self.task.run(self.now, &mut |_, output| notes.carry_out(output));
    }

    /// What devices have heard since the last look, device by device.
    pub fn heard(&mut self) -> BTreeMap<DeviceId, Vec<String>> {
        let mut by_device = BTreeMap::<DeviceId, Vec<String>>::new();
        for (device, line) in self.notes.heard.drain(..) {
            by_device.entry(device).or_default().push(line);
        }
        by_device
    }

    /// What one device has heard since the last look at any.
    pub fn hears(&mut self, device: DeviceId) -> Vec<String> {
        self.heard().remove(&device).unwrap_or_default()
    }
}

impl SocialNotes {
    fn carry_out(&mut self, output: SocialOutput) -> Option<SocialInput> {
        match output {
            SocialOutput::EnterReply { request, result } => {
                self.replies.insert(request, result);
            }
            SocialOutput::Send(device, message) => self.hear(device, &message),
            SocialOutput::Disconnect(device, code) => {
                self.heard.push((device, format!("closed {code}")));
            }
            SocialOutput::OpenRoom { call, users, .. } => {
                self.invited.extend(users);
                let result = if self.no_rooms { Err(Code::ServerFull) } else { Ok(()) };
                return Some(SocialInput::RoomOpened { call, result });
            }
            SocialOutput::Invite { user, invited: true, .. } => self.invited.push(user),
            SocialOutput::Invite { user, invited: false, .. } => {
                let at = self.invited.iter().position(|guest| *guest == user).unwrap();
                self.invited.remove(at);
            }
            SocialOutput::Audit { ended: None, .. } => self.audits += 1,
            SocialOutput::Audit { ended: Some(_), .. } => self.audits -= 1,
        }
        None
    }

    fn hear(&mut self, device: DeviceId, message: &[u8]) {
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
                return self.users.push((device, session::owned(body).unwrap()));
            }
            other => panic!("{other:?}"),
        };
        self.heard.push((device, line));
    }
}

/// An update with its members sorted: their order says nothing.
fn update_line(update: &CallUpdate) -> String {
    let CallUpdate { call, kind, user, room, code, members, text, .. } = update;
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut members: Vec<String> = members.iter().map(|m| string(m)).collect();
    members.sort();
    let kinds =
        ["", "incoming", "quiet", "calling", "accepted", "joined", "left", "passed", "ended"];
    let kind = kinds[usize::from(*kind)];
    let room = string(room).replace(&format!("call-{call:032x}"), "room");
    let line = [kind, &string(user), &room, &code.to_string(), &members.join("+"), &string(text)];
    line.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}
