//! Accepts connections, within the limit of unjoined sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::quic::Endpoint;
use super::{SessionContext, handshake};

/// Accepts connections until the endpoint is closed.
pub async fn accept(endpoint: Endpoint, context: Arc<SessionContext>) {
    let capacity = context.unjoined.available_permits();
    while let Some(incoming) = endpoint.accept().await {
        context.counters.attempts.fetch_add(1, Ordering::Relaxed);
        // If more than half of the permits are taken, a client must prove its address first. The
        // Retry packet that asks for the proof costs next to nothing.
        let busy = context.unjoined.available_permits() < capacity / 2;
        if busy && incoming.is_unproven() {
            incoming.retry();
            continue;
        }
        let Ok(unjoined_permit) = context.unjoined.clone().try_acquire_owned() else {
            context.counters.turned_away.fetch_add(1, Ordering::Relaxed);
            incoming.refuse();
            continue;
        };
        tokio::spawn(handshake::serve(incoming, unjoined_permit, context.clone()));
    }
}
