//! The queue from the task of the users outside rooms to one session.

use std::any::Any;

use bytes::Bytes;
use nucleus_core::limits;
use nucleus_protocol::session::Code;
use tokio::sync::watch;

use crate::queue::{PushOutcome, QueueReceiver, QueueSender, queue_of_bytes};

/// The task's end of the queue. The session counts as a joined session until this is dropped.
pub struct SocialOutgoing {
    _permit: Box<dyn Any + Send + Sync>,
    messages: QueueSender<Bytes>,
    end: watch::Sender<Option<Code>>,
}

/// The session's end of the queue.
pub struct SocialQueue {
    /// Messages for the control stream.
    pub messages: QueueReceiver<Bytes>,
    /// The code to end the session with, once it is set.
    pub end: watch::Receiver<Option<Code>>,
}

/// Makes both ends of a queue. `permit` is dropped with the task's end.
pub fn social_outgoing(permit: impl Any + Send + Sync) -> (SocialOutgoing, SocialQueue) {
    let (messages, waiting) = queue_of_bytes(limits::SOCIAL_QUEUE, limits::SOCIAL_BACKLOG_BYTES);
    let (end, ended) = watch::channel(None);
    let outgoing = SocialOutgoing { _permit: Box::new(permit), messages, end };
    (outgoing, SocialQueue { messages: waiting, end: ended })
}

impl SocialOutgoing {
    /// Queues a message for the control stream.
    pub fn push(&self, message: Bytes) -> PushOutcome {
        self.messages.push_bytes(message.len(), message)
    }

    /// Ends the session with a code.
    pub fn disconnect(self, code: Code) {
        self.end.send_replace(Some(code));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_session_that_takes_nothing_is_behind_by_bytes_and_by_messages() {
        let permit = || async { Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap() };
        let (outgoing, mut queue) = social_outgoing(permit().await);
        let large = || outgoing.push(vec![0; limits::SOCIAL_BACKLOG_BYTES].into());
        assert_eq!([large(), large()], [PushOutcome::Queued, PushOutcome::Full]);
        let taken = queue.messages.pop().await.unwrap().len();
        queue.messages.written(taken);
        assert_eq!(large(), PushOutcome::Queued);

        let (outgoing, queue) = social_outgoing(permit().await);
        let small = (0..limits::SOCIAL_QUEUE).map(|_| outgoing.push(Bytes::from_static(b"x")));
        assert!(small.collect::<Vec<_>>().iter().all(|pushed| *pushed == PushOutcome::Queued));
        assert_eq!(outgoing.push(Bytes::from_static(b"x")), PushOutcome::Full);
        drop(queue);
        assert_eq!(outgoing.push(Bytes::from_static(b"x")), PushOutcome::Closed);
    }
}
