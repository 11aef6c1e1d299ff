//! The task that drives one room: its mailbox in, its outputs to sessions and shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nucleus_net::Clock;
use nucleus_protocol::session::{Code, Joined, encode};
use nucleus_protocol::time::Time;
use tokio::sync::{mpsc, oneshot};

use super::{EventTarget, JoinRequest, Room, RoomConfig, RoomOutput};
use crate::limits;
use crate::session::outgoing::{Outgoing, Pushed};
use crate::shard::thread::ShardHandle;
use crate::shard::{LinkNews, OpenLink, PeerId, RoomId, ShardCommand};

/// What a room's mailbox takes.
pub enum RoomInput {
    /// A session wants in. The answer is the peer's number, or why not; what follows comes by the
    /// session's queue.
    Join(Box<JoinRequest>, Outgoing, oneshot::Sender<Result<PeerId, Code>>),
    /// The shard speaks.
    Link(PeerId, LinkNews),
    /// The client leaves, or broke the rules.
    Leave(PeerId, Code),
    /// The session died after so long a silence.
    SessionLost(PeerId, Duration),
    /// The session is silent, or speaks again.
    SessionQuiet(PeerId, bool),
    /// An event.
    Event {
        /// Its sender.
        from: PeerId,
        /// Whom it is for.
        target: EventTarget,
        /// The application's channel.
        channel: u8,
        /// Opaque.
        payload: Vec<u8>,
    },
    /// End the room.
    Shutdown(Code),
}

/// A room's task.
pub struct RoomTask {
    id: RoomId,
    room: Room,
    clock: Clock,
    shard: Arc<ShardHandle>,
    sessions: HashMap<PeerId, Outgoing>,
}

impl RoomTask {
    /// Runs the room until it is empty. The mailbox is closed then: what was still in it is
    /// dropped, and whoever waits for an answer finds the instance dead and tries a new one.
    pub async fn run(
        id: RoomId,
        config: RoomConfig,
        clock: Clock,
        shard: Arc<ShardHandle>,
        mut mailbox: mpsc::Receiver<RoomInput>,
    ) {
        let room = Room::new(config);
        let mut task = RoomTask { id, room, clock, shard, sessions: HashMap::new() };
        let mut inputs = Vec::with_capacity(limits::ROOM_INPUTS_PER_TURN);
        loop {
            let due = task.room.poll_timeout();
            tokio::select! {
                count = mailbox.recv_many(&mut inputs, limits::ROOM_INPUTS_PER_TURN) => {
                    if count == 0 {
                        return;
                    }
                }
                () = sleep_until(clock, due) => {}
            }
            let now = task.now();
            inputs.drain(..).for_each(|input| task.take(now, input));
            task.room.handle_timeout(now);
            if task.carry_out().await {
                return;
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.clock.now())
    }

    fn take(&mut self, now: Time, input: RoomInput) {
        match input {
            RoomInput::Join(request, outgoing, reply) => {
                let result = self.room.handle_join(now, *request);
                match result {
                    Ok(peer) => drop(self.sessions.insert(peer, outgoing)),
                    // Before the answer: whoever is refused has given its place back by then.
                    Err(_) => drop(outgoing),
                }
                if let Err(Ok(peer)) = reply.send(result) {
                    // The session gave up while it waited.
                    self.room.handle_leave(now, peer, Code::JoinTimeout);
                }
            }
            RoomInput::Link(peer, news) => self.room.handle_link(now, peer, news),
            RoomInput::Leave(peer, code) => self.room.handle_leave(now, peer, code),
            RoomInput::SessionLost(peer, silence) => {
                self.room.handle_session_lost(now, peer, silence);
            }
            RoomInput::SessionQuiet(peer, quiet) => {
                self.room.handle_session_quiet(now, peer, quiet);
            }
            RoomInput::Event { from, target, channel, payload } => {
                self.room.handle_event(now, from, &target, channel, &payload);
            }
            RoomInput::Shutdown(code) => self.room.handle_shutdown(now, code),
        }
    }

    /// True when the room is over.
    async fn carry_out(&mut self) -> bool {
        while let Some(output) = self.room.poll_output() {
            match output {
                RoomOutput::OpenLink { peer, slot, link_id, suite, root, seed } => {
                    let room = self.id;
                    let open = OpenLink { room, peer, slot, link_id, suite, root, seed };
                    self.shard.send(ShardCommand::OpenLink(Box::new(open))).await;
                }
                RoomOutput::CloseLink(peer) => {
                    self.shard.send(ShardCommand::CloseLink { room: self.id, peer }).await;
                }
                RoomOutput::Joined(peer, joined) => self.joined(peer, &joined),
                RoomOutput::Control(peer, message) => {
                    self.push(peer, |out| out.control(message));
                }
                RoomOutput::Event(peer, message) => self.push(peer, |out| out.event(message)),
                RoomOutput::Disconnect(peer, code) => {
                    if let Some(outgoing) = self.sessions.remove(&peer) {
                        outgoing.disconnect(code);
                    }
                }
                RoomOutput::Closed => return true,
            }
        }
        false
    }

    fn joined(&mut self, peer: PeerId, joined: &Joined) {
        let message = encode(joined).into();
        self.push(peer, |out| out.control(message));
    }

    /// A recipient that cannot keep up is cut: reliable means reliable. One whose session has
    /// ended says so itself, but for a join that was given up in the moment of its success.
    fn push(&mut self, peer: PeerId, push: impl FnOnce(&Outgoing) -> Pushed) {
        let Some(outgoing) = self.sessions.get(&peer) else { return };
        let pushed = push(outgoing);
        let now = self.now();
        match pushed {
            Pushed::Queued => {}
            Pushed::Behind => self.room.handle_leave(now, peer, Code::SlowConsumer),
            Pushed::Gone => self.room.handle_session_lost(now, peer, Duration::ZERO),
        }
    }
}

async fn sleep_until(clock: Clock, due: Option<Time>) {
    match due {
        Some(at) => tokio::time::sleep(at.since(Time::from_micros(clock.now()))).await,
        None => std::future::pending().await,
    }
}
