//! How a join has the keys of its tenant's issuers fetched again.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Most requests that wait to be looked at. One more is not heard: its join is refused.
const MAILBOX: usize = 256;
/// Longest wait for the issuers' answers, within the 5 s that a join may take.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Answers that may wait for a join: those of all issuers that a tenant may have.
const ANSWERS: usize = 8;

/// A request for the newest keys of a tenant's issuers.
#[derive(Debug)]
pub struct KeyRequest {
    /// The tenant's name.
    pub(super) tenant: String,
    /// Told of each issuer that has answered. Dropped when no further one will.
    pub(super) answered: mpsc::Sender<()>,
}

/// Requests for fresh keys.
#[derive(Debug)]
pub struct FreshKeys(mpsc::Sender<KeyRequest>);

impl FreshKeys {
    /// Makes the mailbox of requests.
    pub fn new() -> (Self, mpsc::Receiver<KeyRequest>) {
        let (sender, receiver) = mpsc::channel(MAILBOX);
        (Self(sender), receiver)
    }

    /// Has the keys of the issuers of the tenant with this name fetched, as often as their rate allows.
    pub fn request(&self, tenant: String) -> KeyAnswers {
        let (answered, answers) = mpsc::channel(ANSWERS);
        // A full mailbox drops the sender, so that there are no answers.
        let _sent = self.0.try_send(KeyRequest { tenant, answered });
        KeyAnswers { answers, end: Instant::now() + PATIENCE }
    }
}

/// The answers of a tenant's issuers, for a limited time.
#[derive(Debug)]
pub struct KeyAnswers {
    answers: mpsc::Receiver<()>,
    end: Instant,
}

impl KeyAnswers {
    /// Waits for the next answer, after which the keys may be others. Returns false if there is none.
    pub async fn next(&mut self) -> bool {
        matches!(timeout_at(self.end, self.answers.recv()).await, Ok(Some(())))
    }
}
