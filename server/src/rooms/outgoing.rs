//! The bounded queues from a room to one session.

use bytes::Bytes;
use nucleus_core::limits;
use nucleus_protocol::session::{Code, Lane};
use nucleus_protocol::time::Time;
use tokio::sync::watch;

use super::session_probe::SessionProbe;
use crate::queue::{PushOutcome, QueueReceiver, QueueSender, queue, queue_of_bytes};
use crate::shard::QueuedDatagram;

/// The room's end of the queues.
pub struct Outgoing {
    control: QueueSender<Bytes>,
    lanes: [QueueSender<QueuedMessage>; 2],
    state: QueueSender<Bytes>,
    datagrams: QueueSender<QueuedDatagram>,
    end: watch::Sender<Option<Code>>,
    probe: Option<SessionProbe>,
}

/// The session's end of the queues.
pub struct OutgoingQueues {
    /// Messages for the control stream.
    pub control: QueueReceiver<Bytes>,
    /// Messages for the streams of the lanes, by [`Lane::index`].
    pub lanes: [QueueReceiver<QueuedMessage>; 2],
    /// Messages for the state stream: snapshots and updates.
    pub state: QueueReceiver<Bytes>,
    /// Realtime datagrams for a client on the fallback.
    pub datagrams: QueueReceiver<QueuedDatagram>,
    /// The code to end the session with, once it is set.
    pub end: watch::Receiver<Option<Code>>,
}

/// A message that waits for the stream of a lane.
pub struct QueuedMessage {
    /// When the message was queued, in the server's time.
    pub queued: Time,
    /// The encoded message.
    pub bytes: Bytes,
}

/// Makes both ends of a session's queues.
pub fn outgoing() -> (Outgoing, OutgoingQueues) {
    let (control, control_queue) = queue(limits::CONTROL_QUEUE);
    let (events, event_queue) = queue_of_bytes(limits::EVENT_QUEUE, limits::EVENT_BACKLOG_BYTES);
    let (bulk, bulk_queue) = queue_of_bytes(limits::BULK_QUEUE, limits::BULK_BACKLOG_BYTES);
    let (state, state_queue) = queue_of_bytes(limits::STATE_QUEUE, limits::STATE_BACKLOG_BYTES);
    let (datagrams, datagram_queue) = queue(limits::SESSION_DATAGRAMS);
    let (end, end_queue) = watch::channel(None);
    let lanes = [events, bulk];
    (
        Outgoing { control, lanes, state, datagrams, end, probe: None },
        OutgoingQueues {
            control: control_queue,
            lanes: [event_queue, bulk_queue],
            state: state_queue,
            datagrams: datagram_queue,
            end: end_queue,
        },
    )
}

impl Outgoing {
    /// Queues a message for the control stream.
    pub fn control(&self, message: Bytes) -> PushOutcome {
        self.control.push(message)
    }

    /// Queues an acknowledgement of events for the control stream, in place of an earlier one that
    /// still waits. It does not count against the limit of messages.
    pub fn event_ack(&self, message: Bytes) {
        self.control.push_newest(message);
    }

    /// Queues a message for the stream of a lane at `queued`, the server's time.
    pub fn event(&self, queued: Time, lane: Lane, message: Bytes) -> PushOutcome {
        let len = message.len();
        self.lanes[lane.index()].push_bytes(len, QueuedMessage { queued, bytes: message })
    }

    /// Queues a message for the state stream.
    pub fn state(&self, message: Bytes) -> PushOutcome {
        self.state.push_bytes(message.len(), message)
    }

    /// Returns the queue for the shard's datagrams to a client on the fallback.
    pub fn datagrams(&self) -> QueueSender<QueuedDatagram> {
        self.datagrams.clone()
    }

    /// Adds what the control plane may learn of the session.
    #[must_use]
    pub fn with_probe(self, probe: SessionProbe) -> Self {
        Self { probe: Some(probe), ..self }
    }

    /// Returns what the control plane may learn of the session.
    pub(super) fn probe(&self) -> Option<&SessionProbe> {
        self.probe.as_ref()
    }

    /// Ends the session with a code.
    pub fn disconnect(self, code: Code) {
        self.end.send_replace(Some(code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nucleus_protocol::limits::MAX_STATE;

    #[tokio::test]
    async fn a_whole_state_may_wait_and_not_much_more() {
        let (outgoing, mut queues) = outgoing();
        let state = |len| outgoing.state(vec![0; len].into());
        assert_eq!(state(MAX_STATE), PushOutcome::Queued);
        assert_eq!(state(limits::STATE_FEED_BYTES), PushOutcome::Queued);
        assert_eq!(state(MAX_STATE), PushOutcome::Full);
        // Each lane has a limit of its own.
        let event = |lane, len| outgoing.event(Time::ZERO, lane, vec![0; len].into());
        assert_eq!(event(Lane::Events, limits::EVENT_BACKLOG_BYTES), PushOutcome::Queued);
        assert_eq!(event(Lane::Events, 1), PushOutcome::Full);
        assert_eq!(event(Lane::Bulk, limits::BULK_BACKLOG_BYTES), PushOutcome::Queued);
        assert_eq!(event(Lane::Bulk, 1), PushOutcome::Full);
        let snapshot = queues.state.pop().await.unwrap();
        assert_eq!(
            state(MAX_STATE),
            PushOutcome::Full,
            "taken from the queue, but not written yet"
        );
        queues.state.written(snapshot.len());
        assert_eq!(state(MAX_STATE), PushOutcome::Queued);
        drop(queues);
        assert_eq!(state(1), PushOutcome::Closed);
    }
}
