//! What a room has for one session: bounded queues and a way to end it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::sync::watch;
use tokio::time::Instant;

use super::queue::{PushError, Receiver, Sender, queue};
use crate::limits;

/// The room's end. While the room keeps it, the peer counts as a joined session.
pub struct Outgoing {
    _permit: Arc<dyn Any + Send + Sync>,
    control: Sender<Bytes>,
    events: Sender<(Time, Bytes)>,
    state: Sender<Bytes>,
    datagrams: Sender<(Instant, Bytes)>,
    backlog: Arc<Backlog>,
    end: watch::Sender<Option<Code>>,
    clock: Clock,
}

/// The session's end.
pub struct OutgoingQueues {
    /// Messages for the control stream.
    pub control: Receiver<Bytes>,
    /// Messages for the event stream.
    pub events: EventQueue,
    /// Messages for the state stream.
    pub state: StateQueue,
    /// Realtime datagrams of a client on the fallback, and since when they wait.
    pub datagrams: Receiver<(Instant, Bytes)>,
    /// Set when the session is to end.
    pub end: watch::Receiver<Option<Code>>,
}

/// Events that wait for their stream.
pub struct EventQueue {
    events: Receiver<(Time, Bytes)>,
    backlog: Arc<Backlog>,
}

/// Snapshots and updates of the shared state that wait for their stream.
pub struct StateQueue {
    messages: Receiver<Bytes>,
    backlog: Arc<Backlog>,
}

/// Bytes that wait, by stream.
#[derive(Default)]
struct Backlog {
    events: AtomicUsize,
    state: AtomicUsize,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is on its way.
    Queued,
    /// The session is too far behind.
    Behind,
    /// The session has ended.
    Gone,
}

/// Both ends.
pub fn outgoing(clock: Clock, permit: Arc<dyn Any + Send + Sync>) -> (Outgoing, OutgoingQueues) {
    let (control, control_queue) = queue(limits::CONTROL_QUEUE);
    let (events, event_queue) = queue(limits::EVENT_QUEUE);
    let (state, state_queue) = queue(limits::STATE_QUEUE);
    let (datagrams, datagram_queue) = queue(limits::SESSION_DATAGRAMS);
    let (end, end_queue) = watch::channel(None);
    let backlog = Arc::new(Backlog::default());
    let events_end = EventQueue { events: event_queue, backlog: backlog.clone() };
    let state_end = StateQueue { messages: state_queue, backlog: backlog.clone() };
    (
        Outgoing { _permit: permit, control, events, state, datagrams, backlog, end, clock },
        OutgoingQueues {
            control: control_queue,
            events: events_end,
            state: state_end,
            datagrams: datagram_queue,
            end: end_queue,
        },
    )
}

impl Outgoing {
    /// Queues a message for the control stream.
    pub fn control(&self, message: Bytes) -> Pushed {
        pushed(self.control.push(message))
    }

    /// Queues a message for the event stream.
    pub fn event(&self, message: Bytes) -> Pushed {
        if !add(&self.backlog.events, message.len(), limits::EVENT_BACKLOG_BYTES) {
            return Pushed::Behind;
        }
        let now = Time::from_micros(self.clock.now());
        pushed(self.events.push((now, message)))
    }

    /// Queues a message for the state stream.
    pub fn state(&self, message: Bytes) -> Pushed {
        if !add(&self.backlog.state, message.len(), limits::STATE_BACKLOG_BYTES) {
            return Pushed::Behind;
        }
        pushed(self.state.push(message))
    }

    /// Where the shard puts datagrams while the client is on the fallback.
    pub fn datagrams(&self) -> Sender<(Instant, Bytes)> {
        self.datagrams.clone()
    }

    /// Ends the session and says why.
    pub fn disconnect(self, code: Code) {
        self.end.send_replace(Some(code));
    }
}

/// Whether `len` more may wait; counts them if so.
fn add(waiting: &AtomicUsize, len: usize, limit: usize) -> bool {
    let fits = waiting.load(Ordering::Relaxed) + len <= limit;
    if fits {
        waiting.fetch_add(len, Ordering::Relaxed);
    }
    fits
}

fn pushed(result: Result<(), PushError>) -> Pushed {
    match result {
        Ok(()) => Pushed::Queued,
        Err(PushError::Full) => Pushed::Behind,
        Err(PushError::Closed) => Pushed::Gone,
    }
}

impl EventQueue {
    /// The next event and when it was queued.
    pub async fn next(&mut self) -> Option<(Time, Bytes)> {
        self.events.pop().await
    }

    /// An event has left: its bytes are no longer behind.
    pub fn written(&self, bytes: usize) {
        self.backlog.events.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl StateQueue {
    /// The next message.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.messages.pop().await
    }

    /// So many bytes have left: they are no longer behind.
    pub fn written(&self, bytes: usize) {
        self.backlog.state.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nucleus_protocol::limits::MAX_STATE;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_whole_state_may_wait_and_not_much_more() {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let (outgoing, mut queues) = outgoing(Clock::new(), Arc::new(permit));
        let state = |len| outgoing.state(vec![0; len].into());
        assert_eq!(state(MAX_STATE), Pushed::Queued);
        assert_eq!(state(limits::STATE_FEED_BYTES), Pushed::Queued);
        assert_eq!(state(MAX_STATE), Pushed::Behind);
        // Events have a limit of their own.
        let event = |len| outgoing.event(vec![0; len].into());
        assert_eq!(event(limits::EVENT_BACKLOG_BYTES), Pushed::Queued);
        assert_eq!(event(1), Pushed::Behind);
        let snapshot = queues.state.next().await.unwrap();
        assert_eq!(state(MAX_STATE), Pushed::Behind, "on its way, and not there yet");
        queues.state.written(snapshot.len());
        assert_eq!(state(MAX_STATE), Pushed::Queued);
        drop(queues);
        assert_eq!(state(1), Pushed::Gone);
    }
}
