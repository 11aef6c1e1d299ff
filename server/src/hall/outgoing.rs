//! What a hall has for one session: a bounded queue and a way to end it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use nucleus_protocol::session::Code;
use tokio::sync::watch;

use crate::limits;
use crate::session::outgoing::Pushed;
use crate::session::queue::{PushError, Receiver, Sender, queue};

/// The hall's end. While the hall keeps it, the session counts as a joined one.
pub struct HallOutgoing {
    _permit: Box<dyn Any + Send>,
    messages: Sender<Bytes>,
    backlog: Arc<AtomicUsize>,
    end: watch::Sender<Option<Code>>,
}

/// The session's end.
pub struct HallQueue {
    messages: Receiver<Bytes>,
    backlog: Arc<AtomicUsize>,
    /// Set when the session is to end.
    pub end: watch::Receiver<Option<Code>>,
}

/// Both ends.
pub fn hall_outgoing(permit: impl Any + Send) -> (HallOutgoing, HallQueue) {
    let (messages, waiting) = queue(limits::HALL_QUEUE);
    let (end, ended) = watch::channel(None);
    let backlog = Arc::new(AtomicUsize::new(0));
    let queue = HallQueue { messages: waiting, backlog: backlog.clone(), end: ended };
    (HallOutgoing { _permit: Box::new(permit), messages, backlog, end }, queue)
}

impl HallOutgoing {
    /// Queues a message.
    pub fn push(&self, message: Bytes) -> Pushed {
        let len = message.len();
        if self.backlog.load(Ordering::Relaxed) + len > limits::HALL_BACKLOG_BYTES {
            return Pushed::Behind;
        }
        self.backlog.fetch_add(len, Ordering::Relaxed);
        match self.messages.push(message) {
            Ok(()) => Pushed::Queued,
            Err(PushError::Full) => Pushed::Behind,
            Err(PushError::Closed) => Pushed::Gone,
        }
    }

    /// Ends the session and says why.
    pub fn disconnect(self, code: Code) {
        self.end.send_replace(Some(code));
    }
}

impl HallQueue {
    /// The next message. Cancel-safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.messages.pop().await
    }

    /// A message has left: its bytes are no longer behind.
    pub fn written(&self, bytes: usize) {
        self.backlog.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_session_that_takes_nothing_is_behind_by_bytes_and_by_messages() {
        let permit = || async { Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap() };
        let (outgoing, mut queue) = hall_outgoing(permit().await);
        let large = || outgoing.push(vec![0; limits::HALL_BACKLOG_BYTES].into());
        assert_eq!([large(), large()], [Pushed::Queued, Pushed::Behind]);
        let taken = queue.next().await.unwrap().len();
        queue.written(taken);
        assert_eq!(large(), Pushed::Queued);

        let (outgoing, queue) = hall_outgoing(permit().await);
        let small = (0..limits::HALL_QUEUE).map(|_| outgoing.push(Bytes::from_static(b"x")));
        assert!(small.collect::<Vec<_>>().iter().all(|pushed| *pushed == Pushed::Queued));
        assert_eq!(outgoing.push(Bytes::from_static(b"x")), Pushed::Behind);
        drop(queue);
        assert_eq!(outgoing.push(Bytes::from_static(b"x")), Pushed::Gone);
    }
}
