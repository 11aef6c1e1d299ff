//! The figures of a run over time.

use serde::Serialize;

use super::server::ServerSlot;
use super::{ms, share};
use crate::check::outcome::WorkerOutcome;
use crate::check::time_slots::ChannelSlot;
use crate::check::times::Times;
use crate::load::channel::Channel;
use crate::load::slot_plan::SlotPlan;

/// The figures of a run over time: each list has a value for each slot of the window, `None` where
/// nothing was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct OverTime {
    /// The length of a slot.
    pub(crate) slot_s: f64,
    pub(crate) pose: ChannelOverTime,
    pub(crate) voice: ChannelOverTime,
    pub(crate) up_mbit_s: Vec<Option<f64>>,
    pub(crate) down_mbit_s: Vec<Option<f64>>,
    pub(crate) server_cpu_share: Vec<Option<f64>>,
    pub(crate) messages_per_datagram: Vec<Option<f64>>,
    /// The messages that the server withheld, as a share of those and the sent ones.
    pub(crate) withheld: Vec<Option<f64>>,
}

/// The figures of a channel over time.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ChannelOverTime {
    pub(crate) latency_p50_ms: Vec<Option<f64>>,
    pub(crate) latency_p99_ms: Vec<Option<f64>>,
    pub(crate) age_p50_ms: Vec<Option<f64>>,
    pub(crate) age_p99_ms: Vec<Option<f64>>,
    /// The messages of this slot that were not delivered, lost or withheld, as a share.
    pub(crate) missing: Vec<Option<f64>>,
}

impl OverTime {
    /// Returns the figures over time of a run of `duration` (µs); `None` if it did not record them.
    pub(super) fn new(
        plan: SlotPlan,
        duration: u64,
        total: &WorkerOutcome,
        server: &[ServerSlot],
    ) -> Option<Self> {
        let slot_s = plan.length as f64 / 1e6;
        let channel = |channel: Channel| {
            ChannelOverTime::new(&total.messages.channels[channel as usize].slots.0)
        };
        let line = |direction: usize| {
            let mbit_s = |(slot, bytes): (usize, &[u64; 2])| {
                // Bits a microsecond.
                share(bytes[direction] * 8, plan.length_of(slot, duration))
            };
            total.sockets.slots.iter().enumerate().map(mbit_s).collect()
        };
        let server = |figure: fn(&ServerSlot) -> Option<f64>| {
            (0..plan.count).map(|slot| server.get(slot).and_then(figure)).collect()
        };
        (plan.count > 0).then(|| OverTime {
            slot_s,
            pose: channel(Channel::Pose),
            voice: channel(Channel::Voice),
            up_mbit_s: line(1),
            down_mbit_s: line(0),
            server_cpu_share: server(|slot| slot.cpu_share),
            messages_per_datagram: server(|slot| slot.messages_per_datagram),
            withheld: server(|slot| slot.withheld),
        })
    }
}

impl ChannelOverTime {
    fn new(slots: &[ChannelSlot]) -> Self {
        let quantile = |times: fn(&ChannelSlot) -> &Times, q: f64| {
            let value = |slot: &ChannelSlot| {
                let times = times(slot);
                (!times.is_empty()).then(|| ms(times.value_at_quantile(q)))
            };
            slots.iter().map(value).collect()
        };
        let missing =
            |slot: &ChannelSlot| share(slot.expected.saturating_sub(slot.delivered), slot.expected);
        ChannelOverTime {
            latency_p50_ms: quantile(|slot| &slot.latency, 0.5),
            latency_p99_ms: quantile(|slot| &slot.latency, 0.99),
            age_p50_ms: quantile(|slot| &slot.ages, 0.5),
            age_p99_ms: quantile(|slot| &slot.ages, 0.99),
            missing: slots.iter().map(missing).collect(),
        }
    }
}
