//! The queue from the room's task to the application and to the realtime task.
//!
//! Events for the application and commands for the realtime task share one queue, which keeps their
//! order. A new peer is first reported to the application and then to the realtime task. Only then
//! does the realtime task deliver the peer's messages.
//!
//! While the application is behind, the room's task continues to read the session, up to a limit.
//! The application may be waiting for a reply before it takes the next event, and that reply may be
//! behind other events.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::event::RoomEvent;
use crate::realtime::driver::DriverCommand;

/// Size of the queued events, in bytes, at which the room's task stops reading the session. QUIC's
/// flow control then stops the senders. The limit is one second of events in the largest rooms.
const LIMIT: usize = 256 << 10;
/// Items at which a lost session is not resumed any more: those of one session, with the rosters and
/// states of a few others.
const MAX_ITEMS: usize = 64 << 10;
/// Bytes counted for an event in addition to its payload.
const OVERHEAD: usize = 64;

enum BacklogItem {
    Event(RoomEvent),
    Command(DriverCommand),
}

/// The room's task must end: the application dropped its room, or the session is closed for good.
pub(super) struct RoomEnded;

/// The queue of events for the application and commands for the realtime task.
pub(super) struct Backlog {
    /// Each item with its cost in bytes.
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

    /// Appends an event.
    pub(super) fn push_event(&mut self, event: RoomEvent) {
        let len = match &event {
            RoomEvent::Event { payload, .. } | RoomEvent::Bulk { payload, .. } => payload.len(),
            RoomEvent::State(change) => change.bytes(),
            _ => 0,
        };
        self.push(BacklogItem::Event(event), len + OVERHEAD);
    }

    /// Appends an event that does not count towards the limit.
    ///
    /// Use this for events that describe a whole roster or state. Such events occur once a session,
    /// and their number is bounded by the room's peers, objects and fields. If they counted, a
    /// client that joins a large room would not receive the reply to its first request.
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

    /// Returns whether the application has taken so few events over several sessions that another
    /// session would not help. One session alone stops being read at [`LIMIT`].
    pub(super) fn is_overfull(&self) -> bool {
        self.cost >= 2 * LIMIT || self.items.len() >= MAX_ITEMS
    }

    /// Delivers the first item as soon as its channel has capacity. Cancel-safe.
    pub(super) async fn deliver_next(&mut self) -> Result<(), RoomEnded> {
        match self.items.front() {
            Some((BacklogItem::Event(_), _)) => {
                let permit = self.events.reserve().await.map_err(|_| RoomEnded)?;
                if let Some((BacklogItem::Event(event), cost)) = self.items.pop_front() {
                    self.cost -= cost;
                    permit.send(event);
                }
            }
            Some((BacklogItem::Command(_), _)) => {
                let permit = self.commands.reserve().await.map_err(|_| RoomEnded)?;
                if let Some((BacklogItem::Command(command), _)) = self.items.pop_front() {
                    permit.send(command);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Delivers all items. Waits as long as the application needs.
    pub(super) async fn flush(&mut self) -> Result<(), RoomEnded> {
        while !self.is_empty() {
            self.deliver_next().await?;
        }
        Ok(())
    }

    /// Returns the channel to the application. It closes when the application drops its room.
    pub(super) fn event_sender(&self) -> mpsc::Sender<RoomEvent> {
        self.events.clone()
    }

    fn push(&mut self, item: BacklogItem, cost: usize) {
        self.cost += cost;
        self.items.push_back((item, cost));
    }
}
