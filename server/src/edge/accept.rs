//! Accepts connections, within the limit of unjoined sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nucleus_core::unjoined::NoPlace;

use super::quic::Endpoint;
use super::{SessionContext, handshake};

/// Accepts connections until the endpoint is closed.
pub async fn accept(endpoint: Endpoint, context: Arc<SessionContext>) {
    while let Some(incoming) = endpoint.accept().await {
        context.counters.attempts.fetch_add(1, Ordering::Relaxed);
        // If more than half of the places are taken, a client must prove its address first. The
        // Retry packet that asks for the proof costs next to nothing.
        if context.unjoined.are_short() && incoming.is_unproven() {
            incoming.retry();
            continue;
        }
        match context.unjoined.take(incoming.remote().ip()) {
            Ok(place) => drop(tokio::spawn(handshake::serve(incoming, place, context.clone()))),
            Err(why) => {
                let counter = match why {
                    NoPlace::Full => &context.counters.turned_away,
                    NoPlace::NetworkShare => &context.counters.over_network_share,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                incoming.refuse();
            }
        }
    }
}
