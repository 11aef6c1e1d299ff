//! The hall of one tenant's product: who can be reached without being in a room, and their calls. A
//! pure state machine, driven by one task a hall ([`task`]).
//!
//! A device is one session. A user may have several; what concerns the user goes to all of them.

mod outgoing;
mod people;
pub mod registry;
pub mod task;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::session::{self, Code, Entered};
use nucleus_protocol::time::Time;

pub use outgoing::{HallOutgoing, HallQueue, hall_outgoing};
use people::People;

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
}

/// What a hall wants done.
#[derive(Debug)]
pub enum HallOutput {
    /// A message for a session.
    Send(Device, Bytes),
    /// Close the session and say why.
    Disconnect(Device, Code),
}

/// See the module.
pub struct Hall {
    config: HallConfig,
    people: People,
    next_device: u64,
    ending: bool,
    outputs: VecDeque<HallOutput>,
}

impl Hall {
    /// An empty hall.
    pub fn new(config: HallConfig) -> Self {
        Self {
            config,
            people: People::default(),
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
        let Visitor { user, name, role, .. } = visitor.clone();
        let replaced = self.people.enter(now, device, visitor);
        let entered = Entered {
            user: user.into_bytes(),
            name: name.into_bytes(),
            role: role.into_bytes(),
            server_time: now.as_micros(),
            clock_epoch: self.config.clock_epoch,
            ring_ms: self.config.ring_time.as_millis() as u32,
            call: 0,
        };
        self.outputs.push_back(HallOutput::Send(device, session::encode(&entered).into()));
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
        self.people.part(now, device);
    }

    /// Does what a device asks for.
    pub fn handle_request(&mut self, now: Time, device: Device, request: HallRequest) {
        match request {
            HallRequest::SetStatus(status) => self.people.set_status(now, device, status),
        }
    }

    /// Ends the hall: everybody is told why.
    pub fn handle_shutdown(&mut self, now: Time, code: Code) {
        self.ending = true;
        let everybody: Vec<Device> = self.people.every_device().collect();
        everybody.into_iter().for_each(|device| self.put_out(now, device, code));
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.people.take_due(now);
    }

    /// When [`Self::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.people.due()
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<HallOutput> {
        self.outputs.pop_front()
    }

    /// Nobody is here and nothing is pending: the hall may be forgotten.
    pub fn is_over(&self) -> bool {
        self.people.is_empty()
    }

    fn put_out(&mut self, now: Time, device: Device, code: Code) {
        if self.people.part(now, device).is_some() {
            self.outputs.push_back(HallOutput::Disconnect(device, code));
        }
    }
}
