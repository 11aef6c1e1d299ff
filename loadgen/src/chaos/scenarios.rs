//! The scenarios of `loadgen chaos`, each with its faults and the limits of its figures.

use std::time::Duration;

use super::scenario::{
    NOT_RESUMED, ROSTERS, RatioLimit, Scenario, basic_figures, missing_from, not_back,
    not_delivered, number, recovery, seconds,
};
use super::{at_most, none, pause};
use crate::drive::calls::MATCHED;
use crate::faults::{Fault, FaultPlan};
use crate::report::{LateJoinersReport, Report};

/// When the realtime port is blocked, an outage starts or the server is killed, and when the block
/// or the outage ends.
const FAULT_START: Duration = seconds(5);
const FAULT_END: Duration = seconds(15);
/// When the join storms start, ms, and how many clients join in each.
const STORMS: [u64; 5] = [500, 1_400, 2_300, 3_200, 4_100];
const STORM_JOINS: u32 = 500;
/// Objects of the room that late joiners join, and the number of late joiners.
const OBJECTS: u32 = 1_000;
const LATE: u32 = 5;
/// Late joiners that join one room, and the time over which they join.
const CROWD: u32 = 1_000;
const CROWD_SPAN: Duration = seconds(10);
/// The name of the figure that shows whether a late joiner hears the room.
const MISSED_POSES: &str = "share of the poses that one late joiner misses";
/// The largest share of the poses that one late joiner may miss, and that if the headsets that send
/// them are on Wi-Fi.
const MISSED_BY_LATE: f64 = 0.05;
const MISSED_ON_WIFI: f64 = 0.1;
/// When the rosters are collected: two seconds after the last join.
const CROWD_ROSTERS: Duration = seconds(12);
/// Number of users that look for a room at the same time, and of pairs that call each other at the
/// same time.
const SEEKERS: u32 = 300;
const PAIRS: u32 = 100;
/// Share of the headsets of a training that sleep and change their address.
const SLEEPERS: f64 = 0.1;
/// Number of sleeps of each of these headsets.
const SLEEPS: f64 = 2.0;

pub(super) static SCENARIOS: [Scenario; 15] = [
    Scenario {
        name: "blocked-realtime",
        about: "UDP 5056 is blocked for ten seconds in mid-session, then opened again",
        options: "--headsets 200 --room-size 10 --duration 25s",
        fault_plan: |_| FaultPlan {
            fault_share: 1.0,
            ..FaultPlan::new(vec![
                (FAULT_START, Fault::BlockRealtime(true)),
                (FAULT_END, Fault::BlockRealtime(false)),
            ])
        },
        judge: |r, _| {
            let figures = vec![
                at_most("longest pose gap, ms", r.channels.pose.gap_max_ms, 1_000.0),
                at_most("longest time until back on 5056, ms", recovery(r).back_ms.max, 3_000.0),
                none("headsets not back on 5056", not_back(r)),
                none("headsets that did not fall back", missing_from(r, r.sessions.fell)),
            ];
            [figures, basic_figures(r, 0.2)].concat()
        },
        ratio: None,
    },
    Scenario {
        name: "fallback-tenth",
        about: "a tenth of the headsets is always on the fallback; the pose p99 of the others",
        options: "--headsets 500 --room-size 10 --duration 15s",
        fault_plan: |blocked| FaultPlan {
            fault_share: 0.1,
            realtime_blocked: blocked,
            ..FaultPlan::default()
        },
        judge: |r, blocked| {
            let tenth = (r.headsets as f64 * 0.1).floor().max(1.0);
            let expected = if blocked { tenth } else { 0.0 };
            let off = (expected - r.sessions.on_fallback as f64).abs();
            [vec![none("headsets on the wrong plane", off)], basic_figures(r, 0.05)].concat()
        },
        ratio: Some(RatioLimit {
            name: "the others' pose p99, times that without",
            limit: 1.2,
            figure: |r| r.others.as_ref()?.pose_latency_ms.p99,
        }),
    },
    Scenario {
        name: "roaming",
        about: "everybody's addresses change every five seconds",
        options: "--headsets 200 --room-size 10 --duration 60s --network roaming",
        fault_plan: |_| FaultPlan::default(),
        judge: |r, _| {
            let figures = vec![
                at_most("longest pose gap, ms", r.channels.pose.gap_max_ms, 1_000.0),
                none("headsets that did not move", missing_from(r, r.sessions.moved)),
            ];
            [basic_figures(r, 0.2), figures].concat()
        },
        ratio: None,
    },
    Scenario {
        name: "sleep",
        about: "everybody has an outage of ten seconds; every second headset returns as a new process",
        options: "--headsets 200 --room-size 10 --duration 25s",
        fault_plan: |_| FaultPlan {
            fault_share: 1.0,
            ..FaultPlan::new(vec![
                (FAULT_START, Fault::Outage(true)),
                (FAULT_END, Fault::Outage(false)),
            ])
        },
        judge: |r, _| {
            let recovery = recovery(r);
            let figures = vec![
                at_most("longest time until back on 5056, ms", recovery.back_ms.max, 3_000.0),
                at_most("longest time until a session again, ms", recovery.rejoin_ms.max, 3_000.0),
                none("headsets not back", not_back(r)),
                none(NOT_RESUMED, (r.headsets / 2) as f64 - r.sessions.resumed as f64),
                none(ROSTERS, missing_from(r, recovery.rosters_right)),
            ];
            [figures, basic_figures(r, 0.65)].concat()
        },
        ratio: None,
    },
    Scenario {
        name: "training",
        about: "a training on a lossy network; a tenth has two outages, restarts and new addresses",
        options: "--profile training --network lossy --headsets 100 --room-size 10 --duration 45s",
        fault_plan: |_| FaultPlan {
            fault_share: SLEEPERS,
            ..FaultPlan::new(vec![
                (seconds(3), Fault::Outage(true)),
                (seconds(13), Fault::Outage(false)),
                (seconds(18), Fault::Move),
                (seconds(22), Fault::Move),
                (seconds(24), Fault::Outage(true)),
                (seconds(34), Fault::Outage(false)),
                (seconds(37), Fault::Move),
            ])
        },
        judge: |r, _| {
            let state = r.state.clone().unwrap_or_default();
            let recovery = recovery(r);
            let sleepers = (r.headsets as f64 * SLEEPERS).floor();
            let died = (sleepers / 2.0).floor() * SLEEPS;
            let figures = vec![
                none("rooms not checked", missing(r.rooms, state.rooms_checked)),
                none("rooms that diverged", state.rooms_diverged as f64),
                none("headsets that did not move", sleepers - r.sessions.moved as f64),
                none(NOT_RESUMED, died - r.sessions.resumed as f64),
                none(ROSTERS, missing_from(r, recovery.rosters_right)),
            ];
            [figures, basic_figures(r, 0.35)].concat()
        },
        ratio: None,
    },
    Scenario {
        name: "late-join",
        about: "late joiners on Wi-Fi join a training of 20 with 1,000 objects; the voice p99 of the 20",
        options: "--profile training --network wifi --headsets 20 --room-size 20 --duration 10s",
        fault_plan: |late| {
            let furnish = (Duration::ZERO, Fault::AddObjects(OBJECTS));
            let come = (seconds(4), Fault::LateJoiners(LATE, seconds(5)));
            FaultPlan::new(if late { vec![furnish, come] } else { vec![furnish] })
        },
        judge: |r, with_late_joiners| {
            let (state, late) = (r.state.clone().unwrap_or_default(), late_joiners(r));
            let slowest = if with_late_joiners { late.whole_ms.max } else { Some(0.0) };
            let figures = vec![
                at_most("complete state, slowest late joiner, ms", slowest, 1_000.0),
                none("late joiners without complete state", missing(late.invited, late.whole)),
                at_most(MISSED_POSES, missed_poses(&late), MISSED_ON_WIFI),
                // Each headset of a training has a tablet beside the objects.
                none("objects missing", missing(u64::from(OBJECTS) + r.headsets, state.objects)),
                none("rooms that diverged", state.rooms_diverged as f64),
                none("wrong messages at late joiners", wrong_messages(&late)),
            ];
            [figures, basic_figures(r, 0.1)].concat()
        },
        ratio: Some(RatioLimit {
            name: "the others' voice p99, times that without",
            limit: 1.5,
            figure: |r| r.channels.voice.latency_ms.p99,
        }),
    },
    Scenario {
        name: "crowd",
        about: "1,000 late joiners join a room of 20 within 10 s; rosters 2 s later, pose p99 meanwhile",
        // The adaptive tick is none for 20 headsets and the largest for a thousand.
        options: "--headsets 20 --room-size 20 --duration 14s --ramp 2s --tick 10ms",
        fault_plan: |with_crowd| {
            let script = vec![
                (Duration::ZERO, Fault::LateJoiners(CROWD, CROWD_SPAN)),
                (CROWD_ROSTERS, Fault::CollectRosters),
            ];
            FaultPlan::new(if with_crowd { script } else { Vec::new() })
        },
        judge: |r, with_crowd| {
            let late = late_joiners(r);
            let members = if with_crowd { r.headsets + u64::from(CROWD) } else { 0 };
            let wrong = members as f64 - late.rosters_right as f64;
            let missed = if with_crowd { missed_poses(&late) } else { Some(0.0) };
            let figures = vec![
                none("late joiners without complete roster", missing(late.invited, late.whole)),
                none("rosters not complete and equal 2 s later", wrong),
                at_most(MISSED_POSES, missed, MISSED_BY_LATE),
                none("wrong messages at late joiners", wrong_messages(&late)),
            ];
            [figures, basic_figures(r, 0.05)].concat()
        },
        ratio: Some(RatioLimit {
            name: "pose p99, times that without",
            limit: 2.0,
            figure: |r| r.channels.pose.channel.latency_ms.p99,
        }),
    },
    Scenario {
        name: "match",
        about: "300 users look for a room of 10 at once, or create one; rooms must be full",
        options: "--headsets 50 --room-size 10 --duration 10s --ramp 1s",
        fault_plan: |_| FaultPlan::new(vec![(seconds(1), Fault::Match(SEEKERS))]),
        judge: |r, _| {
            let calls = r.calls.clone().unwrap_or_default();
            let spare = calls.rooms as f64 - f64::from(SEEKERS / MATCHED);
            let figures = vec![
                none("users without a room", missing(calls.expected, calls.met)),
                none("more rooms than needed", spare),
                at_most("largest room", number(calls.largest), f64::from(MATCHED)),
                at_most("from the start into the room, p99, ms", calls.met_ms.p99, 5_000.0),
            ];
            [figures, basic_figures(r, 0.05)].concat()
        },
        ratio: None,
    },
    Scenario {
        name: "calls",
        about: "100 pairs call each other at once, every fourth from both sides",
        options: "--headsets 50 --room-size 10 --duration 10s --ramp 1s",
        fault_plan: |_| FaultPlan::new(vec![(seconds(1), Fault::Calls(PAIRS))]),
        judge: |r, _| {
            let calls = r.calls.clone().unwrap_or_default();
            let missing = f64::from(2 * PAIRS) - calls.met as f64;
            let rooms = (calls.rooms as f64 - f64::from(PAIRS)).abs();
            let figures = vec![
                none("users not in a call's room", missing),
                none("difference of rooms and calls", rooms),
                at_most("largest room", number(calls.largest), 2.0),
                at_most("from the call into its room, p99, ms", calls.met_ms.p99, 5_000.0),
            ];
            [figures, basic_figures(r, 0.05)].concat()
        },
        ratio: None,
    },
    Scenario {
        name: "restart",
        about: "the server is killed with SIGKILL and started again",
        options: "--headsets 2000 --room-size 10 --duration 25s --ramp 10s --pose-hz 5",
        fault_plan: |_| FaultPlan::new(vec![(FAULT_START, Fault::RestartServer)]),
        judge: |r, _| {
            let recovery = recovery(r);
            let figures = vec![
                at_most("rejoined, p50, ms", recovery.rejoin_ms.p50, 2_000.0),
                at_most("rejoined, p99, ms", recovery.rejoin_ms.p99, 8_000.0),
                at_most("rejoined, all, ms", recovery.rejoin_ms.max, 15_000.0),
                none("not rejoined", missing_from(r, recovery.rejoins)),
                none(ROSTERS, missing_from(r, recovery.rosters_right)),
            ];
            [figures, not_delivered(r, 0.5)].concat()
        },
        ratio: None,
    },
    pause::PAUSE_3,
    pause::PAUSE_12,
    pause::PAUSE_40,
    Scenario {
        name: "join-storm",
        about: "500 other clients join at once, five times in 5 s; the pose p99 of those in rooms",
        options: "--headsets 500 --room-size 10 --duration 5s --ramp 2s",
        fault_plan: |with_storms| {
            let storm = |at| (Duration::from_millis(at), Fault::JoinStorm(STORM_JOINS));
            FaultPlan::new(if with_storms { STORMS.map(storm).to_vec() } else { Vec::new() })
        },
        judge: |r, with_storms| {
            let storm = r.storm.clone().unwrap_or_default();
            let expected =
                if with_storms { STORMS.len() as f64 * f64::from(STORM_JOINS) } else { 0.0 };
            let failed = expected - storm.ok as f64;
            let p99 = if with_storms { storm.p99_ms } else { Some(0.0) };
            let failed = vec![none("joins of the storms that failed", failed)];
            let p99 = vec![at_most("joins of the storms, p99, ms", p99, 5_000.0)];
            [failed, basic_figures(r, 0.1), p99].concat()
        },
        ratio: Some(RatioLimit {
            name: "pose p99, times that without",
            limit: 1.25,
            figure: |r| r.channels.pose.channel.latency_ms.p99,
        }),
    },
    Scenario {
        name: "awful",
        about: "a network that loses a tenth in bursts and delays by 150 ms +- 50 ms each way",
        options: "--headsets 50 --room-size 10 --duration 60s --network awful",
        fault_plan: |_| FaultPlan::default(),
        judge: |r, _| basic_figures(r, 0.4),
        ratio: None,
    },
];

/// Returns how many of `all` are missing.
fn missing(all: u64, there: u64) -> f64 {
    all.saturating_sub(there) as f64
}

/// Returns the share of the poses that the late joiner with the fewest poses missed.
fn missed_poses(late: &LateJoinersReport) -> Option<f64> {
    late.least_pose_share.map(|share| 1.0 - share)
}

/// Returns how many messages late joiners received that were not as they were sent to them.
fn wrong_messages(late: &LateJoinersReport) -> f64 {
    (late.messages_corrupt + late.messages_misrouted) as f64
}

fn late_joiners(r: &Report) -> LateJoinersReport {
    r.late_joiners.clone().unwrap_or_default()
}
