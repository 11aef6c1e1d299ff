//! Starts the headsets' sessions: one tokio task for each headset.

use std::sync::Arc;
use std::time::Duration;

use super::context::{RunContext, open};
use super::headset_session::run_session;

/// Without a simulated network, this many headsets share a QUIC endpoint. A socket for each headset
/// would cost the generator CPU time and would not change the results.
const HEADSETS_PER_ENDPOINT: u32 = 50;

/// Starts a task for each headset and returns the handles. The joins are evenly spread over `ramp`.
pub(crate) async fn start(
    context: &Arc<RunContext>,
    ramp: Duration,
) -> Vec<tokio::task::JoinHandle<()>> {
    let begin = context.shared.clock.now();
    let step = ramp.as_micros() as u64 / u64::from(context.plan.headsets.max(1));
    let mut handles = Vec::with_capacity(context.plan.headsets as usize);
    let mut endpoint = None;
    for headset in 0..context.plan.headsets {
        if context.plan.network.is_some() || headset % HEADSETS_PER_ENDPOINT == 0 {
            endpoint = Some(open(context, headset).await);
        }
        let at = begin + u64::from(headset) * step;
        match &endpoint {
            Some(Ok(endpoint)) => {
                handles.push(tokio::spawn(run_session(
                    context.clone(),
                    endpoint.clone(),
                    headset,
                    at,
                )));
            }
            Some(Err(error)) => context.failed(format!("no QUIC endpoint: {error}")),
            None => {}
        }
    }
    handles
}
