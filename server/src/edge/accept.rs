//! Takes connections in, within the places for sessions that have not joined.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::quic::Endpoint;
use super::{SessionContext, handshake};

/// Accepts connections until the endpoint is closed.
pub async fn accept(endpoint: Endpoint, context: Arc<SessionContext>) {
    let places = context.unjoined.available_permits();
    while let Some(incoming) = endpoint.accept().await {
        context.counters.attempts.fetch_add(1, Ordering::Relaxed);
        // Above half load an address must prove itself first, which costs us nothing to ask.
        let busy = context.unjoined.available_permits() < places / 2;
        if busy && incoming.is_unproven() {
            incoming.retry();
            continue;
        }
        let Ok(place) = context.unjoined.clone().try_acquire_owned() else {
            context.counters.turned_away.fetch_add(1, Ordering::Relaxed);
            incoming.refuse();
            continue;
        };
        tokio::spawn(handshake::serve(incoming, place, context.clone()));
    }
}
