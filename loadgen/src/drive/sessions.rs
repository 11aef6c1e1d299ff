//! Starts the headsets' sessions: one tokio task for each headset.

use std::sync::Arc;
use std::time::Duration;

use super::context::RunContext;
use super::endpoints::SharedEndpoints;
use super::headset_session::run_session;

/// Starts a task for each headset and returns the handles. The joins are evenly spread over `ramp`.
pub(crate) async fn start(
    context: &Arc<RunContext>,
    ramp: Duration,
) -> Vec<tokio::task::JoinHandle<()>> {
    let begin = context.shared.clock.now();
    let step = ramp.as_micros() as u64 / u64::from(context.plan.headsets.max(1));
    let mut handles = Vec::with_capacity(context.plan.headsets as usize);
    let mut endpoints = SharedEndpoints::default();
    for headset in 0..context.plan.headsets {
        let at = begin + u64::from(headset) * step;
        match endpoints.next(context, headset).await {
            Ok(endpoint) => {
                handles.push(tokio::spawn(run_session(context.clone(), endpoint, headset, at)));
            }
            Err(error) => context.failed(format!("no QUIC endpoint: {error}")),
        }
    }
    handles
}
