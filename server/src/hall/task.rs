//! The task that drives one hall: its mailbox in, its outputs to sessions.

use std::collections::HashMap;
use std::sync::Arc;

use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::sync::{mpsc, oneshot};

use super::registry::HallKey;
use super::{Device, Hall, HallConfig, HallOutgoing, HallOutput, HallRequest, Visitor};
use crate::directory::{Directory, RoomKey};
use crate::limits;
use crate::room::task::sleep_until;
use crate::session::outgoing::Pushed;

/// What a hall's mailbox takes.
pub enum HallInput {
    /// A session wants in. The answer is its device, or why not; what follows comes by its queue.
    Enter(Visitor, HallOutgoing, oneshot::Sender<Result<Device, Code>>),
    /// The client leaves, or broke the rules.
    Leave(Device, Code),
    /// The session died without a word.
    Lost(Device),
    /// A session asks for something.
    Ask(Device, HallRequest),
    /// The room of a call is over.
    RoomOver(u64),
    /// End the hall.
    Shutdown(Code),
}

/// A hall's task.
pub struct HallTask {
    key: HallKey,
    hall: Hall,
    clock: Clock,
    rooms: Arc<Directory>,
    /// The hall's own, for rooms to say that they are over.
    mailbox: mpsc::Sender<HallInput>,
    sessions: HashMap<Device, HallOutgoing>,
}

impl HallTask {
    /// Runs the hall until it is empty. The mailbox is closed then: what was still in it is dropped,
    /// and whoever waits for an answer finds the hall dead and tries a new one.
    pub async fn run(
        key: HallKey,
        config: HallConfig,
        (clock, rooms): (Clock, Arc<Directory>),
        (own, mut mailbox): (mpsc::Sender<HallInput>, mpsc::Receiver<HallInput>),
    ) {
        let hall = Hall::new(config);
        let mut task = Self { key, hall, clock, rooms, mailbox: own, sessions: HashMap::new() };
        task.drive(&mut mailbox).await;
        // As with a room's: who is about to post must not wait for an answer that never comes.
        mailbox.close();
        while mailbox.recv().await.is_some() {}
    }

    async fn drive(&mut self, mailbox: &mut mpsc::Receiver<HallInput>) {
        let clock = self.clock;
        let mut inputs = Vec::with_capacity(limits::ROOM_INPUTS_PER_TURN);
        loop {
            let due = self.hall.deadline();
            tokio::select! {
                count = mailbox.recv_many(&mut inputs, limits::ROOM_INPUTS_PER_TURN) => {
                    if count == 0 {
                        return;
                    }
                }
                () = sleep_until(clock, due) => {}
            }
            let now = self.now();
            inputs.drain(..).for_each(|input| self.take(now, input));
            self.hall.handle_timeout(now);
            self.carry_out().await;
            if self.hall.is_over() {
                return;
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }

    fn take(&mut self, now: Time, input: HallInput) {
        match input {
            HallInput::Enter(visitor, outgoing, reply) => self.enter(now, visitor, outgoing, reply),
            HallInput::Leave(device, code) => self.hall.handle_leave(now, device, code),
            HallInput::Lost(device) => self.lost(now, device),
            HallInput::Ask(device, request) => self.hall.handle_request(now, device, request),
            HallInput::RoomOver(call) => self.hall.handle_room_over(now, call),
            HallInput::Shutdown(code) => self.hall.handle_shutdown(now, code),
        }
    }

    fn enter(
        &mut self,
        now: Time,
        visitor: Visitor,
        outgoing: HallOutgoing,
        reply: oneshot::Sender<Result<Device, Code>>,
    ) {
        let result = self.hall.handle_enter(now, visitor);
        match result {
            Ok(device) => drop(self.sessions.insert(device, outgoing)),
            // Before the answer: whoever is refused has given its place back by then.
            Err(_) => drop(outgoing),
        }
        if let Err(Ok(device)) = reply.send(result) {
            // The session gave up while it waited. Its user has not: it may be in a call, and tries again.
            self.lost(now, device);
        }
    }

    async fn carry_out(&mut self) {
        while let Some(output) = self.hall.poll_output() {
            match output {
                HallOutput::Send(device, message) => {
                    let pushed = self.sessions.get(&device).map(|out| out.push(message));
                    match pushed {
                        Some(Pushed::Behind) => self.cut(device),
                        // It says so itself, but for one that gave up in the moment of its success.
                        Some(Pushed::Gone) => self.lost(self.now(), device),
                        Some(Pushed::Queued) | None => {}
                    }
                }
                HallOutput::OpenRoom(call, room, guests) => {
                    let result = self.open_room(call, room, guests);
                    self.hall.handle_room_opened(self.now(), call, result);
                }
                // A room that is over says so itself, and so ends the call.
                HallOutput::Invite(room, user) => {
                    let _over = self.rooms.invite(&self.room(room), &user).await;
                }
                HallOutput::Uninvite(room, user) => {
                    let _over = self.rooms.uninvite(&self.room(room), &user).await;
                }
                HallOutput::Audit(call, users, None) => {
                    tracing::info!(target: "audit", tenant = self.key.tenant, call, ?users, "call");
                }
                HallOutput::Audit(call, users, Some(code)) => {
                    let tenant = &self.key.tenant;
                    tracing::info!(target: "audit", tenant, call, ?users, %code, "call ended");
                }
                HallOutput::Disconnect(device, code) => {
                    if let Some(outgoing) = self.sessions.remove(&device) {
                        outgoing.disconnect(code);
                    }
                }
            }
        }
    }

    fn open_room(&self, call: u64, room: String, guests: Vec<String>) -> Result<(), Code> {
        let mailbox = self.mailbox.clone();
        let over = move || {
            // The room's end must not wait for a hall that is busy.
            tokio::spawn(async move { mailbox.send(HallInput::RoomOver(call)).await });
        };
        self.rooms.open_private(&self.room(room), guests, limits::CALL_GRACE, over)
    }

    fn room(&self, name: String) -> RoomKey {
        RoomKey { tenant: self.key.tenant.clone(), app: self.key.app, name }
    }

    /// A session that cannot keep up is cut: what it is told is reliable. It comes again and is told
    /// everything anew.
    fn cut(&mut self, device: Device) {
        if let Some(outgoing) = self.sessions.remove(&device) {
            outgoing.disconnect(Code::SlowConsumer);
        }
        self.hall.handle_lost(self.now(), device);
    }

    fn lost(&mut self, now: Time, device: Device) {
        self.sessions.remove(&device);
        self.hall.handle_lost(now, device);
    }
}
