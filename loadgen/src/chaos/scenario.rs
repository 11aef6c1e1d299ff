//! What a scenario of `loadgen chaos` consists of, and the figures that several scenarios share.

use std::time::Duration;

use super::{Figure, at_most, none};
use crate::faults::FaultPlan;
use crate::report::channels::{ChannelReport, Channels};
use crate::report::{Recovery, Report};

/// A scenario.
pub(crate) struct Scenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The options of the scenario's run, as on the command line of `loadgen run`.
    pub(super) options: &'static str,
    /// Returns the faults of a run. A comparison also needs runs without the fault; in these,
    /// `faulty` is false.
    pub(super) fault_plan: fn(faulty: bool) -> FaultPlan,
    /// Returns the figures of a run, with their limits. `faulty` says whether the run had the
    /// fault.
    pub(super) judge: fn(&Report, faulty: bool) -> Vec<Figure>,
    /// The limit of the ratio between runs with and without the fault; `None` if the scenario
    /// compares no runs.
    pub(super) ratio: Option<RatioLimit>,
}

/// A figure with the fault divided by the same figure without, and the limit of this ratio.
pub(super) struct RatioLimit {
    pub(super) name: &'static str,
    pub(super) limit: f64,
    pub(super) figure: fn(&Report) -> Option<f64>,
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The name of the figure that counts rosters in which a member is missing, occurs twice or is
/// away, or in which another peer occurs.
pub(super) const ROSTERS: &str = "rosters with wrong, doubled or missing peers";
/// The name of the figure that counts headsets that lost their session, or whose process died, and
/// that did not resume the session.
pub(super) const NOT_RESUMED: &str = "not resumed as the same peer";

/// Returns a count as a figure.
pub(super) fn number(count: Option<u64>) -> Option<f64> {
    count.map(|count| count as f64)
}

/// Returns the number of headsets minus `count`.
pub(super) fn missing_from(r: &Report, count: u64) -> f64 {
    r.headsets as f64 - count as f64
}

/// Returns the shares of the expected poses and of the expected voice that were not delivered.
/// Without these figures, a run in which hardly anything arrives would have no late, wrong or
/// doubled message, and pass. Every scenario's profile has both.
pub(super) fn not_delivered(r: &Report, limit: f64) -> Vec<Figure> {
    let missing = |channel: &ChannelReport| channel.delivered_share.map(|share| 1.0 - share);
    vec![
        at_most("poses not delivered, share", missing(&r.channels.pose.channel), limit),
        at_most("voice not delivered, share", missing(&r.channels.voice), limit),
    ]
}

/// Returns the figures that no fault may change: at most the share `undelivered` of the poses and of
/// the voice is not delivered, no session is lost, every event is delivered once and in order, and
/// no wrong message arrives on any channel of the realtime plane.
pub(super) fn basic_figures(r: &Report, undelivered: f64) -> Vec<Figure> {
    let Channels { pose, voice, event, object, pointer } = &r.channels;
    let wrong = |channel: &ChannelReport| channel.duplicated + channel.misrouted + channel.corrupt;
    let realtime = [&pose.channel, voice].into_iter().chain(object).chain(pointer);
    let figures = vec![
        none("joins failed", r.joins.failed as f64),
        none("sessions lost", r.sessions.lost as f64),
        none("events lost", event.lost as f64),
        none("events out of order or twice", (event.reordered + event.duplicated) as f64),
        none(
            "realtime messages twice, misrouted or corrupt",
            realtime.map(wrong).sum::<u64>() as f64,
        ),
    ];
    [not_delivered(r, undelivered), figures].concat()
}

/// Returns the recovery from the faults of a run.
pub(super) fn recovery(r: &Report) -> Recovery {
    r.recovery.clone().unwrap_or_default()
}

/// Returns how many headsets have not used the realtime port since the fault ended.
pub(super) fn not_back(r: &Report) -> f64 {
    missing_from(r, recovery(r).back)
}
