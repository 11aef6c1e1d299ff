//! How a join has the keys of its tenant's issuers fetched again.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

/// Most requests that wait to be looked at. One more is not heard: its join is refused.
const MAILBOX: usize = 256;
/// Longest wait for an issuer's answer, within the 5 s that a join may take.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// A request for the newest keys of a tenant's issuers.
#[derive(Debug)]
pub struct KeyRequest {
    /// The tenant's name.
    pub(super) tenant: String,
    /// Dropped when the request has been fulfilled, or is not.
    pub(super) done: mpsc::Sender<Infallible>,
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
    /// Returns whether they may be others now: false if no answer comes in time.
    pub async fn fetch(&self, tenant: String) -> bool {
        let (done, mut ended) = mpsc::channel(1);
        self.0.try_send(KeyRequest { tenant, done }).is_ok()
            && timeout(PATIENCE, ended.recv()).await.is_ok()
    }
}
