//! What a run has measured, from which the report is computed.

use nucleus_loadgen::embedded::ServerEnd;

use crate::check::arrivals::Arrivals;
use crate::check::session_log::SessionFigures;
use crate::check::tally::Tally;

/// The measurements of a run, without those of the realtime threads.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) joined: u64,
    /// Session datagrams that were dropped because a realtime thread's queue was full.
    pub(crate) overflow: u64,
    /// The times of the joins, the rosters at the end, and the problems.
    pub(crate) sessions: SessionFigures,
    pub(crate) duration_s: f64,
    /// CPU time of this process within the window, s; `None` if it could not be read.
    pub(crate) own_cpu_s: Option<f64>,
    /// The name of the signal that interrupted the run.
    pub(crate) interrupted: Option<&'static str>,
    /// How the server ended, if it did so by itself.
    pub(crate) server_end: Option<ServerEnd>,
    /// The reason why a fault could not be caused.
    pub(crate) fault_failed: Option<String>,
    pub(crate) events: Tally,
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
    /// Datagrams of the late joiners that our own kernel did not accept.
    pub(crate) late_unsent: u64,
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
