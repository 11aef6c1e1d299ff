//! Events on their way out, kept until the server must have them: what a lost session did not
//! deliver goes out over the next one, once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{Joined, NEW_PEER};
use tokio::sync::Notify;

use super::{SendError, SessionSender, To};

/// Bytes that may wait for a session to write them; a sender waits beyond it.
const WAITING: usize = 64 << 10;
/// Bytes of written events that are kept. Written but not taken by the server are at most QUIC's
/// unacknowledged bytes (256 KiB), what the server has not read (64 KiB) and one event.
const KEPT: usize = 512 << 10;
/// What an event costs beside its payload.
const OVERHEAD: usize = 64;
/// How long a leave waits for the last events to be written.
const FLUSH_TIME: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Event {
    to: To,
    channel: u8,
    payload: Arc<[u8]>,
}

impl Event {
    fn cost(&self) -> usize {
        let listed = if let To::Peers(peers) = &self.to { 4 * peers.len() } else { 0 };
        self.payload.len() + listed + OVERHEAD
    }
}

#[derive(Default)]
struct State {
    /// From `first` on, in order; numbered as the server counts what it takes from this peer.
    events: VecDeque<Event>,
    first: u32,
    /// How many of `events` have been written to the session in use.
    written: usize,
    waiting_bytes: usize,
    written_bytes: usize,
    sender: Option<SessionSender>,
    /// Counts sessions: a writer of an earlier one must not touch the books.
    session: u32,
    max_event: usize,
    closed: bool,
}

/// The events of one peer over all of its sessions; see the module. Clones share it.
#[derive(Clone, Default)]
pub struct EventOutbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl EventOutbox {
    /// Begins or goes on with a session: what the server has not taken goes out first. Must run
    /// inside tokio.
    ///
    /// `same_room`: the room instance is the one of the session before. In another one events for
    /// named peers are dropped, because their numbers mean somebody else there. An outbox that has
    /// been closed closes the session.
    pub fn attach(&self, sender: SessionSender, joined: &Joined, same_room: bool) {
        let session = {
            let mut state = self.state();
            if state.closed {
                drop(state);
                return sender.close();
            }
            state.attach(sender.clone(), joined, same_room);
            state.session
        };
        self.0.changed.notify_waiters();
        tokio::spawn(write(self.clone(), sender, session));
    }

    /// Sends a reliable, ordered event; waits while the server or the network is slower than the
    /// application, or gone for a moment. Once it returns, the event survives the loss of the
    /// session, but not of the peer's place.
    pub async fn send(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        let limit = match self.state().max_event {
            0 => limits::MAX_EVENT_PAYLOAD,
            limit => limit,
        };
        to.check(payload.len(), limit)?;
        let mut event = Some(Event { to, channel, payload: payload.into() });
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Before looking, so that a change after the look is not missed.
            changed.as_mut().enable();
            if self.state().offer(&mut event)? {
                self.0.changed.notify_waiters();
                return Ok(());
            }
            changed.await;
        }
    }

    /// Leaves the room when everything sent so far is written; at most 2 s.
    pub async fn leave(&self) {
        let flushed = async {
            loop {
                let changed = self.0.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                {
                    let state = self.state();
                    if state.waiting_bytes == 0 || state.sender.is_none() {
                        return;
                    }
                }
                changed.await;
            }
        };
        // What is not written by then stays behind: the session is not what it was.
        let _ = tokio::time::timeout(FLUSH_TIME, flushed).await;
        let sender = self.state().sender.take();
        self.close();
        if let Some(sender) = sender {
            sender.leave().await;
        }
    }

    /// Ends it: nothing more is sent, and the session is closed at once.
    pub fn close(&self) {
        let sender = {
            let mut state = self.state();
            state.closed = true;
            state.events.clear();
            (state.written, state.written_bytes, state.waiting_bytes) = (0, 0, 0);
            state.sender.take()
        };
        self.0.changed.notify_waiters();
        if let Some(sender) = sender {
            sender.close();
        }
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(&self) {
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.state().closed {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it, and the books are whole at every step.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn attach(&mut self, sender: SessionSender, joined: &Joined, same_room: bool) {
        self.session = self.session.wrapping_add(1);
        self.max_event = limits::MAX_EVENT_PAYLOAD.min(joined.max_event as usize);
        let gone = if joined.resumed == NEW_PEER {
            // Somebody new: what went to the place that is lost is lost with it.
            self.written
        } else {
            // A server that claims to have had less than nothing has had nothing.
            let taken = joined.events_taken.wrapping_sub(self.first) as i32;
            usize::try_from(taken).unwrap_or(0)
        };
        self.events.drain(..gone.min(self.events.len()));
        if !same_room {
            self.events.retain(|event| !matches!(event.to, To::Peers(_)));
        }
        self.first = joined.events_taken;
        self.written = 0;
        self.written_bytes = 0;
        self.waiting_bytes = self.events.iter().map(Event::cost).sum();
        self.sender = Some(sender);
    }

    /// Takes the event when there is room for it; whether there was.
    fn offer(&mut self, event: &mut Option<Event>) -> Result<bool, SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        if self.waiting_bytes >= WAITING {
            return Ok(false);
        }
        if let Some(event) = event.take() {
            self.waiting_bytes += event.cost();
            self.events.push_back(event);
        }
        Ok(true)
    }

    fn next(&self) -> Option<Event> {
        self.events.get(self.written).cloned()
    }

    /// The event behind the written ones has been written; the oldest are forgotten.
    fn written(&mut self) {
        let Some(event) = self.events.get(self.written) else { return };
        let cost = event.cost();
        self.waiting_bytes -= cost;
        self.written_bytes += cost;
        self.written += 1;
        while self.written_bytes > KEPT
            && let Some(oldest) = self.events.pop_front()
        {
            self.written_bytes -= oldest.cost();
            self.written -= 1;
            self.first = self.first.wrapping_add(1);
        }
    }
}

/// Writes what waits, for as long as `session` is the one in use.
async fn write(outbox: EventOutbox, sender: SessionSender, session: u32) {
    loop {
        let changed = outbox.0.changed.notified();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        let next = {
            let state = outbox.state();
            if state.session != session || state.sender.is_none() {
                return;
            }
            state.next()
        };
        let Some(Event { to, channel, payload }) = next else {
            tokio::select! {
                () = changed => continue,
                () = sender.closed() => return,
            }
        };
        if sender.send_event(to, channel, &payload).await.is_err() {
            return;
        }
        {
            let mut state = outbox.state();
            if state.session != session || state.closed {
                return;
            }
            state.written();
        }
        outbox.0.changed.notify_waiters();
    }
}
