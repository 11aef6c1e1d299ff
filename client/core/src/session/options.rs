//! [`ClientOptions`]: how a client behaves, whatever it joins.

use std::time::Duration;

use crate::limits;

/// How a client behaves, whatever it joins.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How long the client tries to come back after a loss.
    pub patience: Duration,
    /// Whether the caller provides fresh tokens. The application is not asked for them then.
    pub has_token_provider: bool,
    /// Whether the client of a room keeps the roster. A load generator with thousands of clients in
    /// a room keeps few; the others then have no host.
    pub keeps_roster: bool,
    /// Bytes of the waiting events at which the client of a room stops reading. A simulation makes it
    /// smaller, so that the limit is reached.
    pub event_bytes: usize,
    /// A random number, which must differ between clients.
    pub seed: u64,
}

impl ClientOptions {
    /// Returns the options of a client that keeps the roster and provides no fresh tokens.
    pub fn new(patience: Duration, seed: u64) -> Self {
        let event_bytes = limits::ROOM_EVENTS.full;
        Self { patience, has_token_provider: false, keeps_roster: true, event_bytes, seed }
    }
}
