//! The scenarios of `loadgen chaos` in which the server's process stands still.

use std::time::Duration;

use nucleus_protocol::limits::CAPTURE_AGE;

use super::scenario::{
    NOT_RESUMED, ROSTERS, Scenario, basic_figures, missing_from, not_back, recovery, seconds,
};
use super::{Figure, at_most, none};
use crate::faults::{Fault, FaultPlan};
use crate::report::Report;

/// QUIC's idle timeout. After a longer stop, every client resumes its session.
const SESSION_IDLE: Duration = seconds(30);
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
pub(super) const PAUSE_3: Scenario = pause_scenario::<3, 40>(
    "pause-3",
    "the server's process is stopped for 3 s, then continued",
    "--headsets 100 --room-size 10 --duration 20s",
);

/// The scenario with a stop of 12 s.
pub(super) const PAUSE_12: Scenario = pause_scenario::<12, 55>(
    "pause-12",
    "the server's process is stopped for 12 s, then continued",
    "--headsets 100 --room-size 10 --duration 30s",
);

/// The scenario with a stop of 40 s.
pub(super) const PAUSE_40: Scenario = pause_scenario::<40, 70>(
    "pause-40",
    "the server's process is stopped for 40 s, then continued, after QUIC's idle timeout",
    "--headsets 100 --room-size 10 --duration 65s",
);

/// Returns the scenario with a stop of `STOP` seconds, in which at most `UNDELIVERED` percent of the
/// messages are not delivered.
const fn pause_scenario<const STOP: u64, const UNDELIVERED: u32>(
    name: &'static str,
    about: &'static str,
    options: &'static str,
) -> Scenario {
    Scenario {
        name,
        about,
        options,
        fault_plan: |_| {
            FaultPlan::new(vec![
                (PAUSE_START, Fault::PauseServer(true)),
                (PAUSE_START + seconds(STOP), Fault::PauseServer(false)),
            ])
        },
        judge: |r, _| {
            let not_resumed = none(NOT_RESUMED, missing_from(r, r.sessions.resumed));
            let not_resumed = (seconds(STOP) > SESSION_IDLE).then_some(not_resumed);
            let figures = pause_figures(r, seconds(STOP), f64::from(UNDELIVERED) / 100.0);
            not_resumed.into_iter().chain(figures).collect()
        },
        ratio: None,
    }
}

/// Returns the figures of a run whose server stood still for this time. At most the share
/// `undelivered` of the poses and of the voice is not delivered: those of the stop, and of 3 to 5 s
/// after it.
fn pause_figures(r: &Report, time: Duration, undelivered: f64) -> Vec<Figure> {
    let recovery = recovery(r);
    let (pose, voice) = (&r.channels.pose.channel, &r.channels.voice);
    let stopped = time.as_millis() as f64;
    let oldest = f64::from(CAPTURE_AGE) + PAUSE_RELAY;
    let too_old = pose.late + voice.late;
    // Without this figure, a server that did not stop would pass.
    let not_stopped = r.channels.pose.gap_max_ms.map(|gap| stopped - gap);
    let figures = vec![
        at_most("stop that no headset noticed, ms", not_stopped, PAUSE_UNSEEN),
        at_most("oldest pose handed over, ms", pose.latency_ms.max, oldest),
        at_most("oldest voice handed over, ms", voice.latency_ms.max, oldest),
        // The ledger keeps the client's rule, and hands none of these over.
        none("poses and voice that arrived too old", too_old as f64),
        at_most("largest RTT 5 s later, ms", recovery.round_trip_ms.max, PAUSE_RTT),
        none("headsets without an RTT", missing_from(r, recovery.round_trips)),
        none("headsets not back on 5056", not_back(r)),
        none("joined again as another peer", r.sessions.rejoined as f64),
        none(ROSTERS, missing_from(r, recovery.rosters_right)),
    ];
    [figures, basic_figures(r, undelivered)].concat()
}
