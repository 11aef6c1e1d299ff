//! How fast the server reads the streams of a client in a room. The edge reads at these rates, and
//! `Joined` tells them to the client.

use nucleus_protocol::limits::{MAX_EVENT_MESSAGE, MAX_STATE_REQUEST};

use crate::limits::{self, Limits};
use crate::rate::Rate;

/// The rates of one stream of a client.
#[derive(Clone, Copy, Debug)]
pub struct StreamRates {
    /// Messages.
    pub messages: Rate,
    /// Bytes of messages.
    pub bytes: Rate,
    /// Size of the largest message in bytes.
    pub largest: usize,
}

impl StreamRates {
    /// Returns the rates of the events lane.
    pub fn events(limits: &Limits) -> Self {
        Self::new(
            rate(limits.peer_events_per_s, limits::EVENTS_BURST),
            rate(limits.peer_event_bytes_per_s, limits::EVENT_BYTES_BURST),
            MAX_EVENT_MESSAGE,
        )
    }

    /// Returns the rates of the bulk lane.
    pub fn bulk(limits: &Limits) -> Self {
        Self::new(
            rate(limits::BULK_PER_SECOND, limits::BULK_BURST),
            rate(limits.peer_bulk_bytes_per_s, limits::BULK_BYTES_BURST),
            MAX_EVENT_MESSAGE,
        )
    }

    /// Returns the rates of requests on the control stream.
    pub fn requests(limits: &Limits) -> Self {
        Self::new(
            rate(limits.peer_requests_per_s, limits::STATE_REQUESTS_BURST),
            rate(limits::STATE_BYTES_PER_SECOND, limits::STATE_BYTES_BURST),
            MAX_STATE_REQUEST,
        )
    }

    /// Limits each burst to between one and four seconds of its rate, and to at least one message:
    /// a peer with a low rate must not send a large burst.
    fn new(messages: Rate, bytes: Rate, largest: usize) -> Self {
        let bounded = |Rate { per_second, burst }, least| {
            let burst = burst.min(per_second.saturating_mul(4)).max(per_second).max(least);
            Rate { per_second, burst }
        };
        Self { messages: bounded(messages, 1), bytes: bounded(bytes, largest as u64), largest }
    }
}

/// Makes a rate of `per_second` on average and `burst` at once.
fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second: per_second.into(), burst: burst.into() }
}
