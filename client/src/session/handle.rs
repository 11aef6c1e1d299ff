//! [`ClientHandle`]: a client that its task and the application share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nucleus_client_core::session::DrivenClient;
use nucleus_protocol::time::Time;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::ClientClock;

/// A client of `nucleus-client-core`, shared by the task that drives it and by the application.
/// Clones share the same client.
pub struct ClientHandle<C>(Arc<SharedClient<C>>);

struct SharedClient<C> {
    client: Mutex<C>,
    clock: ClientClock,
    /// Wakes the task after the application has changed something.
    task: Notify,
    /// Wakes the application's waiting calls after something has arrived.
    callers: Notify,
}

impl<C> Clone for ClientHandle<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: DrivenClient> ClientHandle<C> {
    pub(crate) fn new(clock: ClientClock, client: C) -> Self {
        Self(Arc::new(SharedClient {
            client: Mutex::new(client),
            clock,
            task: Notify::new(),
            callers: Notify::new(),
        }))
    }

    /// Returns the clock that the client's times are of.
    pub fn clock(&self) -> ClientClock {
        self.0.clock
    }

    /// Reads from the client. Must not be called while the result of an earlier call is held, also
    /// within one expression: `(handle.read().me(), handle.read().ticket())` waits for ever.
    pub fn read(&self) -> MutexGuard<'_, C> {
        // No code panics while it holds the lock, and each step leaves the client consistent.
        self.0.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the client, and wakes its task.
    pub fn change<R>(&self, change: impl FnOnce(&mut C, Time) -> R) -> R {
        let result = change(&mut self.read(), self.0.clock.now());
        self.0.task.notify_one();
        result
    }

    /// Waits until `take` returns something. Calls it now, and after each input of the client.
    /// Cancel-safe.
    pub async fn wait_for<R>(&self, mut take: impl FnMut(&mut C, Time) -> Option<R>) -> R {
        loop {
            let arrived = self.arrived();
            let mut arrived = std::pin::pin!(arrived);
            // Register before the check, so that no input after the check is missed.
            arrived.as_mut().enable();
            let taken = take(&mut self.read(), self.0.clock.now());
            if let Some(taken) = taken {
                self.0.task.notify_one();
                return taken;
            }
            arrived.await;
        }
    }

    /// Takes the next event for the application.
    pub fn take_event(&self) -> Option<C::Event> {
        let mut client = self.read();
        let was_behind = client.is_behind();
        let event = client.take_event(self.0.clock.now());
        drop(client);
        // The session is read again.
        if was_behind {
            self.0.task.notify_one();
        }
        event
    }

    /// Waits until something arrives.
    pub fn arrived(&self) -> Notified<'_> {
        self.0.callers.notified()
    }

    /// Waits until the application has changed something.
    pub(super) async fn changed(&self) {
        self.0.task.notified().await;
    }

    /// Wakes the calls that wait for something to arrive.
    pub(super) fn wake_callers(&self) {
        self.0.callers.notify_waiters();
    }
}
