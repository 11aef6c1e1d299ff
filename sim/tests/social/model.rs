//! The calls once more, as plainly as possible: one row a user, and every rule looks through all
//! the rows.

use nucleus_core::ids::DeviceId;
use nucleus_core::social::CallAct;
use nucleus_protocol::session::{Code, status};
use nucleus_sim::social::{CALLS, RING_TIME};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    None,
    /// Calls, and nobody has taken it.
    Calling(u64),
    Rung {
        call: u64,
        by: String,
        until: u64,
    },
    In(u64),
}

pub(super) struct Row {
    pub(super) user: String,
    pub(super) devices: Vec<(DeviceId, u8)>,
    pub(super) part: Part,
    lost: Option<u64>,
    /// Orders the users of a call.
    since: u64,
}

pub(super) struct Model {
    pub(super) rows: Vec<Row>,
    pub(super) now: u64,
    pub(super) rooms: bool,
    steps: u64,
    pub(super) heard: Vec<(DeviceId, String)>,
}

impl Model {
    pub(super) fn new(users: &[&str], now: u64) -> Self {
        let row = |user: &&str| Row {
            user: (*user).to_owned(),
            devices: Vec::new(),
            part: Part::None,
            lost: None,
            since: 0,
        };
        let rows = users.iter().map(row).collect();
        Self { rows, now, rooms: true, steps: 0, heard: Vec::new() }
    }

    pub(super) fn status(&self, row: usize) -> u8 {
        let row = &self.rows[row];
        let chosen: Vec<u8> = row.devices.iter().map(|(_, status)| *status).collect();
        if row.part != Part::None || chosen.contains(&status::BUSY) {
            return status::BUSY;
        }
        if chosen.contains(&status::ONLINE) {
            return status::ONLINE;
        }
        if chosen.is_empty() { status::OFFLINE } else { status::AWAY }
    }

    pub(super) fn call_of(&self, row: usize) -> u64 {
        match &self.rows[row].part {
            Part::None => 0,
            Part::Calling(call) | Part::In(call) | Part::Rung { call, .. } => *call,
        }
    }

    pub(super) fn calls(&self) -> Vec<u64> {
        let mut calls: Vec<u64> = (0..self.rows.len()).map(|row| self.call_of(row)).collect();
        calls.retain(|call| *call != 0);
        calls.sort_unstable();
        calls.dedup();
        calls
    }

    fn users(&self, call: u64, wanted: impl Fn(&Part) -> bool) -> Vec<usize> {
        let all = (0..self.rows.len()).filter(|row| call != 0 && self.call_of(*row) == call);
        all.filter(|row| wanted(&self.rows[*row].part)).collect()
    }

    pub(super) fn members(&self, call: u64) -> Vec<usize> {
        self.users(call, |part| matches!(part, Part::Calling(_) | Part::In(_)))
    }

    pub(super) fn rung(&self, call: u64) -> Vec<usize> {
        self.users(call, |part| matches!(part, Part::Rung { .. }))
    }

    fn names(&self, rows: &[usize]) -> String {
        let mut names: Vec<&str> = rows.iter().map(|row| self.rows[*row].user.as_str()).collect();
        names.sort_unstable();
        names.join("+")
    }

    fn find(&self, user: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.user == user)
    }

    fn tell(&mut self, row: usize, except: Option<DeviceId>, line: &str) {
        for (device, _) in &self.rows[row].devices {
            if Some(*device) != except {
                self.heard.push((*device, line.to_owned()));
            }
        }
    }

    fn state(&self, row: usize) -> Option<String> {
        let call = self.call_of(row);
        Some(match &self.rows[row].part {
            Part::None => return None,
            Part::Calling(_) => format!("calling 0 {} why", self.names(&self.rung(call))),
            Part::In(_) => format!("accepted room 0 {}", self.names(&self.members(call))),
            Part::Rung { by, .. } => {
                format!("incoming {by} 0 {} why", self.names(&self.members(call)))
            }
        })
    }

    pub(super) fn enter(&mut self, row: usize, device: DeviceId, status: u8) {
        self.rows[row].devices.push((device, status));
        self.rows[row].lost = None;
        self.heard.push((device, format!("entered {}", self.call_of(row))));
        let state = self.state(row);
        self.heard.extend(state.map(|state| (device, state)));
    }

    pub(super) fn leave(&mut self, row: usize, device: DeviceId) {
        self.rows[row].devices.retain(|(other, _)| *other != device);
        if self.rows[row].devices.is_empty() && self.call_of(row) != 0 {
            let rung = matches!(self.rows[row].part, Part::Rung { .. });
            self.remove(row, None, if rung { Code::Unreachable } else { Code::Left });
        }
        self.heard.push((device, "closed left".to_owned()));
    }

    pub(super) fn lose(&mut self, row: usize, device: DeviceId) {
        self.rows[row].devices.retain(|(other, _)| *other != device);
        if self.rows[row].devices.is_empty() && self.call_of(row) != 0 {
            self.rows[row].lost = Some(self.now);
        }
    }

    pub(super) fn act(&mut self, row: usize, device: DeviceId, act: &CallAct, seed: u64) {
        let at = self.heard.len();
        let result = self.judge(row, device, act, seed);
        let line = match result {
            Ok(call) => format!("reply 0 {call}"),
            Err(code) => format!("reply {} 0", code as u16),
        };
        self.heard.insert(at, (device, line));
    }

    fn judge(
        &mut self,
        row: usize,
        device: DeviceId,
        act: &CallAct,
        seed: u64,
    ) -> Result<u64, Code> {
        let mine = self.rows[row].part.clone();
        let role = |call: u64| match &mine {
            Part::Calling(own) if *own == call => 'c',
            Part::Rung { call: own, .. } if *own == call => 'r',
            Part::In(own) if *own == call => 'i',
            _ => '-',
        };
        match act {
            CallAct::Start(users, _) => match &mine {
                Part::Rung { by, call, .. } if *users == [by.clone()] => {
                    self.accept(row, device, *call);
                    Ok(*call)
                }
                Part::None => self.start(row, device, users, seed),
                _ => Err(Code::Busy),
            },
            CallAct::Accept(call) | CallAct::Reject(call) => {
                match (role(*call), act) {
                    ('r', CallAct::Accept(_)) => self.accept(row, device, *call),
                    ('r', _) => self.remove(row, Some(device), Code::Declined),
                    ('i', _) => return Err(Code::Answered),
                    _ => return Err(Code::NoSuchEntity),
                }
                Ok(*call)
            }
            CallAct::Cancel(call) | CallAct::HangUp(call) => {
                match (role(*call), act) {
                    ('c', _) => self.remove(row, Some(device), Code::Cancelled),
                    ('i', CallAct::HangUp(_)) => self.remove(row, Some(device), Code::Left),
                    ('i', _) => return Err(Code::Answered),
                    _ => return Err(Code::NoSuchEntity),
                }
                Ok(*call)
            }
            CallAct::Add(call, user) => {
                if role(*call) != 'i' {
                    return Err(Code::NoSuchEntity);
                }
                let added = self.reachable(std::slice::from_ref(user))?[0];
                self.ring(added, *call, row);
                let state = self.state(added).unwrap();
                self.tell(added, None, &state);
                Ok(*call)
            }
        }
    }

    fn reachable(&self, users: &[String]) -> Result<Vec<usize>, Code> {
        let rows: Vec<usize> = users.iter().filter_map(|user| self.find(user)).collect();
        let free = |row: &usize| matches!(self.status(*row), status::ONLINE | status::AWAY);
        let found: Vec<usize> = rows.iter().copied().filter(free).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let busy = rows.iter().any(|row| self.status(*row) == status::BUSY);
        Err(if busy { Code::Busy } else { Code::Unreachable })
    }

    fn ring(&mut self, row: usize, call: u64, by: usize) {
        let until = self.now + RING_TIME;
        self.steps += 1;
        self.rows[row].since = self.steps;
        self.rows[row].part = Part::Rung { call, by: self.rows[by].user.clone(), until };
    }

    fn start(
        &mut self,
        row: usize,
        device: DeviceId,
        users: &[String],
        seed: u64,
    ) -> Result<u64, Code> {
        if users.contains(&self.rows[row].user) {
            return Err(Code::BadState);
        }
        let found = self.reachable(users)?;
        if self.calls().len() >= CALLS {
            return Err(Code::TenantCalls);
        }
        self.steps += 1;
        self.rows[row].since = self.steps;
        self.rows[row].part = Part::Calling(seed);
        found.iter().for_each(|called| self.ring(*called, seed, row));
        for told in found {
            let state = self.state(told).unwrap();
            self.tell(told, None, &state);
        }
        let state = self.state(row).unwrap();
        self.tell(row, Some(device), &state);
        Ok(seed)
    }

    fn accept(&mut self, row: usize, device: DeviceId, call: u64) {
        self.tell(row, Some(device), &format!("quiet {}", Code::Answered as u16));
        self.rows[row].part = Part::In(call);
        let caller = self.users(call, |part| matches!(part, Part::Calling(_)));
        if let [caller] = caller[..] {
            for other in self.rung(call) {
                self.tell(other, None, &format!("quiet {}", Code::Answered as u16));
                self.rows[other].part = Part::None;
                self.rows[other].lost = None;
            }
            self.rows[caller].part = Part::In(call);
            if !self.rooms {
                return self.finish(call, Code::ServerFull);
            }
            for member in self.members(call) {
                let state = self.state(member).unwrap();
                self.tell(member, None, &state);
            }
            return;
        }
        let state = self.state(row).unwrap();
        self.tell(row, None, &state);
        let line = format!("joined {} 0", self.rows[row].user);
        for member in self.members(call) {
            if member != row {
                self.tell(member, None, &line);
            }
        }
    }

    fn remove(&mut self, row: usize, except: Option<DeviceId>, code: Code) {
        let (call, number) = (self.call_of(row), code as u16);
        let member = self.members(call).contains(&row);
        self.rows[row].part = Part::None;
        self.rows[row].lost = None;
        self.tell(row, except, &format!("{} {number}", if member { "ended" } else { "quiet" }));
        let (members, rung) = (self.members(call), self.rung(call));
        if members.is_empty() || (members.len() == 1 && rung.is_empty()) {
            return self.finish(call, code);
        }
        let what = if member { "left" } else { "passed" };
        let line = format!("{what} {} {number}", self.rows[row].user);
        members.into_iter().for_each(|member| self.tell(member, None, &line));
    }

    pub(super) fn finish(&mut self, call: u64, code: Code) {
        for row in self.members(call) {
            self.rows[row].part = Part::None;
            self.rows[row].lost = None;
            self.tell(row, None, &format!("ended {}", code as u16));
        }
        for row in self.rung(call) {
            self.rows[row].part = Part::None;
            self.rows[row].lost = None;
            self.tell(row, None, &format!("quiet {}", Code::Cancelled as u16));
        }
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now += ms;
        loop {
            let due = |row: usize| -> Option<(u64, Code)> {
                let Row { part, lost, .. } = &self.rows[row];
                let lost = |grace: u64| lost.map(|since| since + grace);
                match part {
                    Part::None => None,
                    Part::Calling(_) => Some((lost(5_000)?, Code::TimedOut)),
                    Part::In(_) => Some((lost(30_000)?, Code::TimedOut)),
                    Part::Rung { until, .. } => Some(match lost(5_000) {
                        Some(lost) if lost < *until => (lost, Code::Unreachable),
                        _ => (*until, Code::NoAnswer),
                    }),
                }
            };
            let all = (0..self.rows.len()).filter_map(|row| Some((due(row)?, row)));
            let next = all.min_by_key(|((due, _), row)| (*due, self.rows[*row].since));
            match next {
                Some(((due, code), row)) if due <= self.now => self.remove(row, None, code),
                _ => return,
            }
        }
    }
}
