//! What a run has measured, from which the report is computed.

use std::collections::BTreeMap;
use std::thread;

use hdrhistogram::Histogram;
use nucleus_loadgen::embedded::ServerEnd;

use super::{CallsReport, Joins, LateJoinersReport};
use crate::check::arrivals::Arrivals;
use crate::check::gaps::Gaps;
use crate::check::nearest::NearPoses;
use crate::check::outcome::WorkerOutcome;
use crate::check::session_log::RosterCounts;
use crate::check::states::StateFigures;
use crate::check::tally::Tally;
use crate::check::times;
use crate::load::channel::Channel;

/// The measurements of a run, without those of the realtime threads.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) attempted: u64,
    pub(crate) joined: u64,
    pub(crate) lost_sessions: u64,
    /// Session datagrams that were dropped because a realtime thread's queue was full.
    pub(crate) overflow: u64,
    pub(crate) resumed: u64,
    pub(crate) rejoined: u64,
    /// The times from the end of the last fault until headsets had a session again, µs.
    pub(crate) rejoins: Option<Histogram<u64>>,
    /// The headsets' rosters at the end.
    pub(crate) rosters: RosterCounts,
    pub(crate) duration_s: f64,
    /// CPU time of this process within the window, s; `None` if it could not be read.
    pub(crate) own_cpu_s: Option<f64>,
    /// The name of the signal that interrupted the run.
    pub(crate) interrupted: Option<&'static str>,
    /// How the server ended, if it did so by itself.
    pub(crate) server_end: Option<ServerEnd>,
    /// The reason why a fault could not be caused.
    pub(crate) fault_failed: Option<String>,
    pub(crate) events: Option<Tally>,
    /// The events that were due in the window.
    pub(crate) scheduled_events: u64,
    /// What arrived beside the headsets' realtime messages.
    pub(crate) arrivals: Arrivals,
    /// For how long nothing had arrived at the end of the window, µs, if that is too long.
    pub(crate) silence: Option<u64>,
    /// Sessions that were asked at the end of the run whether the server still answers.
    pub(crate) asked: u64,
    /// The sessions among them in which the server answered in time.
    pub(crate) answered: u64,
    pub(crate) state: StateFigures,
    pub(crate) joins: Option<Histogram<u64>>,
    pub(crate) problems: BTreeMap<String, u64>,
    /// The problems that kept clients from joining.
    pub(crate) join_errors: BTreeMap<String, u64>,
    pub(crate) storms: Option<Joins>,
    pub(crate) late_joiners: Option<LateJoinersReport>,
    /// Datagrams of the late joiners that our own kernel did not accept.
    pub(crate) late_unsent: u64,
    pub(crate) calls: Option<CallsReport>,
}

impl Findings {
    /// Returns whether the server answered in no session at the end of the run.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.asked > 0 && self.answered == 0
    }

    /// Returns whether the server ended before the run did, or seems to have.
    pub(crate) fn server_is_gone(&self) -> bool {
        self.server_end.is_some() || self.silence.is_some() || self.is_unanswered()
    }
}

/// The sums over all realtime threads.
pub(super) struct RealtimeTotals {
    pub(super) channels: [Tally; Channel::COUNT],
    /// The messages that were due in the window, by channel.
    pub(super) scheduled: [u64; Channel::COUNT],
    pub(super) gaps: Gaps,
    pub(super) near_poses: NearPoses,
    pub(super) unaffected_latency: Histogram<u64>,
    pub(super) realtime_back: Histogram<u64>,
    pub(super) round_trips: Histogram<u64>,
    pub(super) on_fallback: u64,
    pub(super) fallbacks: u64,
    pub(super) fell_back: u64,
    pub(super) moved: u64,
    pub(super) send_lag: Histogram<u64>,
    pub(super) arrivals: Arrivals,
    pub(super) datagrams_in: u64,
    pub(super) unsent: u64,
    pub(super) rejected: u64,
    /// `None` if the system does not tell.
    pub(super) kernel_drops: Option<u64>,
    pub(super) open_failures: BTreeMap<String, u64>,
    pub(super) dead_threads: u64,
}

impl RealtimeTotals {
    pub(super) fn of(outcomes: Vec<thread::Result<WorkerOutcome>>) -> Self {
        let mut total = RealtimeTotals {
            channels: Channel::ALL.map(|_| Tally::new()),
            scheduled: [0; Channel::COUNT],
            gaps: Gaps::default(),
            near_poses: NearPoses::default(),
            unaffected_latency: times::histogram(),
            realtime_back: times::histogram(),
            round_trips: times::histogram(),
            on_fallback: 0,
            fallbacks: 0,
            fell_back: 0,
            moved: 0,
            send_lag: times::histogram(),
            datagrams_in: 0,
            unsent: 0,
            rejected: 0,
            kernel_drops: Some(0),
            arrivals: Arrivals::default(),
            open_failures: BTreeMap::new(),
            dead_threads: 0,
        };
        for outcome in outcomes {
            match outcome {
                Ok(outcome) => total.add(outcome),
                Err(_) => total.dead_threads += 1,
            }
        }
        total
    }

    fn add(&mut self, outcome: WorkerOutcome) {
        for (total, tally) in self.channels.iter_mut().zip(&outcome.channels) {
            total.merge(tally);
        }
        for (total, count) in self.scheduled.iter_mut().zip(outcome.scheduled) {
            *total += count;
        }
        self.gaps.merge(outcome.gaps);
        self.near_poses.merge(outcome.near_poses);
        // Both histograms have the same bounds, so this cannot fail.
        let _ = self.send_lag.add(&outcome.send_lag);
        let _ = self.unaffected_latency.add(&outcome.unaffected_latency);
        let _ = self.realtime_back.add(&outcome.realtime_back);
        let _ = self.round_trips.add(&outcome.round_trips);
        self.on_fallback += outcome.on_fallback;
        self.fallbacks += outcome.fallbacks;
        self.fell_back += outcome.fell_back;
        self.moved += outcome.moved;
        self.datagrams_in += outcome.datagrams_in;
        self.unsent += outcome.unsent;
        self.rejected += outcome.rejected;
        self.arrivals.merge(outcome.arrivals);
        self.kernel_drops =
            self.kernel_drops.zip(outcome.kernel_drops).map(|(all, more)| all + more);
        for (reason, count) in outcome.open_failures {
            *self.open_failures.entry(reason).or_default() += count;
        }
    }
}
