//! QUIC's congestion control for sessions: Cubic, with a window that never shrinks below its
//! initial size.
//!
//! A session sends little, and shares its path with the realtime plane, whose rate does not depend
//! on QUIC. A minimum window of two packets (RFC 9002, section 7.2) would therefore not relieve the
//! network, and it would harm the session. After an outage of ten seconds these two packets are in
//! flight and lost, and nothing new may be sent; quinn does not even send acknowledgements while
//! other data waits. Neither end learns that the other is reachable again, and both probe only
//! after a time as long as the outage, or twice that. A training with sleeping headsets lost a
//! peer's events for 38 s. The initial window of RFC 6928 leaves space for new packets: the next
//! one is acknowledged, and everything lost is sent again at once (`loadgen chaos training`).

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// Builds Cubic controllers whose window never shrinks below its initial size.
#[derive(Clone, Debug, Default)]
pub struct SparseCubic(Arc<CubicConfig>);

impl ControllerFactory for SparseCubic {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Floored(self.0.clone().build(now, current_mtu)))
    }
}

struct Floored(Box<dyn Controller>);

impl Controller for Floored {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.0.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.0.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.0.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.0.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.0.window().max(self.0.initial_window())
    }

    fn metrics(&self) -> ControllerMetrics {
        self.0.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self(self.0.clone_box()))
    }

    fn initial_window(&self) -> u64 {
        self.0.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_never_falls_below_its_beginning() {
        let now = Instant::now();
        let mut controller = Arc::new(SparseCubic::default()).build(now, 1_200);
        let first = controller.window();
        assert_eq!(first, controller.initial_window());
        for _ in 0..20 {
            controller.on_congestion_event(now, now, true, 1_200);
        }
        assert_eq!(controller.window(), first);
    }
}
