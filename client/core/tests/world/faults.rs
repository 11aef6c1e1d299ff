//! What goes wrong in a simulation, and how it ends.

use std::time::Duration;

use nucleus_client_core::session::ReturnTicket;
use nucleus_core::fanout::LinkEvent;
use nucleus_core::room::RoomInput;
use nucleus_protocol::session::{Code, throttled};

use crate::admission::refusal;
use crate::delivery::SERVER_NAMES;
use crate::device::{ExportedSession, Process};
use crate::network::Happening;
use crate::simulation::Simulation;

impl Simulation {
    /// Lets something go wrong, and schedules the next fault.
    pub(crate) fn fault(&mut self) {
        if self.network.is_healed {
            return;
        }
        self.faults += 1;
        let after = self.network.random_time(self.troubles.faults_within);
        self.network.schedule(after, Happening::Fault);
        let index = self.network.rng.usize(..self.devices.len());
        let most = if self.troubles.is_calm { 55 } else { 100 };
        match self.network.rng.u8(..most) {
            0..40 => self.break_connections(index),
            40..44 => self.stop_server(true),
            44..48 => self.stop_server(false),
            48..55 => self.fall_asleep(index),
            55..67 => self.refuse_joins(),
            67..79 => self.pause_application(index),
            79..81 => {
                let until = self.network.random_time(Duration::from_secs(5));
                self.server.foreign_until = self.network.now + until;
            }
            81..84 => self.change_link(index),
            84..87 => self.close_session(index),
            87..93 => self.hand_over(index),
            93..95 => {
                self.devices[index].kill(&mut self.network, &mut self.records);
                self.start_soon(index);
            }
            _ => self.leave(index),
        }
    }

    /// Breaks a connection, or those of all devices at once.
    fn break_connections(&mut self, index: usize) {
        let is_everybody = self.network.chance(10);
        let notices = match self.network.rng.u8(..3) {
            0 => Duration::from_millis(100),
            1 => Duration::from_secs(3),
            _ => Duration::from_secs(12),
        };
        for device in &self.devices {
            if (is_everybody || device.index == index)
                && let Some(connection) = device.connection()
            {
                self.network.break_connection(connection, notices);
            }
        }
        // Often the next connection does not live long either.
        if !self.troubles.is_calm && self.network.chance(50) {
            let after = self.network.random_time(Duration::from_millis(1_500));
            self.network.schedule(after, Happening::Break(index));
        }
    }

    /// Breaks the connection of a device.
    pub(crate) fn break_connection(&mut self, index: usize) {
        let connection = self.devices[index].connection().filter(|_| !self.network.is_healed);
        if let Some(connection) = connection {
            self.network.break_connection(connection, Duration::from_secs(3));
        }
    }

    fn stop_server(&mut self, warns: bool) {
        if !self.server.is_up {
            return;
        }
        self.server.stop(&mut self.network, warns);
        if self.network.chance(10) && !self.troubles.is_calm {
            self.server.tickets.change_key();
        }
        let down = self.network.random_time(Duration::from_secs(6));
        self.network.schedule(down, Happening::ServerStarts);
    }

    fn fall_asleep(&mut self, index: usize) {
        let longest = if self.troubles.is_calm { 90 } else { 12 };
        let time = self.network.random_time(Duration::from_secs(longest));
        let device = &mut self.devices[index];
        device.sleeps_until = device.sleeps_until.max(self.network.now + time);
        self.network.schedule(time, Happening::Wake(index));
        // The server does not hear of a device that sleeps for long.
        if time > Duration::from_secs(10)
            && let Some(connection) = self.devices[index].connection()
        {
            self.network.break_connection(connection, Duration::from_secs(5));
        }
    }

    /// Prepares refusals of the next joins.
    fn refuse_joins(&mut self) {
        for _ in 0..self.network.rng.u8(1..4) {
            let retry = self.network.rng.u32(1..4_000);
            let mut refuse = match self.network.rng.u8(..8) {
                0 => refusal(Code::ServerFull as u16, retry),
                1 => refusal(Code::RoomFull as u16, retry),
                2 => refusal(Code::Internal as u16, 0),
                3 => refusal(Code::JoinTimeout as u16, 0),
                4 => refusal(Code::UserSessions as u16, retry),
                // Codes of a later version.
                5 => refusal(9_999, 0),
                6 => refusal(9_998, retry),
                _ => refusal(Code::Moved as u16, 0),
            };
            if self.network.rng.bool() {
                refuse.endpoints = SERVER_NAMES.map(|name| name.as_bytes().to_vec()).to_vec();
            }
            self.server.refusals.push_back(refuse);
        }
    }

    fn pause_application(&mut self, index: usize) {
        let longest = if self.network.chance(30) { 30 } else { 5 };
        let time = self.network.random_time(Duration::from_secs(longest));
        if let Some(process) = &mut self.devices[index].process {
            process.application.pauses_until = self.network.now + time;
            self.network.schedule(time, Happening::Wake(index));
        }
    }

    /// Lets a link fall silent or speak again, or exceed a limit.
    fn change_link(&mut self, index: usize) {
        let Some(connection) = self.devices[index].connection() else { return };
        let Some(session) = self.server.session_of(connection) else { return };
        let event = match self.network.rng.u8(..3) {
            0 => LinkEvent::Silent,
            1 => LinkEvent::Active,
            _ => LinkEvent::Throttled(throttled::MUTED),
        };
        self.server.post(RoomInput::Link(session, event));
        self.server.settle(&mut self.network);
    }

    /// Closes a session with a number that clients may not know.
    fn close_session(&mut self, index: usize) {
        let Some(connection) = self.devices[index].connection() else { return };
        let number = match self.network.rng.u8(..4) {
            0 => Code::Internal as u64,
            1 => Code::TimedOut as u64,
            2 => 9_997,
            _ => 1 << 40,
        };
        self.server.end_session(&mut self.network, connection, number);
    }

    /// Lets another process of the device continue the session.
    fn hand_over(&mut self, index: usize) {
        if self.sleeps(index) {
            return;
        }
        let device = &mut self.devices[index];
        let Some(process) = &mut device.process else { return };
        let Some(ticket) = process.client.ticket() else { return };
        let Some(identity) = process.application.hand_over(&mut self.records) else { return };
        let text = ticket.to_text();
        let ticket = ReturnTicket::from_text(&text).unwrap();
        device.export = Some(ExportedSession { ticket, identity });
        device.kill(&mut self.network, &mut self.records);
        self.start_soon(index);
    }

    fn start_soon(&mut self, index: usize) {
        let after = self.network.random_time(Duration::from_secs(3));
        self.network.schedule(after, Happening::Start(index));
    }

    fn leave(&mut self, index: usize) {
        let now = self.network.now;
        if self.sleeps(index) {
            return;
        }
        let device = &mut self.devices[index];
        let process_number = device.processes;
        let Some(Process { client, application, .. }) = &mut device.process else { return };
        // The last events of an application are often sent just before it leaves.
        (0..3).for_each(|_| application.act(&mut self.network, client, &mut self.records));
        if self.network.chance(80) {
            client.leave(now);
        } else {
            client.close(now);
        }
        let must_be_closed = Happening::MustBeClosed { device: index, process: process_number };
        self.network.schedule(Duration::from_millis(2_001), must_be_closed);
        if self.network.rng.bool() {
            let after = self.network.random_time(Duration::from_millis(800));
            self.network.schedule(after, Happening::Break(index));
        }
        self.pump(index);
    }

    /// Ends all faults: the network is fast, the server up and current, and everybody awake.
    pub(crate) fn heal(&mut self) {
        let now = self.network.now;
        self.network.is_healed = true;
        self.network.delay = Duration::from_millis(20);
        self.server.refusals.clear();
        self.server.foreign_until = now;
        self.server.ticket_ttl = Duration::from_secs(43_200);
        self.troubles.token_time = Duration::from_secs(36_000);
        if !self.server.is_up {
            self.network.schedule(Duration::from_millis(500), Happening::ServerStarts);
        }
        for index in 0..self.devices.len() {
            self.devices[index].sleeps_until = now;
            if let Some(process) = &mut self.devices[index].process {
                process.application.pauses_until = now;
            }
            self.wake(index);
            self.network.schedule(Duration::from_secs(1), Happening::Start(index));
        }
    }
}
