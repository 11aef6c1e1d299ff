//! The headsets' session side: one task on tokio for each headset.

use std::sync::Arc;
use std::time::Duration;

use super::crew::{Crew, open};
use super::member::live;

/// Headsets that share a QUIC endpoint where no network is simulated: a socket each would only cost
/// the generator.
const HEADSETS_PER_ENDPOINT: u32 = 50;

/// Starts a task for each headset, its join spread evenly over `ramp`, and gives their handles.
pub(crate) async fn start(crew: &Arc<Crew>, ramp: Duration) -> Vec<tokio::task::JoinHandle<()>> {
    let begin = crew.shared.clock.now();
    let step = ramp.as_micros() as u64 / u64::from(crew.plan.headsets.max(1));
    let mut handles = Vec::with_capacity(crew.plan.headsets as usize);
    let mut endpoint = None;
    for headset in 0..crew.plan.headsets {
        if crew.plan.network.is_some() || headset % HEADSETS_PER_ENDPOINT == 0 {
            endpoint = Some(open(crew, headset).await);
        }
        let at = begin + u64::from(headset) * step;
        match &endpoint {
            Some(Ok(endpoint)) => {
                handles.push(tokio::spawn(live(crew.clone(), endpoint.clone(), headset, at)));
            }
            Some(Err(error)) => crew.failed(format!("no QUIC endpoint: {error}")),
            None => {}
        }
    }
    handles
}
