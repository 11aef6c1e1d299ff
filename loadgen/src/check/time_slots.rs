//! Counts of a channel over time: the window is divided into slots of one length.

use super::times::Times;
use crate::load::slot_plan::SlotPlan;

/// What is counted of a channel in each slot; empty if nothing is counted over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChannelSlots(pub(crate) Vec<ChannelSlot>);

/// What is counted of a channel in one slot.
#[derive(Clone, Debug)]
pub(crate) struct ChannelSlot {
    /// By the time at which messages were due.
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    /// µs.
    pub(crate) latency: Times,
    /// The ages at moments of the slot, µs.
    pub(crate) ages: Times,
}

impl ChannelSlots {
    pub(crate) fn new(plan: SlotPlan) -> Self {
        let (latency, ages) = (Times::coarse(), Times::coarse());
        ChannelSlots(vec![ChannelSlot { expected: 0, delivered: 0, latency, ages }; plan.count])
    }

    /// Adds the counts of another thread.
    pub(crate) fn merge(&mut self, other: &ChannelSlots) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        for (total, slot) in self.0.iter_mut().zip(&other.0) {
            total.expected += slot.expected;
            total.delivered += slot.delivered;
            total.latency.merge(&slot.latency);
            total.ages.merge(&slot.ages);
        }
    }
}
