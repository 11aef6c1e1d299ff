//! The clock of a client. Only this module reads the system's clock for the rules.

use nucleus_protocol::time::Time;
use tokio::time::Instant;

/// A clock that counts from its start.
#[derive(Clone, Copy, Debug)]
pub struct ClientClock(Instant);

impl ClientClock {
    /// Starts a clock.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    pub fn now(&self) -> Time {
        Time::ZERO + self.0.elapsed()
    }

    /// Returns the moment of a time; `None` if the system's clock cannot show it.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.0.checked_add(time.since(Time::ZERO))
    }
}
