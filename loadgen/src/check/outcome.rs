//! What a realtime thread hands over at the end of a run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::gaps::Gaps;
use super::nearest::NearPoses;
use super::tally::Tally;
use crate::load::channel::Channel;

/// What a thread has measured.
pub(crate) struct WorkerOutcome {
    pub(crate) channels: [Tally; Channel::COUNT],
    pub(crate) gaps: Gaps,
    pub(crate) near_poses: NearPoses,
    pub(crate) unaffected_latency: Histogram<u64>,
    /// µs from the end of the last fault until a headset was back on the realtime port.
    pub(crate) realtime_back: Histogram<u64>,
    pub(crate) on_fallback: u64,
    pub(crate) fallbacks: u64,
    /// Headsets whose port went silent at least once, and whose address changed.
    pub(crate) fell_back: u64,
    pub(crate) moved: u64,
    pub(crate) send_lag: Histogram<u64>,
    pub(crate) datagrams_in: u64,
    pub(crate) unsent: u64,
    pub(crate) rejected: u64,
    pub(crate) kernel_drops: u64,
    /// Headsets without a socket, by reason.
    pub(crate) open_failures: BTreeMap<String, u64>,
}
