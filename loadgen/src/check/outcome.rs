//! The measurements of a realtime thread, which it returns at the end of a run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::arrivals::Arrivals;
use super::gaps::Gaps;
use super::nearest::NearPoses;
use super::tally::Tally;
use crate::load::channel::Channel;

/// The measurements of one realtime thread.
pub(crate) struct WorkerOutcome {
    pub(crate) channels: [Tally; Channel::COUNT],
    /// The messages that were due in the window, by channel.
    pub(crate) scheduled: [u64; Channel::COUNT],
    pub(crate) arrivals: Arrivals,
    pub(crate) gaps: Gaps,
    pub(crate) near_poses: NearPoses,
    pub(crate) unaffected_latency: Histogram<u64>,
    /// The time from the end of the last fault until a headset was back on the realtime port, µs.
    pub(crate) realtime_back: Histogram<u64>,
    /// The round-trip times that the headsets' links measured, 5 s after the end of the last fault.
    pub(crate) round_trips: Histogram<u64>,
    /// Headsets on the fallback at the end of the window.
    pub(crate) on_fallback: u64,
    /// How often the realtime port stopped answering, over all headsets.
    pub(crate) fallbacks: u64,
    /// Headsets whose realtime port stopped answering at least once.
    pub(crate) fell_back: u64,
    /// Headsets whose address changed at least once.
    pub(crate) moved: u64,
    pub(crate) send_lag: Histogram<u64>,
    pub(crate) datagrams_in: u64,
    pub(crate) unsent: u64,
    pub(crate) rejected: u64,
    /// `None` if the system does not tell.
    pub(crate) kernel_drops: Option<u64>,
    /// Headsets whose realtime socket could not be opened, by reason.
    pub(crate) open_failures: BTreeMap<String, u64>,
}
