//! The control plane's way to the session and realtime planes: a bounded mailbox of requests.

use std::time::Duration;

use nucleus_core::control::{ControlError, ControlReply, ControlRequest};
use tokio::sync::{mpsc, oneshot};

/// Most requests that wait. The API is the only sender; one more is refused as busy.
const MAILBOX: usize = 256;
/// Longest wait for an answer. A room that is busy for longer is not asked again and again.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request, and where its answer goes.
pub struct PlanesMail {
    /// The request.
    pub request: ControlRequest,
    /// Takes the answer. Closed if nobody waits for it any more.
    pub reply: oneshot::Sender<Result<ControlReply, ControlError>>,
}

/// The control plane's end of the mailbox.
#[derive(Clone, Debug)]
pub struct PlanesHandle(mpsc::Sender<PlanesMail>);

impl PlanesHandle {
    /// Makes a mailbox.
    pub fn new() -> (Self, mpsc::Receiver<PlanesMail>) {
        let (sender, receiver) = mpsc::channel(MAILBOX);
        (Self(sender), receiver)
    }

    /// Asks the planes.
    ///
    /// # Errors
    ///
    /// [`ControlError::Busy`] if the mailbox is full or no answer comes in time; otherwise what the
    /// planes answer.
    pub async fn ask(&self, request: ControlRequest) -> Result<ControlReply, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(PlanesMail { request, reply }).map_err(|_| ControlError::Busy)?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            _ => Err(ControlError::Busy),
        }
    }
}
