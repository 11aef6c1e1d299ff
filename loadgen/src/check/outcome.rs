//! The measurements of a realtime thread, which it returns at the end of a run.

use std::collections::BTreeMap;
use std::thread;

use super::arrivals::Arrivals;
use super::gaps::Gaps;
use super::nearest::NearPoses;
use super::tally::Tally;
use super::time_slots::ChannelSlots;
use super::times::Times;
use crate::load::channel::Channel;
use crate::load::slot_plan::SlotPlan;

/// The measurements of one realtime thread, or of all of them.
#[derive(Debug, Default)]
pub(crate) struct WorkerOutcome {
    pub(crate) messages: MessageCounts,
    pub(crate) sockets: SocketCounts,
    /// The messages that were due in the window, by channel.
    pub(crate) scheduled: [u64; Channel::COUNT],
    /// The time from the end of the last fault until a headset was back on the realtime port, µs.
    pub(crate) realtime_back: Times,
    /// The round-trip times that the headsets' links measured, 5 s after the end of the last fault.
    pub(crate) round_trips: Times,
    /// Headsets on the fallback at the end of the window.
    pub(crate) on_fallback: u64,
    /// How often the realtime port stopped answering, over all headsets.
    pub(crate) fallbacks: u64,
    /// Headsets whose realtime port stopped answering at least once.
    pub(crate) fell_back: u64,
    /// Headsets whose address changed at least once.
    pub(crate) moved: u64,
    /// Datagrams that the headsets' sockets dropped because a buffer was full; `None` if the system
    /// does not tell.
    pub(crate) kernel_drops: Option<u64>,
    /// Headsets whose realtime socket could not be opened, by reason.
    pub(crate) open_failures: BTreeMap<String, u64>,
    /// Threads that failed, of which nothing else is known.
    pub(crate) dead_threads: u64,
}

/// What a realtime thread has counted of its headsets' messages.
#[derive(Debug, Default)]
pub(crate) struct MessageCounts {
    pub(crate) channels: [Tally; Channel::COUNT],
    pub(crate) arrivals: Arrivals,
    pub(crate) gaps: Gaps,
    pub(crate) near_poses: NearPoses,
    /// The latency of poses between two headsets that the faults do not affect, µs. Empty unless
    /// the faults affect a share of the headsets.
    pub(crate) unaffected_latency: Times,
    /// The time from when a message was due to when it was sent, µs.
    pub(crate) send_lag: Times,
    /// Received messages that this run distorted on purpose.
    pub(crate) distorted: u64,
}

/// What a realtime thread has counted of its headsets' datagrams.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketCounts {
    pub(crate) datagrams_in: u64,
    /// Bytes of the realtime datagrams that were received and sent within the window, with the
    /// headers of UDP and IP.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The same over time, received and sent, if they are recorded.
    pub(crate) slots: Vec<[u64; 2]>,
    /// Datagrams that our own kernel did not accept.
    pub(crate) unsent: u64,
    /// Received datagrams that are malformed or not from our server.
    pub(crate) rejected: u64,
}

impl WorkerOutcome {
    /// Returns the sum over all realtime threads.
    pub(crate) fn sum(outcomes: Vec<thread::Result<WorkerOutcome>>) -> Self {
        let mut total = WorkerOutcome { kernel_drops: Some(0), ..WorkerOutcome::default() };
        for outcome in outcomes {
            match outcome {
                Ok(outcome) => total.merge(outcome),
                Err(_) => total.dead_threads += 1,
            }
        }
        total
    }

    fn merge(&mut self, other: WorkerOutcome) {
        self.messages.merge(&other.messages);
        self.sockets.datagrams_in += other.sockets.datagrams_in;
        self.sockets.bytes_in += other.sockets.bytes_in;
        self.sockets.bytes_out += other.sockets.bytes_out;
        self.sockets.merge_slots(&other.sockets.slots);
        self.sockets.unsent += other.sockets.unsent;
        self.sockets.rejected += other.sockets.rejected;
        for (total, count) in self.scheduled.iter_mut().zip(other.scheduled) {
            *total += count;
        }
        self.realtime_back.merge(&other.realtime_back);
        self.round_trips.merge(&other.round_trips);
        self.on_fallback += other.on_fallback;
        self.fallbacks += other.fallbacks;
        self.fell_back += other.fell_back;
        self.moved += other.moved;
        self.kernel_drops = self.kernel_drops.zip(other.kernel_drops).map(|(all, more)| all + more);
        for (reason, count) in other.open_failures {
            *self.open_failures.entry(reason).or_default() += count;
        }
    }
}

impl SocketCounts {
    fn merge_slots(&mut self, others: &[[u64; 2]]) {
        self.slots.resize(self.slots.len().max(others.len()), [0; 2]);
        for ([bytes_in, bytes_out], other) in self.slots.iter_mut().zip(others) {
            *bytes_in += other[0];
            *bytes_out += other[1];
        }
    }
}

impl MessageCounts {
    /// Creates the counts of a run that is divided in this way.
    pub(super) fn new(slots: SlotPlan) -> Self {
        let channels = Channel::ALL.map(|channel| {
            let is_shown = matches!(channel, Channel::Pose | Channel::Voice);
            let slots = if is_shown { slots } else { SlotPlan::default() };
            Tally { slots: ChannelSlots::new(slots), ..Tally::default() }
        });
        MessageCounts { channels, ..MessageCounts::default() }
    }

    fn merge(&mut self, other: &MessageCounts) {
        for (total, tally) in self.channels.iter_mut().zip(&other.channels) {
            total.merge(tally);
        }
        self.arrivals.merge(other.arrivals);
        self.gaps.merge(other.gaps);
        self.near_poses.merge(other.near_poses);
        self.unaffected_latency.merge(&other.unaffected_latency);
        self.send_lag.merge(&other.send_lag);
        self.distorted += other.distorted;
    }
}
