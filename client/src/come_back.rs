//! When and where a lost session is opened again.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::address::resolve_next;
use crate::servers::{NextTry, ReturnServers};
use crate::session::{Backoff, JoinError, ResolvedServer};

/// The tries to open a lost session again, until one succeeds, the patience has passed since the
/// loss, or another try cannot help.
pub(crate) struct Tries<'a> {
    servers: &'a mut ReturnServers,
    deadline: Instant,
    backoff: Backoff,
    next: NextTry,
    /// The server of the newest try.
    last: ResolvedServer,
    /// The error of the newest try that had one.
    error: JoinError,
}

impl<'a> Tries<'a> {
    /// Starts to count the patience. `lost` is the server of the lost session.
    pub(crate) fn new(
        servers: &'a mut ReturnServers,
        patience: Duration,
        lost: ResolvedServer,
    ) -> Self {
        Tries {
            servers,
            deadline: Instant::now() + patience,
            backoff: Backoff::default(),
            next: NextTry::AfterPause(Duration::ZERO),
            error: JoinError::TimedOut { server: lost.first() },
            last: lost,
        }
    }

    /// Waits until the next try is due, and returns its server. Looks up the server's name anew. If
    /// no name has an address now, the server before is tried again: a name service may fail too.
    ///
    /// # Errors
    /// The error of the newest try, if the patience has passed or another try cannot help.
    pub(crate) async fn next(&mut self) -> Result<ResolvedServer, JoinError> {
        match self.next {
            NextTry::AtOnce => {}
            NextTry::AfterPause(least) => {
                let left = self.deadline.saturating_duration_since(Instant::now());
                if least >= left {
                    return Err(self.error.clone());
                }
                let pause = self.backoff.pause(Some(least), fastrand::u64(..));
                // The last try needs time too.
                sleep(pause.min(least.max(left / 2))).await;
            }
            NextTry::Never => return Err(self.error.clone()),
        }
        match timeout_at(self.deadline, resolve_next(self.servers)).await {
            Ok(Some(server)) => self.last = server,
            Ok(None) => {}
            Err(_) => return Err(self.error.clone()),
        }
        Ok(self.last.clone())
    }

    /// Waits for the outcome of a try, as long as the patience allows. Returns `None` if the next
    /// try may help.
    ///
    /// # Errors
    /// The error of the newest try, if the patience has passed.
    pub(crate) async fn outcome<T>(
        &mut self,
        attempt: impl Future<Output = Result<T, JoinError>>,
    ) -> Result<Option<T>, JoinError> {
        match timeout_at(self.deadline, attempt).await {
            Ok(Ok(session)) => return Ok(Some(session)),
            Ok(Err(error)) => self.error = error,
            Err(_) => return Err(self.error.clone()),
        }
        tracing::debug!(error = %self.error, "the session is not resumed yet");
        self.next = self.servers.failed(&self.error);
        Ok(None)
    }
}
