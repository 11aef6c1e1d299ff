//! What a room has for one session: two bounded queues and a way to end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;
use tokio::sync::{mpsc, watch};

use crate::limits;

/// The room's end.
pub struct Outgoing {
    control: mpsc::Sender<Bytes>,
    events: mpsc::Sender<(Time, Bytes)>,
    backlog: Arc<AtomicUsize>,
    end: watch::Sender<Option<Code>>,
    clock: Clock,
}

/// The session's end.
pub struct OutgoingQueues {
    /// Messages for the control stream.
    pub control: mpsc::Receiver<Bytes>,
    /// Messages for the event stream.
    pub events: EventQueue,
    /// Set when the session is to end.
    pub end: watch::Receiver<Option<Code>>,
}

/// Events that wait for their stream.
pub struct EventQueue {
    events: mpsc::Receiver<(Time, Bytes)>,
    backlog: Arc<AtomicUsize>,
}

/// Both ends.
pub fn outgoing(clock: Clock) -> (Outgoing, OutgoingQueues) {
    let (control, control_queue) = mpsc::channel(limits::CONTROL_QUEUE);
    let (events, event_queue) = mpsc::channel(limits::EVENT_QUEUE);
    let (end, end_queue) = watch::channel(None);
    let backlog = Arc::new(AtomicUsize::new(0));
    let events_end = EventQueue { events: event_queue, backlog: backlog.clone() };
    (
        Outgoing { control, events, backlog, end, clock },
        OutgoingQueues { control: control_queue, events: events_end, end: end_queue },
    )
}

impl Outgoing {
    /// Queues a message for the control stream; false when the session is too far behind.
    pub fn control(&self, message: Bytes) -> bool {
        // A closed queue is a session that is ending anyway: its loss is reported by itself.
        !matches!(self.control.try_send(message), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Queues a message for the event stream; false when the session is too far behind.
    pub fn event(&self, message: Bytes) -> bool {
        let len = message.len();
        if self.backlog.load(Ordering::Relaxed) + len > limits::EVENT_BACKLOG_BYTES {
            return false;
        }
        self.backlog.fetch_add(len, Ordering::Relaxed);
        let now = Time::from_micros(self.clock.now());
        !matches!(self.events.try_send((now, message)), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Ends the session and says why.
    pub fn disconnect(self, code: Code) {
        self.end.send_replace(Some(code));
    }
}

impl EventQueue {
    /// The next event and when it was queued.
    pub async fn next(&mut self) -> Option<(Time, Bytes)> {
        self.events.recv().await
    }

    /// An event has left: its bytes are no longer behind.
    pub fn written(&self, bytes: usize) {
        self.backlog.fetch_sub(bytes, Ordering::Relaxed);
    }
}
