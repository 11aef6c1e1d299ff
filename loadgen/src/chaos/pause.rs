//! The scenarios of `loadgen chaos` in which the server's process stands still.

use std::time::Duration;

use nucleus_protocol::limits::CAPTURE_AGE;

use super::scenario::{
    NOT_RESUMED, ROSTERS, Scenario, basic_figures, missing_from, not_back, seconds,
};
use super::{Figure, at_most};
use crate::faults::{Fault, FaultPlan};
use crate::report::Report;

/// When the server's process is stopped.
const PAUSE_START: Duration = seconds(5);
/// The longest part of a stop that need not be a gap between two poses, ms: sending the signals
/// takes time.
const PAUSE_UNSEEN: f64 = 500.0;
/// The longest time from a message's arrival at the server to its arrival at a headset, ms.
const PAUSE_RELAY: f64 = 100.0;
/// The largest round-trip time on loopback 5 s after a stop, ms.
const PAUSE_RTT: f64 = 50.0;

/// The scenario with a stop of 3 s.
pub(super) const PAUSE_3: Scenario = Scenario {
    name: "pause-3",
    about: "the server's process is stopped for 3 s, then continued",
    run: &["--headsets", "100", "--room-size", "10", "--duration", "20s"],
    fault_plan: |_| pause(seconds(3)),
    judge: |r, _| pause_figures(r, seconds(3), 0.4),
    ratio: None,
};

/// The scenario with a stop of 12 s.
pub(super) const PAUSE_12: Scenario = Scenario {
    name: "pause-12",
    about: "the server's process is stopped for 12 s, then continued",
    run: &["--headsets", "100", "--room-size", "10", "--duration", "30s"],
    fault_plan: |_| pause(seconds(12)),
    judge: |r, _| pause_figures(r, seconds(12), 0.55),
    ratio: None,
};

/// The scenario with a stop of 40 s.
pub(super) const PAUSE_40: Scenario = Scenario {
    name: "pause-40",
    about: "the server's process is stopped for 40 s, then continued, after QUIC's idle timeout",
    run: &["--headsets", "100", "--room-size", "10", "--duration", "65s"],
    fault_plan: |_| pause(seconds(40)),
    judge: |r, _| {
        let not_resumed = missing_from(r, r.sessions.resumed);
        let mut figures = vec![at_most(NOT_RESUMED, not_resumed, 0.0)];
        figures.extend(pause_figures(r, seconds(40), 0.7));
        figures
    },
    ratio: None,
};

/// Returns the faults of a run whose server stands still for this time.
fn pause(time: Duration) -> FaultPlan {
    let script = vec![
        (PAUSE_START, Fault::PauseServer(true)),
        (PAUSE_START + time, Fault::PauseServer(false)),
    ];
    FaultPlan { script, ..FaultPlan::default() }
}

/// Returns the figures of a run whose server stood still for this time. At most the share
/// `undelivered` of the poses is not delivered: those of the stop, and of 3 to 5 s after it.
fn pause_figures(r: &Report, time: Duration, undelivered: f64) -> Vec<Figure> {
    let recovery = r.recovery.clone().unwrap_or_default();
    let (pose, voice) = (&r.channels.pose.channel, &r.channels.voice);
    let stopped = time.as_millis() as f64;
    let oldest = f64::from(CAPTURE_AGE) + PAUSE_RELAY;
    let too_old = pose.late + voice.late;
    // Without this figure, a server that did not stop would pass.
    let not_stopped = r.channels.pose.gap_max_ms.map(|gap| stopped - gap);
    let mut figures = vec![
        at_most("stop that no headset noticed, ms", not_stopped, PAUSE_UNSEEN),
        at_most("oldest pose handed over, ms", pose.latency_ms.max, oldest),
        at_most("oldest voice handed over, ms", voice.latency_ms.max, oldest),
        // The ledger keeps the client's rule, and hands none of these over.
        at_most("poses and voice that arrived too old", too_old as f64, 0.0),
        at_most("largest RTT 5 s later, ms", recovery.round_trip_ms.max, PAUSE_RTT),
        at_most("headsets without an RTT", missing_from(r, recovery.round_trips), 0.0),
        at_most("headsets not back on 5056", not_back(r), 0.0),
        at_most("joined again as another peer", r.sessions.rejoined as f64, 0.0),
        at_most(ROSTERS, missing_from(r, recovery.rosters_right), 0.0),
    ];
    figures.extend(basic_figures(r, undelivered));
    figures
}
