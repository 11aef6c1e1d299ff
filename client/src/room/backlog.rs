//! What the room's task has for the application and the realtime task, in one order: a newcomer is
//! announced to the application, then to the realtime plane, and only then heard.
//!
//! The session is read on while the application is behind, up to a bound: among what comes may be the
//! answer that the application waits for before it takes the next event.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::event::RoomEvent;
use crate::realtime::driver::DriverCommand;

/// Bytes that wait for the application before the session is not read any further, and QUIC's flow
/// control stops the senders: a second of the events of the largest rooms.
const LIMIT: usize = 256 << 10;
/// What an event costs beside its payload.
const OVERHEAD: usize = 64;

enum BacklogItem {
    Event(RoomEvent),
    Command(DriverCommand),
}

/// Nobody listens any more, or there is nothing left to hear.
pub(super) struct RoomEnded;

/// The queue of what the application and the realtime task are to hear.
pub(super) struct Backlog {
    /// With what each costs.
    items: VecDeque<(BacklogItem, usize)>,
    cost: usize,
    events: mpsc::Sender<RoomEvent>,
    commands: mpsc::Sender<DriverCommand>,
}

impl Backlog {
    pub(super) fn new(
        events: mpsc::Sender<RoomEvent>,
        commands: mpsc::Sender<DriverCommand>,
    ) -> Self {
        Self { items: VecDeque::new(), cost: 0, events, commands }
    }

    /// An event that comes for itself.
    pub(super) fn push_event(&mut self, event: RoomEvent) {
        let len = match &event {
            RoomEvent::Event { payload, .. } | RoomEvent::Bulk { payload, .. } => payload.len(),
            RoomEvent::State(change) => change.len(),
            _ => 0,
        };
        self.push(BacklogItem::Event(event), len + OVERHEAD);
    }

    /// One of many that come once a session: as many as a room has peers, objects and fields. They do
    /// not count, or a newcomer to a large room would not hear the answer to its first request.
    pub(super) fn push_uncounted(&mut self, event: RoomEvent) {
        self.push(BacklogItem::Event(event), 0);
    }

    pub(super) fn push_command(&mut self, command: DriverCommand) {
        self.push(BacklogItem::Command(command), 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.cost >= LIMIT
    }

    /// Hands the first one on when there is a place for it. Cancel-safe.
    pub(super) async fn deliver_next(&mut self) -> Result<(), RoomEnded> {
        match self.items.front() {
            Some((BacklogItem::Event(_), _)) => {
                let place = self.events.reserve().await.map_err(|_| RoomEnded)?;
                if let Some((BacklogItem::Event(event), cost)) = self.items.pop_front() {
                    self.cost -= cost;
                    place.send(event);
                }
            }
            Some((BacklogItem::Command(_), _)) => {
                let place = self.commands.reserve().await.map_err(|_| RoomEnded)?;
                if let Some((BacklogItem::Command(command), _)) = self.items.pop_front() {
                    place.send(command);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Hands everything on, however long the application takes.
    pub(super) async fn flush(&mut self) -> Result<(), RoomEnded> {
        while !self.is_empty() {
            self.deliver_next().await?;
        }
        Ok(())
    }

    /// Until nobody listens any more.
    pub(super) fn event_sender(&self) -> mpsc::Sender<RoomEvent> {
        self.events.clone()
    }

    fn push(&mut self, item: BacklogItem, cost: usize) {
        self.cost += cost;
        self.items.push_back((item, cost));
    }
}
