//! The hall's rules one by one, and against a model.

mod model;
mod people;
mod random;
mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use nucleus_protocol::session::{
    self, CallReply, CallUpdate, Entered, MESSAGE_HEADER, MessageHeader, Schema, status,
};

use super::*;

/// As the tests' halls are set: two calls at a time.
fn config() -> HallConfig {
    HallConfig { ring_time: Duration::from_secs(30), calls: 2, clock_epoch: 1 }
}

/// A hall and what it has said, a line for each message.
struct World {
    hall: Hall,
    now: Time,
    /// Whether rooms can be made.
    rooms: bool,
    next_call: u64,
    /// What devices were told, but for the people.
    heard: Vec<(Device, String)>,
    people: Vec<(Device, session::People)>,
    /// Invitations taken, and taken back.
    guests: Vec<String>,
    audits: usize,
}

impl World {
    fn new() -> Self {
        Self {
            hall: Hall::new(config()),
            now: Time::from_millis(1_000),
            rooms: true,
            next_call: 1,
            heard: Vec::new(),
            people: Vec::new(),
            guests: Vec::new(),
            audits: 0,
        }
    }

    fn enter_as(&mut self, user: &str, role: &str, status: u8) -> Device {
        let name = user.to_uppercase();
        let visitor = Visitor { user: user.into(), name, role: role.into(), status };
        let device = self.hall.handle_enter(self.now, visitor).unwrap();
        self.settle();
        device
    }

    fn enter(&mut self, user: &str) -> Device {
        self.enter_as(user, "technician", status::ONLINE)
    }

    fn leave(&mut self, device: Device) {
        self.hall.handle_leave(self.now, device, Code::Left);
        self.settle();
    }

    fn lose(&mut self, device: Device) {
        self.hall.handle_lost(self.now, device);
        self.settle();
    }

    fn ask(&mut self, device: Device, request: HallRequest) {
        self.hall.handle_request(self.now, device, request);
        self.settle();
    }

    fn act(&mut self, device: Device, act: Act) {
        let seed = CallSeed { call: self.next_call, room: self.next_call.into() };
        self.next_call += 1;
        self.ask(device, HallRequest::Call(0, Some(act), seed));
    }

    fn start(&mut self, device: Device, users: &[&str]) -> u64 {
        let call = self.next_call;
        self.act(device, Act::Start(users.iter().map(|u| (*u).to_owned()).collect(), "why".into()));
        call
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.hall.handle_timeout(self.now);
        self.settle();
        let due = self.hall.deadline();
        assert!(due.is_none_or(|due| due > self.now), "{due:?} is due at {:?}", self.now);
    }

    fn settle(&mut self) {
        while let Some(output) = self.hall.poll_output() {
            match output {
                HallOutput::Send(device, message) => self.hear(device, &message),
                HallOutput::Disconnect(device, code) => {
                    self.heard.push((device, format!("closed {code}")));
                }
                HallOutput::OpenRoom(call, _, guests) => {
                    self.guests.extend(guests);
                    let result = if self.rooms { Ok(()) } else { Err(Code::ServerFull) };
                    self.hall.handle_room_opened(self.now, call, result);
                }
                HallOutput::Invite(_, user) => self.guests.push(user),
                HallOutput::Uninvite(_, user) => {
                    let at = self.guests.iter().position(|guest| *guest == user).unwrap();
                    self.guests.remove(at);
                }
                HallOutput::Audit(_, _, None) => self.audits += 1,
                HallOutput::Audit(_, _, Some(_)) => self.audits -= 1,
            }
        }
    }

    fn hear(&mut self, device: Device, message: &[u8]) {
        let (header, body) = message.split_first_chunk::<MESSAGE_HEADER>().unwrap();
        let line = match MessageHeader::parse(*header, 1 << 20).unwrap().schema {
            Schema::Entered => {
                format!("entered {}", session::owned::<Entered>(body).unwrap().call)
            }
            Schema::CallReply => {
                let CallReply { code, call, .. } = session::owned(body).unwrap();
                format!("reply {code} {call}")
            }
            Schema::CallUpdate => update_line(&session::owned(body).unwrap()),
            Schema::People => {
                return self.people.push((device, session::owned(body).unwrap()));
            }
            other => panic!("{other:?}"),
        };
        self.heard.push((device, line));
    }

    /// What devices have heard since the last look, device by device.
    fn heard(&mut self) -> BTreeMap<Device, Vec<String>> {
        let mut by_device = BTreeMap::<Device, Vec<String>>::new();
        for (device, line) in self.heard.drain(..) {
            by_device.entry(device).or_default().push(line);
        }
        by_device
    }

    /// What one device has heard since the last look at any.
    fn hears(&mut self, device: Device) -> Vec<String> {
        self.heard().remove(&device).unwrap_or_default()
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
